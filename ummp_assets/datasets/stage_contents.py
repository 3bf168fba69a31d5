"""Which tables of a stage hold contents of samples, and of which samples each of their rows does."""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import OUTCOMES, Manifest, read_table

__all__ = ["ID_COLUMNS", "content_tables", "ids_by_row", "stored_sample_ids"]

_SEVERAL = "sample_ids"
ID_COLUMNS = ("sample_id", _SEVERAL)
"""The column that names the samples of a row is one of these."""


def content_tables(manifest: Manifest) -> list[str]:
    """Return the tables that hold contents: not those that say why and after which attempts a sample has none."""
    if manifest.stage == "requests":
        return []
    others = () if manifest.stage == "downloads" else (name for name in manifest.tables if name != OUTCOMES)
    return sorted({"samples", *others} & manifest.tables.keys())


def ids_by_row(rows: pa.RecordBatch) -> Iterable[Sequence[str]]:
    """Return the samples of each row: one, but for packed sequences, which hold pieces of several."""
    if _SEVERAL in rows.schema.names:
        ids: Iterable[Sequence[str]] = rows.column(_SEVERAL).to_pylist()
        return ids
    return ([sample_id] for sample_id in rows.column("sample_id").to_pylist())


def stored_sample_ids(store: ObjectStore, manifest: Manifest) -> set[str]:
    """Return the ids of all samples of which the files of a stage hold contents; raises `ManifestCorrupt`."""
    return {
        sample_id
        for name in content_tables(manifest)
        for rows in read_table(store, manifest, name, columns=ID_COLUMNS, batch_rows=65_536)
        for ids in ids_by_row(rows)
        for sample_id in ids
    }
