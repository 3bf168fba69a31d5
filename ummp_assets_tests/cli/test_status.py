"""`ummp status`: what waits, what came out, what failed."""

import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from ummp_assets.clean.text import clean_text
from ummp_assets.cli.stack.home import StackState, claim_home
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
    assert {"topic": topic, "exists": True, "messages": 3, "waiting": 3, "batches": 0, "problem": None} in before[
        "topics"
    ]
    assert (before["batches"], before["outcomes"], before["runs"]) == ([], {}, None)

    store = open_store(broker_settings)
    partition = next(p for p in range(4) if _holds_messages(broker_settings, topic, p))
    batch = OffsetLog(store).put(Batch(topic, 1, (OffsetRange(partition, 0, 2),)), datetime(2026, 1, 1, tzinfo=UTC))
    commit(store, "requests", batch, {"messages": 2, "gaps": 0, "unreadable": 0, "expired": 0})
    commit(store, "downloads", batch, {}, ("text", Reason.HTTP_CLIENT_ERROR), ("image", Reason.TIMED_OUT))
    after = with_broker.here("status", "--json").document
    assert {"topic": topic, "exists": True, "messages": 3, "waiting": 1, "batches": 1, "problem": None} in after[
        "topics"
    ]
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


def test_topic_that_was_made_anew_is_flagged_by_status_and_doctor(with_broker: Ummp, broker_settings: Settings) -> None:
    assert with_broker.here("submit", "-d", "pages", "u1").code == 0
    topic = topic_names(broker_settings).requests_normal
    planned_from = "11111111-2222-3333-4444-555555555555"
    _plan(broker_settings, Batch(topic, 1, (OffsetRange(0, 0, 0),), planned_from))

    said = f"topic {topic} is not the one that its batches were planned from (topic id {planned_from} then"
    states = {item["topic"]: item for item in with_broker.here("status", "--json").document["topics"]}
    assert states[topic]["problem"].startswith(said)
    assert states[topic]["waiting"] is None
    assert [item["problem"] for item in states.values()].count(None) == len(states) - 1
    assert f"needs you: {said}" in with_broker.here("status").out

    doctor = with_broker.here("doctor", "--json")
    [found] = [check for check in doctor.document["checks"] if check["name"] == "batches"]
    assert (doctor.code, found["state"]) == (1, "failed")
    assert said in found["detail"]


def test_topic_that_is_gone_is_flagged_by_status(with_broker: Ummp, broker_settings: Settings) -> None:
    topic = topic_names(broker_settings).labels
    _plan(broker_settings, Batch(topic, 1, (OffsetRange(0, 0, 1),)))
    assert f"needs you: topic {topic} no longer exists, but 1 batches were planned" in with_broker.here("status").out


def test_batch_without_attempts_left_is_shown_with_the_command_that_ends_it(
    with_broker: Ummp, broker_settings: Settings
) -> None:
    assert with_broker.here("submit", "-d", "pages", "u1").code == 0
    topic = topic_names(broker_settings).requests_normal
    for number in (1, 2, 3):
        _plan(broker_settings, Batch(topic, number, (OffsetRange(0, 0, 0),)))
    keys = [f"{topic}~{number:08d}" for number in (1, 2, 3)]
    # The second has an attempt left, one of the third is under way.
    counts = {keys[0]: (25, 25), keys[1]: (24, 24), keys[2]: (25, 26)}

    with _web_server(counts) as port, claim_home(broker_settings.home_path):
        StackState(pid=os.getpid(), ui_port=port).write(broker_settings.home_path)
        document = with_broker.here("status", "--json").document
        shown = with_broker.here("status").out
        doctor = with_broker.here("doctor", "--json").document

    assert document["exhausted_batches"] == keys[:1]
    # Of the third batch a run is under way.
    assert [run["batch"] for run in document["failed_runs"]] == keys[:2]
    assert f"failed: run run-1 of batch {keys[1]}, which the sensor asks for again" in shown
    assert "run run-0" not in shown
    command = f'ummp abandon {keys[0]} --reason "..."'
    assert f"needs you: batch {keys[0]} failed 25 times and is not tried again" in shown
    assert command in shown
    [found] = [check for check in doctor["checks"] if check["name"] == "batches"]
    assert (found["state"], found["detail"]) == ("failed", "1 batches have used up their attempts")
    assert command in found["advice"]


@contextmanager
def _web_server(counts: Mapping[str, tuple[int, int]]) -> Iterator[int]:
    """A stand-in for Dagster's, which would take minutes to fail so often; its counts of runs are by batch."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            query: str = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["query"]
            data: dict[str, Any] = {name: {"count": 0} for name in ("queued", "running", "failed", "succeeded")}
            data["runsOrError"] = {"results": [_failed(number, key) for number, key in enumerate(counts)]}
            data["workspaceOrError"] = {"locationEntries": [{"loadStatus": "LOADED", "locationOrLoadError": None}]}
            data["instance"] = {"daemonHealth": {"allDaemonStatuses": []}}
            for alias, key in re.findall(r'((?:failed|all)\d+): [^{]*\{tags: \[\{[^}]*value: "([^"]+)"', query):
                data[alias] = {"count": counts[key][alias.startswith("all")]}
            body = json.dumps({"data": data}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _failed(number: int, batch: str) -> dict[str, Any]:
    return {"runId": f"run-{number}", "endTime": 1.0, "tags": [{"key": "dagster/partition", "value": batch}]}


def _plan(settings: Settings, batch: Batch) -> None:
    OffsetLog(open_store(settings)).put(batch, datetime(2026, 1, 1, tzinfo=UTC))


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
    # Into a pipe, of which 80 columns would be assumed.
    assert "…" not in with_broker.here("status", "--reasons").out
    assert with_broker.here("status", "--threshold", "clean.text.tokenizer=x").code == 2
