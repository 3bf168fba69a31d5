"""What the commands of `ummp datasets` share: options, how stores are opened, how lists of files are printed."""

from typing import TYPE_CHECKING

import click

from ummp_assets.cli.terminal import answers, print_json

if TYPE_CHECKING:
    from ummp_assets.storage.objects import ObjectStore

__all__ = ["open_configured_store", "open_named_replica", "print_paths", "replica_option", "version_option"]

version_option = click.option("--version", type=click.IntRange(min=1), help="Default: the newest.")
replica_option = click.option("--replica", metavar="URL", help="Folder or fsspec URL. Default: UMMP_REPLICA.")


def open_configured_store() -> "ObjectStore":
    """Return the store that the settings name."""
    from ummp_assets.settings import load_settings
    from ummp_assets.storage.objects import open_store

    return open_store(load_settings())


def open_named_replica(url: str | None) -> "ObjectStore":
    """Return the replica at an address, or else that of the settings; wrong use where neither names one."""
    from ummp_assets.settings import load_settings
    from ummp_assets.storage.objects import open_replica

    found = open_replica(load_settings(**({"replica": url} if url else {})))
    if found is None:
        raise click.UsageError("no replica is known: name its root with --replica, or set UMMP_REPLICA")
    return found


def print_paths(paths: list[str], done: str, as_json: bool) -> None:
    """Print what was done to files, one a line, and how many they are."""
    if as_json:
        print_json(paths)
        return
    for path in paths:
        answers().print(path, soft_wrap=True, markup=False)
    answers().print(f"{len(paths):,} files {done}")
