"""Risk: bounds on attacks, against closed forms and attacks that are really run."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import laplace, norm
from tacit.privacy.accounting.risk import NO_RISK, TOTAL_RISK, risk
from tacit.privacy.event import FixedCohort, Gaussian, Laplace, NonPrivate, Nothing, Poisson, Repeated, Skellam


def test_gaussians_in_closed_form() -> None:
    found = risk(Repeated(Gaussian(4.0), 4), "add-remove")
    assert found.membership_advantage == pytest.approx(norm.cdf(0.25) - norm.cdf(-0.25))
    assert found.true_positives == pytest.approx(norm.sf(norm.isf(0.01) - 0.5))


def test_the_grid_agrees_with_the_closed_form() -> None:
    near = risk(Repeated(Poisson(1 - 1e-9, Gaussian(4.0)), 4), "add-remove")
    exact = risk(Repeated(Gaussian(4.0), 4), "add-remove")
    assert near.membership_advantage == pytest.approx(exact.membership_advantage, rel=2e-3)
    assert near.true_positives == pytest.approx(exact.true_positives, rel=2e-3)


def test_laplace_in_closed_form() -> None:
    found = risk(Laplace(2.0), "add-remove")
    # Total variation of Laplace(0) and Laplace(1) at scale 2, and the best test at 1 %.
    assert found.membership_advantage == pytest.approx(1 - math.exp(-0.25), rel=2e-3)
    assert found.true_positives == pytest.approx(laplace.sf(laplace.isf(0.01, scale=2.0), loc=1.0, scale=2.0), rel=2e-3)


@given(st.floats(0.05, 0.9), st.floats(0.7, 4), st.integers(1, 8))
@settings(max_examples=12, deadline=None)
def test_no_attack_that_is_run_does_better(rate: float, noise: float, count: int) -> None:
    """A likelihood-ratio attack on the sampled Gaussian, 40,000 trials a side."""
    found = risk(Repeated(Poisson(rate, Gaussian(noise)), count), "add-remove")
    chance = np.random.default_rng(7)
    out = chance.normal(0, noise, (40000, count))
    inside = chance.normal(0, noise, (40000, count)) + (chance.random((40000, count)) < rate)

    def score(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.sum(np.log1p(rate * np.expm1((x - 0.5) / noise**2)), axis=1))

    threshold = np.quantile(score(out), 0.99)
    assert float(np.mean(score(inside) > threshold)) <= found.true_positives * 1.06 + 0.01
    for cut in np.quantile(score(out), [0.2, 0.5, 0.8]):
        advantage = float(np.mean(score(inside) > cut) - np.mean(score(out) > cut))
        assert advantage <= found.membership_advantage + 0.015


def test_less_noise_is_more_risk_and_the_ends_are_certain() -> None:
    risks = [risk(Repeated(FixedCohort(10, 100, Gaussian(noise)), 10), "replace-one") for noise in (0.5, 1.0, 2.0)]
    assert risks[0].membership_advantage > risks[1].membership_advantage > risks[2].membership_advantage
    assert risks[0].true_positives > risks[1].true_positives > risks[2].true_positives > 0.01
    assert risk(Nothing(), "add-remove") == NO_RISK
    assert risk(NonPrivate(), "add-remove") == TOTAL_RISK


def test_events_known_by_rdp_alone_have_bounds_too() -> None:
    found = risk(Skellam(100.0, 1.0, 1.0), "zero-out")
    exact = risk(Gaussian(10.0), "zero-out")
    assert exact.membership_advantage <= found.membership_advantage < 0.3
    assert exact.true_positives <= found.true_positives < 0.1
    assert set(found.to_json()) == {"membership_advantage", "tpr_at_1_percent_fpr"}
