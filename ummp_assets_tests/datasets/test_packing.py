"""Tensors and lists go through bytes and come back equal, whatever slice, null or empty row they meet."""

import numpy as np
import pyarrow as pa
import pytest

from ummp_assets.datasets.packing import pack, packed_schema, type_name, unpack
from ummp_assets.errors import ManifestCorrupt


def _rows() -> pa.RecordBatch:
    pixels = np.arange(4 * 2 * 3 * 3, dtype=np.uint8).reshape(4, 2, 3, 3)
    return pa.RecordBatch.from_arrays(
        [
            pa.array(["a", "b", "c", "d"]),
            pa.FixedShapeTensorArray.from_numpy_ndarray(pixels),
            pa.array([[1.5, 2.5], [], [3.5], [4.5, 5.5, 6.5]], pa.list_(pa.float32())),
            pa.array([[1, 2, 3]] * 4, pa.list_(pa.int32())),
        ],
        ["sample_id", "image", "waveform", "token_ids"],
    )


def test_pack_gives_bytes_and_unpack_gives_the_same_rows() -> None:
    rows = _rows()
    packed = pack(rows)
    assert packed.schema.types == [pa.string(), pa.binary(), pa.binary(), pa.binary()]
    assert packed.column("waveform")[0].as_py() == np.array([1.5, 2.5], np.float32).tobytes()
    assert unpack(packed).equals(rows)


def test_pack_of_a_slice_holds_only_its_rows() -> None:
    rows = _rows().slice(1, 2)
    packed = pack(rows)
    assert len(packed.column("image")[0].as_py()) == 18
    assert unpack(packed).equals(rows)


def test_unpack_of_a_slice_gives_its_rows() -> None:
    assert unpack(pack(_rows()).slice(2)).equals(_rows().slice(2))


def test_nulls_survive_in_lists_and_in_tensors() -> None:
    tensors = pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.int16(), (2,)), pa.array([[1, 2], None, [5, 6]], pa.list_(pa.int16(), 2))
    )
    rows = pa.RecordBatch.from_arrays([tensors, pa.array([None, [1], [2, 3]], pa.list_(pa.int64()))], ["t", "l"])
    again = unpack(pack(rows))
    assert again.column("t").storage.to_pylist() == [[1, 2], None, [5, 6]]
    assert again.column("l").to_pylist() == [None, [1], [2, 3]]


def test_no_rows_keep_their_schema() -> None:
    empty = _rows().slice(0, 0)
    assert unpack(pack(empty)).schema == empty.schema


def test_type_name_states_numbers_and_shape() -> None:
    assert [type_name(field) for field in packed_schema(_rows().schema)] == [
        "string",
        "uint8[2,3,3]",
        "float[]",
        "int32[]",
    ]


def test_unpack_refuses_a_value_of_the_wrong_length() -> None:
    packed = pack(_rows())
    broken = packed.set_column(1, packed.schema.field("image"), pa.array([b"too short"] * 4, pa.binary()))
    with pytest.raises(ManifestCorrupt, match="column image"):
        unpack(broken)
