"""Consumer-group offsets for ordinary lag tools, published after batches are committed and never read back."""

import json
from collections.abc import Iterable

from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from ummp_assets.errors import ObjectNotFound
from ummp_assets.messages.clients import broker_errors, make_admin
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, batch_key
from ummp_assets.messages.replays import is_replay
from ummp_assets.settings import Settings
from ummp_assets.storage.abandoned import is_abandoned
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import stage_path

__all__ = ["done_through", "group_name", "is_done", "publish_progress"]


def group_name(settings: Settings) -> str:
    """Return the consumer group whose lag shows what is not yet committed."""
    return f"{settings.topic_prefix}.pipeline"


def publish_progress(store: ObjectStore, settings: Settings, topic: str, *last_stages: str) -> int:
    """Publish how far a topic is done: the end of the newest batch before which no batch is missing.

    Parameters
    ----------
    last_stages:
        The stages whose manifests say that a batch is done.

    Returns
    -------
    The number of that batch, 0 when the first is not done yet.

    Raises
    ------
    BrokerUnavailable
        No broker answered.
    """
    published = done_through(store, topic)
    # Once more after each publication: of two runs that end together, the slower must not leave the smaller number.
    while (number := _next_unfinished(store, topic, published, last_stages)) > published:
        if not is_replay(topic):
            _publish(settings, OffsetLog(store).get(batch_key(topic, number)))
        store.write(_path(topic), json.dumps({"number": number}).encode())
        published = number
    return published


def _publish(settings: Settings, batch: Batch) -> None:
    offsets = {
        TopicPartition(batch.topic, partition): OffsetAndMetadata(end, "", -1) for partition, end in batch.ends.items()
    }
    with make_admin(settings) as admin, broker_errors(settings):
        admin.alter_group_offsets(group_name(settings), offsets)


def done_through(store: ObjectStore, topic: str) -> int:
    """Return the number of a batch before which none is missing; it may lag behind, never run ahead."""
    try:
        return int(json.loads(store.read(_path(topic)))["number"])
    except (ObjectNotFound, ValueError, KeyError, TypeError):
        return 0


def is_done(store: ObjectStore, key: str, last_stages: Iterable[str]) -> bool:
    """Return whether a batch went the whole way, or was given up."""
    return all(store.exists(stage_path(stage, key)) for stage in last_stages) or is_abandoned(store, key)


def _next_unfinished(store: ObjectStore, topic: str, number: int, last_stages: tuple[str, ...]) -> int:
    while is_done(store, batch_key(topic, number + 1), last_stages):
        number += 1
    return number


def _path(topic: str) -> str:
    return f"progress/{topic}.json"
