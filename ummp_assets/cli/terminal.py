"""What commands share on the terminal: answers go to standard output, everything else to standard error."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from types import FrameType
from typing import Any

import click
from rich.console import Console

__all__ = ["Stopped", "answers", "json_option", "notes", "print_json", "stop_signals"]

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
    """Print a document, dataclasses included, as JSON."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, default=_plain))


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
