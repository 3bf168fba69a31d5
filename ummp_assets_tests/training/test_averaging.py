"""The federated average, by hand."""

import numpy as np
import pytest

from ummp_assets.errors import InvalidInput
from ummp_assets.training.averaging import FederatedAverage


def test_average_is_weighted_by_samples() -> None:
    average = FederatedAverage()
    average.add({"w": np.array([1.0, 2.0], np.float32), "b": np.array(10.0)}, 1)
    average.add({"w": np.array([5.0, -2.0], np.float32), "b": np.array(20.0)}, 3)

    result = average.result()

    # (1 * 1 + 3 * 5) / 4, (1 * 2 - 3 * 2) / 4, (10 + 60) / 4
    np.testing.assert_array_equal(result["w"], np.array([4.0, -1.0], np.float32))
    assert result["w"].dtype == np.float32
    assert result["b"] == 17.5
    assert result["b"].shape == ()
    assert average.samples == 4


def test_average_of_equal_parameters_is_the_parameters_to_the_bit() -> None:
    weights = np.random.default_rng(1).normal(size=1_000).astype(np.float32)
    average = FederatedAverage()
    for samples in (3, 7, 11, 1_000_003):
        average.add({"w": weights}, samples)

    np.testing.assert_array_equal(average.result()["w"], weights)


def test_average_keeps_small_differences_of_half_precision() -> None:
    average = FederatedAverage()
    for value in (60_000, 60_032, 60_064):
        average.add({"w": np.array([value], np.float16)}, 1_000)

    np.testing.assert_array_equal(average.result()["w"], np.array([60_032], np.float16))


def test_whole_numbers_are_rounded_and_booleans_follow_the_majority() -> None:
    average = FederatedAverage()
    average.add({"n": np.array([1, -1, 10]), "b": np.array([True, False])}, 1)
    average.add({"n": np.array([2, -2, 10]), "b": np.array([False, True])}, 2)

    np.testing.assert_array_equal(average.result()["n"], [2, -2, 10])
    np.testing.assert_array_equal(average.result()["b"], [False, True])


def test_complex_parameters_keep_both_parts() -> None:
    average = FederatedAverage()
    average.add({"w": np.array([1 + 2j], np.complex64)}, 1)
    average.add({"w": np.array([3 - 2j], np.complex64)}, 1)

    np.testing.assert_array_equal(average.result()["w"], np.array([2 + 0j], np.complex64))


@pytest.mark.parametrize(
    "other",
    [{"v": np.zeros(2)}, {"w": np.zeros(3)}, {"w": np.zeros(2, np.float32)}, {"w": np.zeros(2), "v": np.zeros(2)}, {}],
    ids=["name", "shape", "type", "more", "none"],
)
def test_parameters_that_differ_in_kind_are_refused(other: dict[str, np.ndarray]) -> None:
    average = FederatedAverage()
    average.add({"w": np.ones(2)}, 1)

    with pytest.raises(InvalidInput, match="other names, types or shapes"):
        average.add(other, 1)
    np.testing.assert_array_equal(average.result()["w"], np.ones(2))


def test_average_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="nothing to average"):
        FederatedAverage().result()
    with pytest.raises(InvalidInput, match="0 samples"):
        FederatedAverage().add({"w": np.ones(2)}, 0)
