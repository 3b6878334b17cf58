"""Space: combinations, draws and moves that stay inside it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.config import ConfigError
from tacit.simulation.studies.space import name_of, space_of

SPACE = space_of({"a": [1, 2, 4], "b": {"from": 0.1, "to": 10.0, "scale": "log"}, "c": ["x", "y"]})


@given(seed=st.integers(0, 2**32), width=st.floats(0, 3))
def test_draws_and_moves_stay_inside(seed: int, width: float) -> None:
    rng = np.random.default_rng(seed)
    start = SPACE.drawn(rng)
    for values in (start, SPACE.moved(start, rng, width)):
        found = dict(values)
        assert list(found) == ["a", "b", "c"]
        assert found["a"] in (1, 2, 4)
        assert 0.1 <= found["b"] <= 10.0
        assert found["c"] in ("x", "y")


@given(seed=st.integers(0, 2**32))
def test_a_move_changes_two_keys_at_most(seed: int) -> None:
    rng = np.random.default_rng(seed)
    start = SPACE.drawn(rng)
    moved = SPACE.moved(start, rng, 0.1)
    assert sum(a != b for a, b in zip(start, moved, strict=True)) <= 2


def test_a_grid_is_every_combination_once() -> None:
    grid = SPACE.grid()
    assert len(grid) == len({name_of(values) for values in grid}) == 3 * 5 * 2


def test_a_grid_that_nobody_means_is_refused() -> None:
    space = space_of({f"k{index}": {"from": 0.0, "to": 1.0, "steps": 10} for index in range(6)})
    with pytest.raises(ConfigError, match="a grid of 1,000,000 settings"):
        space.grid()


def test_names_tell_settings_apart_by_value() -> None:
    assert name_of((("a", 1),)) == name_of((("a", 1),))
    assert name_of((("a", {"use": "x", "y": 1}),)) == name_of((("a", {"y": 1, "use": "x"}),))
    assert name_of((("a", 1),)) != name_of((("a", 2),))
