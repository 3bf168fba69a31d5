"""`ummp dead` on letters of an embedded broker."""

import base64
from pathlib import Path

import pytest

from ummp_assets.messages.dead_letters import send_dead_letters
from ummp_assets.messages.intake import read_requests
from ummp_assets.messages.topics import ensure_topics, topic_names
from ummp_assets.reasons import Reason
from ummp_assets.records import Rejection
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import open_store
from ummp_assets.storage.stages import StageWriter
from ummp_assets_tests.cli.conftest import Ummp
from ummp_assets_tests.messages.deployments import plan_everything, read_committed, request, send


@pytest.fixture
def topic(broker_settings: Settings) -> str:
    """A topic of whose messages three samples are dead: one unreadable, two members of one archive."""
    store = open_store(broker_settings)
    ensure_topics(broker_settings)
    name = topic_names(broker_settings).requests_normal
    send(broker_settings, name, [b"no json", request(1)], key=b"k", headers=[("traceparent", b"00-trace")])
    key = plan_everything(store, broker_settings, name).key
    read_requests(store, broker_settings, key)
    with StageWriter(store, "downloads", key, {}) as writer:
        writer.reject(
            Rejection(f"{name}~0~1~{member}", "pages", "text", "http://x/", Reason.CORRUPT_MEMBER, "encrypted")
            for member in ("a.txt", "b.txt")
        )
        writer.commit(code_version="1")
    send_dead_letters(store, broker_settings, key, ["requests", "downloads"])
    return name


def test_list_counts_reasons_and_chooses(with_broker: Ummp, topic: str) -> None:
    document = with_broker.here("dead", "list", "--json").document
    assert document["reasons"] == {"corrupt_member": 2, "not_json": 1}
    assert {item["sample_id"] for item in document["letters"]} == {
        f"{topic}~0~0",
        f"{topic}~0~1~a.txt",
        f"{topic}~0~1~b.txt",
    }
    chosen = with_broker.here("dead", "list", "--reason", "not_json", "--topic", topic, "--json").document
    assert [item["reason"] for item in chosen["letters"]] == ["not_json"]
    text = with_broker.here("dead").out
    assert "3 letters: 2 corrupt_member, 1 not_json" in text
    assert with_broker.here("dead", "list", "--reason", "noai").out == "No dead letters.\n"


def test_show_gives_the_message_as_it_was_sent(with_broker: Ummp, topic: str) -> None:
    (letter,) = with_broker.here("dead", "show", f"{topic}~0~0", "--json").document
    assert base64.b64decode(letter["value"]) == b"no json"
    assert (base64.b64decode(letter["key"]), letter["headers"]) == (b"k", [["traceparent", "00-trace"]])
    place = letter["letter"].split("~", 1)[1]
    text = with_broker.here("dead", "show", place).out
    assert "value      no json" in text
    assert "header     traceparent: 00-trace" in text


def test_redrive_sends_each_message_once_and_marks_it(with_broker: Ummp, broker_settings: Settings, topic: str) -> None:
    answer = with_broker.here("dead", "redrive", "--reason", "corrupt_member")
    assert answer.out == "1 messages of 2 dead letters sent again\n"
    *_, again = sorted(read_committed(broker_settings, topic), key=lambda record: record.timestamp)
    assert (again.key, again.value) == (b"k", request(1))
    headers = dict(again.headers)
    assert headers["traceparent"] == b"00-trace"
    assert headers["ummp-redriven"].decode().startswith(topic_names(broker_settings).dead)
    assert with_broker.here("dead", "redrive", "--all", "--json").document["messages"] == 1
    assert with_broker.here("dead", "redrive", "--all").out == "0 messages of 0 dead letters sent again\n"
    assert with_broker.here("dead", "redrive", "--all", "--again", "--dry-run").out == (
        "2 messages of 3 dead letters would be sent again\n"
    )
    assert all(item["redriven"] for item in with_broker.here("dead", "list", "--json").document["letters"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("redrive",), "name letters, or a --reason, or --all"),
        (("redrive", "0~999"), "no dead letter 0~999: `ummp dead list` shows what there is"),
        (("show", "nothing"), "no dead letter nothing"),
        (("show",), "Missing argument 'LETTER'"),
    ],
)
def test_wrong_use_is_told_what_is_right(with_broker: Ummp, arguments: tuple[str, ...], complaint: str) -> None:
    answer = with_broker.here("dead", *arguments)
    assert answer.code == 2
    assert complaint in answer.err


def test_a_letter_from_a_topic_that_is_not_read_here_is_refused(with_broker: Ummp, broker_settings: Settings) -> None:
    ensure_topics(broker_settings)
    names = ("topic", "partition", "offset", "sample-id", "reason", "error")
    values = ("elsewhere", "0", "1", "elsewhere~0~1", "not_json", "")
    headers = [(f"ummp-{name}", value.encode()) for name, value in zip(names, values, strict=True)]
    send(broker_settings, topic_names(broker_settings).dead, [b"{}"], headers=headers)
    answer = with_broker.here("dead", "redrive", "--all")
    assert answer.code == 2
    assert "came from elsewhere, which UMMP does not read here" in answer.err


def test_letters_of_another_producer_are_left_alone(
    with_broker: Ummp, broker_settings: Settings, tmp_path: Path
) -> None:
    ensure_topics(broker_settings)
    send(broker_settings, topic_names(broker_settings).dead, [b"not one of ours"])
    assert with_broker.here("dead", "list").out == "No dead letters.\n"
