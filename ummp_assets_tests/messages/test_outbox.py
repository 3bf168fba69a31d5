"""Records sent exactly once, whenever the sender dies and however often it is tried again."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka.errors import KafkaError
from kafka.protocol.producer import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    EndTxnRequest,
    InitProducerIdRequest,
    TxnOffsetCommitRequest,
)

from ummp_assets.errors import BrokerUnavailable
from ummp_assets.messages.outbox import Record, send_once
from ummp_assets.settings import Settings
from ummp_assets_tests.messages.deployments import create_topic, make_settings, nobody_listens, read_committed
from ummp_assets_tests.messages.relay import PRODUCE, Relay

RECORDS = [Record(b"a", b"first", (("ummp-reason", b"because"),)), Record(b"b", b"second"), Record(b"c", None)]
EXPECTED = [(b"a", b"first", (("ummp-reason", b"because"),)), (b"b", b"second", ()), (b"c", None, ())]

_SENDER = """
import sys
from ummp_assets.messages.outbox import Record, send_once
from ummp_assets.settings import load_settings
from ummp_assets_tests.messages.test_outbox import RECORDS
address, prefix, topic = sys.argv[1:]
settings = load_settings(kafka_bootstrap_servers=address, topic_prefix=prefix)
send_once(settings, "dead.batch", topic, RECORDS)
"""


@pytest.fixture
def settings(tmp_path: Path, bootstrap_servers: str) -> Settings:
    return make_settings(tmp_path, bootstrap_servers)


@pytest.fixture
def topic(settings: Settings) -> str:
    return create_topic(settings, "outbox")


def _visible(settings: Settings, topic: str) -> list[tuple[bytes | None, bytes | None, tuple[tuple[str, bytes], ...]]]:
    return [(record.key, record.value, tuple(record.headers)) for record in read_committed(settings, topic)]


def _through(settings: Settings, relay: Relay) -> Settings:
    return settings.model_copy(update={"kafka_bootstrap_servers": relay.address})


def test_records_are_sent_whole_and_in_order(settings: Settings, topic: str) -> None:
    assert send_once(settings, "dead.batch", topic, RECORDS) is True

    assert _visible(settings, topic) == EXPECTED


def test_second_call_sends_nothing(settings: Settings, topic: str) -> None:
    send_once(settings, "dead.batch", topic, RECORDS)

    assert send_once(settings, "dead.batch", topic, RECORDS) is False

    assert _visible(settings, topic) == EXPECTED


def test_numbers_grow_and_an_older_one_is_not_sent_again(settings: Settings, topic: str) -> None:
    sent = [send_once(settings, "ready.news", topic, [Record(b"n", b"%d" % n)], number=n) for n in (1, 2, 1, 2, 4, 3)]

    assert sent == [True, True, False, False, True, False]
    assert [value for _, value, _ in _visible(settings, topic)] == [b"1", b"2", b"4"]


def test_names_do_not_hinder_each_other(settings: Settings, topic: str) -> None:
    assert send_once(settings, "dead.first", topic, [Record(b"k", b"1")])
    assert send_once(settings, "dead.second", topic, [Record(b"k", b"2")])

    assert [value for _, value, _ in _visible(settings, topic)] == [b"1", b"2"]


@contextmanager
def _sender(relay: Relay, settings: Settings, topic: str, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _SENDER, relay.address, settings.topic_prefix, topic], stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("api_key", "answer", "sent_before"),
    [
        pytest.param(InitProducerIdRequest.API_KEY, False, False, id="before it has a producer id"),
        pytest.param(AddPartitionsToTxnRequest.API_KEY, False, False, id="between begin and send"),
        pytest.param(PRODUCE, False, False, id="while the records are on their way"),
        pytest.param(PRODUCE, True, False, id="when the broker has the records"),
        pytest.param(AddOffsetsToTxnRequest.API_KEY, False, False, id="between send and send_offsets"),
        pytest.param(TxnOffsetCommitRequest.API_KEY, True, False, id="when the broker has the offsets"),
        pytest.param(EndTxnRequest.API_KEY, False, False, id="between send_offsets and commit"),
        pytest.param(EndTxnRequest.API_KEY, True, True, id="after commit, before it knows"),
    ],
)
def test_sender_killed_at_any_point_gives_one_visible_set_after_another_try(
    settings: Settings, topic: str, tmp_path: Path, api_key: int, answer: bool, sent_before: bool
) -> None:
    log = tmp_path / "sender.log"
    with Relay(settings.bootstrap_servers) as relay:
        relay.hold(api_key, answer=answer)
        with _sender(relay, settings, topic, log) as process:
            relay.wait_until_held()
            assert process.poll() is None, log.read_text()
            process.kill()
            process.wait()

        assert send_once(settings, "dead.batch", topic, RECORDS) is not sent_before

    assert _visible(settings, topic) == EXPECTED


def test_zombie_is_fenced_by_the_next_sender(settings: Settings, topic: str) -> None:
    failures: list[BaseException] = []

    def send() -> None:
        try:
            send_once(_through(settings, relay), "dead.batch", topic, [Record(b"z", b"of the zombie")])
        except (KafkaError, BrokerUnavailable) as error:
            failures.append(error)

    with Relay(settings.bootstrap_servers) as relay:
        relay.hold(EndTxnRequest.API_KEY)
        zombie = threading.Thread(target=send)
        zombie.start()
        relay.wait_until_held()
        assert send_once(settings, "dead.batch", topic, RECORDS) is True
        relay.release()
        zombie.join(20)

    assert len(failures) == 1, "it must not believe that it sent anything"
    assert _visible(settings, topic) == EXPECTED


def test_racing_senders_send_once(settings: Settings, topic: str) -> None:
    answers: list[bool | str] = []

    def send() -> None:
        try:
            answers.append(send_once(settings, "dead.batch", topic, RECORDS))
        except (KafkaError, BrokerUnavailable) as error:
            answers.append(type(error).__name__)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    # A sender that another one fenced is told so; its next try finds what was sent.
    assert answers.count(True) <= 1
    send_once(settings, "dead.batch", topic, RECORDS)
    assert _visible(settings, topic) == EXPECTED


def test_broker_that_is_down_is_named(settings: Settings, topic: str) -> None:
    with nobody_listens() as address:
        down = settings.model_copy(update={"kafka_bootstrap_servers": address, "kafka_timeout_seconds": 0.3})
        with pytest.raises(BrokerUnavailable, match=f"no Kafka broker answered at {address} "):
            send_once(down, "dead.batch", topic, RECORDS)


@pytest.mark.parametrize("api_key", [PRODUCE, TxnOffsetCommitRequest.API_KEY, EndTxnRequest.API_KEY])
def test_broker_that_falls_silent_in_mid_transaction_ends_the_call_in_time(
    settings: Settings, topic: str, api_key: int
) -> None:
    with Relay(settings.bootstrap_servers) as relay:
        relay.hold(api_key)
        with pytest.raises(BrokerUnavailable, match=relay.address):
            send_once(_through(settings, relay), "dead.batch", topic, RECORDS, limit_seconds=1.0)
        relay.release()

    send_once(settings, "dead.batch", topic, RECORDS)

    assert _visible(settings, topic) == EXPECTED
