"""Noise samplers: their tables against independent arithmetic, their draws against the law."""

import math
from itertools import count as counted

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tacit.privacy import noise
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.gaussian import NoiseError, gaussian
from tacit.privacy.noise import (
    discrete_gaussian,
    discrete_gaussian_error,
    skellam,
    skellam_error,
)

pytestmark = pytest.mark.usefixtures("either_way")

P_LIMIT = 1e-6


def stream(purpose: str):
    return SeededEntropy(20).stream(purpose)


def pmf(table) -> dict[int, float]:
    """Probabilities of an alias table, as floats."""
    bits = table.column_bits
    capacity = 2.0 ** (128 - bits)
    found: dict[int, float] = {}
    for own, column, middle, low in zip(counted(table.first), table.columns, table.middle, table.low, strict=False):
        kept = float(column >> bits) * 2.0**96 + float(middle) * 2.0**32 + float(low)
        other = table.first + int(column) % (1 << bits)
        found[own] = found.get(own, 0.0) + kept / 2.0**128
        found[other] = found.get(other, 0.0) + (capacity - kept) / 2.0**128
    return found


def chi_square(draws: np.ndarray, law: dict[int, float]) -> float:
    """p-value of the draws against the law, cells of at least 20 expected draws."""
    count = len(draws)
    cells = [value for value, p in law.items() if p * count >= 20]
    observed = np.array([np.count_nonzero(draws == value) for value in cells])
    expected = np.array([law[value] * count for value in cells])
    observed, expected = np.append(observed, count - observed.sum()), np.append(expected, count - expected.sum())
    if expected[-1] < 5:
        observed, expected = observed[:-1], expected[:-1]
    return float(stats.chi2.sf(((observed - expected) ** 2 / expected).sum(), len(cells) - 1))


@pytest.mark.parametrize("sigma", [0.05, 0.3, 0.5, 1.0, 2.7, 19.5])
def test_gaussian_table_is_the_law(sigma: float) -> None:
    found = pmf(gaussian(sigma).table)
    weights = {x: math.exp(-(x**2) / (2 * sigma**2)) for x in range(-400, 401)}
    total = math.fsum(weights.values())
    assert all(
        found.get(x, 0.0) == pytest.approx(weight / total, rel=1e-12, abs=1e-37) for x, weight in weights.items()
    )


@pytest.mark.parametrize("variance", [1e-4, 0.3, 1.0, 7.0, 400.0])
def test_skellam_table_is_the_law(variance: float) -> None:
    found = pmf(noise._skellam_table(variance))
    reference = stats.poisson(variance / 2).pmf(np.arange(0, 1200))  # the difference of two Poisson variables
    expected = np.convolve(reference, reference[::-1])
    for x, p in enumerate(expected, start=-1199):
        assert found.get(x, 0.0) == pytest.approx(p, rel=1e-9, abs=1e-16)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 6.3])
def test_gaussian_draws_follow_the_law(sigma: float) -> None:
    draws = discrete_gaussian(stream("chi"), sigma, 200_000)
    assert chi_square(draws, pmf(gaussian(sigma).table)) > P_LIMIT


@pytest.mark.parametrize("variance", [0.2, 1.0, 40.0])
def test_skellam_draws_follow_the_law(variance: float) -> None:
    draws = skellam(stream("chi"), variance, 200_000)
    assert chi_square(draws, pmf(noise._skellam_table(variance))) > P_LIMIT


@pytest.mark.parametrize("sigma", [1199.0, 2269.0, 2271.0, 5e4, 2.0**28, 3.74 * 2.0**28, 2.0**36, 2.0**50])
def test_wide_gaussian_draws_are_normal(sigma: float) -> None:
    draws = discrete_gaussian(stream("wide"), sigma, 100_000) / sigma
    assert stats.kstest(draws, "norm").pvalue > P_LIMIT
    assert draws.var() == pytest.approx(1, abs=5 * math.sqrt(2 / 100_000))
    low_bits = discrete_gaussian(stream("bits"), sigma, 100_000) % 8  # the fine structure of a convolution shows here
    assert stats.chisquare(np.bincount(low_bits, minlength=8)).pvalue > P_LIMIT


@pytest.mark.parametrize("sigma", [0.01, 0.8, 33.0, 2270.0])
def test_gaussian_error_covers_the_table(sigma: float) -> None:
    table = gaussian(sigma).table
    assert 0 < sum(p > 0 for p in pmf(table).values()) * 2.0**-128 <= discrete_gaussian_error(sigma, 1)
    assert discrete_gaussian_error(sigma, 10**6) < 2.0**-90


@pytest.mark.parametrize("variance", [0.01, 5.0, 900.0, 2270.0**2])
def test_skellam_error_covers_the_table(variance: float) -> None:
    table = noise._skellam_table(variance)
    assert 0 < sum(p > 0 for p in pmf(table).values()) * 2.0**-128 <= skellam_error(variance, 1)
    assert skellam_error(variance, 10**6) < 2.0**-90


def test_wide_skellam_is_a_sum_of_skellams() -> None:
    variance = 3.3 * 2270.0**2
    draws = skellam(stream("sum"), variance, 50_000)
    assert draws.var() == pytest.approx(variance, rel=5 * math.sqrt(2 / 50_000))
    assert stats.kstest(draws / math.sqrt(variance), "norm").pvalue > P_LIMIT


@settings(max_examples=20)
@given(st.floats(0.01, 1e9), st.integers(0, 5))
def test_the_same_stream_gives_the_same_draws(sigma: float, count: int) -> None:
    first, second = (discrete_gaussian(stream("same"), sigma, count) for _ in range(2))
    assert first.dtype == np.int64
    assert first.tolist() == second.tolist()
    assert len(first) == count


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf, 2.0**51])
def test_impossible_sigma_is_refused(sigma: float) -> None:
    with pytest.raises(NoiseError, match="sigma"):
        discrete_gaussian(stream("no"), sigma, 1)


@pytest.mark.parametrize("variance", [0.0, -1.0, math.nan, math.inf, 1e12])
def test_impossible_variance_is_refused(variance: float) -> None:
    with pytest.raises(NoiseError, match="variance"):
        skellam(stream("no"), variance, 1)


@pytest.mark.parametrize("sigma", [0.7, 40.0, 3000.0, 1e6])
@pytest.mark.parametrize("size", [1, 700, 9000])
def test_many_streams_at_once_draw_what_each_draws_alone(sigma: float, size: int) -> None:
    names = [f"owner {i}" for i in range(15)]
    together = noise.discrete_gaussians([stream(name) for name in names], sigma, size)
    assert all(
        np.array_equal(row, discrete_gaussian(stream(name), sigma, size))
        for row, name in zip(together, names, strict=True)
    )
    variance = min(sigma**2, 4e6)
    together = noise.skellams([stream(name) for name in names], variance, size)
    assert all(
        np.array_equal(row, skellam(stream(name), variance, size)) for row, name in zip(together, names, strict=True)
    )


def test_no_stream_draws_nothing() -> None:
    assert noise.discrete_gaussians([], 3.0, 5).shape == (0, 5)
    assert noise.discrete_gaussians([stream("none")], 2.0**28, 0).shape == (1, 0)


@pytest.mark.parametrize("sigma", [0.7, 40.0, 3000.0, 2.0**22, 2.0**25, 2.0**28, 2.0**46, 2.0**50])
@pytest.mark.parametrize("kind", [np.int64, np.int32])
def test_added_draws_are_the_draws(sigma: float, kind: type) -> None:
    before = np.arange(3 * 20_000, dtype=kind).reshape(3, -1)
    found, sources = before.copy(), [stream(name) for name in "abc"]
    if kind is np.int32 and not noise.narrow(sigma):
        assert sigma > 2.0**25
        with pytest.raises(NoiseError, match="may not fit int32; give int64"):
            noise.add_discrete_gaussians(sources, sigma, found)
        return
    noise.add_discrete_gaussians(sources, sigma, found)
    draws = noise.discrete_gaussians([stream(name) for name in "abc"], sigma, 20_000)
    assert np.array_equal(found, before + draws)


@pytest.mark.parametrize("sigma", [3.0, 3e4, 2.0**28, 2.0**50])
@pytest.mark.parametrize("cuts", [[1 << 15], [1 << 15, 3 << 15], [3 << 15]])
def test_a_vector_in_pieces_gets_the_draws_of_the_whole(sigma: float, cuts: list[int]) -> None:
    names, found = "ab", np.zeros((2, 110_000), dtype=np.int64)
    sources = [stream(name) for name in names]
    for piece in np.split(found, cuts, axis=1):
        noise.add_discrete_gaussians(sources, sigma, piece)
    assert np.array_equal(found, noise.discrete_gaussians([stream(name) for name in names], sigma, 110_000))
    assert all(cut % noise.PIECE == 0 for cut in cuts)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16])
def test_numbers_that_would_round_the_draws_are_refused(kind: type) -> None:
    with pytest.raises(NoiseError, match="give int64"):
        noise.add_discrete_gaussians([stream("no")], 3.0, np.zeros((1, 3), dtype=kind))
