"""Putting manifests back from a replica, without what was taken down since the replica was made."""

from contextlib import suppress

from ummp_assets.datasets.batch_content import committed_manifests
from ummp_assets.datasets.erase import erase_samples
from ummp_assets.datasets.named_files import NamedFile, files_of_manifest, list_manifests, purged_shards
from ummp_assets.datasets.removal import is_at_its_end
from ummp_assets.datasets.replication import copy_object
from ummp_assets.datasets.standing_orders import fallen_samples
from ummp_assets.errors import ManifestCorrupt, ObjectNotFound
from ummp_assets.settings import Settings
from ummp_assets.storage.dataset_index import DatasetIndex
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import stage_path

__all__ = ["erase_again", "files_of_batch", "restore_manifest", "restored_batches"]

_NOTES = "upkeep/restored"


def restore_manifest(store: ObjectStore, replica: ObjectStore, path: str) -> None:
    """Copy a manifest from a replica, and of the files that it names those that are missing.

    The batch of a stage's manifest is noted until `erase_again` has seen it, so that a crash in between leaves nothing
    that was taken down: an old replica has it still.

    Raises
    ------
    ManifestCorrupt, ObjectNotFound
        The replica's is damaged or missing.
    """
    if path.startswith("stages/"):
        store.write(f"{_NOTES}/{_batch_of(path)}", b"")
    for file in files_of_manifest(replica, path):
        # The shards of a version are hashed, and restored, as files of their own.
        if file.path.endswith(".json") or (path.startswith("stages/") and not store.exists(file.path)):
            _copy_if_there(replica, store, file.path)
    copy_object(replica, store, path)


def files_of_batch(store: ObjectStore, path: str) -> list[NamedFile]:
    """Return the files that the readable manifests name of the batch to which a stage's manifest belongs."""
    found: list[NamedFile] = []
    for other in list_manifests(store):
        if other.startswith("stages/") and other != path and _batch_of(other) == _batch_of(path):
            with suppress(ManifestCorrupt):
                found += files_of_manifest(store, other)
    return found


def restored_batches(store: ObjectStore) -> list[str]:
    """Return the batches of which a manifest was restored and that `erase_again` has not seen since."""
    return [info.path.rpartition("/")[2] for info in store.list(_NOTES)]


def erase_again(store: ObjectStore, index: Index, settings: Settings, batch: str) -> None:
    """Erase from a batch what was taken down since the replica was made that a manifest of it came from.

    Raises
    ------
    ManifestCorrupt
        A file of the batch is missing or damaged: what it holds cannot be told.
    """
    known = DatasetIndex(index)
    fallen = fallen_samples(store, index, committed_manifests(store, batch))
    # Where the batch is on its way, its commit erases.
    ended = {name for name in {item.dataset for item in fallen} if is_at_its_end(store, known, name, batch)}
    erase_samples(store, index, settings, batch, {item.sample_id for item in fallen if item.dataset in ended})
    for path in purged_shards(store):
        # The files of its shards, which had been purged and came back to be rewritten.
        if path.startswith(stage_path("training_shards", batch, "")):
            store.delete(path)
    store.delete(f"{_NOTES}/{batch}")


def _batch_of(path: str) -> str:
    return path.split("/")[2]


def _copy_if_there(replica: ObjectStore, store: ObjectStore, path: str) -> None:
    # What it lacks is named as damaged when the files are hashed.
    with suppress(ObjectNotFound):
        copy_object(replica, store, path)
