"""Ready events: exactly one visible message on `ummp.datasets` for each version.

An outbox: the version's manifest is the order to send, and `announced.json` beside it says that it was carried out.
Between the two a crash may fall anywhere: `send_once` decides inside Kafka whether the event is already visible.
"""

import json
from typing import Any

from ummp_assets.datasets.versions import DatasetVersion, read_version, version_path
from ummp_assets.messages.outbox import Record, send_once
from ummp_assets.messages.topics import topic_names
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore

__all__ = ["SCHEMA", "publish_ready_event", "ready_event"]

SCHEMA = "ummp.dataset/1"
_ANNOUNCED = "announced.json"


def publish_ready_event(settings: Settings, store: ObjectStore, version: DatasetVersion) -> None:
    """Send the ready event of a version, and before it those of earlier versions whose sender died.

    Any number of processes may publish the same version, at the same time or after a crash.

    Raises
    ------
    BrokerUnavailable
        No broker answered; the next call makes good what is missing.
    """
    waiting = []
    pending: DatasetVersion | None = version
    while pending is not None and not store.exists(_marker(pending)):
        waiting.append(pending)
        pending = read_version(store, version.dataset, pending.parent) if pending.parent else None
    for item in reversed(waiting):
        topic = topic_names(settings).datasets
        record = Record(item.dataset.encode(), json.dumps(ready_event(store, item)).encode())
        send_once(settings, f"ready.{item.dataset}", topic, [record], number=item.version)
        store.write(_marker(item), b"{}\n")


def ready_event(store: ObjectStore, version: DatasetVersion) -> dict[str, Any]:
    """Return the message of schema `ummp.dataset/1` that announces a version."""
    return {
        "schema": SCHEMA,
        "dataset": version.dataset,
        "version": version.version,
        "cause": version.cause,
        "uri": store.uri(version.path),
        "rows": version.rows,
        "bytes": version.byte_count,
        "sha256": version.sha256,
        "watermark": version.watermark,
        "added_batches": list(version.added_batches),
    }


def _marker(version: DatasetVersion) -> str:
    return version_path(version.dataset, version.version, _ANNOUNCED)
