"""Mechanism: every event has its line."""

from __future__ import annotations

import pytest
from tacit.privacy.event import (
    NAMES,
    BandedMatrix,
    Composed,
    DiscreteGaussian,
    Event,
    FixedCohort,
    Gaussian,
    Laplace,
    NonPrivate,
    Nothing,
    Poisson,
    Repeated,
    Skellam,
    Tree,
    Tuned,
    to_json,
)
from tacit.simulation.mechanism import mechanism


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (Repeated(Poisson(0.5, Gaussian(3.74)), 80), "80 × Poisson 0.5 of Gaussian 3.74"),
        (Repeated(Repeated(Gaussian(1.25), 3), 6), "6 × (3 × Gaussian 1.25)"),
        (FixedCohort(10, 1000, Gaussian(1.0)), "10 of 1,000 drawn, Gaussian 1"),
        (Composed((Laplace(2.0), Gaussian(3.0))), "Laplace 2 + Gaussian 3"),
        (Composed(()), "nothing"),
        (Composed((Repeated(Gaussian(3.0), 1), Repeated(Nothing(), 5))), "1 × Gaussian 3"),
        (Composed((Nothing(), Repeated(Nothing(), 5))), "nothing"),
        (Nothing(), "nothing"),
        (NonPrivate(), "no privacy"),
        (Skellam(100.0, 2.0, 4.0), "Skellam 5 (l2 2, l1 4)"),
        (DiscreteGaussian(25.0, 2.0, 4.0, 8, 4), "discrete Gaussian 5 (l2 2, l1 4, dim 8, shares 4)"),
        (Tree(1.5, 64), "tree (noise_multiplier 1.5, steps 64)"),
        (BandedMatrix(1.0, (1.0, 0.5), 100, 10, 2),
         "banded-matrix (noise_multiplier 1, coefficients of 2 numbers, rounds 100, separation 10, participations 2)"),
        (Tuned(Gaussian(2.0), 10.0, 1.0), "tuned (mean 10, shape 1) of Gaussian 2"),
    ],
)  # fmt: skip
def test_lines(event: Event, line: str) -> None:
    assert mechanism(to_json(event)) == line


@pytest.mark.parametrize("value", [None, "text", {}, {"event": "unheard-of"}, {"event": "repeated"}, {"of": None}])
def test_what_is_no_event_gets_a_line_too(value: object) -> None:
    assert mechanism(value)


def test_no_event_of_the_schema_falls_through_to_unknown() -> None:
    assert all(mechanism({"event": name}) != "unknown" for name in NAMES)
