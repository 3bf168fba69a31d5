"""MDS, the shard format of MosaicML Streaming (version 2), written without that library.

A shard holds the number of samples (uint32), the offset of each and of the end (uint32), its configuration as JSON, and
the samples: the sizes of the columns of variable size (uint32), then the values. An array of variable shape begins with
a byte that holds the number of axes and the width of their lengths. Format: the `streaming` library,
`streaming/base/format/mds`.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ummp_assets.datasets.exports.samples import OnRows, iter_samples, shape_of
from ummp_assets.datasets.reader import Dataset
from ummp_assets.errors import InvalidInput

__all__ = ["export_mds"]

_DEFAULT_SHARD_BYTES = 2**26
_LENGTH_AS_UINT32 = 2
_SCALARS = {"int32": "int32", "int64": "int64", "uint64": "uint64", "float": "float32", "double": "float64"}


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    encoding: str
    size: int | None
    encode: Callable[[Any], bytes]


def export_mds(
    dataset: Dataset, folder: Path, *, shard_bytes: int = _DEFAULT_SHARD_BYTES, on_rows: OnRows | None = None
) -> list[Path]:
    """Write `shard.<n>.mds` files and `index.json`, and return them.

    Images and other arrays become `ndarray`, texts `str`, columns in which a value may be missing `json`.

    Parameters
    ----------
    shard_bytes:
        A shard is complete once it has this size; below 4 GiB.

    Raises
    ------
    InvalidInput
        The dataset mixes modalities, or an array has no element, which the format cannot hold.
    """
    folder.mkdir(parents=True, exist_ok=True)
    columns = sorted((_column(field) for field in dataset.schema), key=lambda column: column.name)
    config = _config(columns, shard_bytes)
    shards: list[dict[str, Any]] = []
    samples: list[bytes] = []
    size = 0
    for sample in iter_samples(dataset, on_rows=on_rows):
        samples.append(_encode(columns, sample))
        size += len(samples[-1])
        if size >= shard_bytes:
            shards.append(_write_shard(folder, len(shards), config, samples))
            samples, size = [], 0
    if samples:
        shards.append(_write_shard(folder, len(shards), config, samples))
    index = folder / "index.json"
    index.write_text(json.dumps({"version": 2, "shards": shards}, sort_keys=True), encoding="utf-8")
    return [*(folder / shard["raw_data"]["basename"] for shard in shards), index]


def _config(columns: list[_Column], shard_bytes: int) -> dict[str, Any]:
    return {
        "version": 2,
        "format": "mds",
        "compression": None,
        "hashes": [],
        "size_limit": shard_bytes,
        "column_names": [column.name for column in columns],
        "column_encodings": [column.encoding for column in columns],
        "column_sizes": [column.size for column in columns],
    }


def _write_shard(folder: Path, number: int, config: dict[str, Any], samples: list[bytes]) -> dict[str, Any]:
    name = f"shard.{number:05d}.mds"
    header = json.dumps(config, sort_keys=True).encode()
    offsets = np.cumsum([0, *map(len, samples)]) + 4 * (len(samples) + 2) + len(header)
    with (folder / name).open("wb") as file:
        file.write(np.uint32(len(samples)).tobytes())
        file.write(offsets.astype(np.uint32).tobytes())
        file.write(header)
        file.writelines(samples)
    raw = {"basename": name, "bytes": int(offsets[-1]), "hashes": {}}
    return {**config, "raw_data": raw, "zip_data": None, "samples": len(samples)}


def _encode(columns: list[_Column], sample: Mapping[str, Any]) -> bytes:
    try:
        values = [column.encode(sample[column.name]) for column in columns]
    except ValueError as error:
        raise InvalidInput(f"sample {sample.get('sample_id')} cannot be written as MDS: {error}") from error
    sizes = [len(value) for column, value in zip(columns, values, strict=True) if column.size is None]
    return np.array(sizes, np.uint32).tobytes() + b"".join(values)


def _column(field: pa.Field) -> _Column:
    array = shape_of(field)
    if array is not None:
        dtype, shape = array
        # Spectrograms are two-dimensional with any number of frames.
        if shape is None:
            return _Column(field.name, f"ndarray:{dtype}", None, lambda value: _encode_ragged(value, dtype))
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        encoding = f"ndarray:{dtype}:{','.join(map(str, shape))}"
        return _Column(field.name, encoding, size, lambda value: value.astype(dtype).tobytes())
    if not field.nullable and str(field.type) in _SCALARS:
        scalar = np.dtype(_SCALARS[str(field.type)])
        return _Column(field.name, scalar.name, scalar.itemsize, lambda value: scalar.type(value).tobytes())
    if not field.nullable and field.type == pa.string():
        return _Column(field.name, "str", None, lambda value: value.encode())
    return _Column(field.name, "json", None, lambda value: json.dumps(value, ensure_ascii=False).encode())


def _encode_ragged(value: "np.ndarray[Any, Any]", dtype: str) -> bytes:
    if value.size == 0:
        raise ValueError("MDS has no arrays without an element")
    head = bytes([value.ndim << 2 | _LENGTH_AS_UINT32]) + np.array(value.shape, np.uint32).tobytes()
    return head + value.astype(dtype).tobytes()
