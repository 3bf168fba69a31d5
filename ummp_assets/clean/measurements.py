"""The table `measurements` of the clean stages: what the rules measured of every sample, kept or not.

So that other thresholds can be held against it without reading a sample again, and "what would a threshold of X have
kept?" has an answer. A value takes eight bytes before compression; rounding it to four would move what stands exactly
on its threshold.
"""

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from ummp_assets.records import Rejection

__all__ = ["add_reasons", "measured_rows", "measurement_schema"]

_REASON = pa.field("reason", pa.string())
_GIVEN = [
    pa.field("sample_id", pa.string(), nullable=False),
    pa.field("dataset", pa.string(), nullable=False),
    pa.field("byte_count", pa.int64(), nullable=False),
]


def measurement_schema(names: Iterable[str]) -> pa.Schema:
    """Return the schema of a modality's table: `reason` is why the sample is not stored, null if it is; a value is
    null where it was never measured, and not a number where its rule does not judge the sample."""
    return pa.schema([*_GIVEN, _REASON, *(pa.field(name, pa.float64()) for name in names)])


def measured_rows(
    chunk: pa.RecordBatch, measured: Sequence[Mapping[str, float]], names: Sequence[str]
) -> pa.RecordBatch:
    """Return a row for each raw row of a chunk, without its reason yet.

    Parameters
    ----------
    measured:
        What was measured of each row, in their order.
    names:
        Of the modality's measurements.
    """
    schema = measurement_schema(names)
    schema = schema.remove(schema.get_field_index(_REASON.name))
    values = [pa.array([item.get(name) for item in measured], pa.float64()) for name in names]
    return pa.RecordBatch.from_arrays([*(chunk.column(field.name) for field in _GIVEN), *values], schema=schema)


def add_reasons(measured: pa.RecordBatch, rejections: Iterable[Rejection]) -> pa.RecordBatch:
    """Return the rows with the reasons of those that were rejected."""
    reasons = {item.sample_id: item.reason.value for item in rejections}
    column = pa.array([reasons.get(sample_id) for sample_id in measured.column("sample_id").to_pylist()], pa.string())
    return measured.add_column(len(_GIVEN), _REASON, column)
