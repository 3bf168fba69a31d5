"""`ummp submit`: from every source, and what it reports when things go wrong."""

import gc
import json
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kafka import TopicPartition

from ummp_assets.errors import InvalidInput
from ummp_assets.messages.clients import make_consumer
from ummp_assets.messages.embedded import start_broker
from ummp_assets.messages.reading import read_watermarks
from ummp_assets.messages.submitting import submit
from ummp_assets.messages.topics import topic_names
from ummp_assets.settings import Settings
from ummp_assets_tests.cli.conftest import Ummp


def read_requests(settings: Settings, priority: str = "normal") -> list[tuple[bytes, dict[str, Any]]]:
    """Return key and document of every request on a topic, in order of partition and offset."""
    topic = getattr(topic_names(settings), f"requests_{priority}")
    wanted = sum(marks.high for marks in read_watermarks(settings, topic)[topic].values())
    with make_consumer(settings, auto_offset_reset="earliest") as consumer:
        consumer.assign([TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)])
        found: list[Any] = []
        while len(found) < wanted:
            for records in consumer.poll(timeout_ms=1_000).values():
                found += records
    found.sort(key=lambda record: (record.partition, record.offset))
    return [(record.key, json.loads(record.value)) for record in found]


def test_submit_sends_arguments_with_their_fields(with_broker: Ummp, broker_settings: Settings) -> None:
    answer = with_broker(
        "submit", "-d", "cats", "-m", "image", "-l", '{"class": 3}', "-a", "source=lab", "http://h/1", "http://h/2"
    )
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"2 requests acknowledged on {broker_settings.topic_prefix}.requests.normal in ")
    common = {
        "schema": "ummp.request/1",
        "dataset": "cats",
        "modality": "image",
        "label": {"class": 3},
        "attributes": {"source": "lab"},
    }
    assert read_requests(broker_settings) == [
        (b"cats", {**common, "uri": "http://h/1"}),
        (b"cats", {**common, "uri": "http://h/2"}),
    ]


def test_submit_reads_a_uri_a_line_from_a_file(with_broker: Ummp, broker_settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "uris"
    file.write_text("http://h/1\n\n# a remark\n  http://h/2  \n", encoding="utf-8")
    assert with_broker.here("submit", "-d", "cats", "-f", str(file), "-p", "low").code == 0
    assert [request["uri"] for _, request in read_requests(broker_settings, "low")] == ["http://h/1", "http://h/2"]
    assert read_requests(broker_settings) == []


def test_submit_takes_other_columns_of_csv_as_attributes(
    with_broker: Ummp, broker_settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "requests.csv"
    file.write_text('uri,dataset,label,licence\nhttp://h/1,dogs,"{""a"": 1}",CC0\nhttp://h/2,dogs,good,\n', "utf-8")
    assert with_broker.here("submit", "-f", str(file)).code == 0
    first, second = (request for _, request in read_requests(broker_settings))
    assert (first["label"], first["attributes"]) == ({"a": 1}, {"licence": "CC0"})
    assert second["label"] == "good"
    assert "attributes" not in second


def test_submit_refuses_attributes_that_are_no_mapping_beside_other_columns(
    with_broker: Ummp, broker_settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "requests.csv"
    file.write_text("uri,dataset,attributes,licence\nhttp://h/1,dogs,plain,CC0\nhttp://h/2,dogs,,CC0\n", "utf-8")
    done = with_broker.here("submit", "-f", str(file))
    assert done.code == 1
    assert "attributes" in done.err
    assert [request["uri"] for _, request in read_requests(broker_settings)] == ["http://h/2"]


def test_submit_reads_parquet(with_broker: Ummp, broker_settings: Settings, tmp_path: Path) -> None:
    rows = {"uri": ["http://h/1", "http://h/2"], "sha256": ["a" * 64, None]}
    pq.write_table(pa.table(rows), tmp_path / "r.parquet")
    assert with_broker.here("submit", "-d", "dogs", "-f", str(tmp_path / "r.parquet")).code == 0
    first, second = (request for _, request in read_requests(broker_settings))
    assert first["sha256"] == "a" * 64
    assert "sha256" not in second


def test_submit_acknowledges_ten_thousand_from_stdin(with_broker: Ummp, broker_settings: Settings) -> None:
    uris = [f"http://h/{number}" for number in range(10_000)]
    answer = with_broker("submit", "-d", "many", "-f", "-", "--json", stdin="\n".join(uris))
    assert (answer.code, answer.document["acknowledged"], answer.document["refused"]) == (0, 10_000, 0)
    (span,) = answer.document["offsets"].values()
    assert span == {"first": 0, "last": 9_999}
    assert [request["uri"] for _, request in read_requests(broker_settings)] == uris


def test_submit_names_refused_requests_and_sends_the_rest(
    with_broker: Ummp, broker_settings: Settings, tmp_path: Path
) -> None:
    file = tmp_path / "requests.csv"
    file.write_text("uri,dataset\nhttp://h/1,good\nhttp://h/2,Not Good\n,good\nhttp://h/4,good\n", encoding="utf-8")
    answer = with_broker.here("submit", "-f", str(file))
    assert answer.code == 1
    assert answer.out.startswith("2 requests acknowledged")
    assert "refused: request 2 (http://h/2): dataset: String should match pattern" in answer.err
    assert "refused: request 3 (no URI): uri: Field required" in answer.err
    assert [request["uri"] for _, request in read_requests(broker_settings)] == ["http://h/1", "http://h/4"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("-d", "cats"), "name URIs or a --file"),
        (("http://h/1",), "--dataset is required"),
        (("-d", "cats", "-f", "/nowhere/at/all"), "/nowhere/at/all cannot be read"),
        (("-d", "cats", "-a", "novalue", "http://h/1"), "not of the form NAME=VALUE"),
        (("-d", "cats", "-p", "urgent", "http://h/1"), "'urgent' is not one of"),
    ],
)
def test_submit_refuses_wrong_use(ummp: Ummp, arguments: tuple[str, ...], complaint: str) -> None:
    answer = ummp.here("submit", *arguments)
    assert answer.code == 2
    assert complaint in answer.err


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("r.csv", b"address\nhttp://h/1\n", "no column `uri`; its columns are: address"),
        ("r.parquet", b"no parquet", "is no Parquet file"),
        ("r.txt", b"http://h/\xff\n", "is no text in UTF-8"),
    ],
)
def test_submit_refuses_files_that_it_cannot_read(
    with_broker: Ummp, tmp_path: Path, name: str, content: bytes, complaint: str
) -> None:
    (tmp_path / name).write_bytes(content)
    answer = with_broker.here("submit", "-d", "cats", "-f", str(tmp_path / name))
    assert answer.code == 2
    assert complaint in answer.err


def test_submit_says_which_broker_was_tried_when_it_is_down(ummp: Ummp) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        started = time.monotonic()
        answer = ummp(
            "submit", "-d", "a", "http://h/", UMMP_KAFKA_BOOTSTRAP_SERVERS=address, UMMP_KAFKA_TIMEOUT_SECONDS="2"
        )
    assert answer.code == 1
    assert f"no Kafka broker answered at {address}" in answer.err
    assert "UMMP_KAFKA_BOOTSTRAP_SERVERS" in answer.err
    assert time.monotonic() - started < 10


def test_submit_says_how_to_get_a_broker_when_none_is_configured(ummp: Ummp) -> None:
    answer = ummp.here("submit", "-d", "a", "http://h/")
    assert answer.code == 2
    assert "`ummp up`" in answer.err


def test_submit_counts_what_was_acknowledged_when_interrupted(with_broker: Ummp, broker_settings: Settings) -> None:
    process = with_broker.start("submit", "-d", "a", "-f", "-", stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdin.write("http://h/\n" * 5_000)
    process.stdin.flush()
    topic = topic_names(broker_settings).requests_normal
    deadline = time.monotonic() + 30
    while not _messages(broker_settings, topic) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 1
    process.stdin.close()
    with process.stdout, process.stderr:
        said = re.match(r"([\d,]+) requests acknowledged", process.stdout.read())
        assert "Interrupted" in process.stderr.read()
    assert said is not None
    assert int(said[1].replace(",", "")) == _messages(broker_settings, topic) > 0


def test_submit_tells_its_progress_and_ends_with_the_exact_number(broker_settings: Settings) -> None:
    told: list[int] = []
    submission = submit(
        [f"u{n}" for n in range(250)], dataset="a", settings=broker_settings, on_acknowledged=told.append
    )
    assert submission.acknowledged == 250
    assert told == [100, 200, 250]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # kafka-python leaves refused sockets to the collector
def test_submit_says_what_was_acknowledged_when_the_broker_is_lost(tmp_path: Path, settings: Settings) -> None:
    from ummp_assets.errors import BrokerUnavailable

    broker = start_broker(tmp_path / "broker")
    lost = settings.model_copy(update={"kafka_bootstrap_servers": broker.bootstrap_servers})

    def uris() -> Iterator[str]:
        yield from (f"u{number}" for number in range(1_000))
        deadline = time.monotonic() + 10
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
        broker.kill()
        yield from (f"v{number}" for number in range(10))

    told: list[int] = []
    with pytest.raises(BrokerUnavailable, match=r"requests were acknowledged before") as failure:
        submit(uris(), dataset="a", settings=lost, on_acknowledged=told.append, delivery_seconds=2.0)
    assert broker.bootstrap_servers in str(failure.value)
    assert f"{told[-1]:,} requests were acknowledged before" in str(failure.value)
    assert 0 < told[-1] <= 1_000
    del failure
    gc.collect()


def test_submit_refuses_what_no_request_to_a_broker_can_hold_and_sends_the_rest(broker_settings: Settings) -> None:
    large = {"uri": "u1", "attributes": {"text": "x" * 34_000_000}}
    submission = submit(["u0", large, "u2"], dataset="a", settings=broker_settings)
    assert (submission.acknowledged, submission.refused) == (2, 1)
    assert [(refusal.position, refusal.uri) for refusal in submission.refusals] == [(2, "u1")]
    assert "larger than the maximum request size" in submission.refusals[0].cause
    assert _messages(broker_settings, submission.topic) == 2


def test_submit_counts_what_was_acknowledged_when_its_source_fails(broker_settings: Settings) -> None:
    def uris() -> Iterator[str]:
        yield from (f"u{number}" for number in range(300))
        raise InvalidInput("line 301 is no UTF-8")

    with pytest.raises(InvalidInput, match=r"line 301 is no UTF-8; 300 requests were acknowledged before"):
        submit(uris(), dataset="a", settings=broker_settings)
    assert _messages(broker_settings, topic_names(broker_settings).requests_normal) == 300


def _messages(settings: Settings, topic: str) -> int:
    found = read_watermarks(settings, topic).get(topic, {})
    return sum(marks.high for marks in found.values())
