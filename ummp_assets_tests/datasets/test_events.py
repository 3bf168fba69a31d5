"""Exactly one visible ready event for each version, whatever crashes and however many publish."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, cast

from kafka import TopicPartition

from ummp_assets.datasets.commit import commit_batch
from ummp_assets.datasets.events import publish_ready_event, ready_event
from ummp_assets.datasets.shards import write_shards
from ummp_assets.datasets.versions import read_version
from ummp_assets.messages.clients import make_consumer
from ummp_assets.messages.topics import ensure_topics, topic_names
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index, open_index
from ummp_assets.storage.objects import ObjectStore, open_store
from ummp_assets_tests.datasets.batches import put_batch, texts
from ummp_assets_tests.datasets.conftest import Committer


def _events(settings: Settings) -> list[dict[str, Any]]:
    """Return all committed ready events, in no order across partitions."""
    topic = topic_names(settings).datasets
    with make_consumer(settings, auto_offset_reset="earliest") as consumer:
        partitions = [TopicPartition(topic, number) for number in range(settings.topic_partitions)]
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        found: list[dict[str, Any]] = []
        while any(consumer.position(partition) < ends[partition] for partition in partitions):
            for records in consumer.poll(timeout_ms=500).values():
                found += [json.loads(record.value) for record in records]
        return found


def _numbers(settings: Settings) -> list[int]:
    return [event["version"] for event in _events(settings)]


def test_event_states_where_the_version_is(
    store: ObjectStore, kafka_settings: Settings, commit_samples: Committer
) -> None:
    ensure_topics(kafka_settings)
    version = commit_samples(texts("birds", 5))
    publish_ready_event(kafka_settings, store, version)
    (event,) = _events(kafka_settings)
    assert event == ready_event(store, version)
    assert event["schema"] == "ummp.dataset/1"
    assert (event["dataset"], event["version"], event["rows"]) == ("birds", 1, 5)
    assert event["sha256"] == version.sha256
    assert event["uri"] == store.uri("datasets/birds/v1/manifest.json")
    assert event["watermark"] == {"ummp.requests.normal": {"0": 5}}
    assert event["added_batches"] == ["ummp.requests.normal~00000001"]


def test_publishing_again_or_after_a_lost_marker_sends_nothing(
    store: ObjectStore, kafka_settings: Settings, commit_samples: Committer
) -> None:
    ensure_topics(kafka_settings)
    version = commit_samples(texts("birds", 5))
    publish_ready_event(kafka_settings, store, version)
    publish_ready_event(kafka_settings, store, version)
    # As if killed between the transaction and the marker.
    store.delete("datasets/birds/v1/announced.json")
    publish_ready_event(kafka_settings, store, version)
    assert _numbers(kafka_settings) == [1]
    assert store.exists("datasets/birds/v1/announced.json")


def test_versions_whose_sender_died_are_announced_with_the_next(
    store: ObjectStore, kafka_settings: Settings, commit_samples: Committer
) -> None:
    ensure_topics(kafka_settings)
    for number in range(3):
        version = commit_samples(texts("birds", 2, 2 * number))
    publish_ready_event(kafka_settings, store, version)
    publish_ready_event(kafka_settings, store, read_version(store, "birds", 2))
    assert _numbers(kafka_settings) == [1, 2, 3]


def _publish(settings: Settings, kill_after_seconds: float) -> None:
    if kill_after_seconds:
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, kill_after_seconds)
    store = open_store(settings)
    publish_ready_event(settings, store, read_version(store, "birds"))


def test_senders_killed_anywhere_leave_one_event(
    store: ObjectStore, kafka_settings: Settings, commit_samples: Committer
) -> None:
    ensure_topics(kafka_settings)
    commit_samples(texts("birds", 5))
    spawn = multiprocessing.get_context("fork")
    for milliseconds in range(4, 120, 10):
        process = spawn.Process(target=_publish, args=(kafka_settings, milliseconds / 1000))
        process.start()
        process.join()
    _publish(kafka_settings, 0)
    assert _numbers(kafka_settings) == [1]


class _KilledBeforeMarking:
    """A store whose process is killed when it is to note that an event was sent."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, *_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def _send_and_die(settings: Settings) -> None:
    store = open_store(settings)
    publish_ready_event(settings, cast(ObjectStore, _KilledBeforeMarking(store)), read_version(store, "birds"))


def _commit_and_die(settings: Settings, batch: str) -> None:
    commit_batch(open_store(settings), open_index(settings), settings, batch)
    os.kill(os.getpid(), signal.SIGKILL)


def _run_until_killed(target: Callable[..., None], *arguments: object) -> None:
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_a_sender_killed_after_the_send_leaves_one_event(
    store: ObjectStore, kafka_settings: Settings, commit_samples: Committer
) -> None:
    ensure_topics(kafka_settings)
    version = commit_samples(texts("birds", 5))
    _run_until_killed(_send_and_die, kafka_settings)
    assert _numbers(kafka_settings) == [1]
    assert not store.exists("datasets/birds/v1/announced.json")
    publish_ready_event(kafka_settings, store, version)
    assert _numbers(kafka_settings) == [1]


def test_a_run_killed_between_commit_and_send_announces_when_it_is_run_again(
    store: ObjectStore, index: Index, kafka_settings: Settings
) -> None:
    ensure_topics(kafka_settings)
    batch = put_batch(store, 1, texts("birds", 5))
    write_shards(store, kafka_settings, batch)
    _run_until_killed(_commit_and_die, kafka_settings, batch)
    assert read_version(store, "birds").version == 1
    assert _numbers(kafka_settings) == []
    (version,) = commit_batch(store, index, kafka_settings, batch)
    publish_ready_event(kafka_settings, store, version)
    assert _numbers(kafka_settings) == [version.version] == [1]


def test_a_broker_that_is_down_is_named_and_nothing_is_marked(
    store: ObjectStore, settings: Settings, commit_samples: Committer
) -> None:
    commit_samples(texts("birds", 5))
    down = settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:9", "kafka_timeout_seconds": 0.5})
    # In a process of its own: kafka-python leaves the sockets of a client that never connected to the collector.
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        error = pool.submit(_publish, down, 0).exception()
    assert type(error).__name__ == "BrokerUnavailable"
    assert "127.0.0.1:9" in str(error)
    assert not store.exists("datasets/birds/v1/announced.json")
