"""`ummp status`: what waits, what came out, what failed."""

from datetime import UTC, datetime

from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange
from ummp_assets.messages.topics import topic_names
from ummp_assets.reasons import Reason
from ummp_assets.settings import Settings
from ummp_assets.storage.objects import open_store
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
