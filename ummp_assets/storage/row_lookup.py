"""One sample's row in Parquet files, without reading the others: ids are read first, then one row group."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from ummp_assets.errors import ManifestCorrupt, ObjectNotFound, UmmpError
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, explain_failure

__all__ = ["find_row", "holds_sample"]

_ID = "sample_id"
_REPAIR = "`ummp datasets scrub --repair` restores it from a replica."


def find_row(
    store: ObjectStore, manifest: Manifest, table: str, sample_id: str, *, leave_out: Collection[str] = ()
) -> dict[str, Any] | None:
    """Return a sample's row of a table that a stage committed, or None when the table does not hold it.

    Parameters
    ----------
    leave_out:
        Names of columns that are not read.

    Raises
    ------
    ManifestCorrupt
        A file of the table is missing or damaged; the message names it.
    StoreUnavailable
        The store failed.
    """
    for entry in manifest.tables.get(table, ()):
        with _reading(store, entry.path, entry.sha256):
            for parquet, group, position in _places(store, entry.path, sample_id):
                names = [name for name in parquet.schema_arrow.names if name not in leave_out]
                row: dict[str, Any] = parquet.read_row_group(group, columns=names).slice(position, 1).to_pylist()[0]
                return row
    return None


def holds_sample(store: ObjectStore, path: str, sample_id: str) -> bool:
    """Return whether a Parquet file, whose name ends in the first digits of its sha256, has a row of the sample; raises
    as `find_row` does."""
    with _reading(store, path, PurePosixPath(path).stem.rpartition("-")[2]):
        return any(True for _ in _places(store, path, sample_id))


@contextmanager
def _reading(store: ObjectStore, path: str, sha256: str) -> Iterator[None]:
    try:
        yield
    except ObjectNotFound as error:
        raise ManifestCorrupt(f"{error}. {_REPAIR}") from error
    except UmmpError:
        raise
    except Exception as error:
        # Object stores' clients have errors of their own here, beside Arrow's.
        explained = explain_failure(store, path, sha256, error)
        if isinstance(explained, ManifestCorrupt):
            explained = ManifestCorrupt(f"{explained}. {_REPAIR}")
        raise explained from error


def _places(store: ObjectStore, path: str, sample_id: str) -> Iterator[tuple[pq.ParquetFile, int, int]]:
    """Yield file, row group and row of the sample, while the file is open."""
    with store.open(path) as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        for group in range(parquet.num_row_groups):
            if _rules_out(parquet.metadata.row_group(group), sample_id):
                continue
            ids = parquet.read_row_group(group, columns=[_ID]).column(0)
            position = pc.index(ids, sample_id).as_py()
            if position >= 0:
                yield parquet, group, position


def _rules_out(group: pq.RowGroupMetaData, sample_id: str) -> bool:
    """Return whether the smallest and largest id of a row group say that it does not hold the sample."""
    # Before it stand no nested columns, of which each would count for several.
    column = group.column(0)
    if column.path_in_schema != _ID or not column.is_stats_set or not column.statistics.has_min_max:
        return False
    return not column.statistics.min <= sample_id <= column.statistics.max
