"""`ummp datasets compact`: small shards merged."""

from typing import TYPE_CHECKING

import click

from ummp_assets.cli.datasets.options import open_configured_store
from ummp_assets.cli.terminal import answers, json_option, notes, print_json

if TYPE_CHECKING:
    from ummp_assets.datasets.versions import DatasetVersion
    from ummp_assets.settings import Settings
    from ummp_assets.storage.objects import ObjectStore

__all__ = ["compact_command"]


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
            made += [version] if version else []
            # Also what an earlier call made while no broker answered.
            _announce(settings, store, version or old)
    finally:
        index.close()
    if as_json:
        print_json([{"name": item.dataset, "version": item.version, "sha256": item.sha256} for item in made])
        return
    for item in made:
        answers().print(f"{item.dataset} v{item.version}: {len(item.removed_shards)} shards merged")
    if not made:
        answers().print("Nothing to merge.")


def _announce(settings: "Settings", store: "ObjectStore", version: "DatasetVersion") -> None:
    from ummp_assets.datasets.events import publish_ready_event
    from ummp_assets.errors import BrokerUnavailable, InvalidSettings

    try:
        publish_ready_event(settings, store, version)
    except (BrokerUnavailable, InvalidSettings):
        notes().print("No broker answered: the ready event goes out with that of the next version.")
