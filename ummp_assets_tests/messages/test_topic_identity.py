"""A topic that was deleted, made anew and filled beyond its old end: told by its id, on either broker."""

import json
from pathlib import Path

import pytest
from kafka.errors import TopicAlreadyExistsError

from ummp_assets.errors import OffsetsWentBack, TopicReplaced
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.planning import Tick, plan_tick
from ummp_assets.messages.ranges import Batch
from ummp_assets.messages.reading import RangeReader, read_topic_ends
from ummp_assets.messages.topics import Role, topic_names
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.messages.clients import Clients, eventually
from ummp_assets_tests.messages.deployments import NOW, make_settings, send


@pytest.fixture
def settings(tmp_path: Path, clients: Clients) -> Settings:
    """A deployment of which only the topic of labels exists: making all takes Kafka a second."""
    settings = make_settings(tmp_path, clients.bootstrap_servers)
    _make_labels(clients, settings)
    return settings


def _make_labels(clients: Clients, settings: Settings) -> None:
    topic = topic_names(settings).labels
    clients.admin.create_topics({topic: {"num_partitions": 2, "replication_factor": 1, "configs": {}}})
    clients.admin.wait_for_topics([topic])


def _make_anew(clients: Clients, settings: Settings) -> None:
    """Delete the topic and fill another of its name beyond the old one's end."""
    clients.admin.delete_topics([topic_names(settings).labels])

    def made() -> bool:
        # Kafka deletes a topic after it has answered.
        try:
            _make_labels(clients, settings)
        except TopicAlreadyExistsError:
            return False
        return True

    assert eventually(made)
    _fill(settings, b"new", 5)


def _fill(settings: Settings, value: bytes, count: int) -> None:
    for partition in (0, 1):
        send(settings, topic_names(settings).labels, [value] * count, partition)


def _tick(store: ObjectStore, settings: Settings) -> Tick:
    return plan_tick(store, settings, Role.LABELS, cursor=None, now=NOW, queued={})


def _plan(store: ObjectStore, settings: Settings) -> Batch:
    [batch] = _tick(store, settings).batches
    return batch


def test_id_stays_with_a_topic_and_goes_with_it(clients: Clients, settings: Settings) -> None:
    topic = topic_names(settings).labels
    before = read_topic_ends(settings, topic)[topic].topic_id
    _fill(settings, b"old", 1)
    assert read_topic_ends(settings, topic)[topic].topic_id == before is not None

    _make_anew(clients, settings)

    after = read_topic_ends(settings, topic)[topic].topic_id
    assert after not in (before, None)


def test_nothing_is_planned_from_a_topic_made_anew(clients: Clients, settings: Settings, store: ObjectStore) -> None:
    _fill(settings, b"old", 2)
    batch = _plan(store, settings)
    assert json.loads(store.read(f"batches/{batch.topic}/00000001.json"))["topic_id"] == batch.topic_id is not None
    _make_anew(clients, settings)

    said = rf"^topic {batch.topic} is not .*topic id {batch.topic_id} then, .*deleted and made anew.*UMMP_TOPIC_PREFIX"
    with pytest.raises(TopicReplaced, match=said):
        _tick(store, settings)

    assert OffsetLog(store).last(batch.topic) == batch


def test_batch_gives_no_message_of_a_topic_made_anew(clients: Clients, settings: Settings, store: ObjectStore) -> None:
    _fill(settings, b"old", 2)
    batch = _plan(store, settings)
    _make_anew(clients, settings)

    with pytest.raises(TopicReplaced, match=f"topic {batch.topic} is not the one"):
        next(iter(RangeReader(settings, batch)))


def test_batch_ends_with_an_error_when_its_topic_is_made_anew_while_it_is_read(
    clients: Clients, settings: Settings, store: ObjectStore
) -> None:
    _fill(settings, b"old", 2)
    chunks = iter(RangeReader(settings, _plan(store, settings)))
    assert [message.value for message in next(chunks)] == [b"old"] * 2
    _make_anew(clients, settings)

    with pytest.raises(TopicReplaced):
        list(chunks)


def test_batch_of_a_deleted_topic_fails_and_does_not_make_it(
    clients: Clients, settings: Settings, store: ObjectStore
) -> None:
    _fill(settings, b"old", 1)
    batch = _plan(store, settings)
    clients.admin.delete_topics([batch.topic])
    assert eventually(lambda: batch.topic not in clients.admin.list_topics())

    with pytest.raises(OffsetsWentBack, match=f"topic {batch.topic} no longer exists.*UMMP_TOPIC_PREFIX"):
        list(RangeReader(settings, batch))

    assert batch.topic not in clients.admin.list_topics()
