"""Kafka topics as external assets: the graph begins and ends at them."""

import dagster as dg
import pyarrow as pa

from ummp_assets.defs.columns import column_schema
from ummp_assets.messages.topics import Role, TopicNames, topic_names
from ummp_assets.settings import Settings

__all__ = ["OWNERS", "TOPIC_SCHEMA", "topic_asset_key", "topic_keys", "topic_specs"]

OWNERS = ["team:data-platform"]

_DESCRIPTIONS = {
    "requests_high": "Requests that must not wait: their runs start first.",
    "requests_normal": "Requests: one message asks for one URI to be collected into one dataset.",
    "requests_low": "Requests that may wait: slowed by the others, never starved.",
    "labels": "Labels for samples, contents or URIs; they may come before or after their sample.",
    "takedowns": "What must leave every dataset: a URI, content, domain or sample.",
    "dead": "Messages and samples that could not be used, whole, with reason, error and coordinates in the headers.",
    "datasets": "Ready events: one for each dataset version, written in a transaction.",
    "training_logs": "Loss, accuracy and resources that training processes report.",
    "parameters": "Model parameters: local ones of each worker, and the federated average that goes back.",
}
_WRITTEN = ("dead", "datasets")

TOPIC_SCHEMA = pa.schema(
    [
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp", pa.timestamp("ms"), nullable=False),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", pa.list_(pa.binary())),
    ]
)
"""What a record of any topic has."""


def topic_asset_key(topic: str) -> dg.AssetKey:
    """Return the asset key of a topic."""
    return dg.AssetKey(["kafka", topic.replace(".", "_").replace("-", "_")])


def topic_keys(settings: Settings, role: Role) -> list[dg.AssetKey]:
    """Return the asset keys of the topics of a role."""
    return [topic_asset_key(topic) for topic in topic_names(settings).of_role(role)]


def topic_specs(settings: Settings) -> list[dg.AssetSpec]:
    """Return an external asset for each topic; those that UMMP writes depend on the assets that write them."""
    names = topic_names(settings)
    return [_spec(names, field) for field in _DESCRIPTIONS]


def _spec(names: TopicNames, field: str) -> dg.AssetSpec:
    topic = getattr(names, field)
    writers = {"dead": ["dead_letters"], "datasets": ["dataset_commits", "label_updates", "takedown_receipts"]}
    return dg.AssetSpec(
        key=topic_asset_key(topic),
        deps=writers.get(field, []),
        description=_DESCRIPTIONS[field],
        group_name="answers" if field in _WRITTEN else "messages",
        owners=OWNERS,
        kinds={"kafka", "topic"},
        metadata={"topic": topic, "dagster/column_schema": column_schema(TOPIC_SCHEMA)},
    )
