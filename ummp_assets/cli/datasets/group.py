"""`ummp datasets`: the group of its commands."""

import click

from ummp_assets.cli.lazy_group import LazyCommand, LazyGroup

__all__ = ["datasets_group"]

_COMMANDS = {
    "list": LazyCommand("datasets.show", "list_command", "List all datasets with their newest version."),
    "show": LazyCommand("datasets.show", "show_command", "Show one version and how to load it."),
    "preview": LazyCommand("datasets.preview", "preview_command", "Say what other rules would gain and lose."),
    "diff": LazyCommand("datasets.diff", "diff_command", "Show what was added, removed or relabelled, and why."),
    "export": LazyCommand("datasets.export", "export_command", "Write a version in another format."),
    "verify": LazyCommand("datasets.verify", "verify_command", "Compare every shard of a version with the manifest."),
    "rebuild": LazyCommand(
        "datasets.rebuild", "rebuild_command", "Make a version anew from the stored raw bytes; compare, or repair."
    ),
    "compact": LazyCommand("datasets.compact", "compact_command", "Merge small shards."),
    "collect": LazyCommand("datasets.collect", "collect_command", "Delete files that no manifest names."),
    "scrub": LazyCommand("datasets.scrub", "scrub_command", "Hash every file of the store; repair from a replica."),
    "replicate": LazyCommand("datasets.replicate", "replicate_command", "Bring a second copy of the store up to date."),
    "purge": LazyCommand("datasets.purge", "purge_command", "Delete the shards that takedowns withdrew."),
}


@click.group("datasets", cls=LazyGroup, lazy_commands=_COMMANDS, invoke_without_command=True)
@click.pass_context
def datasets_group(context: click.Context) -> None:
    """List, compare, export, rebuild and look after datasets. Without a command: list."""
    if context.invoked_subcommand is None:
        from ummp_assets.cli.datasets.show import list_command

        context.invoke(list_command)
