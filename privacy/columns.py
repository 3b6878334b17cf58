"""Columns: how long one unit's contribution to correlated noise can get, by the explicit matrix; the second opinion on it.

It shares no code with `accounting.matrix`, and is slower: C is written out, `[rounds, rounds]`, lower triangular. With at most
k participations, any two of them b rounds apart, the largest norm is

| first column of C               | largest norm                                                                               |
|---------------------------------|--------------------------------------------------------------------------------------------|
| non-negative and non-increasing | that of the sum of columns 1, 1 + b, … (Kalinin and Lampert 2024, arXiv 2405.13763, Thm 2) |
| any other                       | at most (k·max G_ii + 2·Σ_{m<k} (k − m)·max_{|i−j| ≥ mb} G_ij)^½ with G = |C|ᵀ|C|          |
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .event import BandedMatrix, BufferedLinearToeplitz

MOST_ROUNDS = 2048  # the matrix has 32 MiB then


def matrix(event: BandedMatrix | BufferedLinearToeplitz) -> NDArray[np.float64]:
    """C `[rounds, rounds]`; raises `ValueError` for more rounds than it is written out for."""
    if event.rounds > MOST_ROUNDS:
        raise ValueError(
            f"correlated noise over {event.rounds} rounds; its matrix is written out for {MOST_ROUNDS} at most"
        )
    made = np.zeros((event.rounds, event.rounds))
    for lag in range(event.rounds):
        np.fill_diagonal(made[lag:, :], _coefficient(event, lag))
    return made


def norm_by_columns(event: BandedMatrix | BufferedLinearToeplitz) -> float:
    """The table's number, for contributions of norm 1. Raises `ValueError` for too many rounds."""
    made, gap = matrix(event), event.separation
    times = min(event.participations, -(-event.rounds // gap))
    first = made[:, 0]
    if first.min() >= 0 and np.all(first[1:] <= first[:-1]):
        return float(np.linalg.norm(made[:, : times * gap : gap].sum(axis=1)))
    gram = np.abs(made).T @ np.abs(made)
    overlaps = np.array([gram.diagonal(apart).max() for apart in range(event.rounds)])
    squared = times * overlaps[0]
    squared += 2 * sum((times - m) * overlaps[m * gap :].max() for m in range(1, times))
    return math.sqrt(squared)


def _coefficient(event: BandedMatrix | BufferedLinearToeplitz, lag: int) -> float:
    if isinstance(event, BandedMatrix):
        return float(event.coefficients[lag]) if lag < len(event.coefficients) else 0.0
    if lag == 0:
        return 1.0
    return math.fsum(scale * decay ** (lag - 1) for decay, scale in zip(event.decay, event.scale, strict=True))
