"""Owners of looks: nearest within the distance, the same answer for ever, heirs after a release."""

import random
from itertools import pairwise

import pytest

from ummp_assets.errors import InvalidInput
from ummp_assets.storage.index import Index
from ummp_assets.storage.perceptual_index import HashedImage, NearTwin, PerceptualIndex

HASH = 0xF0E1_D2C3_B4A5_9687


def flip(value: int, *bits: int) -> int:
    for bit in bits:
        value ^= 1 << bit
    return value


@pytest.fixture
def looks(index: Index) -> PerceptualIndex:
    return PerceptualIndex(index)


@pytest.mark.parametrize("bits", [(), (0,), (63,), (0, 13), (12, 25, 38), (0, 13, 26, 39), (60, 61, 62, 63)])
def test_a_hash_within_the_distance_has_a_twin(looks: PerceptualIndex, bits: tuple[int, ...]) -> None:
    assert looks.claim("pets", [HashedImage("a", HASH)], 4) == [None]
    assert looks.claim("pets", [HashedImage("b", flip(HASH, *bits))], 4) == [NearTwin("a", len(bits))]


def test_a_hash_beyond_the_distance_is_an_owner(looks: PerceptualIndex) -> None:
    looks.claim("pets", [HashedImage("a", HASH)], 4)
    far = [HashedImage("b", flip(HASH, 0, 13, 26, 39, 52)), HashedImage("c", flip(HASH, 1, 2, 3))]
    assert looks.claim("pets", far[:1], 4) == [None]
    assert looks.claim("pets", far[1:], 2) == [None]


def test_looks_of_another_dataset_are_no_twins(looks: PerceptualIndex) -> None:
    looks.claim("pets", [HashedImage("a", HASH)], 4)
    assert looks.claim("cars", [HashedImage("b", HASH)], 4) == [None]


def test_the_first_of_a_call_owns_and_the_nearest_owner_is_named(looks: PerceptualIndex) -> None:
    images = [
        HashedImage("a", HASH),
        HashedImage("b", flip(HASH, 1, 2, 3, 4, 5, 6)),
        HashedImage("c", flip(HASH, 1, 2, 3, 4)),
        HashedImage("d", flip(HASH, 1)),
    ]
    assert looks.claim("pets", images, 4) == [None, None, NearTwin("b", 2), NearTwin("a", 1)]


def test_a_repeated_claim_gives_the_same_answer_whatever_came_in_between(looks: PerceptualIndex) -> None:
    first = [HashedImage("a", HASH), HashedImage("b", flip(HASH, 1, 2, 3, 4))]
    answer = looks.claim("pets", first, 4)
    assert looks.claim("pets", [HashedImage("c", flip(HASH, 1, 2, 3, 4, 5, 6, 7))], 4) == [None]
    assert looks.claim("pets", first, 4) == answer == [None, NearTwin("a", 4)]


def test_a_released_owner_leaves_its_look_to_its_first_twin(looks: PerceptualIndex) -> None:
    images = [HashedImage("a", HASH), HashedImage("b", flip(HASH, 1)), HashedImage("c", flip(HASH, 2))]
    looks.claim("pets", images, 4)
    assert looks.release("pets", ["a"], 4) == ["b"]
    assert looks.claim("pets", images[1:], 4) == [None, NearTwin("b", 2)]
    assert looks.claim("pets", images[:1], 4) == [NearTwin("b", 1)]


def test_a_released_twin_changes_nothing_for_others(looks: PerceptualIndex) -> None:
    images = [HashedImage("a", HASH), HashedImage("b", flip(HASH, 1)), HashedImage("c", flip(HASH, 2))]
    looks.claim("pets", images, 4)
    assert looks.release("pets", ["b"], 4) == []
    assert looks.claim("pets", [images[0], images[2]], 4) == [None, NearTwin("a", 1)]


def test_every_planted_twin_is_found_and_nothing_else(looks: PerceptualIndex) -> None:
    chance = random.Random(5)
    originals = [HashedImage(f"original {number:04d}", chance.getrandbits(64)) for number in range(2_000)]
    twins = [
        HashedImage(f"twin {number:04d}", flip(image.hash, *chance.sample(range(64), chance.randint(0, 4))))
        for number, image in enumerate(originals)
    ]
    assert looks.claim("pets", originals, 4) == [None] * 2_000
    found = looks.claim("pets", twins, 4)
    assert [twin.sample_id if twin else None for twin in found] == [image.sample_id for image in originals]


def test_owners_survive_in_the_order_of_their_calls(looks: PerceptualIndex) -> None:
    chain = [HashedImage(f"{number}", flip(HASH, *range(number * 4))) for number in range(6)]
    answers = [looks.claim("pets", [image], 4)[0] for image in chain]
    assert answers == [None, NearTwin("0", 4), None, NearTwin("2", 4), None, NearTwin("4", 4)]
    assert all((first.hash ^ second.hash).bit_count() == 4 for first, second in pairwise(chain))


@pytest.mark.parametrize("bits", [-1, 5])
def test_a_distance_out_of_bounds_is_refused(looks: PerceptualIndex, bits: int) -> None:
    with pytest.raises(InvalidInput, match="between 0 and 4"):
        looks.claim("pets", [HashedImage("a", HASH)], bits)
