"""Consumer-group offsets for ordinary lag tools, published after batches are committed and never read back."""

import json

from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from ummp_assets.errors import ObjectNotFound
from ummp_assets.messages.clients import broker_errors, make_admin
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import stage_path

__all__ = ["group_name", "publish_progress"]


def group_name(settings: Settings) -> str:
    """Return the consumer group whose lag shows what is not yet committed."""
    return f"{settings.topic_prefix}.pipeline"


def publish_progress(store: ObjectStore, settings: Settings, topic: str, last_stage: str) -> int:
    """Publish how far a topic is done: the end of the newest batch before which no batch is missing.

    Parameters
    ----------
    last_stage:
        The stage whose manifest says that a batch is done.

    Returns
    -------
    The number of that batch, 0 when the first is not done yet.

    Raises
    ------
    BrokerUnavailable
        No broker answered.
    """
    path = f"progress/{topic}.json"
    before = _remembered(store, path)
    number = before
    while store.exists(stage_path(last_stage, Batch(topic, number + 1, ()).key)):
        number += 1
    if number > before:
        batch = OffsetLog(store).get(Batch(topic, number, ()).key)
        offsets = {
            TopicPartition(topic, partition): OffsetAndMetadata(end, "", -1) for partition, end in batch.ends.items()
        }
        with make_admin(settings) as admin, broker_errors(settings):
            admin.alter_group_offsets(group_name(settings), offsets)
        store.write(path, json.dumps({"number": number}).encode())
    return number


def _remembered(store: ObjectStore, path: str) -> int:
    try:
        return int(json.loads(store.read(path))["number"])
    except (ObjectNotFound, ValueError, KeyError, TypeError):
        return 0
