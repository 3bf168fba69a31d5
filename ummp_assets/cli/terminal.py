"""What commands share on the terminal: answers go to standard output, everything else to standard error."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from types import FrameType
from typing import Any

import click
from rich.console import Console
from rich.table import Table

__all__ = ["Stopped", "answers", "json_option", "notes", "print_json", "print_wide", "progress_bar", "stop_signals"]

_WIDEST = 1_000

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")


class Stopped(Exception):
    """The user or the system asked the command to end."""


def answers() -> Console:
    """Return the console for results."""
    return Console(highlight=False)


def notes() -> Console:
    """Return the console for progress and remarks, which never mix with results that a script reads."""
    return Console(stderr=True, highlight=False)


def print_json(document: object) -> None:
    """Print a document, dataclasses included, as JSON; null for numbers that JSON has none for, as the level of silence
    in dB."""
    try:
        text = json.dumps(document, indent=2, ensure_ascii=False, default=_plain, allow_nan=False)
    except ValueError:
        # Rare, so that it may be written and read once more.
        written = json.dumps(document, ensure_ascii=False, default=_plain)
        text = json.dumps(json.loads(written, parse_constant=lambda _: None), indent=2, ensure_ascii=False)
    click.echo(text)


def print_wide(console: Console, table: Table) -> None:
    """Print a table as wide as its cells: a narrower terminal wraps the lines, but no number is cut off."""
    whole = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
    Console(file=console.file, highlight=False, width=max(whole, console.width)).print(table)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows how many of how many are done, on a terminal only, while the block lasts."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = notes()
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)


@contextmanager
def stop_signals() -> Iterator[None]:
    """Raise `Stopped` on the first SIGINT, SIGTERM or SIGHUP, and ignore further ones while the block cleans up.

    Also where SIGINT was inherited as ignored, as background commands of a script are started.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)
        raise Stopped

    before: dict[signal.Signals, Any] = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
