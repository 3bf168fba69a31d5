"""Lineage from a sample to its versions and back, by look-ups that do not grow with the number of samples."""

import pytest
import sqlalchemy as sa

from ummp_assets.datasets.compaction import compact_dataset
from ummp_assets.datasets.labels import apply_labels
from ummp_assets.datasets.takedown import apply_takedowns
from ummp_assets.datasets.trace import find_lineage, sample_ids_of, trace
from ummp_assets.datasets.versions import read_version
from ummp_assets.errors import InvalidInput
from ummp_assets.reasons import Reason
from ummp_assets.records import Rejection
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import StageWriter
from ummp_assets_tests.datasets.batches import TOPIC, Sample, digest, filtered, put_batch, texts
from ummp_assets_tests.datasets.test_commit import commit
from ummp_assets_tests.datasets.test_labels import label, put_labels
from ummp_assets_tests.datasets.test_takedown import NOW, commit_all, put_takedowns
from ummp_assets_tests.fetch.batches import commit_requests, request_row

SAMPLE = Sample("birds", "text", "the one that is traced", '"owl"', "http://birds.example/one")


def test_trace_of_a_sample_tells_its_whole_way(store: ObjectStore, index: Index, settings: Settings) -> None:
    commit_all(store, index, settings, 1, [*texts("birds", 4), SAMPLE], 0)
    batch = put_labels(store, 1, [label("birds", "uri", str(SAMPLE.uri), '"hawk"', "ann")])
    apply_labels(store, index, settings, batch)
    compact_dataset(store, index, settings, "birds")
    (found,) = find_lineage(store, index, f"{TOPIC}~0~4")
    assert (found["dataset"], found["modality"], found["outcome"]) == ("birds", "text", "stored")
    assert found["message"]["batch"] == f"{TOPIC}~00000001"
    assert found["message"]["offset"] == 4
    assert found["fetch"]["sha256"] == digest("raw " + SAMPLE.content)
    assert found["fetch"]["attempts"] == []
    assert found["clean"]["content_sha256"] == digest(SAMPLE.content)
    assert found["clean"]["label"] == "owl"
    assert found["features"]["tokens"] == len(SAMPLE.content)
    assert found["rules"]["clean_text"] == {"rule": "1"}
    assert [(item["label"], item["annotator"], item["message"]) for item in found["labels"]] == [
        ("hawk", "ann", "ummp.labels~0~0")
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
    (found,) = find_lineage(store, index, target)
    assert found["sample_id"] == f"{TOPIC}~0~0"


def test_trace_of_a_rejected_sample_says_which_stage_and_why(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit(store, index, settings, put_batch(store, 1, texts("birds", 2), rejections=[filtered("birds", 2)]))
    (found,) = find_lineage(store, index, f"{TOPIC}~0~2")
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
    (found,) = find_lineage(store, index, store.uri(shard.path))
    assert found["batches"][1] == {"batch": f"{TOPIC}~00000002", "offsets": {"0": [5, 10]}}
    assert len(found["batches"]) == 3
    assert len(found["sample_ids"]) == shard.rows
    (back,) = find_lineage(store, index, "birds@2")
    assert [item["batch"] for item in back["added_batches"]] == [f"{TOPIC}~00000002"]
    assert back["batches"] == [f"{TOPIC}~00000001", f"{TOPIC}~00000002"]
    assert back["sha256"] == read_version(store, "birds", 2).sha256


def test_trace_after_a_takedown_names_the_order(store: ObjectStore, index: Index, settings: Settings) -> None:
    commit_all(store, index, settings, 1, [*texts("birds", 4), SAMPLE], 0)
    apply_takedowns(store, index, settings, put_takedowns(store, 1, [("uri", str(SAMPLE.uri))]), now=NOW)
    (found,) = find_lineage(store, index, f"{TOPIC}~0~4")
    assert found["takedowns"][0]["reason"] == "asked by the author"
    assert (found["fetch"], found["clean"], found["features"]) == (None, None, None)
    assert found["rejection"]["reason"] == "takedown"


def test_trace_of_something_unknown_says_what_is_expected(store: ObjectStore, index: Index) -> None:
    with pytest.raises(InvalidInput, match="nothing is known of 'x': expected a sample id"):
        find_lineage(store, index, "x")
    with pytest.raises(InvalidInput, match="no version holds or held a shard"):
        find_lineage(store, index, "datasets/birds/shards/x.parquet")


def test_trace_by_a_uri_that_ends_as_a_shard_does_finds_the_sample(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    uri = "http://example.org/rows.parquet"
    commit(store, index, settings, put_batch(store, 1, [Sample("birds", "text", "a row", uri=uri)]))
    (found,) = find_lineage(store, index, uri)
    assert found["sample_id"].endswith("~0~0")


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
    find_lineage(store, index, f"{TOPIC}~0~0")
    sa.event.remove(sa.Engine, "before_cursor_execute", explain)
    assert len(plans) > 5
    assert [plan for plan in plans if plan.startswith("SCAN") and "takedowns" not in plan] == []


def test_trace_by_the_hash_of_a_content_finds_its_owner(store: ObjectStore, index: Index, settings: Settings) -> None:
    index.claim("birds", "text", [(digest(SAMPLE.content), f"{TOPIC}~0~0")])
    commit(store, index, settings, put_batch(store, 1, [SAMPLE]))
    (found,) = find_lineage(store, index, digest(SAMPLE.content))
    assert found["sample_id"] == f"{TOPIC}~0~0"


def test_trace_of_a_duplicate_names_its_twin(store: ObjectStore, index: Index, settings: Settings) -> None:
    twin = Rejection(f"{TOPIC}~0~1", "birds", "text", "http://x/", Reason.NEAR_DUPLICATE, "", 0.9, f"{TOPIC}~0~0")
    commit(store, index, settings, put_batch(store, 1, [SAMPLE], rejections=[twin]))
    (found,) = find_lineage(store, index, f"{TOPIC}~0~1")
    assert (found["outcome"], found["reason"]) == ("duplicate", "near_duplicate")
    assert (found["rejection"]["twin"], found["rejection"]["measured"]) == (f"{TOPIC}~0~0", 0.9)


def test_trace_of_a_message_under_way_shows_how_far_it_came(store: ObjectStore, index: Index) -> None:
    put_batch(store, 1, texts("birds", 2))
    dead = Rejection(f"{TOPIC}~0~1", "birds", "text", "http://x/", Reason.TIMED_OUT, "no answer in 300 s")
    with StageWriter(store, "downloads", f"{TOPIC}~00000001", {}) as writer:
        writer.reject([dead])
        writer.commit(code_version="1")
    commit_requests(store, ["http://a/", request_row(1, "http://b/", attributes='{"page": 3}')])
    (first,) = find_lineage(store, index, f"{TOPIC}~0~0")
    assert (first["outcome"], first["message"]["batch"]) == ("under way", f"{TOPIC}~00000001")
    (second,) = find_lineage(store, index, f"{TOPIC}~0~1")
    assert (second["outcome"], second["reason"]) == ("dead", "timed_out")
    assert (second["message"]["uri"], second["message"]["attributes"]) == ("http://b/", {"page": 3})
    assert (second["rejection"]["stage"], second["shards"]) == ("downloads", [])


def test_trace_of_offsets_that_no_batch_holds_says_how_far_batches_go(store: ObjectStore, index: Index) -> None:
    put_batch(store, 1, texts("birds", 2))
    with pytest.raises(
        InvalidInput, match=r"no batch holds offset 2 of partition 0 .*: batches are planned up to offset 2"
    ):
        find_lineage(store, index, f"{TOPIC}~0~2")
    with pytest.raises(InvalidInput, match="no batch of topic nowhere was ever planned"):
        find_lineage(store, index, "nowhere~0~2")


def test_trace_of_an_archives_message_finds_its_members(store: ObjectStore, index: Index, settings: Settings) -> None:
    members = [
        Rejection(f"{TOPIC}~0~1~page/{n}.txt", "birds", "text", "http://x/", Reason.TEXT_TOO_SHORT, "") for n in (1, 2)
    ]
    commit(store, index, settings, put_batch(store, 1, [SAMPLE], rejections=members))
    found = find_lineage(store, index, f"{TOPIC}~0~1")
    assert [item["sample_id"] for item in found] == [item.sample_id for item in members]


def test_trace_of_a_label_message_shows_its_row(store: ObjectStore, index: Index) -> None:
    put_labels(store, 1, [label("birds", "uri", "http://x/", '"hawk"', "ann")])
    (found,) = find_lineage(store, index, "ummp.labels~0~0")
    assert (found["message"]["stage"], found["message"]["label"], found["message"]["target"]) == (
        "labels",
        "hawk",
        "http://x/",
    )


def test_trace_of_a_shard_by_its_hash_and_of_the_newest_version(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    commit(store, index, settings, put_batch(store, 1, texts("birds", 5)))
    version = read_version(store, "birds")
    shard = version.shards[0]
    (found,) = find_lineage(store, index, shard.sha256)
    assert (found["shard"], found["purged"]) == (shard.path, False)
    (newest,) = find_lineage(store, index, "birds@latest")
    assert (newest["version"], newest["rows"]) == (1, 5)
    assert sorted(sample_ids_of(store, index, "birds@1")) == [f"{TOPIC}~0~{number}" for number in range(5)]
    assert sorted(sample_ids_of(store, index, shard.path)) == sorted(found["sample_ids"])


def test_public_trace_opens_what_the_settings_name(store: ObjectStore, index: Index, settings: Settings) -> None:
    commit(store, index, settings, put_batch(store, 1, [SAMPLE]))
    assert trace(str(SAMPLE.uri), settings=settings) == find_lineage(store, index, str(SAMPLE.uri))
