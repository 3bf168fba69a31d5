"""Dead letters: the original message of everything unusable, from every stage, with its reason, once a batch."""

import itertools
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest

from ummp_assets.errors import ManifestMissing
from ummp_assets.messages.dead_letters import send_dead_letters
from ummp_assets.messages.intake import read_requests
from ummp_assets.messages.topics import ensure_topics, topic_names
from ummp_assets.reasons import Reason
from ummp_assets.records import Rejection
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import StageWriter, read_table
from ummp_assets_tests.messages.deployments import make_settings, plan_everything, read_committed, request, send

STAGES = ["requests", "downloads", "clean_text"]


@pytest.fixture
def settings(tmp_path: Path, bootstrap_servers: str) -> Settings:
    settings = make_settings(tmp_path, bootstrap_servers)
    ensure_topics(settings)
    return settings


def _reject(store: ObjectStore, stage: str, key: str, *rejections: Rejection) -> None:
    with StageWriter(store, stage, key, {}) as writer:
        writer.reject(rejections)
        writer.commit(code_version="1")


def _rejection(sample_id: str, reason: Reason, detail: str) -> Rejection:
    return Rejection(sample_id, "pages", "text", "http://x/", reason, detail)


def _batch_with_everything(store: ObjectStore, settings: Settings) -> str:
    """Offsets 0 to 4: unreadable, not found, archive with one bad member, filtered, good."""
    topic = topic_names(settings).requests_normal
    trace = [("traceparent", b"00-trace")]
    send(settings, topic, [b"no json", *(request(number) for number in range(1, 5))], key=b"k", headers=trace)
    key = plan_everything(store, settings, topic).key
    read_requests(store, settings, key)
    member = _rejection(f"{topic}~0~2~page/7.txt", Reason.CORRUPT_MEMBER, "encrypted")
    gone = _rejection(f"{topic}~0~1", Reason.HTTP_CLIENT_ERROR, "404 für http://x/")
    _reject(store, "downloads", key, gone, member)
    _reject(store, "clean_text", key, _rejection(f"{topic}~0~3", Reason.TEXT_TOO_SHORT, "3 characters"))
    return key


def _letters(settings: Settings) -> list[dict[str, Any]]:
    records = read_committed(settings, topic_names(settings).dead)
    return [{"key": record.key, "value": record.value, **dict(record.headers)} for record in records]


def test_letters_hold_original_bytes_coordinates_and_reason(settings: Settings, store: ObjectStore) -> None:
    key = _batch_with_everything(store, settings)
    topic = topic_names(settings).requests_normal.encode()

    manifest = send_dead_letters(store, settings, key, STAGES)

    headers = {"traceparent": b"00-trace", "ummp-topic": topic, "ummp-partition": b"0"}
    unreadable, gone, member = sorted(_letters(settings), key=lambda letter: int(letter["ummp-offset"]))
    assert unreadable.pop("ummp-error").startswith(b"expected ident")
    assert unreadable == {
        **headers,
        "key": b"k",
        "value": b"no json",
        "ummp-offset": b"0",
        "ummp-sample-id": topic + b"~0~0",
        "ummp-reason": b"not_json",
    }
    assert gone == {
        **headers,
        "key": b"k",
        "value": request(1),
        "ummp-offset": b"1",
        "ummp-sample-id": topic + b"~0~1",
        "ummp-reason": b"http_client_error",
        "ummp-error": "404 für http://x/".encode(),
    }
    assert (member["value"], member["ummp-sample-id"]) == (request(2), topic + b"~0~2~page/7.txt")
    assert manifest.numbers["dead_letters"] == 3
    assert set(manifest.inputs) == set(STAGES)
    rows = itertools.chain.from_iterable(rows.to_pylist() for rows in read_table(store, manifest, "samples"))
    assert [row["reason"] for row in rows] == ["not_json", "http_client_error", "corrupt_member"]


def test_second_run_sends_nothing_and_gives_the_same_manifest(settings: Settings, store: ObjectStore) -> None:
    key = _batch_with_everything(store, settings)

    first = send_dead_letters(store, settings, key, STAGES)
    second = send_dead_letters(store, settings, key, STAGES)
    store.delete(f"stages/dead_letters/{key}/manifest.json")  # as if killed before it was put
    third = send_dead_letters(store, settings, key, STAGES)

    assert first == second == third
    assert len(_letters(settings)) == 3


def test_batch_that_is_materialized_again_sends_only_what_is_new(settings: Settings, store: ObjectStore) -> None:
    key = _batch_with_everything(store, settings)
    send_dead_letters(store, settings, key, STAGES)
    topic = topic_names(settings).requests_normal
    _reject(store, "clean_text", key, _rejection(f"{topic}~0~4", Reason.CORRUPT_TEXT, "no text"))

    manifest = send_dead_letters(store, settings, key, STAGES)

    assert manifest.numbers == {"dead_letters": 4, "transactions": 2}
    assert [letter["ummp-offset"] for letter in _letters(settings)].count(b"4") == 1
    assert len(_letters(settings)) == 4


def test_many_large_letters_go_out_in_several_transactions(settings: Settings, store: ObjectStore) -> None:
    topic = topic_names(settings).requests_normal
    large = [request(note=str(number) * 6_000_000) for number in range(4)]
    send(settings, topic, large)
    key = plan_everything(store, settings, topic).key
    read_requests(store, settings, key)

    manifest = send_dead_letters(store, settings, key, ["requests"])

    assert manifest.numbers == {"dead_letters": 4, "transactions": 2}
    assert sorted(letter["value"] for letter in _letters(settings)) == sorted(large)


def test_message_without_key_and_value_is_sent_as_well(settings: Settings, store: ObjectStore) -> None:
    topic = topic_names(settings).requests_normal
    producer = confluent_kafka.Producer({"bootstrap.servers": settings.bootstrap_servers, "log_level": 0})
    producer.produce(topic, None, None, partition=0)
    assert producer.flush(10) == 0
    key = plan_everything(store, settings, topic).key
    read_requests(store, settings, key)

    send_dead_letters(store, settings, key, ["requests"])

    [letter] = _letters(settings)
    assert (letter["value"], letter["ummp-reason"], letter["ummp-offset"]) == (None, b"null_value", b"0")


def test_letter_of_ten_megabytes_is_kept_whole(settings: Settings, store: ObjectStore) -> None:
    topic = topic_names(settings).requests_normal
    large = request(note="".join(f"{number:08x}" for number in range(10_000_000 // 8)))
    send(settings, topic, [large], key=b"k")
    key = plan_everything(store, settings, topic).key
    read_requests(store, settings, key)

    send_dead_letters(store, settings, key, ["requests"])

    [letter] = _letters(settings)
    assert letter["value"] == large
    assert letter["ummp-reason"] == b"message_too_large"


def test_batch_without_dead_letters_commits_an_empty_stage(settings: Settings, store: ObjectStore) -> None:
    topic = topic_names(settings).requests_normal
    send(settings, topic, [request(1)])
    key = plan_everything(store, settings, topic).key
    read_requests(store, settings, key)

    manifest = send_dead_letters(store, settings, key, ["requests"])

    assert manifest.numbers["dead_letters"] == 0
    assert _letters(settings) == []


def test_nothing_is_sent_before_every_stage_has_committed(settings: Settings, store: ObjectStore) -> None:
    key = _batch_with_everything(store, settings)
    store.delete(f"stages/clean_text/{key}/manifest.json")

    with pytest.raises(ManifestMissing, match="clean_text has not committed batch"):
        send_dead_letters(store, settings, key, STAGES)

    assert _letters(settings) == []
