"""`ummp dead list`: what could not be used, and why."""

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from ummp_assets.cli.terminal import answers, json_option, print_json

if TYPE_CHECKING:
    from ummp_assets.messages.dead_reading import DeadLetter

__all__ = ["letter_document", "list_command"]


@click.command("list")
@click.option("--reason", help="Only letters with this reason code.")
@click.option("--topic", help="Only letters whose message came from this topic.")
@click.option("--last", type=click.IntRange(1), default=50, show_default=True, help="How many of the newest.")
@json_option
def list_command(reason: str | None, topic: str | None, last: int, as_json: bool) -> None:
    """List the newest dead letters that Kafka still has, and count all of them by reason."""
    from ummp_assets.messages.dead_reading import read_dead_letters
    from ummp_assets.settings import load_settings
    from ummp_assets.storage.objects import open_store

    settings = load_settings()
    reasons: Counter[str] = Counter()
    found = []
    for letter in read_dead_letters(open_store(settings), settings):
        if reason in (None, letter.reason) and topic in (None, letter.topic):
            reasons[letter.reason] += 1
            found.append(letter)
            if len(found) > 2 * last:
                found = _newest(found, last)
    found = _newest(found, last)
    if as_json:
        print_json({"reasons": dict(reasons.most_common()), "letters": [letter_document(item) for item in found]})
    else:
        _print(found, reasons)


def letter_document(letter: "DeadLetter") -> dict[str, Any]:
    """Return a letter as the commands print it in JSON, without the message itself."""
    return {
        "letter": letter.letter,
        "time": _time(letter),
        "topic": letter.topic,
        "sample_id": letter.sample_id,
        "reason": letter.reason,
        "error": letter.error,
        "redriven": letter.redriven,
    }


def _newest(letters: "list[DeadLetter]", limit: int) -> "list[DeadLetter]":
    return sorted(letters, key=lambda letter: letter.timestamp_ms)[-limit:]


def _time(letter: "DeadLetter") -> str:
    return datetime.fromtimestamp(letter.timestamp_ms / 1000, UTC).isoformat(timespec="seconds")


def _print(letters: "list[DeadLetter]", reasons: Counter[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    console = answers()
    if not letters:
        console.print("No dead letters.")
        return
    table = Table()
    for name in ("letter", "time", "reason", "sample", "error", "again"):
        table.add_column(name, overflow="fold")
    for item in letters:
        place = item.letter.split("~", 1)[1]
        cells = (place, _time(item), item.reason, item.sample_id, item.error, "sent" if item.redriven else "")
        # Errors may hold brackets, which are no markup.
        table.add_row(*map(Text, cells))
    console.print(table)
    counted = ", ".join(f"{count:,} {name}" for name, count in reasons.most_common())
    console.print(f"{reasons.total():,} letters: {counted}", soft_wrap=True)
    console.print("ummp dead show LETTER shows one; ummp dead redrive sends the messages again.")
