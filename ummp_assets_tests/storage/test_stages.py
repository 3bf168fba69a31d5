"""Manifests, tables and the writer that commits them."""

import contextlib
import io
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ummp_assets.errors import InvalidInput, ManifestCorrupt, ManifestMissing, StoreUnavailable, UnsupportedFormat
from ummp_assets.reasons import Outcome, Reason
from ummp_assets.records import OUTCOME_SCHEMA, Rejection
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, OutcomeCount, StageWriter, hash_file, read_manifest, read_table
from ummp_assets.storage.tables import TableLimits

SCHEMA = pa.schema([pa.field("number", pa.int64(), nullable=False), pa.field("text", pa.string())])
BATCH = "ummp.requests.normal~00000001"


def _rows(start: int, stop: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(
        [{"number": number, "text": f"row {number}" if number % 3 else None} for number in range(start, stop)],
        schema=SCHEMA,
    )


def _rejection(number: int, reason: Reason = Reason.CORRUPT_TEXT) -> Rejection:
    return Rejection(f"t~0~{number}", "news", "text", f"http://x/{number}", reason, f"detail {number}", measured=0.5)


def _commit(store: ObjectStore, rows: int = 100, limits: TableLimits | None = None) -> Manifest:
    with StageWriter(store, "clean_text", BATCH, {"samples": SCHEMA}, limits or TableLimits()) as writer:
        for start in range(0, rows, 10):
            writer.write("samples", _rows(start, min(start + 10, rows)))
        writer.reject([_rejection(1), _rejection(2), _rejection(3, Reason.EXACT_DUPLICATE)])
        return writer.commit(code_version="1", rules={"length": "2"}, numbers={"rows": rows})


def test_committed_tables_are_read_back_in_order(object_store: ObjectStore) -> None:
    committed = _commit(object_store)

    manifest = read_manifest(object_store, "clean_text", BATCH)

    assert manifest == committed
    assert manifest.rows("samples") == 100
    assert manifest.rows("outcomes") == 3
    assert manifest.rows("nothing") == 0
    read = list(read_table(object_store, manifest, "samples", batch_rows=30))
    assert [rows.num_rows for rows in read] == [30, 30, 30, 10]
    assert pa.Table.from_batches(read).to_pylist() == _rows(0, 100).to_pylist()
    assert next(read_table(object_store, manifest, "samples", columns=["text"])).schema.names == ["text"]
    assert list(read_table(object_store, manifest, "nothing")) == []


def test_rejections_are_rows_and_counts(store: ObjectStore) -> None:
    manifest = _commit(store)

    assert manifest.outcomes == (
        OutcomeCount("news", "text", "dead", "corrupt_text", 2),
        OutcomeCount("news", "text", "duplicate", "exact_duplicate", 1),
    )
    assert manifest.rejected == 3
    assert [manifest.count(outcome) for outcome in Outcome] == [0, 1, 0, 2]
    (rows,) = read_table(store, manifest, "outcomes")
    assert rows.schema == OUTCOME_SCHEMA
    assert rows.to_pylist()[2] == {
        "sample_id": "t~0~3",
        "dataset": "news",
        "modality": "text",
        "uri": "http://x/3",
        "outcome": "duplicate",
        "reason": "exact_duplicate",
        "detail": "detail 3",
        "measured": 0.5,
        "twin": None,
    }


def test_same_rows_twice_give_the_same_files_and_manifest(tmp_path: Path) -> None:
    first, second = LocalStore(tmp_path / "first"), LocalStore(tmp_path / "second")

    assert _commit(first).to_json() == _commit(second).to_json()
    assert _commit(first).to_json() == _commit(second).to_json()

    contents = [{found.path: store.read(found.path) for found in store.list()} for store in (first, second)]
    assert contents[0] == contents[1]
    assert len(contents[0]) == 3


def test_manifest_names_size_and_hash_of_its_files(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "root")
    manifest = _commit(store)

    (entry,) = manifest.tables["samples"]
    file = Path(store.uri(entry.path))
    assert entry.path == f"stages/clean_text/{BATCH}/samples-0000-{entry.sha256[:16]}.parquet"
    assert (entry.rows, entry.byte_count, entry.sha256) == (100, file.stat().st_size, hash_file(file))


def test_inputs_are_the_hashes_of_their_manifests(store: ObjectStore) -> None:
    upstream = _commit(store)
    with StageWriter(store, "text_features", BATCH, {}) as writer:
        manifest = writer.commit(code_version="1", inputs=[upstream])

    stored = store.read(f"stages/clean_text/{BATCH}/manifest.json")
    assert upstream.to_json() == stored
    assert manifest.inputs == {"clean_text": upstream.sha256}
    assert manifest.tables == {}
    assert read_manifest(store, "text_features", BATCH) == manifest


def test_row_groups_and_files_are_cut_at_their_limits(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "root")
    by_rows = _commit(store, limits=TableLimits(row_group_rows=40, file_bytes=1))
    assert [entry.rows for entry in by_rows.tables["samples"]] == [40, 40, 20]

    by_bytes = _commit(store, limits=TableLimits(row_group_bytes=2 * _rows(0, 10).nbytes))
    (entry,) = by_bytes.tables["samples"]
    parquet = pq.read_metadata(store.uri(entry.path))
    assert {parquet.row_group(group).num_rows for group in range(parquet.num_row_groups)} <= {10, 20, 30}
    assert parquet.num_row_groups >= 4
    read = list(read_table(store, by_bytes, "samples"))
    assert max(rows.num_rows for rows in read) <= 30
    assert pa.Table.from_batches(read).to_pylist() == _rows(0, 100).to_pylist()


def test_rows_written_one_by_one_make_one_row_group(store: ObjectStore) -> None:
    with StageWriter(store, "s", BATCH, {"samples": SCHEMA}) as writer:
        for number in range(500):
            writer.write("samples", _rows(number, number + 1))
        manifest = writer.commit(code_version="1")

    (entry,) = manifest.tables["samples"]
    with store.open(entry.path) as file:
        assert pq.ParquetFile(file).num_row_groups == 1


def test_leaving_without_commit_leaves_nothing(store: ObjectStore) -> None:
    with contextlib.suppress(InterruptedError), StageWriter(store, "s", BATCH, {"samples": SCHEMA}) as writer:
        writer.write("samples", _rows(0, 10))
        folder = writer.scratch
        raise InterruptedError

    assert not folder.exists()
    assert list(store.list()) == []
    with pytest.raises(ManifestMissing, match=f"stage s has not committed batch {BATCH}"):
        read_manifest(store, "s", BATCH)


def test_rows_of_another_schema_are_refused_at_once(store: ObjectStore) -> None:
    other = pa.RecordBatch.from_pylist([{"number": "1"}])
    with (
        StageWriter(store, "s", BATCH, {"samples": SCHEMA}) as writer,
        pytest.raises(InvalidInput, match="table samples"),
    ):
        writer.write("samples", other)


_KILLED = """
import sys, time
from pathlib import Path
from ummp_assets.storage.local_store import LocalStore
from ummp_assets.storage.stages import StageWriter
from ummp_assets_tests.storage.test_stages import BATCH, SCHEMA, _rows

class SlowStore(LocalStore):
    def write(self, path, data):
        print("files are moved, the manifest is not put", flush=True)
        time.sleep(600)

with StageWriter(SlowStore(Path(sys.argv[1])), "clean_text", BATCH, {"samples": SCHEMA}) as writer:
    writer.write("samples", _rows(0, 50))
    writer.commit(code_version="1")
"""


def test_kill_before_the_manifest_commits_nothing_and_the_next_run_heals(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "root")
    command = [sys.executable, "-c", _KILLED, str(tmp_path / "root")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("files are moved")
        process.send_signal(signal.SIGKILL)

    assert [found.path.endswith(".parquet") for found in store.list()] == [True]
    with pytest.raises(ManifestMissing):
        read_manifest(store, "clean_text", BATCH)

    _commit(store)
    assert read_manifest(store, "clean_text", BATCH).rows("samples") == 100


_FULL = """
import resource, signal, sys
from pathlib import Path
from ummp_assets.errors import StoreUnavailable
from ummp_assets.storage.local_store import LocalStore
from ummp_assets_tests.storage.test_stages import _commit
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    _commit(LocalStore(Path(sys.argv[1])), 20_000)
except StoreUnavailable as error:
    print(error)
"""


@pytest.mark.parametrize("byte_limit", [100, 5_000])
def test_full_disk_commits_nothing_and_says_where(tmp_path: Path, byte_limit: int) -> None:
    command = [sys.executable, "-c", _FULL, str(tmp_path / "root"), str(byte_limit)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "the store cannot be used at" in said
    assert str(tmp_path / "root") in said
    assert "File too large" in said
    assert list(LocalStore(tmp_path / "root").list()) == []


def test_missing_file_of_a_manifest_is_named(object_store: ObjectStore) -> None:
    manifest = _commit(object_store)
    path = manifest.tables["samples"][0].path
    object_store.delete(path)

    with pytest.raises(ManifestCorrupt, match="clean_text") as caught:
        list(read_table(object_store, manifest, "samples"))
    assert object_store.uri(path) in str(caught.value)


def test_flipped_bit_anywhere_never_gives_other_rows(store: ObjectStore) -> None:
    manifest = _commit(store)
    path = manifest.tables["samples"][0].path
    data = store.read(path)
    named = 0
    for position in range(len(data)):
        store.write(path, data[:position] + bytes([data[position] ^ 1 << position % 8]) + data[position + 1 :])
        try:
            (read,) = read_table(store, manifest, "samples")
        except ManifestCorrupt as error:
            named += store.uri(path) in str(error) and "sha256 differs" in str(error)
        else:
            # Some bytes mean nothing to a reader: the first four, statistics in the headers of pages.
            assert read.to_pylist() == _rows(0, 100).to_pylist()
    assert named > 0.9 * len(data)


def test_cut_file_is_named(store: ObjectStore) -> None:
    manifest = _commit(store)
    path = manifest.tables["samples"][0].path
    for byte_count in (0, 3, 500):
        store.write(path, store.read(path)[:byte_count])
        with pytest.raises(ManifestCorrupt, match=path):
            list(read_table(store, manifest, "samples"))


class _ConnectionLost(Exception):
    """An error as the client library of an object store has it: no OSError."""


class _LostFile(io.BytesIO):
    def read(self, size: int | None = -1) -> bytes:
        raise _ConnectionLost(f"{size} bytes were asked for")


class _FailingStore(LocalStore):
    """A store whose files open and then fail to be read, a number of times."""

    def __init__(self, root: Path, failures: list[BinaryIO]) -> None:
        super().__init__(root)
        self.failures = failures

    def open(self, path: str) -> BinaryIO:
        return self.failures.pop() if path.endswith(".parquet") and self.failures else super().open(path)


@pytest.mark.parametrize("times", [1, 2], ids=["once", "also when asked why"])
@pytest.mark.parametrize("kind", ["disk", "network"])
def test_failing_storage_is_transient_and_no_corruption(tmp_path: Path, kind: str, times: int) -> None:
    # The kernel refuses to read the first bytes of a process's memory: a true input error.
    failures: list[BinaryIO] = [
        Path("/proc/self/mem").open("rb") if kind == "disk" else _LostFile()  # noqa: SIM115 - the reader closes it
        for _ in range(times)
    ]
    store = _FailingStore(tmp_path / "root", failures)
    manifest = _commit(store)

    with pytest.raises(StoreUnavailable, match="samples-0000"):
        list(read_table(store, manifest, "samples"))
    assert store.failures == []
    assert sum(rows.num_rows for rows in read_table(store, manifest, "samples")) == 100


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"format": 1, "tables": []}', b'{"format": "1"}'])
def test_manifest_that_is_none_is_named(store: ObjectStore, data: bytes) -> None:
    path = f"stages/clean_text/{BATCH}/manifest.json"
    store.write(path, data)

    with pytest.raises(ManifestCorrupt, match="is no manifest of a stage") as caught:
        read_manifest(store, "clean_text", BATCH)
    assert store.uri(path) in str(caught.value)


def test_manifest_of_a_newer_format_asks_for_an_upgrade(store: ObjectStore) -> None:
    fields = json.loads(_commit(store).to_json())
    store.write(f"stages/clean_text/{BATCH}/manifest.json", json.dumps({**fields, "format": 2, "new": 1}).encode())

    with pytest.raises(UnsupportedFormat, match="has format 2, this UMMP reads up to 1: upgrade it"):
        read_manifest(store, "clean_text", BATCH)
