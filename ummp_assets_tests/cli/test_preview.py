"""`ummp datasets preview` on a dataset that was cleaned from real documents."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest

from ummp_assets.clean.text import clean_text
from ummp_assets.cli.demo.content import documents
from ummp_assets.datasets.commit import COMMIT_SCHEMA
from ummp_assets.datasets.versions import DatasetVersion, create_version
from ummp_assets.messages.offset_log import OffsetLog
from ummp_assets.messages.ranges import Batch, OffsetRange, parse_key
from ummp_assets.settings import load_settings
from ummp_assets.storage.index import open_index
from ummp_assets.storage.objects import ObjectStore, open_store
from ummp_assets.storage.stages import StageWriter, read_table
from ummp_assets_tests.clean.downloads import BATCH, put_downloads, raw_row
from ummp_assets_tests.cli.conftest import Ummp

LENGTHS = "clean.text.min_characters"


def _mark_committed(store: ObjectStore, batch: str) -> None:
    with StageWriter(store, "dataset_commits", batch, {"samples": COMMIT_SCHEMA}) as writer:
        writer.commit(code_version="1")


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ummp, list[int]]]:
    """The command on a store with a dataset `docs` of documents, and the lengths of those."""
    home = tmp_path_factory.mktemp("preview")
    settings = load_settings(home=home)
    store, index = open_store(settings), open_index(settings)
    topic, _, number = BATCH.partition("~")
    OffsetLog(store).put(Batch(topic, int(number), (OffsetRange(0, 0, 12),)), datetime(2026, 1, 1, tzinfo=UTC))
    put_downloads(store, [raw_row(place, item.read()) for place, item in enumerate(islice(documents(), 12))])
    manifest = clean_text(store, index, settings, BATCH)
    _mark_committed(store, BATCH)
    create_version(store, DatasetVersion("docs", 1, None, None, "batch", (BATCH,)))
    rows = read_table(store, manifest, "samples", columns=["characters"])
    yield Ummp(home, {}), sorted(length for part in rows for length in part.column("characters").to_pylist())
    index.close()


def test_preview_counts_what_a_setting_would_lose(cleaned: tuple[Ummp, list[int]]) -> None:
    ummp, lengths = cleaned
    median = lengths[len(lengths) // 2]

    document = ummp.here("datasets", "preview", "docs", "--set", f"{LENGTHS}={median}", "--json").document

    assert document["settings"] == {LENGTHS: {"from": 1, "to": median}}
    assert (document["stored"]["samples"], document["gained"]["samples"]) == (len(lengths), 0)
    assert document["lost"]["samples"] == sum(length < median for length in lengths)
    [rule] = document["rules"]
    assert (rule["reason"], rule["setting"], rule["limit"]) == ("text_too_short", LENGTHS, median)
    assert 0 < len(rule["lost_examples"]) <= 3
    shown = ummp.here("datasets", "preview", "docs", "--set", f"{LENGTHS}={median}").out
    assert f"{LENGTHS} = {median} (now 1)" in shown
    assert f"lost by text_too_short: {rule['lost_examples'][0]}" in shown


def test_rules_that_are_not_in_force_can_be_tried(cleaned: tuple[Ummp, list[int]]) -> None:
    ummp, _ = cleaned
    name = "clean.text.gopher_repetition.top_n_grams.2"

    alone = ummp.here("datasets", "preview", "docs", "--set", f"{name}=0.0", "--json").document
    both = ("--set", f"{name}=0.0", "--set", 'clean.text.quality_rules=["gopher_repetition"]')
    together = ummp.here("datasets", "preview", "docs", *both, "--json").document

    assert (alone["lost"]["samples"], alone["not_in_force"]) == (0, ["gopher_repetition"])
    assert together["not_in_force"] == []
    assert together["lost"]["samples"] == together["stored"]["samples"]
    assert together["settings"][name] == {"from": 0.2, "to": 0.0}


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        ("clean.text.tokenizer=o200k_base", "no stored measurement judges it"),
        ("clean.image.side_pixels=128", "no stored measurement judges it"),
        ("clean.image.near_duplicate_bits=2", "the index keeps its verdicts on duplicates"),
        ("clean.text.min_word=3", "there is no such setting"),
        ("clean.text.min_characters", "is not NAME=VALUE"),
        (
            "clean.text.min_characters=-3",
            "UMMP_CLEAN__TEXT__MIN_CHARACTERS: Input should be greater than or equal to 0",
        ),
    ],
)
def test_settings_that_cannot_be_tried_are_wrong_use(
    cleaned: tuple[Ummp, list[int]], assignment: str, complaint: str
) -> None:
    answer = cleaned[0].here("datasets", "preview", "docs", "--set", assignment)

    assert answer.code == 2
    assert complaint in answer.err
    if "no stored measurement" in complaint:
        assert "clean.text.gopher_quality.min_words" in answer.err


def test_preview_counts_each_sample_of_committed_batches_once(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path)
    store, index = open_store(settings), open_index(settings)
    topic = BATCH.partition("~")[0]
    contents = {
        f"{topic}~00000001": {0: "zero " * 20, 1: "one " * 20, 2: "two", 3: ""},
        # On its way, or given up.
        f"{topic}~00000002": {4: "four " * 20},
        # Stored nothing, so that no version names it.
        f"{topic}~00000003": {5: ""},
        # Replaces the row of 0, cannot replace that of 1, and again neither stores 2 nor 3.
        f"{topic}.replay~00000001": {0: "nil " * 30, 1: "", 2: "", 3: ""},
        f"{topic}.replay~00000002": {2: "twice " * 20},
    }
    for key, documents_by_offset in contents.items():
        name, number = parse_key(key)
        ranges = (OffsetRange(0, min(documents_by_offset), max(documents_by_offset) + 1),)
        OffsetLog(store).put(Batch(name, number, ranges), datetime(2026, 1, 1, tzinfo=UTC))
        put_downloads(store, [raw_row(at, text.encode()) for at, text in documents_by_offset.items()], key)
        clean_text(store, index, settings, key)
        if "00000002" not in key or "replay" in key:
            _mark_committed(store, key)
    create_version(store, DatasetVersion("docs", 1, None, None, "batch", (f"{topic}~00000001",)))
    index.close()

    answer = Ummp(tmp_path, {}).here("datasets", "preview", "docs", "--set", f"{LENGTHS}=85", "--json").document
    empty = Ummp(tmp_path, {}).here("datasets", "preview", "docs", "--set", f"{LENGTHS}=0", "--json").document

    # 0 has 119 characters since its replay, 1 has 79 and 2 has 119.
    assert (answer["batches"], answer["stored"]["samples"], answer["lost"]["samples"]) == (4, 3, 1)
    assert answer["rules"][0]["lost_examples"] == [f"{topic}~0~1"]
    assert sorted(empty["rules"][0]["gained_examples"]) == [f"{topic}~0~3", f"{topic}~0~5"]


def test_preview_of_an_unknown_dataset_names_those_that_there_are(cleaned: tuple[Ummp, list[int]]) -> None:
    answer = cleaned[0].here("datasets", "preview", "nobody", "--set", f"{LENGTHS}=5")

    assert answer.code != 0
    assert "docs" in answer.err
