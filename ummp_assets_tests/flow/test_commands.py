"""What a person does about data that is there: take it down, send dead letters again, replay, trace; by the command."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from ummp_assets.cli import main
from ummp_assets.cli.demo.server import SampleServer
from ummp_assets.datasets.versions import read_version
from ummp_assets.messages.topics import topic_names
from ummp_assets.settings import load_settings
from ummp_assets_tests.cli.conftest import SCRIPT, TIMEOUT_SECONDS
from ummp_assets_tests.datasets.searching import files_with_bytes
from ummp_assets_tests.flow.batches import read_topic, run_batch, tick
from ummp_assets_tests.flow.conftest import Place


def ummp(*arguments: str) -> Any:
    """Run the command in this process and return its JSON."""
    result = CliRunner().invoke(main, [*arguments, "--json"], prog_name="ummp")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def run_planned(instance: dg.DagsterInstance, role: str) -> str:
    [*_, asked] = tick(instance, f"{role}_sensor").run_requests or []
    key = str(asked.partition_key)
    assert run_batch(instance, key, job=f"{role}_job").success
    return key


@pytest.fixture
def shelf(tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files may be fetched."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("UMMP_FETCH__ALLOWED_ROOTS", json.dumps([str(folder)]))
    return folder


def test_takedown_command_shows_asks_waits_and_leaves_no_byte(
    place: Place, instance: dg.DagsterInstance, site: SampleServer
) -> None:
    ummp("submit", "-d", "documents", *(site.url + path[1:] for path in sorted(site.samples) if "/documents/" in path))
    run_planned(instance, "requests")
    document = next(path for path in sorted(site.samples) if path.startswith("/documents/"))
    content = site.samples[document].read()
    uri = site.url + document[1:]
    needle = longest_line(content)
    before = read_version(place.store, "documents")
    assert files_with_bytes(place.store, needle)

    order = ["takedown", "--uri", uri, "--reason", "asked by its author"]
    refused = CliRunner().invoke(main, order, input="n\n", prog_name="ummp")
    assert refused.exit_code == 1
    assert "1 rows of dataset documents" in refused.stderr
    assert not read_topic(place.settings, topic_names(place.settings).takedowns)

    order = [SCRIPT, *order, "--json", "--yes", "--requested-by", "author@example.org", "--timeout", "60"]
    with subprocess.Popen(order, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
        with no_purge_delay():
            assert run_batch(instance, until_planned(instance, "takedowns"), job="takedowns_job").success
        out, err = waiting.communicate(timeout=TIMEOUT_SECONDS)
    assert waiting.returncode == 0, err
    receipt = json.loads(out)

    assert receipt["orders"][0]["requested_by"] == "author@example.org"
    assert receipt["versions_without"]["documents"] == before.version + 1
    assert files_with_bytes(place.store, needle) == []
    assert files_with_bytes(place.store, content[:2_000]) == []
    sent = [json.loads(record.value) for record in read_topic(place.settings, topic_names(place.settings).datasets)]
    assert [item["sha256"] for item in sent if item["schema"] == "ummp.takedown-receipt/1"] == [receipt["sha256"]]
    (found,) = [item for item in ummp("trace", uri) if item["rejection"]]
    assert (found["reason"], found["takedowns"][0]["reason"]) == ("takedown", "asked by its author")


@contextmanager
def no_purge_delay() -> Iterator[None]:
    os.environ["UMMP_DATASETS__PURGE_DELAY_HOURS"] = "0"
    try:
        yield
    finally:
        del os.environ["UMMP_DATASETS__PURGE_DELAY_HOURS"]


def longest_line(content: bytes) -> bytes:
    line = max(content.splitlines(), key=len).strip()
    assert len(line) > 40
    return line[:200]


def until_planned(instance: dg.DagsterInstance, role: str) -> str:
    for _ in range(200):
        asked: Sequence[dg.RunRequest] = tick(instance, f"{role}_sensor").run_requests or []
        if asked:
            return str(asked[-1].partition_key)
    raise AssertionError("the order never came")


def test_messages_are_processed_again_by_replay_and_dead_letters_sent_again(
    place: Place, instance: dg.DagsterInstance, shelf: Path
) -> None:
    there, late, brief, missing = (shelf / f"{name}.txt" for name in ("there", "late", "brief", "missing"))
    there.write_text("The first edition of a page that is long enough.")
    brief.write_text("A page that will be gone when it is asked for again.")
    ummp("submit", "-d", "pages", *(f"file://{path}" for path in (there, late, brief, missing)))
    first = run_planned(instance, "requests")
    ids = {path: ummp("trace", f"file://{path}")[0]["sample_id"] for path in (there, late, brief)}
    assert read_version(place.store, "pages").rows == 2

    there.write_text("The second edition of a page that is long enough.")
    late.write_text("This page has come in the meantime, as it should.")
    brief.unlink()
    planned = ummp("replay", first)
    (again,) = planned["batches"]
    assert (again, planned["messages"]) == (f"{topic_names(place.settings).requests_normal}.replay~00000001", 4)
    assert run_planned(instance, "requests") == again
    version = read_version(place.store, "pages")
    assert (version.version, version.rows) == (2, 3)
    assert list(version.watermark) == [topic_names(place.settings).requests_normal]
    assert [item["sample_id"] for item in ummp("trace", f"file://{late}")] == [ids[late]]
    editions = [text for text in texts_of(place) if "edition" in text]
    assert editions == ["The second edition of a page that is long enough."]
    (kept,) = ummp("trace", f"file://{brief}")
    assert (kept["outcome"], kept["message"]["batch"]) == ("stored", first)

    missing.write_text("It is there at last, and long enough to be kept.")
    letters = ummp("dead", "list", "--reason", "object_not_found")["letters"]
    # Of the first batch two files were missing, of its replay two as well.
    assert len(letters) == 4
    named = [
        item["letter"] for item in letters if item["sample_id"] == ummp("trace", f"file://{missing}")[0]["sample_id"]
    ]
    (sent, _) = ummp("dead", "redrive", *named)["sent"]
    ummp("takedown", "--sample-id", ids[there], "--reason", "test", "--yes", "--no-wait")
    assert run_planned(instance, "requests") not in (first, again)
    (found,) = ummp("trace", sent["message"])
    assert (found["outcome"], found["message"]["headers"]) == ("stored", {"ummp-redriven": named[0]})

    # The takedown finds what either batch left.
    with no_purge_delay():
        run_planned(instance, "takedowns")
    for edition in (b"first edition", b"second edition"):
        assert files_with_bytes(place.store, edition) == []


def texts_of(place: Place) -> Iterator[str]:
    import ummp_assets

    for split in ("train", "validation", "test"):
        table = ummp_assets.open_dataset(
            "pages", split=split, columns=["text"], settings=load_settings(home=place.home)
        )
        yield from table.to_arrow().column("text").to_pylist()
