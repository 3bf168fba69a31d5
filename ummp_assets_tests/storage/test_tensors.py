"""Tensor columns keep their values, types and shapes through Parquet, and are cheap there."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import StageWriter, read_table
from ummp_assets.storage.tensors import binary_from_tensors, tensors_from_binary

BATCH = "ummp.requests.normal~00000001"


def tensor_rows(values: np.ndarray) -> pa.RecordBatch:
    schema = pa.schema(
        [
            pa.field("name", pa.string(), nullable=False),
            pa.field(
                "tensor", pa.fixed_shape_tensor(pa.from_numpy_dtype(values.dtype), values.shape[1:]), nullable=False
            ),
        ]
    )
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(values))
    names = pa.array([f"row {number}" for number in range(len(values))])
    return pa.RecordBatch.from_arrays([names, tensors.cast(schema.field("tensor").type)], schema=schema)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32", "float64"])
def test_tensors_are_the_same_after_a_stage_wrote_them(store: ObjectStore, dtype: str) -> None:
    values = np.arange(5 * 4 * 3 * 2).reshape(5, 4, 3, 2).astype(dtype)
    rows = tensor_rows(values)
    with StageWriter(store, "stage", BATCH, {"samples": rows.schema}) as writer:
        writer.write("samples", rows.slice(0, 2))
        writer.write("samples", rows.slice(2))
        manifest = writer.commit(code_version="1")
    read = pa.Table.from_batches(read_table(store, manifest, "samples", batch_rows=3)).combine_chunks()
    assert read.schema == rows.schema
    back = read.column("tensor").chunk(0).to_numpy_ndarray()
    assert back.dtype == values.dtype
    np.testing.assert_array_equal(back, values)


def test_a_parquet_file_holds_fixed_size_binary_with_type_and_shape(tmp_path: Path) -> None:
    values = np.arange(2 * 3 * 5, dtype=np.float32).reshape(2, 3, 5)
    rows = binary_from_tensors(tensor_rows(values))
    pq.write_table(pa.Table.from_batches([rows]), tmp_path / "rows.parquet")
    field = pq.read_schema(tmp_path / "rows.parquet").field("tensor")
    assert field.type == pa.binary(60)
    assert field.metadata[b"ummp.tensor"] == b'{"dtype": "float32", "shape": [3, 5]}'


def test_slices_convert_without_copying_their_values() -> None:
    values = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2)
    rows = tensor_rows(values)
    binary = binary_from_tensors(rows.slice(2, 3))
    tensors = tensors_from_binary(binary.slice(1))
    np.testing.assert_array_equal(tensors.column("tensor").to_numpy_ndarray(), values[3:5])
    original = rows.column("tensor").storage.flatten().buffers()[1]
    shared = tensors.column("tensor").storage.flatten().buffers()[1]
    assert original.address <= shared.address < original.address + original.size


def test_missing_tensors_are_refused() -> None:
    tensor = pa.fixed_shape_tensor(pa.uint8(), (2,))
    missing = pa.ExtensionArray.from_storage(tensor, pa.array([None, [1, 2]], tensor.storage_type))
    with pytest.raises(pa.ArrowNotImplementedError, match="missing"):
        binary_from_tensors(pa.record_batch([missing], names=["tensor"]))
