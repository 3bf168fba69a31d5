"""A group of commands that are imported when they are called, so that `--help` costs an import of click alone."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click

__all__ = ["LazyCommand", "LazyGroup"]


class LazyCommand(NamedTuple):
    """Where a command is defined, below `ummp_assets.cli`, and the line that `--help` shows."""

    module: str
    attribute: str
    summary: str


class LazyGroup(click.Group):
    """A group whose commands are listed in the order given, which is that of their use."""

    def __init__(self, *arguments: Any, lazy_commands: Mapping[str, LazyCommand], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._lazy_commands = lazy_commands

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(self._lazy_commands)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._lazy_commands:
            return None
        found = self._lazy_commands[cmd_name]
        command: click.Command = getattr(import_module(f"ummp_assets.cli.{found.module}"), found.attribute)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.summary) for name, command in self._lazy_commands.items()])
