"""The demo's result: a table for people, a document for scripts, and whether the numbers add up."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from ummp_assets.cli.demo.requests import DATASETS
from ummp_assets.cli.demo.run import DemoOutcome
from ummp_assets.cli.outcomes import ModalityOutcomes, sum_outcomes
from ummp_assets.cli.stack.stack import Stack

__all__ = ["describe", "find_mismatches", "print_report"]


def describe(outcome: DemoOutcome, seconds: float) -> dict[str, Any]:
    """Return the document of `ummp demo --json`."""
    return {
        "seconds": round(seconds, 3),
        "modalities": {
            modality: {
                "messages": counts.messages,
                "stored": counts.stored,
                "duplicate": counts.duplicate,
                "filtered": counts.filtered,
                "dead": counts.dead,
                "bytes": counts.byte_count,
            }
            for modality, counts in _by_modality(outcome).items()
        },
        "unreadable_messages": sum(batch.unreadable for batch in outcome.batches),
        "datasets": [
            {"name": event.dataset, "version": event.version, "rows": event.rows, "manifest": event.manifest}
            for event in outcome.events
        ],
        "ready_events": len(outcome.events),
    }


def find_mismatches(outcome: DemoOutcome) -> Iterator[str]:
    """Yield a sentence for each sum that does not add up."""
    for batch in outcome.batches:
        ended = sum(counts.messages for counts in batch.modalities.values()) + batch.unreadable + batch.expired
        if ended != batch.messages:
            yield f"batch {batch.key} holds {batch.messages} messages, but {ended} outcomes"
    messages = sum(batch.messages for batch in outcome.batches)
    if messages < outcome.sent:
        yield f"{outcome.sent} messages were sent, but the batches hold {messages}"
    newest = {event.dataset: event for event in sorted(outcome.events, key=lambda event: event.version)}
    for modality, counts in _by_modality(outcome).items():
        event = newest.get(DATASETS[modality])
        if counts.stored and (event is None or event.rows < counts.stored):
            rows = event.rows if event else 0
            yield f"{counts.stored} {modality} samples were stored, but dataset {DATASETS[modality]} has {rows} rows"


def print_report(console: Console, outcome: DemoOutcome, stack: Stack, seconds: float) -> None:
    """Print the table, where everything is and what to do next."""
    unreadable = sum(batch.unreadable for batch in outcome.batches)
    reasons = sum((batch.reasons for batch in outcome.batches), start=Counter[str]())
    console.print(_table(outcome))
    again = "This folder holds an earlier demo: what that one collected is a duplicate now."
    for line in (
        *([again] if outcome.repeated else ()),
        f"{unreadable} more messages could not be read as requests; they are dead letters, too.",
        "Not stored: " + ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) + ".",
        f"All in {seconds:.1f} s, the start of broker and Dagster included.",
        "",
        *(f"{event.dataset} v{event.version}: {event.rows:,} rows, {event.manifest}" for event in outcome.events),
        "",
        "Load it:",
        f"  export UMMP_HOME={stack.settings.home_path}",
        "  python -c \"import ummp_assets; print(ummp_assets.open_dataset('photographs').to_arrow())\"",
    ):
        console.print(line, soft_wrap=True, markup=False)


def _table(outcome: DemoOutcome) -> Table:
    table = Table(title="What became of the messages")
    table.add_column("modality")
    for name in ("messages", "stored", "duplicate", "filtered", "dead", "MB", "seconds"):
        table.add_column(name, justify="right")
    for modality, counts in _by_modality(outcome).items():
        numbers = (counts.messages, counts.stored, counts.duplicate, counts.filtered, counts.dead)
        ready = outcome.ready_seconds.get(DATASETS[modality])
        table.add_row(
            modality,
            *(f"{number:,}" for number in numbers),
            f"{counts.byte_count / 1e6:.1f}",
            "-" if ready is None else f"{ready:.1f}",
        )
    return table


def _by_modality(outcome: DemoOutcome) -> dict[str, ModalityOutcomes]:
    total = sum_outcomes(outcome.batches)
    return {modality: total.get(modality, ModalityOutcomes()) for modality in DATASETS}
