"""Forecasts of correlated noise: known special cases, monotone laws, and refusals."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.accounting.accountant import epsilon
from tacit.privacy.accounting.correlated import plan_correlated, square_root
from tacit.privacy.accounting.relation import AccountingError
from tacit.privacy.event import Gaussian


def test_the_coefficients_are_those_of_the_square_root_of_prefix_sums() -> None:
    column = square_root(6)
    assert column == pytest.approx([1, 1 / 2, 3 / 8, 5 / 16, 35 / 128, 63 / 256])
    # Squared, as a power series, they give 1/(1 − x) = 1 + x + x² + …
    assert [sum(column[i] * column[k - i] for i in range(k + 1)) for k in range(6)] == pytest.approx([1.0] * 6)


def test_one_band_is_plain_noise_over_the_rounds_that_one_unit_is_in() -> None:
    found = plan_correlated("banded", rounds=40, separation=10, bands=1, noise_multiplier=3.0, delta=1e-5)
    assert found.epsilon == pytest.approx(epsilon(Gaussian(3.0 / math.sqrt(4)), "add-remove", 1e-5), rel=1e-6)


def test_bands_within_the_separation_cost_the_norm_of_their_column() -> None:
    found = plan_correlated(
        "banded", rounds=64, separation=16, participations=1, bands=4, noise_multiplier=3.0, delta=1e-5
    )
    norm = math.sqrt(sum(c * c for c in square_root(4)))
    assert found.epsilon == pytest.approx(epsilon(Gaussian(3.0 / norm), "add-remove", 1e-5), rel=1e-6)


def test_a_tree_of_n_steps_holds_a_unit_in_its_levels() -> None:
    found = plan_correlated("tree", rounds=8, noise_multiplier=3.0, delta=1e-5)
    assert found.epsilon == pytest.approx(epsilon(Gaussian(3.0 / math.sqrt(4)), "add-remove", 1e-5), rel=1e-6)
    twice = plan_correlated("tree", rounds=16, separation=8, noise_multiplier=3.0, delta=1e-5)
    assert twice.epsilon == pytest.approx(epsilon(Gaussian(3.0 / math.sqrt(8)), "add-remove", 1e-5), rel=1e-6)


def test_a_blt_without_scale_is_plain_noise() -> None:
    found = plan_correlated("blt", rounds=9, separation=3, decay=(0.9,), scale=(0.0,), noise_multiplier=2.0, delta=1e-5)
    assert found.epsilon == pytest.approx(epsilon(Gaussian(2.0 / math.sqrt(3)), "add-remove", 1e-5), rel=1e-6)


@settings(max_examples=15)
@given(st.integers(1, 12), st.integers(1, 4), st.floats(0.5, 8.0))
def test_more_bands_cost_more_under_the_same_noise(bands: int, times: int, target: float) -> None:
    shape = {"rounds": 4 * 16, "separation": 16, "participations": times, "delta": 1e-5}
    fewer = plan_correlated("banded", bands=bands, target_epsilon=target, **shape)
    more = plan_correlated("banded", bands=bands + 1, target_epsilon=target, **shape)
    assert fewer.epsilon <= target
    assert fewer.noise_multiplier is not None
    assert more.noise_multiplier is not None
    assert fewer.noise_multiplier <= more.noise_multiplier * (1 + 2e-3)


@pytest.mark.parametrize(
    ("correlation", "given", "message"),
    [
        ("banded", {"separation": 99}, "separation = 99"),
        ("banded", {"separation": 5, "participations": 3}, "participations = 3"),
        ("banded", {"bands": 0}, "bands = 0"),
        ("banded", {"decay": (0.5,)}, "means nothing"),
        ("tree", {"bands": 2}, "means nothing"),
        ("blt", {"decay": (0.5, 0.2), "scale": (0.1,)}, "2 decays and 1 scales"),
        ("blt", {}, "0 decays"),
        ("blt", {"decay": (1.5,), "scale": (0.1,)}, "decay"),
        ("forest", {}, "unknown"),
        ("banded", {"target_epsilon": 1.0}, "not both"),
    ],
)
def test_what_cannot_be_is_refused_with_a_remedy(correlation: str, given: dict[str, object], message: str) -> None:
    with pytest.raises(AccountingError, match=message):
        plan_correlated(correlation, rounds=10, delta=1e-5, noise_multiplier=1.0, **given)  # type: ignore[arg-type]
