"""Membership: the curve of an attack has its laws, and a claim's limit is that of its trade-off function."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import ndtr, ndtri
from tacit.privacy.accounting.audit_curve import Profile, gaussian_inverse
from tacit.simulation.audits.membership import permitted, roc

SCORES = arrays(np.float64, 40, elements=st.floats(-5, 5) | st.sampled_from([0.0, math.inf, -math.inf, math.nan]))
MEMBER = np.arange(40) % 3 == 0


@given(SCORES)
def test_the_area_is_the_chance_that_a_member_scores_higher(scores: np.ndarray) -> None:
    found = roc(scores, MEMBER)
    clean = np.nan_to_num(scores, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    inside, outside = clean[MEMBER][:, None], clean[~MEMBER][None, :]
    assert found.area == pytest.approx(((inside > outside) + 0.5 * (inside == outside)).mean())
    assert (np.diff(found.true) >= 0).all()
    assert (np.diff(found.false) >= 0).all()
    assert (found.true[0], found.false[0], found.true[-1], found.false[-1]) == (0.0, 0.0, 1.0, 1.0)


def test_a_rate_between_two_points_takes_the_lower() -> None:
    found = roc(np.array([4.0, 3.0, 2.0, 1.0]), np.array([True, False, True, False]))
    assert found.true_at(0.49) == 0.5
    assert found.true_at(0.5) == 1.0
    assert found.advantage == 0.5
    assert found.to_json()["tpr_at"] == {"0.001": 0.5, "0.01": 0.5, "0.1": 0.5}


def test_one_kind_alone_has_no_curve() -> None:
    with pytest.raises(ValueError, match="at least one of each"):
        roc(np.zeros(3), np.ones(3, dtype=np.bool_))


@given(st.floats(0.001, 0.999), st.floats(0.0, 3.0))
def test_a_gaussian_permits_what_its_best_attack_reaches(rate: float, mu: float) -> None:
    assert permitted(gaussian_inverse(mu), rate) == pytest.approx(float(ndtr(ndtri(rate) + mu)), abs=1e-9)


@given(st.floats(0.001, 0.999), st.floats(0.0, 3.0), st.floats(0.0, 0.1))
def test_epsilon_and_delta_permit_two_lines(rate: float, epsilon: float, delta: float) -> None:
    wanted = min(1.0, math.exp(epsilon) * rate + delta, 1 - math.exp(-epsilon) * (1 - delta - rate))
    inverse = Profile(np.array([epsilon]), np.array([delta])).inverse
    assert permitted(inverse, rate) == pytest.approx(wanted, abs=1e-9)
