"""Parameters out of and into training processes."""

import threading
import time

import numpy as np
import pytest
from kafka import KafkaProducer

from ummp_assets.errors import BrokerUnavailable, InvalidInput, WaitTimeout
from ummp_assets.messages.clients import make_admin, make_producer
from ummp_assets.messages.topics import topic_names
from ummp_assets.settings import Settings, load_settings
from ummp_assets.training.fetching import fetch_parameters
from ummp_assets.training.packing import Arrays, pack, split
from ummp_assets.training.publishing import publish_parameters
from ummp_assets_tests.training.conftest import read_topic


def _weights(seed: int, size: int = 1_000) -> Arrays:
    random = np.random.default_rng(seed)
    return {"dense": random.normal(size=(size, 3)).astype(np.float32), "bias": random.normal(size=3)}


def _assert_same(arrays: Arrays, expected: Arrays) -> None:
    assert sorted(arrays) == sorted(expected)
    for name in expected:
        np.testing.assert_array_equal(arrays[name], expected[name])


def _with(settings: Settings, **training: object) -> Settings:
    return settings.model_copy(update={"training": settings.training.model_copy(update=training)})


def test_published_parameters_are_fetched_as_they_were(settings: Settings) -> None:
    small_chunks = _with(settings, chunk_bytes=1_000)
    publish_parameters("net", 7, _weights(1), worker="w-1", samples=50, role="global", settings=small_chunks)

    found = fetch_parameters("net", 7, settings=settings)

    _assert_same(found.arrays, _weights(1))
    assert (found.model, found.round, found.worker, found.role, found.samples) == ("net", 7, "w-1", "global", 50)
    records = read_topic(settings, topic_names(settings).parameters)
    assert len(records) > 10
    assert {record.partition for record in records} == {records[0].partition}
    assert max(len(record.value) for record in records) < 1_400


def test_large_parameters_pass_a_topic_with_kafkas_own_limit(settings: Settings) -> None:
    other = settings.model_copy(update={"topic_prefix": f"{settings.topic_prefix}-plain"})
    topic = topic_names(other).parameters
    with make_admin(other) as admin:
        options = {"num_partitions": 3, "configs": {"max.message.bytes": "1048588"}}
        admin.create_topics({topic: options}, wait_for_metadata=True)
    weights = _weights(2, size=400_000)

    publish_parameters("net", 1, weights, worker="w", samples=1, role="global", settings=other)

    _assert_same(fetch_parameters("net", settings=other).arrays, weights)


def test_newest_round_is_fetched_and_a_named_one(settings: Settings) -> None:
    for number in (1, 3, 2):
        publish_parameters("net", number, _weights(number), worker="s", samples=1, role="global", settings=settings)
    publish_parameters("net", 9, _weights(9), worker="w", samples=1, role="local", settings=settings)
    publish_parameters("other", 8, _weights(8), worker="s", samples=1, role="global", settings=settings)

    assert fetch_parameters("net", settings=settings).round == 3
    _assert_same(fetch_parameters("net", 1, settings=settings).arrays, _weights(1))
    assert fetch_parameters("net", role="local", settings=settings).round == 9
    assert fetch_parameters("other", settings=settings).round == 8


def test_parameters_published_again_replace_the_first(settings: Settings) -> None:
    for seed in (1, 2):
        publish_parameters("net", 1, _weights(seed), worker="s", samples=seed, role="global", settings=settings)

    _assert_same(fetch_parameters("net", 1, settings=settings).arrays, _weights(2))


def test_parameters_far_behind_the_end_are_found(settings: Settings) -> None:
    small_chunks = _with(settings, chunk_bytes=1_000)
    publish_parameters("net", 1, _weights(1), worker="s", samples=1, role="global", settings=small_chunks)
    producer: KafkaProducer = make_producer(settings)
    for _ in range(600):
        producer.send(topic_names(settings).parameters, key=b"net", value=b"something else")
    producer.close()

    _assert_same(fetch_parameters("net", settings=settings).arrays, _weights(1))


def test_fetch_waits_for_parameters_that_come(settings: Settings) -> None:
    def publish() -> None:
        time.sleep(1.0)
        publish_parameters("net", 4, _weights(4), worker="s", samples=1, role="global", settings=settings)

    publish_parameters("net", 3, _weights(3), worker="s", samples=1, role="global", settings=settings)
    thread = threading.Thread(target=publish)
    thread.start()
    found = fetch_parameters("net", 4, timeout_seconds=20, settings=settings)
    thread.join()

    _assert_same(found.arrays, _weights(4))


def test_parameters_that_do_not_come_time_out(settings: Settings) -> None:
    publish_parameters("net", 1, _weights(1), worker="w", samples=1, settings=settings)

    start = time.monotonic()
    with pytest.raises(WaitTimeout, match=r"no global parameters of model net, round 1, came within 0\.5 s"):
        fetch_parameters("net", 1, timeout_seconds=0.5, settings=settings)
    assert time.monotonic() - start < 20


def test_incomplete_and_damaged_parameters_are_passed_over(settings: Settings) -> None:
    publish_parameters("net", 1, _weights(1), worker="s", samples=1, role="global", settings=settings)
    packed, checksum = pack(_weights(2), "zstd")
    header = {"model": "net", "worker": "s", "role": "global", "samples": 1, "codec": "zstd", "checksum": checksum}
    incomplete = list(split(packed, {**header, "round": 2}, 5_000))[:-1]
    damaged = split(packed[:-9] + bytes(9), {**header, "round": 3}, 5_000)
    producer: KafkaProducer = make_producer(settings)
    for value in [*incomplete, *damaged, b"no header", None]:
        producer.send(topic_names(settings).parameters, key=b"net", value=value)
    producer.close()

    _assert_same(fetch_parameters("net", settings=settings).arrays, _weights(1))


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"samples": 0}, "samples=0"),
        ({"round": -1}, "round"),
        ({"worker": ""}, "worker"),
        ({"arrays": {}}, "no arrays"),
        ({"workers": 0}, "workers"),
    ],
)
def test_arguments_that_are_impossible_are_named(settings: Settings, change: dict[str, object], cause: str) -> None:
    arguments: dict[str, object] = {"round": 1, "arrays": _weights(1), "worker": "w", "samples": 1, **change}

    with pytest.raises(InvalidInput, match=cause):
        publish_parameters("net", settings=settings, **arguments)  # type: ignore[arg-type]


def test_broker_that_is_down_is_named(settings: Settings) -> None:
    away = load_settings(home=settings.home, kafka_bootstrap_servers="127.0.0.1:9", kafka_timeout_seconds=0.3)

    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:9"):
        publish_parameters("net", 1, _weights(1), worker="w", samples=1, settings=away)
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:9"):
        fetch_parameters("net", timeout_seconds=1, settings=away)
