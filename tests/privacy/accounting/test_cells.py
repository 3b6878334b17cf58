"""Losses cut into cells: no mass is lost, and splitting a cell keeps its mass under both laws."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.accounting import cells, grid, pair


@given(st.floats(0.3, 5), st.floats(0.01, 0.9), st.floats(1e-3, 0.5))
@settings(max_examples=40, deadline=None)
def test_mass_is_kept_under_both_laws(noise: float, rate: float, step: float) -> None:
    found = cells.cut(pair.amplified(pair.gaussian(noise), rate), step)
    assert np.sum(found.p) + found.head + found.tail == pytest.approx(1.0, abs=1e-12)
    assert np.sum(found.q) + found.q_head + found.q_tail == pytest.approx(1.0, abs=1e-12)
    atoms = grid.pessimistic(found)
    assert np.sum(atoms.mass) + atoms.infinite == pytest.approx(1.0, abs=1e-12)
    # The split keeps Q's mass too: Σ p e^{−ℓ} is 1.
    assert np.sum(atoms.mass * np.exp(-atoms.losses)) == pytest.approx(1.0, abs=1e-9)


def test_an_atom_on_an_edge_stays_there() -> None:
    truth = 1 / (1 + math.exp(-0.5))
    one = pair.atoms(np.array([truth, 1 - truth]), np.array([1 - truth, truth]))
    atoms = grid.pessimistic(cells.cut(one, 0.125))
    held = zip(atoms.losses, atoms.mass, strict=True)
    assert {round(float(place), 6): float(mass) for place, mass in held if mass > 1e-9} == pytest.approx(
        {-0.5: 1 - truth, 0.5: truth}
    )


def test_the_shares_are_between_the_edges() -> None:
    found = cells.cut(pair.gaussian(2.0), 0.01)
    assert np.all((found.upper_share >= 0) & (found.upper_share <= 1))
