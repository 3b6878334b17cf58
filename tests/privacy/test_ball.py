"""Ball: the coarsest grid that does not show, with room for rounding."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.ball import COARSEST, FINEST, Ball, ball_for
from tacit.privacy.rounding import NEGLIGIBLE, distance


@given(st.floats(1e-3, 100.0), st.integers(1, 10**9))
def test_the_grid_is_the_coarsest_on_which_noise_passes_for_a_rounded_gaussian(
    noise_multiplier: float, dim: int
) -> None:
    ball = ball_for(1.0, noise_multiplier, dim)
    assert COARSEST <= ball.bits <= FINEST
    if ball.bits < FINEST:
        assert distance(noise_multiplier * ball.radius, dim) < NEGLIGIBLE
    if ball.bits > COARSEST:
        assert distance(noise_multiplier * ball.radius / 2, dim) > 0.99 * NEGLIGIBLE


def test_without_noise_the_grid_is_the_finest() -> None:
    assert ball_for(0.3, 0.0, 10) == Ball(0.3, FINEST)


def test_familiar_sizes() -> None:
    assert ball_for(1.0, 1.0, 55_210).bits == 22
    assert ball_for(1.0, 1.0, 1_663_370).bits == 23


@pytest.mark.parametrize("bits", range(COARSEST, FINEST + 1))
def test_what_is_kept_free_covers_what_sums_may_err_by(bits: int) -> None:
    """√d for rounding two sums, √d for their float64 errors or 2⁻¹²·C for those of 44 numbers in float32."""
    ball, dim = Ball(2.0, bits), 10**6
    assert ball.step * ball.radius == 2.0
    free = ball.radius - ball.longest(dim)
    assert free >= 2 * math.sqrt(dim)
    if ball.narrow:
        assert free - math.sqrt(dim) >= 2 * 44 * 46 * 2.0**-24 * ball.radius
    assert ball.longest(dim) > 0.9 * ball.radius


def test_a_vector_too_long_for_its_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a vector of 1099511627777 numbers is too long for a grid of 22 bits"):
        Ball(1.0, 22).longest((1 << 40) + 1)
