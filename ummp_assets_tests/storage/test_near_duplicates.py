"""Signatures in the index, on SQLite and on PostgreSQL: first owner, repeated claims, promotion, merged runs."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
import sqlalchemy as sa

from ummp_assets.errors import InvalidInput
from ummp_assets.storage.index import Index, SqlIndex
from ummp_assets.storage.near_duplicates import SIGNATURE_VALUES, SignatureIndex, SignedText, SimilarTwin

Signature = npt.NDArray[np.uint16]


def random_signatures(count: int, seed: int = 0) -> Signature:
    return np.random.default_rng(seed).integers(0, 2**16, (count, SIGNATURE_VALUES), np.uint16)


def changed(signature: Signature, values: int) -> Signature:
    """Return the signature with so many values changed at its end."""
    other = signature.copy()
    other[SIGNATURE_VALUES - values :] ^= 1
    return other


@pytest.fixture
def signatures(sql_index: Index) -> SignatureIndex:
    return SignatureIndex(sql_index)


def test_similar_text_names_its_first_owner(signatures: SignatureIndex) -> None:
    first, other = random_signatures(2)
    texts = [SignedText("a", first), SignedText("b", other), SignedText("c", changed(first, 11))]

    assert signatures.claim("docs", texts, 0.8) == [None, None, SimilarTwin("a", 101 / 112)]


def test_owner_of_an_earlier_call_is_found(signatures: SignatureIndex, sql_index: Index) -> None:
    (first,) = random_signatures(1)
    signatures.claim("docs", [SignedText("a", first)], 0.8)

    assert SignatureIndex(sql_index).claim("docs", [SignedText("b", first)], 0.8) == [SimilarTwin("a", 1.0)]


def test_similarity_decides_at_the_threshold(signatures: SignatureIndex) -> None:
    (first,) = random_signatures(1)
    signatures.claim("docs", [SignedText("a", first)], 0.75)

    assert signatures.claim("docs", [SignedText("b", changed(first, 28))], 0.75) == [SimilarTwin("a", 0.75)]
    assert signatures.claim("docs", [SignedText("c", changed(first, 29))], 0.75) == [None]


def test_datasets_are_not_compared(signatures: SignatureIndex) -> None:
    (first,) = random_signatures(1)
    signatures.claim("docs", [SignedText("a", first)], 0.8)

    assert signatures.claim("news", [SignedText("b", first)], 0.8) == [None]
    assert signatures.claim("news", [SignedText("a", first)], 0.8) == [SimilarTwin("b", 1.0)]


def test_repeated_claim_gives_the_same_answer_whatever_came_between(signatures: SignatureIndex) -> None:
    first, other = random_signatures(2)
    batch = [SignedText("b", first), SignedText("c", changed(first, 5)), SignedText("d", other)]
    answer = signatures.claim("docs", batch, 0.8)
    signatures.claim("docs", [SignedText("e", changed(other, 3))], 0.8)

    assert signatures.claim("docs", batch, 0.8) == answer == [None, SimilarTwin("b", 107 / 112), None]


def test_released_owner_is_succeeded_by_its_first_twin(signatures: SignatureIndex) -> None:
    (first,) = random_signatures(1)
    twins = [SignedText(name, changed(first, values)) for name, values in (("b", 3), ("c", 4), ("d", 5))]
    signatures.claim("docs", [SignedText("a", first), *twins], 0.8)

    assert signatures.release("docs", ["a"], 0.8) == ["b"]
    assert signatures.claim("docs", twins, 0.8) == [None, SimilarTwin("b", 111 / 112), SimilarTwin("b", 110 / 112)]
    assert signatures.claim("docs", [SignedText("z", first)], 0.8) == [SimilarTwin("b", 109 / 112)]


def test_released_text_that_comes_back_is_judged_anew(signatures: SignatureIndex) -> None:
    (first,) = random_signatures(1)
    signatures.claim("docs", [SignedText("a", first), SignedText("b", first)], 0.8)
    signatures.release("docs", ["a"], 0.8)

    assert signatures.claim("docs", [SignedText("a", first)], 0.8) == [SimilarTwin("b", 1.0)]
    assert signatures.release("docs", ["b"], 0.8) == ["a"]
    assert signatures.claim("docs", [SignedText("a", first)], 0.8) == [None]


def test_twins_that_are_not_similar_to_each_other_all_become_owners(signatures: SignatureIndex) -> None:
    (first,) = random_signatures(1)
    left, right = changed(first, 20), first.copy()
    right[:20] ^= 1
    signatures.claim("docs", [SignedText("a", first), SignedText("b", left), SignedText("c", right)], 0.8)

    assert signatures.release("docs", ["a", "unknown"], 0.8) == ["b", "c"]


def test_released_text_leaves_no_signature_behind(signatures: SignatureIndex, sql_index: Index) -> None:
    first, other = random_signatures(2)
    signatures.claim("docs", [SignedText("a", first), SignedText("b", other)], 0.8)

    signatures.release("docs", ["a"], 0.8)

    with sql_index.transaction(reading=True) as connection:
        kept = b"".join(map(bytes, connection.execute(sa.text("SELECT signatures FROM text_blocks")).scalars()))
    assert other.tobytes() in kept
    assert first.tobytes()[:16] not in kept


def test_released_twin_leaves_its_owner_alone(signatures: SignatureIndex) -> None:
    (first,) = random_signatures(1)
    signatures.claim("docs", [SignedText("a", first), SignedText("b", first)], 0.8)

    assert signatures.release("docs", ["b"], 0.8) == []
    assert signatures.claim("docs", [SignedText("c", first)], 0.8) == [SimilarTwin("a", 1.0)]


def test_owners_are_found_through_merged_runs(signatures: SignatureIndex, sql_index: Index) -> None:
    drawn = random_signatures(150)
    for number, signature in enumerate(drawn):
        signatures.claim("docs", [SignedText(f"a{number}", signature)], 0.8)

    repeated = [SignedText(f"b{number}", changed(signature, 9)) for number, signature in enumerate(drawn)]
    found = signatures.claim("docs", repeated, 0.8)

    assert found == [SimilarTwin(f"a{number}", 103 / 112) for number in range(150)]
    with sql_index.transaction(reading=True) as connection:
        levels = sorted(connection.execute(sa.text("SELECT level FROM text_runs")).scalars())
    assert levels == [0] * 3 + [1, 2, 3, 3]


def test_more_texts_than_one_transaction_takes_are_compared_with_each_other(signatures: SignatureIndex) -> None:
    drawn = random_signatures(1_200)
    texts = [SignedText(f"a{number}", signature) for number, signature in enumerate(drawn)]

    found = signatures.claim("docs", [*texts, SignedText("b", drawn[3])], 0.8)

    assert found == [None] * 1_200 + [SimilarTwin("a3", 1.0)]


def claim_in_a_process(index_url: str, claimant: int) -> list[str]:
    index = SqlIndex(index_url)
    drawn = random_signatures(60)
    texts = [SignedText(f"{claimant}-{number}", signature) for number, signature in enumerate(drawn)]
    found = [
        twin
        for start in range(0, 60, 12)
        for twin in SignatureIndex(index).claim("docs", texts[start : start + 12], 0.8)
    ]
    index.close()
    return [f"{claimant}-{number}" if twin is None else twin.sample_id for number, twin in enumerate(found)]


def test_claims_of_many_processes_agree_on_each_owner(index_url: str, workers: ProcessPoolExecutor) -> None:
    answers = list(workers.map(partial(claim_in_a_process, index_url), range(4)))

    assert all(answer == answers[0] for answer in answers)
    assert [owner.split("-")[1] for owner in answers[0]] == [str(number) for number in range(60)]


def test_similarity_out_of_bounds_is_refused(signatures: SignatureIndex) -> None:
    with pytest.raises(InvalidInput, match=r"0\.3"):
        signatures.claim("docs", [], 0.3)
