"""Rows as plain samples, the form that every export starts from."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from ummp_assets.datasets.reader import Dataset
from ummp_assets.datasets.reading_order import Part

__all__ = ["OnRows", "iter_samples", "shape_of"]

OnRows = Callable[[int], None]
"""Called with the number of rows that were written since the last call."""

_ROWS = 64


def iter_samples(dataset: Dataset, part: Part | None = None, on_rows: OnRows | None = None) -> Iterator[dict[str, Any]]:
    """Yield each row as a dictionary, in order: arrays of numbers as NumPy arrays of their shape, the rest as Python
    values.

    Spectrograms have the shape (mel_bins, frames).
    """
    for rows in dataset.iter_batches(_ROWS, part=part):
        columns = {field.name: _values(rows.column(field.name), field.type) for field in rows.schema}
        for position in range(rows.num_rows):
            sample = {name: values[position] for name, values in columns.items()}
            if "log_mel" in sample and "frames" in sample:
                sample["log_mel"] = sample["log_mel"].reshape(-1, sample["frames"])
            yield sample
        if on_rows is not None:
            on_rows(rows.num_rows)


def shape_of(field: pa.Field) -> tuple[str, tuple[int, ...] | None] | None:
    """Return number type and shape of an array column, the shape None where rows differ; None for other columns."""
    if isinstance(field.type, pa.FixedShapeTensorType):
        return np.dtype(field.type.value_type.to_pandas_dtype()).name, tuple(field.type.shape)
    if pa.types.is_fixed_size_list(field.type):
        return np.dtype(field.type.value_type.to_pandas_dtype()).name, (field.type.list_size,)
    if pa.types.is_list(field.type):
        return np.dtype(field.type.value_type.to_pandas_dtype()).name, None
    return None


def _values(column: pa.Array, kind: pa.DataType) -> Any:
    if isinstance(kind, pa.FixedShapeTensorType):
        return column.to_numpy_ndarray()
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return [np.asarray(item.values) if item.is_valid else None for item in column]
    return column.to_pylist()
