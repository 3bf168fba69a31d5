"""`ummp trace` on a store with a labelled version."""

import pytest

from ummp_assets.datasets.labels import apply_labels
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets_tests.cli.conftest import Ummp
from ummp_assets_tests.datasets.batches import TOPIC, Sample, digest, texts
from ummp_assets_tests.datasets.test_labels import label, put_labels
from ummp_assets_tests.datasets.test_takedown import commit_all

OWL = Sample("birds", "text", "an owl in the night", '"owl"', "http://birds.example/owl")


@pytest.fixture
def birds(store: ObjectStore, index: Index, settings: Settings) -> ObjectStore:
    commit_all(store, index, settings, 1, [*texts("birds", 12), OWL], 0)
    apply_labels(store, index, settings, put_labels(store, 1, [label("birds", "uri", str(OWL.uri), '"hawk"', "ann")]))
    return store


def test_trace_shows_the_way_of_a_sample_as_a_tree(ummp: Ummp, birds: ObjectStore) -> None:
    answer = ummp.here("trace", str(OWL.uri))
    assert answer.code == 0
    lines = [line.strip("│├└─ ") for line in answer.out.splitlines()]
    assert lines[0] == f"{TOPIC}~0~12 in birds: stored"
    assert f"message  topic {TOPIC}, partition 0, offset 12" in lines
    assert f"batch {TOPIC}~00000001" in lines
    assert f"fetch  sha256 {digest('raw ' + OWL.content)}" in lines
    assert f"clean  {digest(OWL.content)}" in lines
    assert "clean_text rule 1" in lines
    assert any(line.endswith("hawk by ann (ummp.labels~0~0)") for line in lines)
    assert [line.split(":")[0] for line in lines if line.startswith("birds from")] == [
        "birds from v1 to v1",
        "birds from v2 on",
    ]


def test_trace_of_a_version_and_a_shard_leads_back(ummp: Ummp, birds: ObjectStore) -> None:
    text = ummp.here("trace", "birds@2").out
    assert "birds v2, made by labels" in text
    (document,) = ummp.here("trace", "birds@latest", "--json").document
    assert document["version"] == 2
    shard = ummp.here("trace", birds.uri(document["shards"][0])).out
    assert f"{TOPIC}~00000001  partition: offsets  0: 0-12" in shard
    everything = ummp.here("trace", "birds@2", "--messages").out.splitlines()
    assert sorted(everything) == sorted(f"{TOPIC}~0~{number}" for number in range(13))
    assert ummp.here("trace", "birds@2", "--messages", "--json").document == everything


@pytest.mark.parametrize(
    ("target", "code", "complaint"),
    [
        ("nothing", 2, "nothing is known of 'nothing': expected a sample id"),
        (f"{TOPIC}~0~13", 2, "batches are planned up to offset 13"),
        ("birds@3", 1, "dataset birds has no version 3: its versions are 1 to 2"),
        ("fish@latest", 1, "there is no dataset fish"),
        ("datasets/birds/shards/none.parquet", 2, "no version holds or held a shard"),
        ("0" * 64, 2, "nothing is known"),
    ],
)
def test_trace_of_what_is_not_known_says_what_is(
    ummp: Ummp, birds: ObjectStore, target: str, code: int, complaint: str
) -> None:
    answer = ummp.here("trace", target)
    assert answer.code == code
    assert complaint in answer.err
    assert answer.out == ""


def test_messages_are_those_of_versions_and_shards_only(ummp: Ummp, birds: ObjectStore) -> None:
    answer = ummp.here("trace", f"{TOPIC}~0~1", "--messages")
    assert (answer.code, answer.err) == (2, f"Error: {TOPIC}~0~1 is neither a version nor a shard\n")
