"""Looking for bytes in every file of a store: as they lie there, and in every value of every Parquet column."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ummp_assets.storage.objects import ObjectStore

__all__ = ["files_with_bytes"]


def files_with_bytes(store: ObjectStore, needle: bytes) -> list[str]:
    """Return the files below a local store's root, scratch folders included, that hold the bytes."""
    root = Path(store.uri())
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return [str(path.relative_to(root)) for path in files if needle in _everything(path)]


def _everything(path: Path) -> bytes:
    data = path.read_bytes()
    return data + _decoded(path) if path.suffix == ".parquet" else data


def _decoded(path: Path) -> bytes:
    """Return the values of all columns, uncompressed and undictionaried: texts, bytes, numbers, lists of them."""
    parts = []
    for column in pq.read_table(path).columns:
        for chunk in column.chunks:
            plain = chunk.dictionary_decode() if isinstance(chunk, pa.DictionaryArray) else chunk
            storage = plain.storage if isinstance(plain, pa.ExtensionArray) else plain
            parts += [buffer.to_pybytes() for buffer in storage.buffers() if buffer is not None]
    return b"\0".join(parts)
