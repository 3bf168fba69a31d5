"""`ummp status`: what waits, what is in work, what came out, what failed."""

from collections import Counter
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from ummp_assets.cli.terminal import answers, json_option, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from ummp_assets.cli.outcomes import BatchOutcomes
    from ummp_assets.messages.ranges import Batch
    from ummp_assets.messages.reading import TopicEnds
    from ummp_assets.settings import Settings
    from ummp_assets.storage.objects import ObjectStore

__all__ = ["status_command"]

_SHOWN_REASONS = 8
_SHOWN_BATCHES = 10


@dataclass(frozen=True, slots=True)
class _TopicState:
    """`waiting`: messages that no batch holds yet; None where UMMP only writes to the topic or cannot go on with it."""

    topic: str
    exists: bool
    messages: int
    waiting: int | None
    batches: int
    problem: str | None


@click.command("status")
@click.option("--last", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Newest batches to count.")
@click.option("--reasons", is_flag=True, help="Show instead how what the rules measured is distributed.")
@click.option(
    "--threshold",
    "thresholds",
    metavar="SETTING=VALUE",
    multiple=True,
    help="What would this have kept? E.g. clean.text.min_characters=500; with --reasons, also several times.",
)
@json_option
def status_command(last: int, reasons: bool, thresholds: tuple[str, ...], as_json: bool) -> None:
    """Show what waits in each topic, the newest batches, their outcomes and failed runs, and what needs a person.

    Lag and batches come from the broker and the store; runs only while `ummp up` runs on this home. With --reasons:
    quantiles of what each rule measured in the newest batches, and how many samples a threshold would have kept.
    """
    if reasons or thresholds:
        _show_reasons(last, thresholds, as_json)
        return
    from ummp_assets.cli.outcomes import read_outcomes, sum_outcomes
    from ummp_assets.messages.attempts import explain_exhausted
    from ummp_assets.settings import load_settings
    from ummp_assets.storage.objects import open_store

    settings = load_settings()
    store = open_store(settings)
    topics = _topics(settings, store)
    batches = [read_outcomes(store, batch) for batch in _newest(settings, store, last)]
    runs, failed, exhausted = _runs(settings, store)
    outcomes = {
        modality: {"messages": item.messages, **asdict(item)} for modality, item in sum_outcomes(batches).items()
    }
    counts = sum((batch.reasons for batch in batches), start=Counter[str]())
    if as_json:
        document = {"topics": topics, "batches": [_batch(batch) for batch in batches], "outcomes": outcomes}
        document |= {"reasons": dict(counts.most_common()), "runs": runs, "failed_runs": failed}
        print_json({**document, "exhausted_batches": exhausted})
        return
    console = answers()
    _print_topics(console, topics)
    _print_batches(console, batches)
    _print_outcomes(console, outcomes, counts)
    _print_runs(console, runs, [run for run in failed if run.batch not in exhausted])
    problems = [state.problem for state in topics if state.problem]
    for sentence in [*problems, *(explain_exhausted(settings, key) for key in exhausted)]:
        console.print(f"needs you: {sentence}", style="red", soft_wrap=True, markup=False)


def _show_reasons(last: int, thresholds: tuple[str, ...], as_json: bool) -> None:
    from ummp_assets.clean.distribution import distributions
    from ummp_assets.cli.reasons_table import describe_reasons, print_reasons
    from ummp_assets.cli.trying import try_settings
    from ummp_assets.storage.objects import open_store

    settings, chosen = try_settings(thresholds)
    store = open_store(settings)
    keys = [batch.key for batch in _newest(settings, store, last)]
    found = distributions(store, keys, settings.clean)
    # A question about a threshold is answered by its rules alone.
    asked = [
        item
        for item in found
        if any(f"{setting}.".startswith(f"{name}.") for name in chosen for setting in (item.setting, item.gate))
    ]
    found = asked or found
    if as_json:
        print_json({"batches": len(keys), "reasons": describe_reasons(found)})
    else:
        print_reasons(answers(), found)


def _topics(settings: "Settings", store: "ObjectStore") -> list[_TopicState]:
    from ummp_assets.messages.offset_log import OffsetLog
    from ummp_assets.messages.reading import read_topic_ends
    from ummp_assets.messages.topics import Role, topic_names

    names = topic_names(settings)
    planned = {topic for role in Role for topic in names.of_role(role)}
    ends, log = read_topic_ends(settings, *names.all()), OffsetLog(store)
    return [_topic_state(topic, ends.get(topic), log.last(topic), topic in planned) for topic in names.all()]


def _topic_state(topic: str, ends: "TopicEnds | None", last: "Batch | None", planned: bool) -> _TopicState:
    from ummp_assets.cli.attention import topic_problem

    marks = ends.watermarks if ends else {}
    problem = topic_problem(topic, last, ends)
    taken = last.ends if last else {}
    waiting = sum(mark.high - max(mark.low, taken.get(partition, 0)) for partition, mark in marks.items())
    messages = sum(mark.high - mark.low for mark in marks.values())
    known = waiting if planned and not problem else None
    return _TopicState(topic, ends is not None, messages, known, last.number if last else 0, problem)


def _newest(settings: "Settings", store: "ObjectStore", limit: int) -> "list[Any]":
    from ummp_assets.cli.outcomes import latest_batches
    from ummp_assets.messages.replays import replay_topic
    from ummp_assets.messages.topics import Role, topic_names

    requests = topic_names(settings).of_role(Role.REQUESTS)
    topics = [*requests, *map(replay_topic, requests)]
    return [batch for topic in topics for batch in islice(latest_batches(store, topic, limit), limit)]


def _runs(settings: "Settings", store: "ObjectStore") -> tuple[dict[str, int] | None, list[Any], list[str]]:
    """Return the runs by state, those that failed and are not made good yet, and the batches not tried again."""
    from ummp_assets.cli.attention import exhausted_batches
    from ummp_assets.cli.stack.home import running_state
    from ummp_assets.cli.stack.web_ui import WebUi

    state = running_state(settings.home_path)
    if state is None or state.ui_url is None:
        return None, [], []
    ui = WebUi(state.ui_url)
    try:
        failed = [run for run in ui.failed_runs() if not run.will_retry]
        counts = ui.count_runs_of(sorted({run.batch for run in failed if run.batch}))
        # Of a batch that another run has taken up, the failed one is history.
        failed = [run for run in failed if not run.batch or counts[run.batch].all == counts[run.batch].failed]
        return ui.count_runs(), failed, exhausted_batches(settings, store)
    except OSError:
        return None, [], []


def _batch(batch: "BatchOutcomes") -> dict[str, Any]:
    return {**asdict(batch), "committed": batch.committed, "reasons": dict(batch.reasons)}


def _print_topics(console: "Console", topics: list[_TopicState]) -> None:
    from rich.table import Table

    table = Table(title="Topics")
    table.add_column("topic", no_wrap=True)
    for name in ("messages", "waiting", "batches"):
        table.add_column(name, justify="right")
    for state in topics:
        waiting = "" if state.waiting is None else f"{state.waiting:,}"
        cells = (f"{state.messages:,}", waiting, f"{state.batches:,}") if state.exists else ("not made yet", "", "")
        table.add_row(state.topic, *cells)
    console.print(table)


def _print_batches(console: "Console", batches: "list[BatchOutcomes]") -> None:
    from rich.table import Table

    table = Table(title="Newest batches")
    table.add_column("batch", no_wrap=True)
    table.add_column("messages", justify="right")
    table.add_column("state")
    for batch in batches[:_SHOWN_BATCHES]:
        state = "committed" if batch.committed else f"after {batch.stages_done[-1]}" if batch.stages_done else "planned"
        state = "given up" if batch.abandoned else state
        table.add_row(batch.key, f"{batch.messages:,}", state)
    if batches:
        console.print(table)


def _print_outcomes(console: "Console", outcomes: dict[str, dict[str, int]], reasons: Counter[str]) -> None:
    from rich.table import Table

    if not outcomes:
        console.print("No request has been collected yet: ummp submit --dataset NAME URI...")
        return
    names = ("messages", "stored", "duplicate", "filtered", "dead")
    table = Table(title="Outcomes of these batches")
    table.add_column("modality")
    for name in names:
        table.add_column(name, justify="right")
    for modality, counts in outcomes.items():
        table.add_row(modality, *(f"{counts[name]:,}" for name in names))
    console.print(table)
    if reasons:
        shown = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common(_SHOWN_REASONS))
        console.print(f"Not stored: {shown}{' ...' if len(reasons) > _SHOWN_REASONS else ''}", soft_wrap=True)


def _print_runs(console: "Console", runs: dict[str, int] | None, failed: list[Any]) -> None:
    if runs is None:
        console.print("Runs: unknown, as no `ummp up` runs on this home.")
        return
    console.print("Runs: " + ", ".join(f"{count:,} {name}" for name, count in runs.items()))
    for run in failed:
        # Runs of the nightly upkeep have no batch.
        of_batch = f" of batch {run.batch}, which the sensor asks for again" if run.batch else ""
        console.print(f"failed: run {run.run_id}{of_batch}", soft_wrap=True)
