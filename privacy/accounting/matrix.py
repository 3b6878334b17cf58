"""The sensitivity of correlated noise: the largest norm of C x over everything that one unit may contribute.

A matrix mechanism releases the rounds' sums plus C⁻¹z, z ~ N(0, s²I); it is the Gaussian mechanism on C x, also
when the sums are chosen adaptively (Denisov et al. 2022, arXiv 2202.08312, Theorem 2.1). With C lower-triangular
Toeplitz of first column c over n rounds, and a unit in at most k rounds, any two of them at least b apart:

| c | largest ‖Σᵢ C e_{tᵢ} ⊗ uᵢ‖, ‖uᵢ‖ ≤ 1 |
|---|---|
| non-negative and non-increasing | attained at rounds 1, 1+b, 1+2b, … (Kalinin and Lampert 2024, arXiv 2405.13763, Theorem 2) |
| any other | at most (k a₀ + 2 Σ_{m<k} (k−m) max_{d≥mb} a_d)^½ with a_d = Σ_t |c_t c_{t+d}| |

The second row holds because the squared norm is Σᵢⱼ ⟨C e_{tᵢ}, C e_{tⱼ}⟩⟨uᵢ, uⱼ⟩, columns cut at the last round only
lose terms, and the i-th and (i+m)-th participation lie at least mb rounds apart.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from ..event import BandedMatrix, BufferedLinearToeplitz, Tree
from .relation import AccountingError

_MOST_ROUNDS = 2**22
_FFT_SLACK = 1e-9  # relative; far above the rounding error of the autocorrelation's FFT


def tree_norm(tree: Tree) -> float:
    """√(nodes that hold one step) of a binary tree over `steps` leaves: ⌊log₂ steps⌋ + 1 levels are ever complete."""
    return math.sqrt(tree.steps.bit_length())


def coefficients(event: BandedMatrix | BufferedLinearToeplitz) -> NDArray[np.float64]:
    """First column of C, `[rounds]`."""
    if event.rounds > _MOST_ROUNDS:
        raise AccountingError(f"{event.rounds} rounds of correlated noise; at most {_MOST_ROUNDS} can be accounted")
    column = np.zeros(event.rounds)
    if isinstance(event, BandedMatrix):
        given = np.asarray(event.coefficients[: event.rounds], dtype=np.float64)
        column[: len(given)] = given
        return column
    column[0] = 1.0
    for decay, scale in zip(event.decay, event.scale, strict=True):
        column[1:] += scale * np.power(float(decay), np.arange(event.rounds - 1))
    return column


def largest_norm(event: BandedMatrix | BufferedLinearToeplitz) -> float:
    """Upper bound on one unit's norm after C, exact in the first row of the table."""
    column = coefficients(event)
    if np.all(column >= 0) and np.all(np.diff(column) <= 0):
        return _first_pattern_norm(column, event)
    magnitude = np.abs(column)
    size = next_fast_len(2 * len(column), real=True)
    overlap = irfft(np.abs(rfft(magnitude, size)) ** 2, size)[: len(column)]
    overlap = np.maximum.accumulate((overlap + _FFT_SLACK * overlap[0])[::-1])[::-1]
    times = _participations(event)
    apart = np.arange(1, times)
    pairs = float(np.sum((times - apart) * overlap[apart * event.separation]))
    return math.sqrt(times * overlap[0] + 2.0 * pairs)


def attained_norm(event: BandedMatrix | BufferedLinearToeplitz) -> float:
    """A norm that some permitted participation reaches: the lower end of what `largest_norm` bounds."""
    column = coefficients(event)
    return max(float(np.linalg.norm(column)), _first_pattern_norm(column, event))


def _participations(event: BandedMatrix | BufferedLinearToeplitz) -> int:
    return min(event.participations, math.ceil(event.rounds / event.separation))


def _first_pattern_norm(column: NDArray[np.float64], event: BandedMatrix | BufferedLinearToeplitz) -> float:
    times, gap = _participations(event), event.separation
    rows = math.ceil(len(column) / gap)
    padded = np.zeros(rows * gap)
    padded[: len(column)] = column
    # Σ_{i<k} c_{t−ib}: a running sum along each residue class of t modulo b, less what left the window of k.
    summed = np.cumsum(padded.reshape(rows, gap), axis=0)
    summed[times:] -= summed[:-times].copy()
    return float(np.linalg.norm(summed.reshape(-1)[: len(column)]))
