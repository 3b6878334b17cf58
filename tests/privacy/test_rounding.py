"""Rounding: the stated distance bounds the true one between the discrete Gaussian and a rounded continuous one."""

from __future__ import annotations

import itertools
import math

import mpmath
import pytest
from tacit.privacy.rounding import NEGLIGIBLE, distance


def apart(sigma: int) -> float:
    """Total variation in one coordinate, summed over the integers to 15 deviations with 50 digits."""
    with mpmath.workdps(50):
        wide = mpmath.mpf(sigma)
        ends = [mpmath.ncdf((n + mpmath.mpf("0.5")) / wide) for n in range(-15 * sigma, 1)]
        rounded = [after - before for before, after in itertools.pairwise(ends)]
        weights = [mpmath.exp(-(mpmath.mpf(n) ** 2) / (2 * wide**2)) for n in range(-15 * sigma + 1, 1)]
        whole = 2 * sum(weights[:-1]) + weights[-1]
        differences = [abs(r - w / whole) for r, w in zip(rounded, weights, strict=True)]
        return float((2 * sum(differences[:-1]) + differences[-1]) / 2)


def test_it_bounds_what_is_true() -> None:
    true = apart(64)
    assert true <= distance(64, 1)
    assert distance(64, 1) < 4 * true  # and is no more than a few times it


def test_what_is_not_proven_is_infinite() -> None:
    assert distance(63.9, 1) == math.inf


@pytest.mark.parametrize("dim", [1, 1000, 10**6])
def test_it_falls_with_the_square_of_sigma_and_grows_with_the_root_of_the_length(dim: int) -> None:
    assert distance(2**20, dim) == pytest.approx(distance(2**19, dim) / 4)
    assert distance(2**20, 4 * dim) == pytest.approx(2 * distance(2**20, dim))
    assert NEGLIGIBLE == 1e-12
