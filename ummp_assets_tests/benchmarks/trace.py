"""Lineage against its limit of 100 ms, with 10^6 samples in the index.

One batch of 5,000 documents is real: its stages, shards and version stand in a store on disk, and its samples are what
is traced. 199 more batches of one dataset are in the index, the offset log and the manifests as if they had been
committed, without files behind their shards. The ratio is 100 ms over the median of the slowest kind of name.
"""

import hashlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from ummp_assets.datasets.changes import Change, make_version
from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.history import catch_up
from ummp_assets.datasets.labels import record_labels
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.trace import find_lineage
from ummp_assets.datasets.versions import Shard, create_version, dataset_path, read_version
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.settings import Settings, load_settings
from ummp_assets.storage.dataset_index import DatasetIndex
from ummp_assets.storage.index import Index, open_index
from ummp_assets.storage.objects import ObjectStore, open_store
from ummp_assets_tests.benchmarks.harness import Report, main, notice
from ummp_assets_tests.datasets.batches import TOPIC, Sample, digest, filtered, put_batch
from ummp_assets_tests.datasets.test_takedown import put_downloads
from ummp_assets_tests.fetch.batches import commit_requests, request_row

_LIMIT_MS = 100.0
_BATCH_SAMPLES = 5_000
_SHARD_BYTES = 2**27
_SPLITS = ("train", "validation", "test")


def measure(quick: bool) -> Report:
    samples, repeats = (100_000, 15) if quick else (1_000_000, 50)
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(home=Path(folder), store_fsync=False)
        store, index = open_store(settings), open_index(settings)
        try:
            traced = _real_batch(store, index, settings)
            notice(f"simulating an index of {samples:,} samples")
            _simulate(store, index, settings, samples)
            rows = [_row(store, index, kind, target, repeats) for kind, target in _targets(store, traced)]
            count = _count(index)
        finally:
            index.close()
    slowest = max(row["median_ms"] for row in rows)
    return Report({"limit_over_slowest": _LIMIT_MS / slowest}, [{"samples_in_index": count}, *rows])


def _real_batch(store: ObjectStore, index: Index, settings: Settings) -> Sample:
    words = " ".join(f"word{number}" for number in range(400))
    samples = [Sample("pages", "text", f"page {number} {words}", uri=_uri(number)) for number in range(_BATCH_SAMPLES)]
    rejections = [filtered("pages", _BATCH_SAMPLES)]
    batch = put_batch(store, 1, samples, rejections=rejections)
    put_downloads(store, batch, samples, 0)
    commit_requests(store, [request_row(number, _uri(number)) for number in range(_BATCH_SAMPLES + 1)], batch)
    index.claim("pages", "text", [(digest(item.content), f"{TOPIC}~0~{place}") for place, item in enumerate(samples)])
    write_shards(store, settings, batch)
    commit_batch(store, index, settings, batch)
    traced = samples[_BATCH_SAMPLES - 7]
    label = {"topic": "ummp.labels", "partition": 0, "timestamp_ms": 0, "dataset": "pages", "target_kind": "uri"}
    record_labels(
        index,
        [
            {**label, "offset": place, "target": traced.uri, "label": f'"{place}"', "annotator": "a"}
            for place in range(3)
        ],
    )
    return traced


def _simulate(store: ObjectStore, index: Index, settings: Settings, samples: int) -> None:
    log, known, version = OffsetLog(store), DatasetIndex(index), read_version(store, "pages")
    for number in range(2, samples // _BATCH_SAMPLES + 1):
        start = (number - 1) * _BATCH_SAMPLES + 1
        batch = Batch(TOPIC, number, (OffsetRange(0, start, start + _BATCH_SAMPLES),))
        log.put(batch, datetime(2026, 1, 1, tzinfo=UTC))
        _insert(index, batch)
        added = [(_shard(batch, split), (batch.key,)) for split in _SPLITS]
        change = Change(cause="batch", batches=(batch.key,), added=added)
        version = make_version(store, "pages", version, change, settings.datasets.full_shard_bytes)
        create_version(store, version)
    catch_up(store, known, "pages")


def _insert(index: Index, batch: Batch) -> None:
    """Put a batch's samples and contents into the index as the stages do, past SQLAlchemy: a tenth of the time."""
    ids = [f"{TOPIC}~0~{offset}" for offset in range(batch.ranges[0].start, batch.ranges[0].end)]
    samples = [
        (name, "pages", "text", batch.key, _uri(int(name.rsplit("~", 1)[1])), _sha(name), "stored", None)
        for name in ids
    ]
    contents = [("pages", "text", _sha(f"content of {name}"), name) for name in ids]
    with index.transaction() as connection:
        connection.exec_driver_sql("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?, ?, ?)", samples)
        connection.exec_driver_sql("INSERT INTO contents VALUES (?, ?, ?, ?)", contents)


def _shard(batch: Batch, split: str) -> Shard:
    sha256 = _sha(f"{batch.key} {split}")
    path = dataset_path("pages", f"shards/pages~text~{split}-0000-{sha256[:16]}.parquet")
    return Shard(path, "text", split, _BATCH_SAMPLES // 3, _SHARD_BYTES, sha256, sha256)


def _targets(store: ObjectStore, traced: Sample) -> Iterator[tuple[str, str]]:
    version = read_version(store, "pages", 1)
    yield "sample id", f"{TOPIC}~0~{_BATCH_SAMPLES - 7}"
    yield "URI", str(traced.uri)
    yield "sha256 of raw bytes", digest("raw " + traced.content)
    yield "sha256 of a content", digest(traced.content)
    yield "coordinates of a rejected sample", f"{TOPIC}~0~{_BATCH_SAMPLES}"
    yield "path of a shard", version.shards[0].path
    yield "sha256 of a shard", version.shards[0].sha256
    yield "version", "pages@1"
    yield "newest version", "pages@latest"


def _row(store: ObjectStore, index: Index, kind: str, target: str, repeats: int) -> dict[str, Any]:
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        find_lineage(store, index, target)
        times.append(1_000 * (time.perf_counter() - began))
    return {"what": kind, "median_ms": statistics.median(times), "slowest_ms": max(times)}


def _count(index: Index) -> int:
    with index.transaction(reading=True) as connection:
        return int(connection.execute(sa.text("SELECT count(*) FROM samples")).scalar() or 0)


def _uri(offset: int) -> str:
    return f"https://example.org/pages/{offset}.html"


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    main(__name__, measure, (__doc__ or "").splitlines()[0])
