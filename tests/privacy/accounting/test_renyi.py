"""Conversion from Rényi divergences to (ε, δ)."""

import numpy as np
import pytest
from dp_accounting import rdp
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.accounting import gaussian, moments, renyi


@given(st.floats(0.05, 200), st.floats(1e-14, 0.3))
def test_never_below_the_exact_gaussian(noise: float, delta: float) -> None:
    vector = moments.gaussian(noise)
    assert renyi.epsilon(vector, delta) >= gaussian.epsilon(noise, delta) * (1 - 1e-12)


@given(st.floats(0.05, 200), st.floats(1e-12, 0.3))
def test_epsilon_and_delta_are_inverse(noise: float, delta: float) -> None:
    vector = moments.gaussian(noise)
    epsilon = renyi.epsilon(vector, delta)
    assert epsilon >= 0
    assert renyi.delta(vector, epsilon) <= delta * (1 + 1e-9)


@pytest.mark.parametrize(("noise", "delta"), [(1.0, 1e-5), (0.5, 1e-6), (5.0, 1e-5), (50.0, 1e-5), (2.0, 0.1)])
def test_no_worse_than_dp_accounting_with_its_own_orders(noise: float, delta: float) -> None:
    orders = np.array(rdp.rdp_privacy_accountant.DEFAULT_RDP_ORDERS)
    classic, _ = rdp.compute_epsilon(orders, orders / 2 / noise**2, delta)
    mine = renyi.epsilon(moments.gaussian(noise), delta)
    assert mine <= classic * (1 + 1e-12)
    same, order = rdp.compute_epsilon(renyi.ORDERS, moments.gaussian(noise), delta)
    assert mine == pytest.approx(same)
    if mine > 0:
        assert renyi.order(moments.gaussian(noise), delta) == order


def test_every_usual_order_is_among_ours() -> None:
    opacus = [1 + x / 10.0 for x in range(1, 100)] + list(range(12, 64))
    for order in [*rdp.rdp_privacy_accountant.DEFAULT_RDP_ORDERS, *opacus]:
        assert np.min(np.abs(renyi.ORDERS - order)) < 1e-9


def test_a_small_divergence_is_zero_epsilon_and_never_negative() -> None:
    # Opacus returns a negative ε here.
    assert renyi.epsilon(moments.gaussian(1e7), 1e-3) == 0.0
    assert renyi.epsilon(np.zeros(len(renyi.ORDERS)), 1e-9) == 0.0


def test_no_divergence_known_proves_nothing() -> None:
    nothing = np.full(len(renyi.ORDERS), np.inf)
    assert renyi.epsilon(nothing, 1e-5) == np.inf
    assert renyi.delta(nothing, 10.0) == 1.0


@given(st.floats(0.3, 50), st.floats(1e-10, 0.1))
def test_one_order_alone_is_never_better_than_all(noise: float, delta: float) -> None:
    vector = moments.gaussian(noise)
    alone = min(renyi.epsilon_at(index, float(value), delta) for index, value in enumerate(vector))
    assert renyi.epsilon(vector, delta) <= alone
    allowed = renyi.allowed(alone, delta)
    assert np.max(allowed - vector) == pytest.approx(0.0, abs=1e-9) or alone == 0


def test_chords_bound_a_convex_function_between_integers() -> None:
    exact = moments.gaussian(2.0)
    chords = renyi.at_orders({int(alpha): (alpha - 1) * alpha / 8 for alpha in (2.0, 4.0, 8.0, 16.0)})
    known = renyi.ORDERS <= 16
    assert np.all(chords[known] >= exact[known] - 1e-12)
    assert np.all(np.isinf(chords[~known]))
