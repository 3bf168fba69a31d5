"""Column lineage of every table: from Kafka's records to the columns of a dataset version."""

from collections.abc import Mapping, Sequence

import dagster as dg
import pyarrow as pa

from ummp_assets.datasets.commit import COMMIT_SCHEMA
from ummp_assets.datasets.labels import UPDATE_SCHEMA
from ummp_assets.datasets.takedown import RECEIPT_SCHEMA
from ummp_assets.datasets.versions import DatasetVersion
from ummp_assets.defs.columns import column_lineage
from ummp_assets.messages.dead_letters import SENT_SCHEMA
from ummp_assets.records import (
    AUDIO_FEATURE_SCHEMA,
    AUDIO_SCHEMA,
    IMAGE_FEATURE_SCHEMA,
    LABEL_SCHEMA,
    TAKEDOWN_SCHEMA,
    TEXT_FEATURE_SCHEMA,
    TEXT_SCHEMA,
    image_schema,
)

__all__ = [
    "COMMIT_LINEAGE",
    "LETTER_LINEAGE",
    "RECEIPT_LINEAGE",
    "SHARD_LINEAGE",
    "UPDATE_LINEAGE",
    "dataset_lineage",
    "message_lineage",
    "shard_schema",
]

_Sources = Sequence[tuple[str, str]]

_CLEAN = ("clean_text", "clean_images", "clean_audio")
_ADDED = pa.schema([pa.field(name, pa.string(), nullable=False) for name in ("modality", "split")])


def _joined_tables(side_pixels: int) -> dict[str, pa.Schema]:
    return {
        "clean_text": TEXT_SCHEMA,
        "clean_images": image_schema(side_pixels),
        "clean_audio": AUDIO_SCHEMA,
        "text_features": TEXT_FEATURE_SCHEMA,
        "image_features": IMAGE_FEATURE_SCHEMA,
        "audio_features": AUDIO_FEATURE_SCHEMA,
    }


def shard_schema(side_pixels: int) -> pa.Schema:
    """Return all columns that shards may have; a file has those of its modality."""
    fields = {field.name: field for schema in (*_joined_tables(side_pixels).values(), _ADDED) for field in schema}
    return pa.schema(fields.values())


# Names are the same for every size.
_TABLES = _joined_tables(8)
_SHARD_SCHEMA = shard_schema(8)
_SHARD_SOURCES: dict[str, _Sources] = {
    **{
        name: [(asset, name) for asset, schema in _TABLES.items() if name in schema.names]
        for name in _SHARD_SCHEMA.names
        if name not in _ADDED.names
    },
    "modality": [("downloads", "modality")],
    "split": [(asset, "content_sha256") for asset in _CLEAN],
}
SHARD_LINEAGE = column_lineage(_SHARD_SCHEMA, {}, _SHARD_SOURCES)

COMMIT_LINEAGE = column_lineage(
    COMMIT_SCHEMA,
    {},
    {
        "dataset": [("training_shards", "dataset")],
        "rows": [("training_shards", "sample_id")],
        "sha256": [("training_shards", name) for name in _SHARD_SCHEMA.names],
    },
)
UPDATE_LINEAGE = column_lineage(
    UPDATE_SCHEMA,
    {"labels": LABEL_SCHEMA},
    {
        "labels": [("labels", "label")],
        "matched": [("labels", "target_kind"), ("labels", "target")],
        "version": [("labels", "label")],
    },
)
RECEIPT_LINEAGE = column_lineage(
    RECEIPT_SCHEMA,
    {"takedowns": TAKEDOWN_SCHEMA},
    {
        **{name: [("takedowns", "target"), ("takedowns", "kind")] for name in ("sample_id", "batch", "version")},
        "dataset": [("training_datasets", "dataset")],
        "uri": [("downloads", "uri")],
        "sha256": [("downloads", "sha256")],
    },
)
_REFUSED = [("requests", "value"), ("downloads", "uri"), ("downloads", "content")]
LETTER_LINEAGE = column_lineage(
    SENT_SCHEMA,
    {},
    {
        "sample_id": [("requests", "sample_id"), ("downloads", "sample_id")],
        "reason": _REFUSED,
        "detail": _REFUSED,
    },
)


def message_lineage(schema: pa.Schema, topics: Sequence[dg.AssetKey]) -> dg.TableColumnLineage:
    """Return the lineage of a table that was read from topics: coordinates from the record's, the rest from its value.

    Parameters
    ----------
    topics:
        Asset keys; their columns are those of `TOPIC_SCHEMA`.
    """
    own = {"partition": "partition", "offset": "offset", "timestamp_ms": "timestamp", "time_ms": "timestamp"}
    own |= {"key": "key", "headers": "headers", "traceparent": "headers"}
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(topic, column) for topic in topics for column in _columns_of(name, own)]
            for name in schema.names
        }
    )


def dataset_lineage(version: DatasetVersion) -> dg.TableColumnLineage:
    """Return where the columns of a dataset version come from."""
    names = dict.fromkeys(column.name for columns in version.columns.values() for column in columns)
    deps = {name: [dg.TableColumnDep("training_shards", name)] for name in names}
    deps["label"] = [*deps.get("label", []), dg.TableColumnDep("labels", "label")]
    return dg.TableColumnLineage(deps)


def _columns_of(name: str, own: Mapping[str, str]) -> Sequence[str]:
    if name == "sample_id":
        return ("partition", "offset")
    return () if name == "topic" else (own.get(name, "value"),)
