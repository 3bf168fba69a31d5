"""Bytes of earlier fetches, for servers that say that nothing has changed (304)."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

from ummp_assets.errors import ManifestCorrupt, ObjectNotFound
from ummp_assets.fetch.body import Body
from ummp_assets.storage.fetch_state import StoredFetch
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, find_manifest

__all__ = ["StoredBodies"]

# Requests that come again come in much the same order, so that few row groups are open at a time.
_MAX_GROUPS = 2


class StoredBodies:
    """Finds the bytes of earlier fetches in the store.

    Parameters
    ----------
    stage:
        Name of the stage whose table `samples` holds them.
    """

    def __init__(self, store: ObjectStore, stage: str) -> None:
        self._store, self._stage = store, stage
        self._manifests: dict[str, Manifest | None] = {}
        self._groups: OrderedDict[tuple[str, int], tuple[int, pa.Table]] = OrderedDict()

    def find(self, stored: StoredFetch) -> Body | None:
        """Return the object, or None when its batch is gone or holds other bytes by now."""
        if stored.blob is not None:
            blob = stored.blob
            if not self._store.exists(blob):
                return None
            return Body(stored.sha256, stored.byte_count, None, blob=blob, open_blob=lambda: self._store.open(blob))
        with suppress(ObjectNotFound, ManifestCorrupt, pa.ArrowInvalid, OSError):
            content = self._content(stored.batch, stored.row)
            # Of bytes that were damaged in the store nobody else would notice: their row names the right hash.
            if content is not None and hashlib.sha256(content).hexdigest() == stored.sha256:
                return Body(stored.sha256, stored.byte_count, (content,))
        return None

    def _content(self, batch: str, number: int) -> bytes | None:
        for (known, _), (first, group) in self._groups.items():
            if known == batch and first <= number < first + group.num_rows:
                return _content_of(group, number - first)
        for first, path, group_number, rows in self._layout(batch):
            if first <= number < first + rows:
                with self._store.open(path) as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
                    group = parquet.read_row_group(group_number, columns=["content"])
                self._groups[batch, first] = (first, group)
                if len(self._groups) > _MAX_GROUPS:
                    self._groups.popitem(last=False)
                return _content_of(group, number - first)
        return None

    def _layout(self, batch: str) -> Iterator[tuple[int, str, int, int]]:
        """Yield first row, file, number and rows of each row group of a batch."""
        if batch not in self._manifests:
            self._manifests[batch] = find_manifest(self._store, self._stage, batch)
        manifest = self._manifests[batch]
        first = 0
        for entry in manifest.tables.get("samples", ()) if manifest else ():
            with self._store.open(entry.path) as file, pq.ParquetFile(file) as parquet:
                sizes = [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)]
            for number, rows in enumerate(sizes):
                yield first, entry.path, number, rows
                first += rows


def _content_of(group: pa.Table, number: int) -> bytes | None:
    return cast(bytes | None, group.column("content")[number].as_py())
