"""Looking up one row: damage is named with its repair, and a failing store is no damage."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from ummp_assets.errors import ManifestCorrupt, StoreUnavailable
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.row_lookup import find_row, holds_sample
from ummp_assets.storage.stages import Manifest, StageWriter
from ummp_assets_tests.storage.test_stages import BATCH, _FailingStore, _LostFile

SCHEMA = pa.schema([pa.field("sample_id", pa.string(), nullable=False), pa.field("text", pa.string())])
WANTED: dict[str, Any] = {"sample_id": "t~0~50", "text": "row 50"}


def _commit(store: ObjectStore) -> tuple[Manifest, str]:
    """Return the manifest of a table of a hundred rows, and the path of its file."""
    rows = [{"sample_id": f"t~0~{number}", "text": f"row {number}"} for number in range(100)]
    with StageWriter(store, "clean_text", BATCH, {"samples": SCHEMA}) as writer:
        writer.write("samples", pa.RecordBatch.from_pylist(rows, schema=SCHEMA))
        manifest = writer.commit(code_version="1")
    return manifest, manifest.tables["samples"][0].path


def test_a_row_is_found_without_the_columns_left_out(store: ObjectStore) -> None:
    manifest, path = _commit(store)
    assert find_row(store, manifest, "samples", "t~0~50") == WANTED
    assert find_row(store, manifest, "samples", "t~0~50", leave_out=["text"]) == {"sample_id": "t~0~50"}
    assert find_row(store, manifest, "samples", "t~0~500") is None
    assert holds_sample(store, path, "t~0~99")
    assert not holds_sample(store, path, "t~0~100")


def test_damage_anywhere_names_the_file_and_its_repair(store: ObjectStore) -> None:
    manifest, path = _commit(store)
    data = store.read(path)
    named = {"row": 0, "place": 0}
    positions = range(4, len(data), 7)
    for position in positions:
        store.write(path, data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
        for kind in named:
            try:
                if kind == "row":
                    # Statistics that are damaged may hide it, some bytes mean nothing to a reader.
                    assert find_row(store, manifest, "samples", "t~0~50") in (WANTED, None)
                else:
                    holds_sample(store, path, "t~0~50")
            except ManifestCorrupt as error:
                named[kind] += store.uri(path) in str(error) and "scrub --repair" in str(error)
    assert named["row"] > 0.5 * len(positions)
    assert named["place"] > 0.3 * len(positions)


def test_a_missing_file_is_named_with_its_repair(store: ObjectStore) -> None:
    manifest, path = _commit(store)
    store.delete(path)
    for look_up in (lambda: find_row(store, manifest, "samples", "x"), lambda: holds_sample(store, path, "x")):
        with pytest.raises(ManifestCorrupt, match=rf"{path}.*scrub --repair"):
            look_up()


def test_a_failing_store_is_no_damage(tmp_path: Path) -> None:
    store = _FailingStore(tmp_path / "root", [])
    manifest, path = _commit(store)
    for look_up in (lambda: find_row(store, manifest, "samples", "x"), lambda: holds_sample(store, path, "x")):
        for times in (1, 2):
            store.failures += [_LostFile() for _ in range(times)]
            with pytest.raises(StoreUnavailable, match=path):
                look_up()
            assert store.failures == []
