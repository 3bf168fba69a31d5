"""The stage `clean_text` on a real store and index."""

from pathlib import Path

from ummp_assets.clean.text import clean_text
from ummp_assets.reasons import Outcome
from ummp_assets.settings import Settings, load_settings
from ummp_assets.storage.index import Index, open_index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, read_table
from ummp_assets_tests.clean.downloads import BATCH, put_downloads, raw_row

ENGLISH = b"All human beings are born free and equal in dignity and rights.\r\n"


def table(store: ObjectStore, manifest: Manifest, name: str) -> list[dict[str, object]]:
    return [row for part in read_table(store, manifest, name) for row in part.to_pylist()]


def test_text_is_cleaned_with_its_identity_and_label(store: ObjectStore, index: Index, settings: Settings) -> None:
    raw = raw_row(1, ENGLISH, label='"law"', attributes='{"a": 1}')
    downloads = put_downloads(store, [raw])

    manifest = clean_text(store, index, settings, BATCH)

    (row,) = table(store, manifest, "samples")
    assert row["text"] == ENGLISH.decode().strip()
    assert (row["language"], row["encoding"], row["characters"]) == ("en", "utf-8", 63)
    assert {name: row[name] for name in ("sample_id", "dataset", "uri", "sha256", "label", "attributes")} == {
        name: raw[name] for name in ("sample_id", "dataset", "uri", "sha256", "label", "attributes")
    }
    assert manifest.inputs == {"downloads": downloads.sha256}
    assert manifest.numbers == {"bytes_in": 65, "samples_in": 1, "samples_out": 1}


def test_bad_samples_are_rejected_and_the_rest_is_kept(store: ObjectStore, index: Index, settings: Settings) -> None:
    store.write("blobs/large", b"Read from a blob.")
    put_downloads(
        store,
        [
            raw_row(1, ENGLISH),
            raw_row(2, b"\x00\x01\x02binary"),
            raw_row(3, ENGLISH.replace(b"\r\n", b"\n\n")),
            raw_row(4, b"   "),
            raw_row(5, b"", content=None, blob="blobs/large", byte_count=17),
            raw_row(6, b"", content=None, blob="blobs/never-read", byte_count=10**9),
        ],
    )

    manifest = clean_text(store, index, settings, BATCH)

    assert [row["text"] for row in table(store, manifest, "samples")] == [ENGLISH.decode().strip(), "Read from a blob."]
    rejected = {row["sample_id"]: (row["reason"], row["measured"]) for row in table(store, manifest, "outcomes")}
    assert rejected == {
        "ummp.requests.normal~0~2": ("corrupt_text", 1 / 3),
        "ummp.requests.normal~0~3": ("exact_duplicate", None),
        "ummp.requests.normal~0~4": ("text_too_short", 0),
        "ummp.requests.normal~0~6": ("text_too_large", 10**9),
    }
    assert manifest.count(Outcome.DEAD) == 1


def test_second_run_over_the_same_bytes_gives_the_same_files(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    put_downloads(store, [raw_row(number, ENGLISH * (number % 5 + 1)) for number in range(40)])

    first = clean_text(store, index, settings, BATCH)
    second = clean_text(store, index, settings, BATCH)

    assert first == second
    assert {count.reason: count.count for count in first.outcomes} == {"exact_duplicate": 35, "near_duplicate": 3}


def test_later_batch_names_the_owner_of_an_earlier_one(store: ObjectStore, index: Index, settings: Settings) -> None:
    put_downloads(store, [raw_row(1, ENGLISH)])
    clean_text(store, index, settings, BATCH)
    later = "ummp.requests.normal~00000002"
    put_downloads(store, [raw_row(9, ENGLISH)], later)

    manifest = clean_text(store, index, settings, later)

    (outcome,) = table(store, manifest, "outcomes")
    assert (outcome["reason"], outcome["twin"]) == ("exact_duplicate", "ummp.requests.normal~0~1")


def test_minimum_length_is_a_setting(store: ObjectStore, index: Index, tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path, clean={"text": {"min_characters": 64}})
    put_downloads(store, [raw_row(1, ENGLISH)])

    manifest = clean_text(store, index, settings, BATCH)

    (outcome,) = table(store, manifest, "outcomes")
    assert (outcome["outcome"], outcome["reason"], outcome["measured"]) == ("filtered", "text_too_short", 63)


def test_large_batch_is_cleaned_in_processes_with_the_same_result(
    store: ObjectStore, settings: Settings, tmp_path: Path
) -> None:
    texts = [b"%d " % number * 300 + ENGLISH for number in range(12)]
    small = [raw_row(number, text) for number, text in enumerate(texts)]
    # What the rows say of their size decides; it is part of no other output than `bytes_in` and the measurements.
    large = [row | {"byte_count": 4 * 2**20} for row in small]
    indexes = [open_index(load_settings(home=tmp_path / name)) for name in ("small", "large")]

    put_downloads(store, small)
    expected = clean_text(store, indexes[0], settings, BATCH)
    put_downloads(store, large)
    manifest = clean_text(store, indexes[1], settings, BATCH)

    assert manifest.tables["samples"] == expected.tables["samples"]
    assert manifest.rows("measurements") == expected.rows("measurements") == 12
    assert manifest.numbers == dict(expected.numbers) | {"bytes_in": 48 * 2**20}
    assert manifest.rows("samples") == 12
    for index in indexes:
        index.close()
