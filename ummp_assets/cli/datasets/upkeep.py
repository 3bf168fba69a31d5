"""`ummp datasets compact`, `collect`, `scrub`, `replicate` and `purge`: by hand what the nightly upkeep does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from ummp_assets.cli.datasets.options import open_configured_store
from ummp_assets.cli.terminal import answers, json_option, notes, print_json

if TYPE_CHECKING:
    from ummp_assets.datasets.versions import DatasetVersion
    from ummp_assets.settings import Settings
    from ummp_assets.storage.objects import ObjectStore

__all__ = ["collect_command", "compact_command", "purge_command", "replicate_command", "scrub_command"]

_replica_option = click.option("--replica", metavar="URL", help="Folder or fsspec URL. Default: UMMP_REPLICA.")


@click.command("compact")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@json_option
def compact_command(names: tuple[str, ...], as_json: bool) -> None:
    """Merge the small shards of datasets, of all when none is named.

    Each gets a new version with the same rows in fewer files, unless nothing is small.
    """
    from ummp_assets.datasets.compaction import compact_dataset
    from ummp_assets.datasets.versions import list_datasets, read_version
    from ummp_assets.settings import load_settings
    from ummp_assets.storage.index import open_index

    settings, store = load_settings(), open_configured_store()
    before = [read_version(store, name) for name in names or list_datasets(store)]
    index = open_index(settings)
    made: list[DatasetVersion] = []
    try:
        for old in before:
            version = compact_dataset(store, index, settings, old.dataset)
            if version is not None:
                made.append(version)
                _announce(settings, store, version)
    finally:
        index.close()
    if as_json:
        print_json([{"name": item.dataset, "version": item.version, "sha256": item.sha256} for item in made])
        return
    for item in made:
        answers().print(f"{item.dataset} v{item.version}: {len(item.removed_shards)} shards merged")
    if not made:
        answers().print("Nothing to merge.")


@click.command("collect")
@click.option("--dry-run", is_flag=True, help="Only list the files.")
@json_option
def collect_command(dry_run: bool, as_json: bool) -> None:
    """Delete files that no manifest names, left by attempts that were killed or replaced.

    Younger files than UMMP_DATASETS__GARBAGE_AGE_HOURS are never touched: they may belong to a run.
    """
    from ummp_assets.datasets.garbage import collect_garbage, find_garbage
    from ummp_assets.settings import load_settings

    store, now = open_configured_store(), datetime.now(UTC)
    age = timedelta(hours=load_settings().datasets.garbage_age_hours)
    if dry_run:
        paths = [info.path for info in find_garbage(store, now, safety_age=age)]
    else:
        paths = collect_garbage(store, now, safety_age=age)
    _print_paths(paths, "would be deleted" if dry_run else "deleted", as_json)


@click.command("scrub")
@click.option("--repair", is_flag=True, help="Restore what is damaged from the replica.")
@_replica_option
@json_option
def scrub_command(repair: bool, replica: str | None, as_json: bool) -> None:
    """Read every manifest and hash every file that one names. Exit code 1: something is damaged and not repaired."""
    from ummp_assets.datasets.scrubbing import scrub

    source = _replica(replica) if repair else None
    with _progress("hashing") as on_progress:
        found = scrub(open_configured_store(), source, on_progress)
    if as_json:
        print_json(found)
    else:
        for item in found:
            answers().print(f"{item.path}: {item.problem}{', repaired' if item.repaired else ''}", soft_wrap=True)
        answers().print(f"{len(found):,} files damaged, {sum(item.repaired for item in found):,} repaired")
    if any(not item.repaired for item in found):
        if not as_json:
            notes().print(
                "`ummp datasets scrub --repair` restores files from a replica, `ummp datasets rebuild NAME --repair` a "
                "dataset's shards from the stored raw bytes.",
                soft_wrap=True,
            )
        raise click.exceptions.Exit(1)


@click.command("replicate")
@_replica_option
@json_option
def replicate_command(replica: str | None, as_json: bool) -> None:
    """Bring a second copy of the store up to date. What was taken down or collected leaves it, too."""
    from ummp_assets.datasets.replication import replicate

    target = _replica(replica)
    with _progress("copying") as on_progress:
        copied = replicate(open_configured_store(), target, on_progress)
    if as_json:
        print_json({"replica": target.uri(), "copied": copied})
    else:
        answers().print(f"{len(copied):,} objects copied to {target.uri()}", soft_wrap=True)


@click.command("purge")
@json_option
def purge_command(as_json: bool) -> None:
    """Delete the shards that takedowns withdrew longer than UMMP_DATASETS__PURGE_DELAY_HOURS ago."""
    from ummp_assets.datasets.withdrawals import purge_withdrawn

    _print_paths(purge_withdrawn(open_configured_store(), datetime.now(UTC)), "purged", as_json)


def _announce(settings: "Settings", store: "ObjectStore", version: "DatasetVersion") -> None:
    from ummp_assets.datasets.events import publish_ready_event
    from ummp_assets.errors import BrokerUnavailable, InvalidSettings

    try:
        publish_ready_event(settings, store, version)
    except (BrokerUnavailable, InvalidSettings):
        notes().print("No broker answered: the ready event goes out with that of the next version.")


def _replica(url: str | None) -> "ObjectStore":
    from ummp_assets.settings import load_settings
    from ummp_assets.storage.objects import open_replica

    found = open_replica(load_settings(**({"replica": url} if url else {})))
    if found is None:
        raise click.UsageError("no replica is known: name its root with --replica, or set UMMP_REPLICA")
    return found


def _print_paths(paths: list[str], done: str, as_json: bool) -> None:
    if as_json:
        print_json(paths)
        return
    for path in paths:
        answers().print(path, soft_wrap=True, markup=False)
    answers().print(f"{len(paths):,} files {done}")


@contextmanager
def _progress(what: str) -> Iterator[Callable[[int, int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = notes()
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
