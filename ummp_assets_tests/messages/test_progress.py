"""Consumer-group offsets that ordinary lag tools read: how far a topic is done without a missing batch."""

from pathlib import Path

import pytest
from kafka import TopicPartition

from ummp_assets.errors import BrokerUnavailable
from ummp_assets.messages.clients import make_admin
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.progress import group_name, publish_progress
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import StageWriter
from ummp_assets_tests.messages.deployments import NOW, create_topic, make_settings, nobody_listens


@pytest.fixture
def settings(tmp_path: Path, bootstrap_servers: str) -> Settings:
    return make_settings(tmp_path, bootstrap_servers)


@pytest.fixture
def topic(settings: Settings, store: ObjectStore) -> str:
    """A topic of two partitions with four planned batches of ten and five offsets."""
    topic = create_topic(settings, "progress", partitions=2)
    for number in range(4):
        ranges = (OffsetRange(0, 10 * number, 10 * (number + 1)), OffsetRange(1, 5 * number, 5 * (number + 1)))
        OffsetLog(store).put(Batch(topic, number + 1, ranges), NOW)
    return topic


def _commit(store: ObjectStore, topic: str, number: int) -> None:
    with StageWriter(store, "dataset_commits", Batch(topic, number, ()).key, {}) as writer:
        writer.commit(code_version="1")


def _published(settings: Settings, topic: str) -> dict[int, int]:
    group = group_name(settings)
    with make_admin(settings) as admin:
        offsets = admin.list_group_offsets(group).get(group, {})
    return {key.partition: item.offset for key, item in offsets.items() if key == TopicPartition(topic, key.partition)}


def test_nothing_is_published_before_the_first_batch_is_done(
    settings: Settings, store: ObjectStore, topic: str
) -> None:
    _commit(store, topic, 2)

    assert publish_progress(store, settings, topic, "dataset_commits") == 0

    assert _published(settings, topic) == {}


def test_offsets_end_before_the_first_missing_batch(settings: Settings, store: ObjectStore, topic: str) -> None:
    for number in (1, 2, 4):
        _commit(store, topic, number)

    assert publish_progress(store, settings, topic, "dataset_commits") == 2
    assert _published(settings, topic) == {0: 20, 1: 10}

    _commit(store, topic, 3)
    assert publish_progress(store, settings, topic, "dataset_commits") == 4
    assert _published(settings, topic) == {0: 40, 1: 20}


def test_offsets_do_not_move_when_nothing_new_is_done(settings: Settings, store: ObjectStore, topic: str) -> None:
    _commit(store, topic, 1)
    publish_progress(store, settings, topic, "dataset_commits")

    assert publish_progress(store, settings, topic, "dataset_commits") == 1
    assert _published(settings, topic) == {0: 10, 1: 5}


@pytest.mark.parametrize("data", [b"", b"[]", b'{"number": "x"}', b"\xff"])
def test_damaged_memory_is_counted_anew(settings: Settings, store: ObjectStore, topic: str, data: bytes) -> None:
    for number in (1, 2):
        _commit(store, topic, number)
    store.write(f"progress/{topic}.json", data)

    assert publish_progress(store, settings, topic, "dataset_commits") == 2
    assert _published(settings, topic) == {0: 20, 1: 10}


def test_broker_that_is_down_is_asked_again_next_time(settings: Settings, store: ObjectStore, topic: str) -> None:
    _commit(store, topic, 1)
    with nobody_listens() as address:
        down = settings.model_copy(update={"kafka_bootstrap_servers": address, "kafka_timeout_seconds": 0.3})
        with pytest.raises(BrokerUnavailable, match=address):
            publish_progress(store, down, topic, "dataset_commits")

    assert publish_progress(store, settings, topic, "dataset_commits") == 1
    assert _published(settings, topic) == {0: 10, 1: 5}
