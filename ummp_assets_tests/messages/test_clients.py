"""Kafka clients: a broker that is down is named soon, and wrong options are the user's to mend."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.errors import KafkaConnectionError, KafkaTimeoutError, ProducerFencedError

from ummp_assets.errors import BrokerUnavailable, InvalidSettings
from ummp_assets.messages.clients import broker_errors, make_admin, make_consumer, make_producer
from ummp_assets.settings import Settings
from ummp_assets_tests.messages.deployments import create_topic, make_settings, nobody_listens, send

MAKERS = pytest.mark.parametrize("make", [make_admin, make_consumer, make_producer])


@pytest.fixture
def settings(tmp_path: Path, bootstrap_servers: str) -> Settings:
    return make_settings(tmp_path, bootstrap_servers)


@MAKERS
def test_broker_that_is_down_is_named_with_what_to_do(tmp_path: Path, make: Callable[[Settings], Any]) -> None:
    began = time.monotonic()

    with nobody_listens() as address:
        said = rf"^no Kafka broker answered at {address} .*UMMP_KAFKA_BOOTSTRAP_SERVERS.*`ummp up`.*`ummp doctor`"
        with pytest.raises(BrokerUnavailable, match=said):
            make(make_settings(tmp_path, address, kafka_timeout_seconds=0.5))

    assert time.monotonic() - began < 5, "kafka-python waits 30 s by default"


@MAKERS
@pytest.mark.parametrize(
    ("servers", "options"),
    [
        pytest.param("127.0.0.1:no-port", {}, id="port is no number"),
        pytest.param("127.0.0.1:1", {"no_such_option": 1}, id="unknown option"),
    ],
)
def test_wrong_settings_name_the_variables(
    tmp_path: Path, make: Callable[[Settings], Any], servers: str, options: dict[str, Any]
) -> None:
    settings = make_settings(tmp_path, servers, kafka_client=options, kafka_timeout_seconds=0.3)

    with (
        nobody_listens(),
        pytest.raises(InvalidSettings, match=r"UMMP_KAFKA_BOOTSTRAP_SERVERS=.* or UMMP_KAFKA_CLIENT"),
    ):
        make(settings)


def test_one_of_several_brokers_is_enough(settings: Settings) -> None:
    with nobody_listens() as address:
        several = settings.model_copy(update={"kafka_bootstrap_servers": f"{address},{settings.bootstrap_servers}"})
        with make_admin(several) as admin:
            assert isinstance(admin.list_topics(), list)


def test_option_that_the_deployment_and_the_caller_name_is_the_callers(tmp_path: Path, bootstrap_servers: str) -> None:
    settings = make_settings(tmp_path, bootstrap_servers, kafka_client={"request_timeout_ms": 20_000})

    with make_consumer(settings, request_timeout_ms=9_000) as consumer:
        assert consumer.config["request_timeout_ms"] == 9_000
    with make_consumer(settings) as consumer:
        assert consumer.config["request_timeout_ms"] == 20_000


def test_client_options_of_the_deployment_reach_the_client(tmp_path: Path, bootstrap_servers: str) -> None:
    settings = make_settings(tmp_path, bootstrap_servers, kafka_client={"client_id": "crawler-7"})

    with make_consumer(settings) as consumer:
        assert consumer.config["client_id"] == "crawler-7"


def test_consumer_commits_nothing_by_itself_and_sees_committed_records_only(settings: Settings) -> None:
    topic = create_topic(settings, "consumer")
    send(settings, topic, [b"1", b"2"])
    partition = TopicPartition(topic, 0)

    with make_consumer(settings, group_id=f"{topic}.group") as consumer:
        consumer.assign([partition])
        consumer.seek(partition, 0)
        while consumer.position(partition) < 2:
            consumer.poll(timeout_ms=200)
    with make_consumer(settings, group_id=f"{topic}.group") as consumer:
        assert consumer.committed(partition) is None
        assert consumer.config["isolation_level"] == "read_committed"


def test_options_of_the_caller_win(settings: Settings) -> None:
    producer = make_producer(settings, linger_ms=0)
    try:
        assert producer.config["linger_ms"] == 0
        assert producer.config["enable_idempotence"] is True
    finally:
        producer.close()


@pytest.mark.parametrize("error", [KafkaConnectionError("gone"), KafkaTimeoutError("slow")])
def test_loss_of_the_broker_in_mid_work_is_transient(settings: Settings, error: Exception) -> None:
    with pytest.raises(BrokerUnavailable, match=settings.bootstrap_servers), broker_errors(settings):
        raise error


def test_other_errors_pass_unchanged(settings: Settings) -> None:
    with pytest.raises(ProducerFencedError), broker_errors(settings):
        raise ProducerFencedError
