"""One schema for shards of different age: a column that an older shard lacks has no value in its rows."""

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from ummp_assets.datasets.shard_files import reading_shard
from ummp_assets.datasets.versions import Column, Shard
from ummp_assets.errors import InvalidInput
from ummp_assets.storage.objects import ObjectStore

__all__ = ["conform", "find_schema"]


def find_schema(store: ObjectStore, shards: Iterable[Shard], columns: Sequence[Column]) -> pa.Schema:
    """Return the packed schema of these columns, as the shards have them; usually the first shard has all.

    Raises `ManifestCorrupt` when a shard is missing or damaged, `StoreUnavailable` when the store fails, `InvalidInput`
    when no shard is left.
    """
    fields: dict[str, pa.Field] = {}
    for shard in shards:
        with (
            reading_shard(store, shard.path),
            store.open(shard.path) as file,
            pq.ParquetFile(file) as parquet,
        ):
            for field in parquet.schema_arrow:
                fields.setdefault(field.name, field)
        if all(column.name in fields for column in columns):
            break
    missing = [column.name for column in columns if column.name not in fields]
    if missing:
        raise InvalidInput(f"there is no row left from which the type of {', '.join(missing)} could be told")
    return pa.schema([fields[column.name].with_nullable(column.nullable) for column in columns])


def conform(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Return the rows with the schema's columns; those that they lack are null."""
    columns = [
        rows.column(field.name) if field.name in rows.schema.names else pa.nulls(rows.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
