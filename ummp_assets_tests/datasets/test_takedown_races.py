"""Commits and compactions end well when a takedown deletes what they were about to read."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.compaction import compact_dataset
from ummp_assets.datasets.reader import open_dataset
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.splits import SPLITS
from ummp_assets.datasets.standing_orders import record_takedowns
from ummp_assets.datasets.takedown import apply_takedowns
from ummp_assets.datasets.versions import read_version
from ummp_assets.datasets.withdrawals import purge_withdrawn
from ummp_assets.errors import ManifestCorrupt
from ummp_assets.settings import DatasetSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import read_manifest, read_table
from ummp_assets_tests.datasets.batches import TOPIC, Sample, put_batch, texts
from ummp_assets_tests.datasets.test_takedown import (
    NOW,
    SECRET,
    commit_all,
    files_with,
    put_downloads,
    put_takedowns,
)


class _RacingStore(LocalStore):
    """Calls a function once: right behind the first version or withdrawal that is put, or before the first shard that
    is read."""

    after_version: Callable[[], object] | None = None
    before_shard: Callable[[], object] | None = None
    after_withdrawal: Callable[[], object] | None = None

    def write(self, path: str, data: bytes) -> None:
        super().write(path, data)
        if self.after_withdrawal and "/withdrawals/" in path:
            call, self.after_withdrawal = self.after_withdrawal, None
            call()

    def create(self, path: str, data: bytes) -> bool:
        made = super().create(path, data)
        if self.after_version and path.startswith("datasets/"):
            call, self.after_version = self.after_version, None
            call()
        return made

    def open(self, path: str) -> BinaryIO:
        if self.before_shard and path.endswith(".parquet"):
            call, self.before_shard = self.before_shard, None
            call()
        return super().open(path)


def test_a_commit_ends_when_a_takedown_erased_from_its_batch_once_its_version_stood(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    """The version was put without the row, so that none holds the shard which the takedown writes anew and deletes."""
    samples = [*texts("birds", 3), SECRET]
    batch = put_batch(store, 1, samples)
    put_downloads(store, batch, samples, 0)
    write_shards(store, settings, batch)
    order = put_takedowns(store, 1, [("uri", str(SECRET.uri))])
    orders = read_table(store, read_manifest(store, "takedowns", order), "takedowns")
    record_takedowns(index, [row for rows in orders for row in rows.to_pylist()])
    racing = _RacingStore(Path(store.uri()))
    racing.after_version = lambda: apply_takedowns(store, index, settings, order, now=NOW)

    versions = commit_batch(racing, index, settings, batch)

    assert [version.rows for version in versions] == [3]
    assert files_with(store, SECRET.content) == []


def test_a_compaction_begins_again_when_a_takedown_purged_what_it_was_to_merge(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    settings = settings.model_copy(update={"datasets": DatasetSettings(purge_delay_hours=0)})
    commit_all(store, index, settings, 1, [SECRET, *texts("birds", 3)], 0)
    commit_all(store, index, settings, 2, texts("birds", 3, 3), 10)
    order = put_takedowns(store, 1, [("uri", str(SECRET.uri))])
    racing = _RacingStore(Path(store.uri()))
    racing.before_shard = lambda: apply_takedowns(store, index, settings, order, now=NOW)

    merged = compact_dataset(racing, index, settings, "birds")

    assert merged is not None
    assert (merged.version, merged.cause, merged.rows) == (4, "compaction", 6)
    assert files_with(store, SECRET.content) == []


@pytest.mark.parametrize("purge_delay_hours", [0, 24])
def test_a_takedown_ends_though_its_shards_were_to_be_purged_before_it_erased(
    purge_delay_hours: int, store: ObjectStore, index: Index, settings: Settings
) -> None:
    """The other rows of the shard are read to write the stage anew."""
    settings = settings.model_copy(update={"datasets": DatasetSettings(purge_delay_hours=purge_delay_hours)})
    commit_all(store, index, settings, 1, [SECRET, *texts("birds", 3)], 0)
    order = put_takedowns(store, 1, [("uri", str(SECRET.uri))])
    racing = _RacingStore(Path(store.uri()))
    late = NOW + timedelta(hours=48)
    racing.after_withdrawal = lambda: purge_withdrawn(store, late)
    apply_takedowns(racing, index, settings, order, now=NOW)
    assert read_version(store, "birds").rows == 3
    assert read_manifest(store, "training_shards", f"{TOPIC}~00000001").numbers["taken_down"] == 1
    purge_withdrawn(store, late)
    assert files_with(store, SECRET.content) == []


def test_a_reader_of_what_was_purged_is_told_of_the_takedown(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    settings = settings.model_copy(
        update={"datasets": DatasetSettings(purge_delay_hours=0, test_fraction=0, validation_fraction=0)}
    )
    commit_all(store, index, settings, 1, [SECRET, *texts("birds", 3)], 0)
    batches = open_dataset("birds", settings=settings).iter_batches()
    order = put_takedowns(store, 1, [("uri", str(SECRET.uri))])
    apply_takedowns(store, index, settings, order, now=NOW)
    with pytest.raises(ManifestCorrupt, match=f"the takedown {order} withdrew the versions of birds .* Open the new"):
        next(iter(batches))


def test_a_takedown_during_commits_never_leaves_the_row(store: ObjectStore, index: Index, settings: Settings) -> None:
    commit_all(store, index, settings, 1, texts("birds", 3), 0)
    batches = []
    for number in range(2, 6):
        secret = Sample("birds", "text", f"{SECRET.content} {number}", uri=SECRET.uri)
        samples = [secret, *texts("birds", 3, 9 * number)]
        batches.append(put_batch(store, number, samples, start=10 * number))
        put_downloads(store, batches[-1], samples, 10 * number)
        write_shards(store, settings, batches[-1])
    takedown = put_takedowns(store, 1, [("uri", str(SECRET.uri))])
    with ThreadPoolExecutor(len(batches) + 1) as pool:
        running: list[Future[Any]] = [pool.submit(commit_batch, store, index, settings, batch) for batch in batches[:2]]
        running.append(pool.submit(apply_takedowns, store, index, settings, takedown))
        running += [pool.submit(commit_batch, store, index, settings, batch) for batch in batches[2:]]
    for future in running:
        future.result()
    uris = [
        uri
        for split in SPLITS
        for rows in open_dataset("birds", split=split, settings=settings).iter_batches()
        for uri in rows.column("uri").to_pylist()
    ]
    assert len(uris) == 15
    assert SECRET.uri not in uris
