"""`ummp status`: what waits, what came out, what failed."""

from datetime import UTC, datetime

import pytest

from ummp_assets.clean.text import clean_text
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.messages.topics import topic_names
from ummp_assets.reasons import Reason
from ummp_assets.settings import Settings
from ummp_assets.storage.index import open_index
from ummp_assets.storage.objects import open_store
from ummp_assets_tests.clean.downloads import put_downloads, raw_row
from ummp_assets_tests.cli.conftest import Ummp
from ummp_assets_tests.cli.test_outcomes import commit


def test_status_counts_what_waits_and_what_came_out(with_broker: Ummp, broker_settings: Settings) -> None:
    assert with_broker.here("submit", "-d", "pages", "u1", "u2", "u3").code == 0
    topic = topic_names(broker_settings).requests_normal
    before = with_broker.here("status", "--json").document
    assert {"topic": topic, "exists": True, "messages": 3, "waiting": 3, "batches": 0} in before["topics"]
    assert (before["batches"], before["outcomes"], before["runs"]) == ([], {}, None)

    store = open_store(broker_settings)
    partition = next(p for p in range(4) if _holds_messages(broker_settings, topic, p))
    batch = OffsetLog(store).put(Batch(topic, 1, (OffsetRange(partition, 0, 2),)), datetime(2026, 1, 1, tzinfo=UTC))
    commit(store, "requests", batch, {"messages": 2, "gaps": 0, "unreadable": 0, "expired": 0})
    commit(store, "downloads", batch, {}, ("text", Reason.HTTP_CLIENT_ERROR), ("image", Reason.TIMED_OUT))
    after = with_broker.here("status", "--json").document
    assert {"topic": topic, "exists": True, "messages": 3, "waiting": 1, "batches": 1} in after["topics"]
    assert [(item["key"], item["committed"]) for item in after["batches"]] == [(batch.key, False)]
    assert after["outcomes"]["image"]["dead"] == 1
    assert after["reasons"] == {"http_client_error": 1, "timed_out": 1}

    shown = with_broker.here("status").out
    assert batch.key in shown
    assert "after downloads" in shown
    assert "1 http_client_error" in shown
    assert "no `ummp up` runs on this home" in shown


def test_status_does_not_make_topics(with_broker: Ummp) -> None:
    topics = with_broker.here("status", "--json").document["topics"]
    assert {topic["exists"] for topic in topics} == {False}
    assert {topic["exists"] for topic in with_broker.here("status", "--json").document["topics"]} == {False}


def test_status_names_the_broker_that_does_not_answer(with_broker: Ummp) -> None:
    answer = with_broker("status", UMMP_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1", UMMP_KAFKA_TIMEOUT_SECONDS="1")
    assert answer.code == 1
    assert "127.0.0.1:1" in answer.err


def _holds_messages(settings: Settings, topic: str, partition: int) -> bool:
    from ummp_assets.messages.reading import read_watermarks

    return read_watermarks(settings, topic)[topic][partition].high > 0


def test_reasons_say_what_a_threshold_would_have_kept(with_broker: Ummp, broker_settings: Settings) -> None:
    store, index = open_store(broker_settings), open_index(broker_settings)
    topic = topic_names(broker_settings).requests_normal
    batch = OffsetLog(store).put(Batch(topic, 1, (OffsetRange(0, 0, 4),)), datetime(2026, 1, 1, tzinfo=UTC))
    texts = ["word " * 10 + str(number) for number in range(3)]
    put_downloads(store, [raw_row(n, text.encode()) for n, text in enumerate([*texts, ""])], batch.key)
    clean_text(store, index, broker_settings, batch.key)
    index.close()

    document = with_broker.here("status", "--reasons", "--json").document

    rules = {item["reason"]: item for item in document["reasons"]}
    short, few = rules["text_too_short"], rules["gopher_too_few_words"]
    assert (document["batches"], short["samples"], short["kept"], short["refused"]) == (1, 4, 3, 1)
    assert (short["setting"], short["keeps"], short["limit"]) == ("clean.text.min_characters", "at least", 1)
    assert short["quantiles"]["p99"] == pytest.approx(51)
    assert (few["in_force"], few["samples"], few["kept"], few["quantiles"]["p50"]) == (False, 3, 0, 11)

    asked = with_broker.here("status", "--threshold", "clean.text.gopher_quality.min_words=11", "--json").document
    assert [(item["reason"], item["kept"]) for item in asked["reasons"]] == [("gopher_too_few_words", 3)]
    shown = with_broker.here("status", "--threshold", "clean.text.gopher_quality.min_words=11").out
    assert "3 (100%)" in shown
    assert with_broker.here("status", "--threshold", "clean.text.tokenizer=x").code == 2
