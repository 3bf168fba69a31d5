"""A batch that is given up: what it claimed goes to the copies, early and late ones, and nothing is stored twice."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ummp_assets.cli.outcomes import read_outcomes
from ummp_assets.datasets.abandonment import abandon_batch
from ummp_assets.datasets.promote import promote_twins
from ummp_assets.datasets.reader import open_dataset
from ummp_assets.datasets.receipts import read_receipt
from ummp_assets.datasets.takedown import apply_takedowns
from ummp_assets.datasets.versions import read_version
from ummp_assets.errors import BatchAbandoned, InvalidInput
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.planning import plan_tick
from ummp_assets.messages.progress import done_through
from ummp_assets.messages.ranges import Batch
from ummp_assets.messages.topics import Role, ensure_topics, topic_names
from ummp_assets.modality_stages import modality_stages
from ummp_assets.settings import FetchSettings, Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import read_manifest
from ummp_assets_tests.datasets.searching import files_with_bytes
from ummp_assets_tests.datasets.test_takedown import put_takedowns
from ummp_assets_tests.flow.batches import read_topic, send
from ummp_assets_tests.flow.kill_points import RAW, REST
from ummp_assets_tests.messages.deployments import make_settings

TEXT = " ".join(f"word{number}" for number in range(300))


class Pipeline:
    """Files that are requested, and the stages of a batch as plain functions."""

    def __init__(self, folder: Path, store: ObjectStore, index: Index, settings: Settings) -> None:
        self.folder, self.store, self.index, self.settings = folder, store, index, settings
        self.topic = topic_names(settings).requests_normal

    def plan(self, **files: str) -> str:
        """Write files, request each, and plan the batch of what waits; its key."""
        for name, text in files.items():
            (self.folder / name).write_text(text)
        uris = [f"file://{self.folder / name}" for name in files]
        send(
            self.settings,
            self.topic,
            *({"schema": "ummp.request/1", "dataset": "pages", "uri": uri, "modality": "text"} for uri in uris),
        )
        return self.plan_waiting()

    def plan_waiting(self) -> str:
        tick = plan_tick(
            self.store, self.settings, Role.REQUESTS, cursor=None, now=datetime.now(UTC), queued={self.topic: 0}
        )
        return tick.batches[-1].key

    def run(self, batch: str, first: str = "requests", last: str = "progress") -> None:
        stages = {**RAW, **REST}
        names = list(stages)
        for name in names[names.index(first) : names.index(last) + 1]:
            stages[name](self.store, self.index, self.settings, batch)

    def abandon(self, batch: str) -> int:
        return abandon_batch(self.store, self.index, self.settings, batch, "it never gets through")

    def promote(self) -> int:
        return len(promote_twins(self.store, self.index, self.settings, modality_stages(self.settings)))

    def stored(self) -> list[str]:
        """Names of the files in the dataset, those of all splits."""
        parts = [open_dataset("pages", split=name, settings=self.settings) for name in ("train", "validation", "test")]
        return sorted(row["uri"].rpartition("/")[2] for part in parts for row in part.to_arrow().to_pylist())


@pytest.fixture
def pipeline(tmp_path: Path, bootstrap_servers: str, store: ObjectStore, index: Index) -> Pipeline:
    files = tmp_path / "files"
    files.mkdir()
    fetch = FetchSettings(allowed_roots=(str(files),))
    settings = make_settings(tmp_path, bootstrap_servers, topic_partitions=1, fetch=fetch)
    ensure_topics(settings)
    return Pipeline(files, store, index, settings)


COPIES = pytest.mark.parametrize(
    "copy", [pytest.param(TEXT, id="exact"), pytest.param(TEXT.replace("word17 ", "bird17 "), id="near")]
)


@COPIES
def test_copy_that_is_committed_as_a_duplicate_enters_the_dataset(pipeline: Pipeline, copy: str) -> None:
    lost = pipeline.plan(original=TEXT, alone="Nobody else has this page about herons.")
    pipeline.run(lost, last="clean_text")
    pipeline.run(pipeline.plan(copy=copy, other="Another page, about kingfishers."))
    pipeline.run(pipeline.plan(second=copy))
    assert pipeline.stored() == ["other"]

    assert pipeline.abandon(lost) == 2
    assert [pipeline.promote(), pipeline.promote()] == [1, 0]

    assert pipeline.stored() == ["copy", "other"]
    letters = read_topic(pipeline.settings, topic_names(pipeline.settings).dead)
    assert [dict(letter.headers)["ummp-reason"] for letter in letters] == [b"batch_abandoned"] * 2
    # The duplicate is counted as stored instead; the batch of the second copy is in no version.
    outcomes = read_version(pipeline.store, "pages").outcomes
    assert [(item.outcome, item.reason, item.count) for item in outcomes] == [("stored", "", 2)]


@COPIES
def test_copy_on_its_way_enters_the_dataset_when_its_batch_is_committed(pipeline: Pipeline, copy: str) -> None:
    lost, going = pipeline.plan(original=TEXT), pipeline.plan(copy=copy, other="Another page, about kingfishers.")
    pipeline.run(lost, last="clean_text")
    pipeline.run(going, last="clean_text")

    pipeline.abandon(lost)
    assert pipeline.promote() == 0
    pipeline.run(going, first="clean_images")

    assert [pipeline.promote(), pipeline.promote()] == [1, 0]
    assert pipeline.stored() == ["copy", "other"]


@COPIES
def test_later_copy_owns_the_content(pipeline: Pipeline, copy: str) -> None:
    lost = pipeline.plan(original=TEXT)
    pipeline.run(lost, last="clean_text")
    pipeline.abandon(lost)

    pipeline.run(pipeline.plan(copy=copy))

    assert pipeline.stored() == ["copy"]


def _clean(pipeline: Pipeline, batch: str) -> None:
    REST["clean_text"](pipeline.store, pipeline.index, pipeline.settings, batch)


def _commit(pipeline: Pipeline, batch: str) -> None:
    REST["dataset_commits"](pipeline.store, pipeline.index, pipeline.settings, batch)


@pytest.mark.parametrize("stage", [_clean, _commit])
def test_batch_that_was_given_up_claims_and_commits_nothing_more(
    pipeline: Pipeline, stage: Callable[[Pipeline, str], None]
) -> None:
    lost = pipeline.plan(original=TEXT)
    pipeline.run(lost, last="training_shards")
    pipeline.abandon(lost)

    with pytest.raises(BatchAbandoned, match=f"batch {lost} was given up .*dead-letter topic"):
        stage(pipeline, lost)


def test_second_call_sends_nothing_twice(pipeline: Pipeline) -> None:
    lost = pipeline.plan(original=TEXT)
    pipeline.run(lost, last="clean_text")

    assert [pipeline.abandon(lost), pipeline.abandon(lost)] == [1, 1]

    assert len(read_topic(pipeline.settings, topic_names(pipeline.settings).dead)) == 1


def test_batch_that_was_given_up_no_longer_holds_up_the_progress(pipeline: Pipeline) -> None:
    lost, second = pipeline.plan(original=TEXT), pipeline.plan(other="Another page, about kingfishers.")
    pipeline.run(second)
    assert done_through(pipeline.store, pipeline.topic) == 0

    pipeline.abandon(lost)
    pipeline.run(second)

    assert done_through(pipeline.store, pipeline.topic) == 2


def test_batch_that_is_committed_unknown_or_none_of_requests_is_refused(pipeline: Pipeline) -> None:
    batch = pipeline.plan(original=TEXT)
    pipeline.run(batch)

    with pytest.raises(InvalidInput, match="is committed"):
        pipeline.abandon(batch)
    with pytest.raises(InvalidInput, match="was never planned"):
        pipeline.abandon(f"{pipeline.topic}~00000077")
    labels = OffsetLog(pipeline.store).put(Batch(topic_names(pipeline.settings).labels, 1, ()), datetime.now(UTC))
    with pytest.raises(InvalidInput, match="is none of requests"):
        pipeline.abandon(labels.key)
    assert pipeline.stored() == ["original"]


SECRET = "the secret sentence that must go"


@pytest.mark.parametrize("is_late", [True, False], ids=["late", "early"])
@pytest.mark.parametrize("last", ["downloads", "clean_text", "training_shards"])
def test_takedown_reaches_the_bytes_of_a_batch_that_was_given_up(pipeline: Pipeline, last: str, is_late: bool) -> None:
    lost = pipeline.plan(secret=SECRET, copy=f"{SECRET}\n", alone="Nobody else has this page about herons.")
    pipeline.run(lost, last=last)
    assert files_with_bytes(pipeline.store, SECRET.encode())
    raw = hashlib.sha256(SECRET.encode()).hexdigest()
    order = put_takedowns(pipeline.store, 1, [("sha256", raw), ("uri", f"file://{pipeline.folder / 'copy'}")])

    if is_late:
        pipeline.abandon(lost)
    apply_takedowns(pipeline.store, pipeline.index, pipeline.settings, order)
    if not is_late:
        pipeline.abandon(lost)

    assert files_with_bytes(pipeline.store, SECRET.encode()) == []
    assert read_manifest(pipeline.store, "downloads", lost).rows("samples") == 1
    # Each message still has one outcome: the stage that set a copy aside no longer says so.
    outcomes = read_outcomes(pipeline.store, OffsetLog(pipeline.store).get(lost))
    assert sum(outcomes.reasons.values()) == 3
    receipt = read_receipt(pipeline.store, order if is_late else lost)
    assert receipt is not None
    assert {item["batch"] for item in receipt["erased"]} == {lost}
    assert len(receipt["samples"]) == 2
    sent = read_topic(pipeline.settings, topic_names(pipeline.settings).datasets)
    assert [json.loads(record.value)["batch"] for record in sent] == ([] if is_late else [lost])
    assert pipeline.promote() == 0
