"""Signatures of texts, and the step that drops near duplicates."""

import re

import numpy as np
import pytest

from ummp_assets.clean.text import clean_text
from ummp_assets.clean.text.signatures import SEQUENCE_WORDS, sign_texts
from ummp_assets.settings import Settings, load_settings
from ummp_assets.storage.index import Index
from ummp_assets.storage.objects import ObjectStore
from ummp_assets.storage.stages import Manifest, read_table
from ummp_assets_tests.clean.downloads import BATCH, put_downloads, raw_row


def prose(seed: int, words: int = 600) -> list[str]:
    return [f"w{number}" for number in np.random.default_rng(seed).integers(0, 3_000, words)]


def replaced(words: list[str], share: float, seed: int) -> list[str]:
    drawn = np.random.default_rng(seed).random(len(words)) < share
    return [f"new{place}" if new else word for place, (word, new) in enumerate(zip(words, drawn, strict=True))]


def exact_similarity(first: str, second: str) -> float:
    """Return the Jaccard similarity of the sets of sequences, by counting them."""
    sets = []
    for text in (first, second):
        words = re.findall(r"\w+", text.lower())
        sets.append({tuple(words[place : place + SEQUENCE_WORDS]) for place in range(len(words) - SEQUENCE_WORDS + 1)})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_equal_values_estimate_the_similarity_of_sequences() -> None:
    errors = []
    for seed in range(60):
        first = prose(seed)
        texts = [" ".join(first), " ".join(replaced(first, (seed % 6) / 40, seed))]
        signatures = sign_texts(texts)
        errors.append(np.mean(signatures[0] == signatures[1]) - exact_similarity(*texts))

    # The standard error of one estimate is at most 0.5 / sqrt(112) = 0.047.
    assert abs(np.mean(errors)) < 0.02
    assert np.std(errors) < 0.05


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("One two three, four five six.", "one  TWO three\nfour (five) six"),
        ("Ünïcode Wörter sind auch WÖRTER hier", "ünïcode wörter sind auch wörter hier"),
        ("人人生而自由在尊严", "“人人”生而自由，在尊严。"),
    ],
)
def test_case_space_and_punctuation_are_not_compared(first: str, second: str) -> None:
    signatures = sign_texts([first, second])

    assert signatures[0].any()
    assert signatures[0].tolist() == signatures[1].tolist()


def test_text_of_less_than_a_sequence_has_no_signature() -> None:
    assert not sign_texts(["", "one two three four", "人人生而"]).any()


def test_signature_does_not_depend_on_the_texts_around_it() -> None:
    texts = [" ".join(prose(seed, 5 + 700 * seed)) for seed in range(40)]

    together = sign_texts(texts)

    assert all(
        np.array_equal(sign_texts([text])[0], signature) for text, signature in zip(texts, together, strict=True)
    )


def test_only_the_first_mebibyte_is_read() -> None:
    text = " ".join(prose(1, 250_000))
    assert len(text) > 2**20

    first, second = sign_texts([text, text + " and something else at the very end"])

    assert first.tolist() == second.tolist()


def test_text_cut_inside_a_character_leaves_the_next_one_alone() -> None:
    texts = ["x" + "中" * 400_000, " ".join(prose(1))]

    assert sign_texts(texts)[1].tolist() == sign_texts(texts[1:])[0].tolist()


def outcomes(store: ObjectStore, manifest: Manifest) -> list[tuple[str, str, str]]:
    return [
        (row["sample_id"][-1], row["reason"], row["twin"][-1])
        for part in read_table(store, manifest, "outcomes")
        for row in part.to_pylist()
    ]


def test_stage_drops_near_duplicates_within_and_between_batches(
    store: ObjectStore, index: Index, settings: Settings
) -> None:
    first, other = prose(1), prose(2)
    near = replaced(first, 0.01, 3)
    put_downloads(store, [raw_row(n, " ".join(words).encode()) for n, words in enumerate([first, other, near])])
    later = "ummp.requests.normal~00000002"
    put_downloads(store, [raw_row(7, " ".join(replaced(other, 0.01, 4)).encode())], later)

    manifest = clean_text(store, index, settings, BATCH)

    assert outcomes(store, manifest) == [("2", "near_duplicate", "0")]
    assert outcomes(store, clean_text(store, index, settings, later)) == [("7", "near_duplicate", "1")]
    assert clean_text(store, index, settings, BATCH) == manifest


def test_near_duplicates_are_kept_when_switched_off(store: ObjectStore, index: Index, settings: Settings) -> None:
    first = prose(1)
    put_downloads(store, [raw_row(n, " ".join(replaced(first, 0.01, n)).encode()) for n in range(3)])
    keep = load_settings(home=settings.home, clean={"text": {"near_duplicate_similarity": None}})

    assert clean_text(store, index, keep, BATCH).rows("samples") == 3
