"""`ummp dead`: the group of its commands."""

import click

from ummp_assets.cli.lazy_group import LazyCommand, LazyGroup

__all__ = ["dead_group"]

_COMMANDS = {
    "list": LazyCommand("dead.listing", "list_command", "List dead letters with their reasons."),
    "show": LazyCommand("dead.show", "show_command", "Show one letter whole."),
    "redrive": LazyCommand("dead.redrive", "redrive_command", "Send the original messages again."),
}


@click.group("dead", cls=LazyGroup, lazy_commands=_COMMANDS, invoke_without_command=True)
@click.pass_context
def dead_group(context: click.Context) -> None:
    """List, show and send again what could not be used. Without a command: list."""
    if context.invoked_subcommand is None:
        from ummp_assets.cli.dead.listing import list_command

        context.invoke(list_command)
