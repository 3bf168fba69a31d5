"""Many processes commit to one dataset at once: none loses another's shards, on a folder and on S3."""

import multiprocessing
import os
from collections.abc import Mapping, Sequence

from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.compaction import compact_dataset
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.versions import latest_version, read_shards, read_version
from ummp_assets.settings import Settings
from ummp_assets.storage.index import open_index
from ummp_assets.storage.objects import open_store
from ummp_assets_tests.datasets.batches import TOPIC, put_batch, texts


def _commit(settings: Settings, environment: Mapping[str, str], batches: Sequence[str]) -> None:
    os.environ.update(environment)  # the fork server may be older than what the store's credentials stand in
    store, index = open_store(settings), open_index(settings)
    for batch in batches:
        commit_batch(store, index, settings, batch)
    compact_dataset(store, index, settings, "birds")
    index.close()


def _commit_in_processes(settings: Settings, processes: int, batches: int) -> None:
    """Commit each batch from two processes, all at once, and check that each is in the dataset exactly once."""
    store = open_store(settings)
    keys = [put_batch(store, number + 1, texts("birds", 3, 3 * number), start=3 * number) for number in range(batches)]
    for key in keys:
        write_shards(store, settings, key)
    work = [*keys, *reversed(keys)]
    # Forks of a process that has imported everything, not of this one with its threads.
    multiprocessing.set_forkserver_preload([__name__, "pandas", "s3fs"])
    context = multiprocessing.get_context("forkserver")
    workers = [
        context.Process(target=_commit, args=(settings, dict(os.environ), work[start::processes]))
        for start in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * processes
    versions = [read_version(store, "birds", number + 1) for number in range(latest_version(store, "birds"))]
    assert sorted(batch for version in versions for batch in version.added_batches) == keys
    assert [version.parent_sha256 for version in versions[1:]] == [version.sha256 for version in versions[:-1]]
    assert versions[-1].rows == sum(shard.rows for shard in read_shards(store, versions[-1])) == 3 * batches
    assert versions[-1].watermark == {TOPIC: {"0": 3 * batches}}


def test_commits_of_many_processes_are_all_kept_in_a_folder(settings: Settings) -> None:
    _commit_in_processes(settings, processes=6, batches=12)


def test_commits_of_many_processes_are_all_kept_on_s3(settings: Settings, s3_url: str) -> None:
    _commit_in_processes(settings.model_copy(update={"store": s3_url}), processes=3, batches=4)
