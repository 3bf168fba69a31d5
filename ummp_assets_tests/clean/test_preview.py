"""What a preview says is what a new run does: real documents, photographs and sounds, cleaned under two settings."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from ummp_assets.clean.audio_stage import clean_audio
from ummp_assets.clean.image_stage import clean_images
from ummp_assets.clean.preview import Preview, preview_rules
from ummp_assets.clean.text import clean_text
from ummp_assets.cli.demo.content import Sample, documents, photographs, sounds
from ummp_assets.errors import InvalidInput
from ummp_assets.settings import Settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, read_table, stage_path
from ummp_assets_tests.clean.downloads import BATCH, put_downloads, raw_row

Clean = Callable[[ObjectStore, Index, Settings, str], Manifest]
RULES = ("gopher_repetition", "gopher_quality", "fineweb")


def put_samples(store: ObjectStore, modality: str, samples: Iterable[Sample]) -> None:
    rows = [
        raw_row(number, sample.read(), modality=modality, media_type=sample.media_type)
        for number, sample in enumerate(samples)
    ]
    put_downloads(store, rows)


def with_rules(settings: Settings, modality: str, rules: Mapping[str, Any]) -> Settings:
    document = settings.model_dump()
    for name, value in rules.items():
        old = document["clean"][modality][name]
        document["clean"][modality][name] = {**old, **value} if isinstance(value, dict) else value
    return Settings.model_validate(document)


def stored(store: ObjectStore, manifest: Manifest) -> set[str]:
    return {item for rows in read_table(store, manifest, "samples") for item in rows.column("sample_id").to_pylist()}


def duplicates(store: ObjectStore, manifest: Manifest) -> set[str]:
    rows = [row for part in read_table(store, manifest, "outcomes") for row in part.to_pylist()]
    return {row["sample_id"] for row in rows if row["outcome"] == "duplicate"}


def check_against_a_new_run(
    store: ObjectStore, index: Index, clean: Clean, before: Settings, after: Settings
) -> Preview:
    """Clean, preview, clean again; the preview must name exactly the samples that came and went."""
    first = clean(store, index, before, BATCH)
    had, doubled = stored(store, first), duplicates(store, first)
    found = preview_rules(store, "docs", after.clean, [BATCH], examples=1_000)

    second = clean(store, index, after, BATCH)

    has = stored(store, second)
    # A gained sample that is a duplicate of another is found by the new run alone.
    came = (has | duplicates(store, second)) - had - doubled
    assert {item for rule in found.rules for item in rule.lost_examples} == had - has
    assert {item for rule in found.rules for item in rule.gained_examples} == came
    assert (found.stored.samples, found.lost.samples, found.gained.samples) == (len(had), len(had - has), len(came))
    assert sum(rule.lost.samples for rule in found.rules) == found.lost.samples
    assert found.undecided.samples == 0
    return found


TEXT_CHANGES: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]] = [
    ({"quality_rules": RULES}, {"gopher_quality": {"min_words": 300, "max_symbols_per_word": 0.02}}),
    ({"quality_rules": RULES}, {"gopher_repetition": {"min_words": 2_000}, "fineweb": {"max_short_lines": 0.9}}),
    (
        {"quality_rules": RULES},
        {"gopher_repetition": {"duplicate_n_grams": {5: 0.3, 6: 0.3}, "top_n_grams": {2: 0.05, 4: 0.01}}},
    ),
    ({}, {"quality_rules": RULES, "min_characters": 2_000}),
    ({"quality_rules": RULES, "min_characters": 2_000}, {"quality_rules": ("gopher_quality",), "min_characters": 1}),
    ({"quality_rules": ("c4", "fineweb")}, {"c4": {"min_sentences": 2}, "fineweb": {"max_short_lines": 0.5}}),
    ({"quality_rules": ("c4",), "c4": {"refuse_curly_brackets": True}}, {"c4": {"refuse_curly_brackets": False}}),
    ({}, {"max_bytes": 3_000}),
]


@pytest.mark.parametrize(("before", "after"), TEXT_CHANGES)
def test_preview_of_documents_is_what_a_new_run_does(
    store: ObjectStore, index: Index, settings: Settings, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    put_samples(store, "text", islice(documents(), 0, 60, 2))
    old = with_rules(settings, "text", before)

    found = check_against_a_new_run(store, index, clean_text, old, with_rules(old, "text", after))

    assert found.lost.samples + found.gained.samples > 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"min_side_pixels": 300}),
        ({"min_side_pixels": 300, "max_aspect_ratio": 1.2}, {"min_side_pixels": 200, "max_aspect_ratio": 2.0}),
        ({"max_pixels": 200_000}, {"max_pixels": 400_000, "max_bytes": 300_000}),
    ],
)
def test_preview_of_images_is_what_a_new_run_does(
    store: ObjectStore, index: Index, settings: Settings, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    put_samples(store, "image", photographs())
    old = with_rules(settings, "image", before)

    found = check_against_a_new_run(store, index, clean_images, old, with_rules(old, "image", after))

    assert found.lost.samples + found.gained.samples > 0


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"min_seconds": 0.7, "min_level_dbfs": -20.0}),
        ({"min_seconds": 0.7, "max_clipped_fraction": 0.0}, {"min_seconds": 0.4, "max_clipped_fraction": 0.2}),
        ({}, {"max_seconds": 1.0, "max_silent_fraction": 0.01}),
    ],
)
def test_preview_of_sounds_is_what_a_new_run_does(
    store: ObjectStore, index: Index, settings: Settings, before: Mapping[str, Any], after: Mapping[str, Any]
) -> None:
    put_samples(store, "audio", sounds())
    old = with_rules(settings, "audio", before)

    found = check_against_a_new_run(store, index, clean_audio, old, with_rules(old, "audio", after))

    assert found.lost.samples + found.gained.samples > 0


def test_samples_refused_before_they_were_read_are_undecided(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    put_samples(store, "text", islice(documents(), 10))
    small = with_rules(settings, "text", {"max_bytes": 3_000, "quality_rules": ("gopher_quality",)})
    refused = clean_text(store, index, small, BATCH)

    found = preview_rules(store, "docs", with_rules(small, "text", {"max_bytes": 10**7}).clean, [BATCH])

    too_large = sum(count.count for count in refused.outcomes if count.reason == "text_too_large")
    assert too_large > 0
    assert (found.undecided.samples, found.gained.samples, found.lost.samples) == (too_large, 0, 0)


def test_sentences_beyond_those_counted_are_undecided(store: ObjectStore, index: Index, settings: Settings) -> None:
    put_downloads(store, [raw_row(1, b"\n".join(b"The line %d ends here." % number for number in range(14)))])
    old = with_rules(settings, "text", {"quality_rules": ("c4",)})
    clean_text(store, index, old, BATCH)

    for min_sentences, undecided in ((10, 0), (12, 0), (20, 1)):
        tried = with_rules(old, "text", {"c4": {"min_sentences": min_sentences}})
        found = preview_rules(store, "docs", tried.clean, [BATCH])
        assert (found.lost.samples, found.undecided.samples) == (0, undecided)


def test_c4_cannot_be_added_from_what_was_measured(store: ObjectStore, index: Index, settings: Settings) -> None:
    put_samples(store, "text", islice(documents(), 2))
    clean_text(store, index, settings, BATCH)

    for rules in (("c4",), ("gopher_quality", "c4"), ("c4", "gopher_quality")):
        tried = with_rules(settings, "text", {"quality_rules": rules})
        with pytest.raises(InvalidInput, match="c4 rewrites the text"):
            preview_rules(store, "docs", tried.clean, [BATCH])


def test_duplicates_of_a_lost_sample_are_counted(store: ObjectStore, index: Index, settings: Settings) -> None:
    [document] = islice(documents(), 1)
    words = document.read()
    put_downloads(store, [raw_row(1, words + b" More."), raw_row(2, words)])
    clean_text(store, index, settings, BATCH)

    found = preview_rules(store, "docs", with_rules(settings, "text", {"max_bytes": len(words)}).clean, [BATCH])

    assert (found.stored.samples, found.lost.samples, found.gained.samples) == (1, 1, 0)
    assert found.duplicates_of_lost == 1


def test_other_datasets_are_not_counted(store: ObjectStore, index: Index, settings: Settings) -> None:
    put_downloads(store, [raw_row(1, b"Some words."), raw_row(2, b"Other words here.", dataset="others")])
    clean_text(store, index, settings, BATCH)

    found = preview_rules(store, "docs", with_rules(settings, "text", {"min_characters": 100}).clean, [BATCH])

    assert (found.batches, found.stored.samples, found.lost.samples, found.lost.byte_count) == (1, 1, 1, 11)
    assert preview_rules(store, "nobody", settings.clean, [BATCH]).batches == 0


def test_batches_from_before_measurements_are_named(store: ObjectStore, index: Index, settings: Settings) -> None:
    put_downloads(store, [raw_row(1, b"Some words.")])
    manifest = clean_text(store, index, settings, BATCH)
    old = replace(manifest, tables={"samples": manifest.tables["samples"]})
    store.write(stage_path("clean_text", BATCH), old.to_json())

    found = preview_rules(store, "docs", settings.clean, [BATCH])

    assert (found.batches, found.unmeasured_batches, found.stored.samples) == (1, 1, 0)
