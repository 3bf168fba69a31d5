"""Parquet files that Hugging Face `datasets` loads as they are: pictures as PNG, other arrays as lists."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ummp_assets.datasets.exports.samples import OnRows, shape_of
from ummp_assets.datasets.reader import Dataset

__all__ = ["export_parquet"]

_ROWS_PER_GROUP = 256
_DEFAULT_FILE_BYTES = 256 * 2**20
_PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def export_parquet(
    dataset: Dataset, folder: Path, *, file_bytes: int = _DEFAULT_FILE_BYTES, on_rows: OnRows | None = None
) -> list[Path]:
    """Write `data/<split>-<n>-of-<count>.parquet` and return the files: `load_dataset(folder)` reads them.

    The features of `datasets` stand in each file's metadata, so that pictures come back as pictures.

    Parameters
    ----------
    file_bytes:
        A file is complete once it has this size.

    Raises
    ------
    InvalidInput
        The dataset mixes modalities and none was chosen.
    """
    target = folder / "data"
    target.mkdir(parents=True, exist_ok=True)
    schema = _schema(dataset.schema)
    unnamed: list[Path] = []
    batches = iter(dataset.iter_batches(_ROWS_PER_GROUP))
    waiting = next(batches, None)
    while waiting is not None:
        unnamed.append(target / f".{dataset.split}-{len(unnamed):05d}.part")
        with pq.ParquetWriter(unnamed[-1], schema, compression="zstd") as writer:
            while waiting is not None and unnamed[-1].stat().st_size < file_bytes:
                writer.write_batch(_rows(waiting, schema))
                if on_rows is not None:
                    on_rows(waiting.num_rows)
                waiting = next(batches, None)
    return [
        part.rename(target / f"{dataset.split}-{number:05d}-of-{len(unnamed):05d}.parquet")
        for number, part in enumerate(unnamed)
    ]


def _schema(schema: pa.Schema) -> pa.Schema:
    # All nullable: `datasets` follows its features only where the field is exactly the one that they describe.
    fields = [pa.field(field.name, _PICTURE if _is_picture(field) else _plain_type(field.type)) for field in schema]
    features = {field.name: _feature(field) for field in schema}
    return pa.schema(fields, {"huggingface": json.dumps({"info": {"features": features}})})


def _rows(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        _pictures(column) if _is_picture(field) else column
        for column, field in zip(rows.columns, rows.schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(
        [
            column.storage.cast(field.type) if isinstance(column, pa.ExtensionArray) else column
            for column, field in zip(columns, schema, strict=True)
        ],
        schema=schema,
    )


def _is_picture(field: pa.Field) -> bool:
    array = shape_of(field)
    return array is not None and array[0] == "uint8" and array[1] is not None and array[1][2:] == (3,)


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return pa.list_(kind.value_type) if isinstance(kind, pa.FixedShapeTensorType) else kind


def _pictures(column: pa.Array) -> pa.Array:
    encoded = [cv2.imencode(".png", image[:, :, ::-1])[1].tobytes() for image in column.to_numpy_ndarray()]
    return pa.array([{"bytes": data, "path": None} for data in encoded], _PICTURE)


def _feature(field: pa.Field) -> dict[str, Any]:
    if _is_picture(field):
        return {"_type": "Image"}
    array = shape_of(field)
    if array is None:
        name = str(field.type) if field.type == pa.string() else np.dtype(field.type.to_pandas_dtype()).name
        return {"dtype": name, "_type": "Value"}
    item = {"dtype": array[0], "_type": "Value"}
    if pa.types.is_fixed_size_list(field.type):
        return {"feature": item, "length": field.type.list_size, "_type": "Sequence"}
    return {"feature": item, "_type": "Sequence"}
