"""Arrays as bytes: how tensors and lists of numbers stand in a shard.

Parquet stores every number of a list with its own nesting levels. Measured on 256 x 256 x 3 images (one thread, zstd):
460 rows a second as tensors, 10,850 as bytes; 26,414 as bytes with lz4. So a shard keeps such columns as `binary`, with
shape and number type in the field's metadata, and readers give the Arrow types back without a copy.
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ummp_assets.errors import ManifestCorrupt

__all__ = ["is_packed", "pack", "packed_schema", "packed_shape", "type_name", "unpack", "unpacked_schema"]

_NUMBERS = b"ummp.numbers"
_SHAPE = b"ummp.shape"


def packed_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema with tensor and number-list columns replaced by `binary` ones that name shape and type."""
    return pa.schema([_pack_field(field) for field in schema])


def pack(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows with tensor and number-list columns as bytes (little-endian, row by row)."""
    schema = packed_schema(rows.schema)
    columns = [
        _pack_array(column) if is_packed(target) else column
        for column, target in zip(rows.columns, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def unpacked_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema that `unpack` gives to rows of a packed schema."""
    return pa.schema([_unpack_field(field) for field in schema])


def unpack(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows with packed columns as tensors and lists again; no bytes are copied.

    Raises `ManifestCorrupt` when a value's length does not fit the column's shape.
    """
    fields = [_unpack_field(field) for field in rows.schema]
    columns = [
        _unpack_array(column, field) if is_packed(packed) else column
        for column, packed, field in zip(rows.columns, rows.schema, fields, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def is_packed(field: pa.Field) -> bool:
    """Return whether a shard's column holds packed arrays."""
    return bool(field.metadata) and _NUMBERS in field.metadata


def packed_shape(field: pa.Field) -> tuple[str, tuple[int, ...] | None]:
    """Return number type and shape of a packed column; the shape is None where it differs from row to row."""
    shape = field.metadata.get(_SHAPE)
    return field.metadata[_NUMBERS].decode(), tuple(map(int, shape.split(b","))) if shape else None


def type_name(field: pa.Field) -> str:
    """Return a column's type for people and for comparison, e.g. `uint8[256,256,3]`, `float[]` or `string`."""
    if not is_packed(field):
        return str(field.type)
    numbers, shape = packed_shape(field)
    return f"{numbers}[{','.join(map(str, shape or ()))}]"


def _pack_field(field: pa.Field) -> pa.Field:
    if isinstance(field.type, pa.FixedShapeTensorType):
        shape = ",".join(map(str, field.type.shape))
        metadata = {_NUMBERS: str(field.type.value_type), _SHAPE: shape}
    elif pa.types.is_list(field.type) and pa.types.is_primitive(field.type.value_type):
        metadata = {_NUMBERS: str(field.type.value_type)}
    else:
        return field
    return pa.field(field.name, pa.binary(), field.nullable, metadata)


def _unpack_field(field: pa.Field) -> pa.Field:
    if not is_packed(field):
        return field
    numbers, shape = packed_shape(field)
    value = pa.type_for_alias(numbers)
    target = pa.fixed_shape_tensor(value, shape) if shape else pa.list_(value)
    return pa.field(field.name, target, field.nullable)


def _pack_array(array: pa.Array) -> pa.Array:
    fixed = isinstance(array.type, pa.FixedShapeTensorType)
    storage = array.storage if fixed else array
    # `flatten` leaves out what stands under nulls, so that their length is 0 here.
    numbers = storage.flatten()
    width = numbers.type.bit_width // 8
    lengths = np.zeros(len(array), np.int64)
    lengths[_is_valid(storage)] = storage.type.list_size if fixed else np.asarray(storage.value_lengths().drop_null())
    offsets = np.concatenate([[0], np.cumsum(lengths * width)])
    data = numbers.buffers()[1]
    data = data.slice(numbers.offset * width, len(numbers) * width) if data else pa.py_buffer(b"")
    buffers = [_validity(_is_valid(storage)), pa.py_buffer(offsets), data]
    return pa.Array.from_buffers(pa.large_binary(), len(array), buffers, storage.null_count).cast(pa.binary())


def _unpack_array(array: pa.Array, field: pa.Field) -> pa.Array:
    fixed = isinstance(field.type, pa.FixedShapeTensorType)
    value = field.type.value_type
    width = value.bit_width // 8
    size = int(np.prod(field.type.shape)) if fixed else None
    valid = _is_valid(array)
    offsets = np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, array.offset * 4)
    _check_lengths(np.diff(offsets)[valid], width, size, field.name)
    begin, end = int(offsets[0]), int(offsets[-1])
    data = (array.buffers()[2] or pa.py_buffer(b"")).slice(begin, end - begin)
    if size is None:
        relative = pa.py_buffer(((offsets - begin) // width).astype(np.int32))
        numbers = pa.Array.from_buffers(value, len(data) // width, [None, data])
        return pa.Array.from_buffers(
            field.type, len(array), [_validity(valid), relative], array.null_count, children=[numbers]
        )
    if array.null_count:
        data = _spread(data, valid, size * width)
    numbers = pa.Array.from_buffers(value, len(array) * size, [None, data])
    storage = pa.Array.from_buffers(
        field.type.storage_type, len(array), [_validity(valid)], array.null_count, children=[numbers]
    )
    return pa.ExtensionArray.from_storage(field.type, storage)


def _spread(data: pa.Buffer, valid: npt.NDArray[np.bool_], row_bytes: int) -> pa.Buffer:
    """Return the bytes of the rows that have some, with zeros between for those that have none."""
    dense = np.zeros((len(valid), row_bytes), np.uint8)
    dense[valid] = np.frombuffer(data, np.uint8).reshape(-1, row_bytes)
    return pa.py_buffer(dense)


# Arrow's own conversions of truth values import pandas (1 s and 60 MB), which a training process need not have.
def _is_valid(array: pa.Array) -> npt.NDArray[np.bool_]:
    bitmap = array.buffers()[0] if array.null_count else None
    if bitmap is None:
        return np.ones(len(array), np.bool_)
    bits = np.unpackbits(np.frombuffer(bitmap, np.uint8), bitorder="little")
    return bits[array.offset : array.offset + len(array)].astype(np.bool_)


def _validity(valid: npt.NDArray[np.bool_]) -> pa.Buffer | None:
    return None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))


def _check_lengths(lengths: npt.NDArray[np.int32], width: int, size: int | None, name: str) -> None:
    fits = bool((lengths == size * width).all()) if size is not None else not (lengths % width).any()
    if not fits:
        raise ManifestCorrupt(f"column {name} of a shard holds values that do not have the length of its shape")
