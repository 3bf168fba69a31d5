"""The sample content: what is served, and that it is what the demo says it is."""

import http.client
import json
import sys
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ummp_assets.cli.demo.content import Sample, documents, photographs, sounds
from ummp_assets.cli.demo.report import describe, find_mismatches
from ummp_assets.cli.demo.requests import make_input
from ummp_assets.cli.demo.run import DemoOutcome, ReadyEvent
from ummp_assets.cli.demo.server import serve
from ummp_assets.cli.outcomes import STAGES, BatchOutcomes, ModalityOutcomes
from ummp_assets.errors import InvalidInput
from ummp_assets.messages.codec import Undecodable, decode
from ummp_assets.messages.schemas import RequestMessage
from ummp_assets.reasons import Reason

MAX_MESSAGE_BYTES = 1_000_000


def test_content_is_plenty_real_and_under_distinct_addresses() -> None:
    for samples, at_least in ((list(documents()), 100), (list(photographs()), 60), (list(sounds()), 40)):
        assert len(samples) >= at_least
        assert len({sample.path for sample in samples}) == len(samples)
        assert all(len(sample.read()) > 100 for sample in samples)


def test_input_holds_copies_and_failures_beside_the_content() -> None:
    given = make_input(MAX_MESSAGE_BYTES)
    requests = given.requests("http://h/")
    assert len(requests) == len({request["uri"] for request in requests})
    assert Counter(request["dataset"] for request in requests) == {
        "documents": len(given.samples["text"]) + 1,
        "photographs": len(given.samples["image"]) + 1,
        "sounds": len(given.samples["audio"]) + 1,
    }
    by_path = {sample.path: sample for samples in given.samples.values() for sample in samples}
    assert by_path["photographs/copies/astronaut.png"].read() == by_path["photographs/astronaut.png"].read()
    assert by_path["photographs/astronaut.png"].read().startswith(by_path["photographs/cut/astronaut.png"].read())
    assert by_path["documents/empty.txt"].read() == b""
    assert set(given.missing.values()).isdisjoint(by_path)


def test_unreadable_messages_are_unreadable_each_for_a_reason_of_its_own() -> None:
    reasons = []
    for value in make_input(MAX_MESSAGE_BYTES).unreadable:
        with pytest.raises(Undecodable) as failure:
            decode(RequestMessage, value, MAX_MESSAGE_BYTES)
        reasons.append(failure.value.reason)
    assert reasons == [
        Reason.NULL_VALUE,
        Reason.NOT_JSON,
        Reason.UNKNOWN_SCHEMA,
        Reason.INVALID_DATASET,
        Reason.MISSING_URI,
        Reason.MESSAGE_TOO_LARGE,
    ]


def test_server_serves_refuses_once_and_misses() -> None:
    samples = [Sample("documents/a.html", lambda: b"<p>a"), Sample("sounds/b.ogg", lambda: b"OggS")]
    with serve(samples, unsteady=["sounds/b.ogg"]) as server:
        connection = http.client.HTTPConnection(urlsplit(server.url).netloc)

        def get(path: str) -> tuple[int, str | None, str | None, bytes]:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.headers["Content-Type"], response.headers["Retry-After"], response.read()

        assert get("/documents/a.html") == (200, "text/html; charset=utf-8", None, b"<p>a")
        assert get("/sounds/b.ogg")[::2] == (503, "1")
        assert get("/sounds/b.ogg") == (200, "audio/ogg", None, b"OggS")
        assert get("/documents/gone.html")[0] == 404
        assert server.served == 2
        connection.close()


def outcome_of(batch: BatchOutcomes, **changes: object) -> DemoOutcome:
    events = (ReadyEvent("documents", 1, "m", 4, 1.0),)
    outcome = DemoOutcome(batch.messages, (batch,), events, {"documents": 1.0}, repeated=False)
    return replace(outcome, **changes)  # type: ignore[arg-type]


@pytest.fixture
def batch() -> BatchOutcomes:
    text = ModalityOutcomes(stored=4, duplicate=1, filtered=1, dead=1, byte_count=99)
    return BatchOutcomes("t~00000001", STAGES, 9, unreadable=2, modalities={"text": text})


def test_report_is_the_documented_json(batch: BatchOutcomes) -> None:
    nothing = {"messages": 0, "stored": 0, "duplicate": 0, "filtered": 0, "dead": 0, "bytes": 0}
    assert json.loads(json.dumps(describe(outcome_of(batch), 1.23456))) == {
        "seconds": 1.235,
        "modalities": {
            "text": {"messages": 7, "stored": 4, "duplicate": 1, "filtered": 1, "dead": 1, "bytes": 99},
            "image": nothing,
            "audio": nothing,
        },
        "unreadable_messages": 2,
        "datasets": [{"name": "documents", "version": 1, "rows": 4, "manifest": "m"}],
        "ready_events": 1,
    }


def test_mismatches_are_found_in_every_sum(batch: BatchOutcomes) -> None:
    assert list(find_mismatches(outcome_of(batch))) == []
    lost = outcome_of(replace(batch, messages=10))
    assert list(find_mismatches(lost)) == ["batch t~00000001 holds 10 messages, but 9 outcomes"]
    assert list(find_mismatches(outcome_of(batch, sent=11))) == ["11 messages were sent, but the batches hold 9"]
    few = outcome_of(batch, events=(ReadyEvent("documents", 1, "m", 3, 1.0),))
    assert list(find_mismatches(few)) == ["4 text samples were stored, but dataset documents has 3 rows"]
    assert list(find_mismatches(outcome_of(batch, events=()))) == [
        "4 text samples were stored, but dataset documents has 0 rows"
    ]


def test_demo_says_how_to_get_its_content_when_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(InvalidInput, match=r"pip install 'ummp-assets\[demo\]'"):
        list(photographs())


def test_content_comes_from_the_installed_packages() -> None:
    sample = next(iter(photographs()))
    spec = find_spec("skimage")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    assert sample.read() == (Path(spec.submodule_search_locations[0]) / "data" / "astronaut.png").read_bytes()
