"""Lineage from a sample to its versions and back, by look-ups that do not grow with the number of samples."""

import pytest
import sqlalchemy as sa

from ummp_assets.datasets.compaction import compact_dataset
from ummp_assets.datasets.labels import apply_labels
from ummp_assets.datasets.takedown import apply_takedowns
from ummp_assets.datasets.trace import trace
from ummp_assets.datasets.versions import read_version
from ummp_assets.errors import InvalidInput
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.datasets.batches import TOPIC, Sample, digest, filtered, put_batch, texts
from ummp_assets_tests.datasets.test_commit import commit
from ummp_assets_tests.datasets.test_labels import label, put_labels
from ummp_assets_tests.datasets.test_takedown import NOW, commit_all, put_takedowns

SAMPLE = Sample("birds", "text", "the one that is traced", '"owl"', "http://birds.example/one")


def test_trace_of_a_sample_tells_its_whole_way(store: ObjectStore, index: Index, settings: Settings) -> None:
    commit_all(store, index, settings, 1, [*texts("birds", 4), SAMPLE], 0)
    batch = put_labels(store, 1, [label("birds", "uri", str(SAMPLE.uri), '"hawk"', "ann")])
    apply_labels(store, index, settings, batch)
    compact_dataset(store, index, settings, "birds")
    (found,) = trace(store, index, f"{TOPIC}~0~4")
    assert (found["dataset"], found["modality"], found["outcome"]) == ("birds", "text", "stored")
    assert found["message"]["batch"] == f"{TOPIC}~00000001"
    assert found["message"]["offset"] == 4
    assert found["fetch"]["sha256"] == digest("raw " + SAMPLE.content)
    assert found["fetch"]["attempts"] == "[]"
    assert found["clean"]["content_sha256"] == digest(SAMPLE.content)
    assert found["clean"]["label"] == '"owl"'
    assert found["features"]["tokens"] == len(SAMPLE.content)
    assert found["rules"]["clean_text"] == {"rule": "1"}
    assert [(item["label"], item["annotator"], item["message"]) for item in found["labels"]] == [
        ('"hawk"', "ann", "ummp.labels~0~0")
    ]
    assert found["rejection"] is None
    assert "text" not in found["clean"]
    ranges = sorted((shard["first_version"], shard["last_version"]) for shard in found["shards"])
    assert ranges[0] == (1, 1)
    assert ranges[-1][1] is None


@pytest.mark.parametrize("target", [SAMPLE.uri, digest("raw " + SAMPLE.content)])
def test_trace_by_uri_and_by_hash_finds_the_sample(
    target: str, store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit(store, index, settings, put_batch(store, 1, [SAMPLE]))
    (found,) = trace(store, index, target)
    assert found["sample_id"] == f"{TOPIC}~0~0"


def test_trace_of_a_rejected_sample_says_which_stage_and_why(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit(store, index, settings, put_batch(store, 1, texts("birds", 2), rejections=[filtered("birds", 2)]))
    (found,) = trace(store, index, f"{TOPIC}~0~2")
    assert found["outcome"] == "dead"
    assert found["rejection"]["stage"] == "clean_text"
    assert (found["rejection"]["reason"], found["rejection"]["detail"]) == ("corrupt_text", "no text")
    assert found["shards"] == []


def test_trace_of_a_shard_and_a_version_leads_back_to_the_messages(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    for number in range(3):
        batch = put_batch(store, number + 1, texts("birds", 5, 5 * number), start=5 * number)
        commit(store, index, settings, batch)
    version = compact_dataset(store, index, settings, "birds")
    assert version is not None
    shard = max(version.shards, key=lambda shard: shard.rows)
    (found,) = trace(store, index, store.uri(shard.path))
    assert found["batches"][1] == {"batch": f"{TOPIC}~00000002", "offsets": {"0": [5, 10]}}
    assert len(found["batches"]) == 3
    assert len(found["sample_ids"]) == shard.rows
    (back,) = trace(store, index, "birds@2")
    assert [item["batch"] for item in back["added_batches"]] == [f"{TOPIC}~00000002"]
    assert back["batches"] == [f"{TOPIC}~00000001", f"{TOPIC}~00000002"]
    assert back["sha256"] == read_version(store, "birds", 2).sha256


def test_trace_after_a_takedown_names_the_order(store: ObjectStore, index: Index, settings: Settings) -> None:
    commit_all(store, index, settings, 1, [*texts("birds", 4), SAMPLE], 0)
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(SAMPLE.uri))]), now=NOW)
    (found,) = trace(store, index, f"{TOPIC}~0~4")
    assert found["takedowns"][0]["reason"] == "asked by the author"
    assert (found["fetch"], found["clean"], found["features"]) == (None, None, None)
    assert found["rejection"]["reason"] == "takedown"


def test_trace_of_something_unknown_says_what_is_expected(store: ObjectStore, index: Index) -> None:
    with pytest.raises(InvalidInput, match="nothing is known of 'x': expected a sample id"):
        trace(store, index, "x")
    with pytest.raises(InvalidInput, match="no version holds or held a shard"):
        trace(store, index, "datasets/birds/shards/x.parquet")


def test_trace_asks_the_index_by_key_only(store: ObjectStore, index: Index, settings: Settings) -> None:
    """A million samples in the index change nothing where no look-up scans a table: SQLite's own plan says so."""
    commit(store, index, settings, put_batch(store, 1, [SAMPLE]))
    plans: list[str] = []

    def explain(connection: sa.Connection, _cursor: object, statement: str, parameters: object, *_: object) -> None:
        if statement.startswith("SELECT"):
            raw = connection.connection.driver_connection
            assert raw is not None
            plans.extend(row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

    sa.event.listen(sa.Engine, "before_cursor_execute", explain)
    trace(store, index, f"{TOPIC}~0~0")
    sa.event.remove(sa.Engine, "before_cursor_execute", explain)
    assert len(plans) > 5
    assert [plan for plan in plans if plan.startswith("SCAN") and "takedowns" not in plan] == []
