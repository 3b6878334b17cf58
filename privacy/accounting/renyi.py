"""Rényi differential privacy as a vector over one fixed set of orders, and its conversion to (ε, δ).

The orders hold every one that Opacus and dp-accounting use by default, so that no ε here lies above theirs, and more
on both sides. Conversion: Canonne, Kamath, Steinke 2020 (arXiv 2004.00010), Proposition 12, and for small divergences
Bretagnolle and Huber's δ ≤ √(1 − e^{−KL}).
"""

from __future__ import annotations

import math

import numpy as np

from .pair import Array


def _orders() -> Array:
    fractions = np.concatenate([1 + np.array([0.015, 0.02, 0.03, 0.05, 0.07]), 1 + np.arange(1, 100) / 10])
    integers = np.concatenate([np.arange(11, 65), 2.0 ** np.arange(7, 15), 1.5 * 2.0 ** np.arange(6, 14),
                               [80, 112, 160, 224, 320, 448, 640, 896]])  # fmt: skip
    return np.unique(np.round(np.concatenate([fractions, integers]), 6))


ORDERS: Array = _orders()
ORDERS.setflags(write=False)
# (log(1 − 1/α) and 1/(α − 1)) of Proposition 12, once.
_GAIN: Array = np.log1p(-1 / ORDERS)
_EXCESS: Array = 1 / (ORDERS - 1)


def epsilon(rdp: Array, delta: float) -> float:
    """The smallest ε ≥ 0 that this vector proves at δ; ∞ where it proves none."""
    if np.any(-np.expm1(-rdp) <= delta**2):
        return 0.0
    candidates = rdp + _GAIN - (math.log(delta) + np.log(ORDERS)) * _EXCESS
    return max(0.0, _least(candidates))


def order(rdp: Array, delta: float) -> float:
    """The order at which `epsilon` is smallest."""
    candidates = np.nan_to_num(rdp + _GAIN - (math.log(delta) + np.log(ORDERS)) * _EXCESS, nan=np.inf)
    return float(ORDERS[int(np.argmin(candidates))])


def delta(rdp: Array, epsilon: float) -> float:
    """The smallest δ ≤ 1 that this vector proves at ε ≥ 0."""
    chernoff = (ORDERS - 1) * (rdp - epsilon + _GAIN) - np.log(ORDERS)
    with np.errstate(divide="ignore"):
        small = 0.5 * np.log(-np.expm1(-rdp))
    return math.exp(min(0.0, _least(np.minimum(chernoff, small))))


def _least(values: Array) -> float:
    """The smallest, where an order without a value proves nothing."""
    return float(np.min(np.nan_to_num(values, nan=np.inf, posinf=np.inf, neginf=-np.inf)))


def at_orders(integer_cgf: dict[int, float]) -> Array:
    """A vector from (α − 1)·D_α at some integer orders α ≥ 2.

    In between by its convexity in α, from 0 at α = 1: a chord is an upper bound (Wang, Balle, Kasiviswanathan 2019,
    Corollary 10). ∞ beyond the last.
    """
    known = np.array([1, *sorted(integer_cgf)], dtype=np.float64)
    values = np.array([0.0] + [integer_cgf[alpha] for alpha in sorted(integer_cgf)])
    with np.errstate(invalid="ignore"):
        chord = np.interp(ORDERS, known, values, right=np.inf)
    return np.asarray(np.nan_to_num(chord, nan=np.inf, posinf=np.inf) / (ORDERS - 1), dtype=np.float64)


def epsilon_at(index: int, divergence: float, delta: float) -> float:
    """The ε that Proposition 12 gives at order `ORDERS[index]` alone."""
    return max(0.0, float(divergence + _GAIN[index] - (math.log(delta) + math.log(ORDERS[index])) * _EXCESS[index]))


def allowed(epsilon: float, delta: float) -> Array:
    """The largest divergence at each order that still proves ε at δ; negative where none does."""
    return np.asarray(epsilon - _GAIN + (math.log(delta) + np.log(ORDERS)) * _EXCESS)
