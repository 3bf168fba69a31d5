"""`ummp datasets scrub`: every file against its hash."""

from contextlib import closing

import click

from ummp_assets.cli.datasets.options import open_configured_store, open_named_replica, replica_option
from ummp_assets.cli.terminal import answers, json_option, notes, print_json, progress_bar

__all__ = ["scrub_command"]


@click.command("scrub")
@click.option("--repair", is_flag=True, help="Restore what is damaged from the replica.")
@replica_option
@json_option
def scrub_command(repair: bool, replica: str | None, as_json: bool) -> None:
    """Read every manifest and hash every file that one names, large objects included.

    What was taken down since the replica was made is erased again from what it gives back. Exit code 1: something is
    damaged and not repaired.
    """
    from ummp_assets.datasets.scrubbing import scrub
    from ummp_assets.settings import load_settings
    from ummp_assets.storage.index import open_index

    source = open_named_replica(replica) if repair else None
    settings = load_settings()
    with progress_bar("hashing") as on_progress, closing(open_index(settings)) as index:
        found = scrub(open_configured_store(), index, settings, source, on_progress)
    if as_json:
        print_json(found)
    else:
        for item in found:
            repaired = ", repaired" if item.repaired else ""
            answers().print(f"{item.path}: {item.problem}{repaired}", soft_wrap=True, markup=False)
        answers().print(f"{len(found):,} files damaged, {sum(item.repaired for item in found):,} repaired")
    if any(not item.repaired for item in found):
        if not as_json:
            notes().print(
                "`ummp datasets scrub --repair` restores files from a replica, `ummp datasets rebuild NAME --repair` a "
                "dataset's shards from the stored raw bytes.",
                soft_wrap=True,
            )
        raise click.exceptions.Exit(1)
