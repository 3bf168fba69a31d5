"""`ummp datasets preview`: what other thresholds would gain and lose, before anything is recomputed."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ummp_assets.cli.terminal import answers, json_option, notes, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from ummp_assets.clean.preview import Amount, Preview, RuleEffect
    from ummp_assets.settings import Settings
    from ummp_assets.storage.objects import ObjectStore

__all__ = ["preview_command"]


@click.command("preview")
@click.argument("name")
@click.option(
    "--set",
    "assignments",
    metavar="SETTING=VALUE",
    multiple=True,
    help="A setting to try, e.g. clean.text.gopher_quality.min_words=50; may be given several times.",
)
@click.option("--examples", type=click.IntRange(0, 1_000), default=3, show_default=True, help="Sample ids per rule.")
@json_option
def preview_command(name: str, assignments: tuple[str, ...], examples: int, as_json: bool) -> None:
    """Say what other rules would gain and lose of a dataset, from the measurements that cleaning stored.

    What is stored is held against the settings in force with --set on top, as a new run over the same batches would.
    Batches count once they are committed, and each sample once, however often it was replayed. Nothing is changed.
    Exit code 2: a setting that no measurement judges, with the list of those that can be tried.
    """
    from rich.progress import track

    from ummp_assets.clean.deciding_batches import find_deciding
    from ummp_assets.clean.preview import preview_rules
    from ummp_assets.cli.trying import setting_value, try_settings
    from ummp_assets.datasets.versions import read_version
    from ummp_assets.settings import load_settings
    from ummp_assets.storage.objects import open_store

    settings, chosen = try_settings(assignments)
    store = open_store(settings)
    read_version(store, name)
    batches, replays = _committed(store, settings)
    deciding = find_deciding(store, name, batches, replays)
    keys = track([*replays, *batches], "Reading measurements", console=notes(), transient=True)
    found = preview_rules(store, name, settings.clean, keys, deciding=deciding, examples=examples)
    before = load_settings()
    changes = {key: {"from": setting_value(before, key), "to": setting_value(settings, key)} for key in chosen}
    idle = _idle_rules(settings, chosen)
    if as_json:
        print_json({"settings": changes, "not_in_force": idle, **asdict(found)})
        return
    for key, change in changes.items():
        answers().print(f"{key} = {_text(change['to'])} (now {_text(change['from'])})", soft_wrap=True, markup=False)
    _print(answers(), found)
    for rule in idle:
        notes().print(f"{rule} does not judge: add it with --set clean.text.quality_rules=[...]", markup=False)


def _idle_rules(settings: "Settings", chosen: Iterable[str]) -> list[str]:
    """Return the groups of text rules that a threshold was set of, though they are not among those that judge."""
    from ummp_assets.clean.rules.text import QUALITY

    named = {name.split(".")[2] for name in chosen if name.startswith("clean.text.")}
    return [rule for rule in QUALITY if rule in named and rule not in settings.clean.text.quality_rules]


def _committed(store: "ObjectStore", settings: "Settings") -> tuple[list[str], list[str]]:
    """Return the keys of the request batches that are committed, and of the replays, the newest first.

    A batch on its way may yet fail, one that was given up is in no dataset. Those of which a dataset stored no row are
    among them, although no version names them: another threshold would gain some.
    """
    from ummp_assets.datasets.commit import STAGE
    from ummp_assets.messages.offset_log import OffsetLog
    from ummp_assets.messages.ranges import batch_key
    from ummp_assets.messages.replays import replay_topic
    from ummp_assets.messages.topics import Role, topic_names
    from ummp_assets.storage.stages import stage_path

    log = OffsetLog(store)

    def committed(topic: str) -> list[str]:
        last = log.last(topic)
        keys = [batch_key(topic, number) for number in range(last.number if last else 0, 0, -1)]
        return [key for key in keys if store.exists(stage_path(STAGE, key))]

    topics = topic_names(settings).of_role(Role.REQUESTS)
    replays = [key for topic in topics for key in committed(replay_topic(topic))]
    return [key for topic in topics for key in committed(topic)], replays


def _print(console: "Console", found: "Preview") -> None:
    from rich.table import Table

    if found.rules:
        table = Table(title=f"Rules that would decide otherwise about {found.dataset}")
        table.add_column("rule", no_wrap=True)
        table.add_column("setting", overflow="fold")
        for name in ("limit", "lost", "gained"):
            table.add_column(name, justify="right")
        for item in found.rules:
            limit = "none" if item.limit is None else f"{item.limit:g}"
            cells = (item.reason, item.setting.removeprefix("clean."), limit)
            table.add_row(*cells, f"{item.lost.samples:,}", f"{item.gained.samples:,}")
        console.print(table)
    tokens = f", {found.stored.tokens:,} tokens" if found.stored.tokens else ""
    console.print(f"read   the measurements of {found.batches:,} {'batch' if found.batches == 1 else 'batches'}")
    console.print(f"stored {found.stored.samples:,} samples, {found.stored.byte_count / 1e6:,.1f} MB raw{tokens}")
    console.print(f"lost   {_amount(found.lost)}")
    console.print(f"gained {_amount(found.gained)}, less what turns out a duplicate or cannot be decoded")
    for item in found.rules:
        _print_examples(console, item)
    _print_open(console, found)


def _print_examples(console: "Console", item: "RuleEffect") -> None:
    for what, ids in (("lost", item.lost_examples), ("gained", item.gained_examples)):
        if ids:
            console.print(f"{what} by {item.reason}: {', '.join(ids)}", soft_wrap=True, markup=False)


def _print_open(console: "Console", found: "Preview") -> None:
    if found.undecided.samples:
        console.print(f"{_amount(found.undecided)} cannot be told: a value is missing, as they were refused before")
    if found.duplicates_of_lost:
        console.print(f"{found.duplicates_of_lost:,} duplicates of lost samples pass the rules and stay duplicates")
    if found.unmeasured_batches:
        notes().print(
            f"{found.unmeasured_batches:,} of {found.batches:,} batches were cleaned before measurements were stored: "
            "materialize them again to have them counted",
            soft_wrap=True,
        )


def _amount(amount: "Amount") -> str:
    tokens = f", {amount.tokens:,} tokens" if amount.tokens else ""
    return f"{amount.samples:,} samples, {amount.byte_count / 1e6:,.1f} MB raw{tokens}"


def _text(value: Any) -> str:
    from pydantic_core import to_jsonable_python

    return json.dumps(to_jsonable_python(value), ensure_ascii=False)
