"""Signatures in the index, on SQLite and on PostgreSQL: first owner, repeated claims, promotion, merged runs."""

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import sqlalchemy as sa

from ummp_assets.errors import InvalidInput, UnsupportedFormat
from ummp_assets.storage.index import Index, SqlIndex
from ummp_assets.storage.near_duplicates import SIGNATURE_VALUES, SignatureIndex, SignedTexts, SimilarTwin
from ummp_assets.storage.owners import copy_owners

Signature = npt.NDArray[np.uint16]


def random_signatures(count: int, seed: int = 0) -> Signature:
    return np.random.default_rng(seed).integers(0, 2**16, (count, SIGNATURE_VALUES), np.uint16)


def changed(signature: Signature, values: int) -> Signature:
    """Return the signature with so many values changed at its end."""
    other = signature.copy()
    other[SIGNATURE_VALUES - values :] ^= 1
    return other


def signed(texts: Mapping[str, Signature]) -> SignedTexts:
    return SignedTexts(list(texts), np.array(list(texts.values()), np.uint16).reshape(-1, SIGNATURE_VALUES))


@pytest.fixture
def signatures(sql_index: Index) -> SignatureIndex:
    return SignatureIndex(sql_index)


def test_similar_text_names_its_first_owner(signatures: SignatureIndex) -> None:
    first, other = random_signatures(2)
    texts = signed({"a": first, "b": other, "c": changed(first, 11)})

    assert signatures.claim("docs", texts, 0.8) == [None, None, SimilarTwin("a", 101 / 112)]


def test_owner_of_an_earlier_call_is_found(signatures: SignatureIndex, sql_index: Index) -> None:
    (first,) = random_signatures(1)
    signatures.claim("docs", signed({"a": first}), 0.8)

    assert SignatureIndex(sql_index).claim("docs", signed({"b": first}), 0.8) == [SimilarTwin("a", 1.0)]


def test_similarity_decides_at_the_threshold(signatures: SignatureIndex) -> None:
    (first,) = random_signatures(1)
    signatures.claim("docs", signed({"a": first}), 0.75)

    assert signatures.claim("docs", signed({"b": changed(first, 28)}), 0.75) == [SimilarTwin("a", 0.75)]
    assert signatures.claim("docs", signed({"c": changed(first, 29)}), 0.75) == [None]


def test_datasets_are_not_compared(signatures: SignatureIndex) -> None:
    (first,) = random_signatures(1)
    signatures.claim("docs", signed({"a": first}), 0.8)

    assert signatures.claim("news", signed({"b": first}), 0.8) == [None]
    assert signatures.claim("news", signed({"a": first}), 0.8) == [SimilarTwin("b", 1.0)]


def test_repeated_claim_gives_the_same_answer_whatever_came_between(signatures: SignatureIndex) -> None:
    first, other = random_signatures(2)
    batch = signed({"b": first, "c": changed(first, 5), "d": other})
    answer = signatures.claim("docs", batch, 0.8)
    signatures.claim("docs", signed({"e": changed(other, 3)}), 0.8)

    assert signatures.claim("docs", batch, 0.8) == answer == [None, SimilarTwin("b", 107 / 112), None]


def test_released_owner_is_succeeded_by_its_first_twin(signatures: SignatureIndex) -> None:
    (first,) = random_signatures(1)
    twins = {name: changed(first, values) for name, values in (("b", 3), ("c", 4), ("d", 5))}
    signatures.claim("docs", signed({"a": first, **twins}), 0.8)

    assert signatures.release("docs", ["a"], 0.8) == ["b"]
    assert signatures.claim("docs", signed(twins), 0.8) == [
        None,
        SimilarTwin("b", 111 / 112),
        SimilarTwin("b", 110 / 112),
    ]
    assert signatures.claim("docs", signed({"z": first}), 0.8) == [SimilarTwin("b", 109 / 112)]


def test_released_text_that_comes_back_is_judged_anew(signatures: SignatureIndex) -> None:
    (first,) = random_signatures(1)
    signatures.claim("docs", signed({"a": first, "b": first}), 0.8)
    signatures.release("docs", ["a"], 0.8)

    assert signatures.claim("docs", signed({"a": first}), 0.8) == [SimilarTwin("b", 1.0)]
    assert signatures.release("docs", ["b"], 0.8) == ["a"]
    assert signatures.claim("docs", signed({"a": first}), 0.8) == [None]


def test_twins_that_are_not_similar_to_each_other_all_become_owners(signatures: SignatureIndex) -> None:
    (first,) = random_signatures(1)
    left, right = changed(first, 20), first.copy()
    right[:20] ^= 1
    signatures.claim("docs", signed({"a": first, "b": left, "c": right}), 0.8)

    assert signatures.release("docs", ["a", "unknown"], 0.8) == ["b", "c"]


def test_released_text_leaves_no_signature_behind(signatures: SignatureIndex, sql_index: Index) -> None:
    first, other = random_signatures(2)
    signatures.claim("docs", signed({"a": first, "b": other}), 0.8)

    signatures.release("docs", ["a"], 0.8)

    with sql_index.transaction(reading=True) as connection:
        kept = b"".join(map(bytes, connection.execute(sa.text("SELECT signatures FROM text_blocks")).scalars()))
    assert other.tobytes() in kept
    assert first.tobytes()[:16] not in kept


def test_released_twin_leaves_its_owner_alone(signatures: SignatureIndex) -> None:
    (first,) = random_signatures(1)
    signatures.claim("docs", signed({"a": first, "b": first}), 0.8)

    assert signatures.release("docs", ["b"], 0.8) == []
    assert signatures.claim("docs", signed({"c": first}), 0.8) == [SimilarTwin("a", 1.0)]


def test_owners_are_found_through_merged_runs(signatures: SignatureIndex, sql_index: Index) -> None:
    drawn = random_signatures(150)
    for number, signature in enumerate(drawn):
        signatures.claim("docs", signed({f"a{number}": signature}), 0.8)

    repeated = signed({f"b{number}": changed(signature, 9) for number, signature in enumerate(drawn)})
    found = signatures.claim("docs", repeated, 0.8)

    assert found == [SimilarTwin(f"a{number}", 103 / 112) for number in range(150)]
    with sql_index.transaction(reading=True) as connection:
        levels = sorted(connection.execute(sa.text("SELECT level FROM text_runs")).scalars())
    assert levels == [0] * 3 + [1, 2, 3, 3]


def test_more_texts_than_one_transaction_takes_are_compared_with_each_other(signatures: SignatureIndex) -> None:
    drawn = random_signatures(1_200)
    texts = {f"a{number}": signature for number, signature in enumerate(drawn)}

    found = signatures.claim("docs", signed({**texts, "b": drawn[3]}), 0.8)

    assert found == [None] * 1_200 + [SimilarTwin("a3", 1.0)]


def claim_in_a_process(index_url: str, claimant: int) -> list[str]:
    index = SqlIndex(index_url)
    drawn = random_signatures(60)
    texts = SignedTexts([f"{claimant}-{number}" for number in range(60)], drawn)
    found = [
        twin
        for start in range(0, 60, 12)
        for twin in SignatureIndex(index).claim("docs", texts.part(slice(start, start + 12)), 0.8)
    ]
    index.close()
    return [f"{claimant}-{number}" if twin is None else twin.sample_id for number, twin in enumerate(found)]


def test_claims_of_many_processes_agree_on_each_owner(index_url: str, workers: ProcessPoolExecutor) -> None:
    answers = list(workers.map(partial(claim_in_a_process, index_url), range(4)))

    assert all(answer == answers[0] for answer in answers)
    assert [owner.split("-")[1] for owner in answers[0]] == [str(number) for number in range(60)]


def test_similarity_out_of_bounds_is_refused(signatures: SignatureIndex) -> None:
    with pytest.raises(InvalidInput, match=r"0\.3"):
        signatures.claim("docs", signed({}), 0.3)


def test_owners_are_found_when_a_filter_has_outgrown_its_size(signatures: SignatureIndex) -> None:
    drawn = random_signatures(5_000)
    for start in range(0, 5_000, 1_000):
        sample_ids = [f"a{number}" for number in range(start, start + 1_000)]
        signatures.claim("docs", SignedTexts(sample_ids, drawn[start : start + 1_000]), 0.8)

    again = SignedTexts([f"b{number}" for number in range(0, 5_000, 10)], drawn[::10])

    assert signatures.claim("docs", again, 0.8) == [SimilarTwin(f"a{number}", 1.0) for number in range(0, 5_000, 10)]


def test_release_that_failed_leaves_nothing_behind(signatures: SignatureIndex, sql_index: Index) -> None:
    first, other = random_signatures(2)
    signatures.claim("docs", signed({"a": first, "b": first}), 0.8)
    with pytest.raises(UnicodeEncodeError):
        # Fails when "b" was promoted already.
        signatures.release("docs", ["a", "\ud800"], 0.8)
    # Another process gets the numbers that the failed release had.
    SignatureIndex(sql_index).claim("docs", signed({"c": other}), 0.8)

    assert signatures.claim("docs", signed({"b": first, "d": other}), 0.8) == [
        SimilarTwin("a", 1.0),
        SimilarTwin("c", 1.0),
    ]


def test_copied_owners_are_compared_with_new_ones(signatures: SignatureIndex, sql_index: Index, tmp_path: Path) -> None:
    (first,) = random_signatures(1)
    signatures.claim("docs", signed({"a": first}), 0.8)

    with closing(SqlIndex(f"sqlite:///{tmp_path / 'copy.db'}")) as copy:
        copy_owners(sql_index, copy, "docs")

        assert SignatureIndex(copy).claim("docs", signed({"b": first}), 0.8) == [SimilarTwin("a", 1.0)]


@pytest.mark.parametrize("statement", ["DELETE FROM text_signatures", "UPDATE text_signatures SET version = 99"])
def test_new_texts_are_refused_by_an_index_of_other_signatures(sql_index: Index, statement: str) -> None:
    first, other = random_signatures(2)
    SignatureIndex(sql_index).claim("docs", signed({"a": first, "b": first}), 0.8)
    with sql_index.transaction() as connection:
        connection.execute(sa.text(statement))
    signatures = SignatureIndex(sql_index)

    with pytest.raises(UnsupportedFormat, match="text_blocks, text_runs and text_signatures"):
        signatures.claim("docs", signed({"c": other}), 0.8)
    assert signatures.claim("docs", signed({"b": other}), 0.8) == [SimilarTwin("a", 1.0)]
    assert signatures.release("docs", ["a"], 0.8) == ["b"]
