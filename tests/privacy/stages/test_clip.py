"""Clip: a projection that holds exactly in float32."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.pipeline import Env, PipelineError
from tacit.privacy.signal import Signal
from tacit.privacy.stages.clip import SLACK, Clip, clipped, factors
from tacit.privacy.updates import Dense

ENV = Env(SeededEntropy(0), 1)


def clip(rows: list[list[float]], norm: float) -> torch.Tensor:
    signal = Signal(len(rows[0]), "owner")
    return Clip(norm).send(Dense(torch.tensor(rows, dtype=torch.float32)), signal, ENV).dense()


@given(
    st.lists(st.floats(width=32), min_size=1, max_size=40),
    st.floats(2.0**-60, 2.0**60),
)
def test_the_norm_never_exceeds_the_bound(values: list[float], norm: float) -> None:
    (row,) = clip([values], norm).tolist()
    assert math.sqrt(math.fsum(value * value for value in row)) <= norm


@given(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=2, max_size=30), st.floats(1e-3, 1e3))
def test_short_vectors_stay_and_long_ones_keep_their_direction(values: list[float], norm: float) -> None:
    before = torch.tensor(values, dtype=torch.float64)
    after = clip([values], norm)[0].to(torch.float64)
    length = float(before.norm())
    if length <= norm * (1 - SLACK):
        assert torch.equal(after, before)
    elif length <= norm * 2.0**64:
        assert float(after.norm()) == pytest.approx(norm, rel=2e-6)
        assert float(after @ before) == pytest.approx(float(after.norm()) * length, rel=1e-6)
    else:
        assert not after.any()


@pytest.mark.parametrize("spoilt", [math.nan, math.inf, -math.inf, 3.4e38])
def test_a_non_finite_contribution_becomes_zero_and_touches_no_other(spoilt: float) -> None:
    after = clip([[0.1, spoilt], [0.1, 0.2]], 1.0)
    assert after.tolist() == [[0.0, 0.0], pytest.approx([0.1, 0.2])]


def test_squares_that_overflow_float32_are_measured() -> None:
    after = clip([[1e25] * 4], 2.0**30)
    assert float(after.norm()) == pytest.approx(2.0**30, rel=2e-6)


@given(
    st.lists(st.floats(-3, 3, width=32), min_size=4, max_size=4),
    st.lists(st.floats(-3, 3, width=32), min_size=4, max_size=4),
    st.floats(0.01, 4),
)
def test_one_example_moves_the_projection_no_further_than_declared(
    here: list[float], example: list[float], norm: float
) -> None:
    there = torch.tensor(here) + torch.tensor(example)
    moved = float((torch.tensor(here).to(torch.float64) - there.to(torch.float64)).norm())
    declared = clipped(Signal(4, "example", sensitivity=moved), norm).sensitivity
    first, second = clip([here, there.tolist()], norm).to(torch.float64)
    assert float((first - second).norm()) <= declared


def test_rounding_to_float32_is_part_of_what_one_example_moves() -> None:
    """Two vectors an unmeasurable step apart, on either side of a rounding of the factor: all coordinates move."""

    def shrunk(small: float) -> torch.Tensor:
        return clip([[1.0, small]], 0.5)[0].to(torch.float64)

    low, high = 0.0, 1e-3
    for _ in range(200):
        middle = float(torch.tensor((low + high) / 2, dtype=torch.float32))
        if middle in (low, high):
            break
        low, high = (middle, high) if shrunk(middle)[0] == shrunk(0.0)[0] else (low, middle)
    moved = float((shrunk(low) - shrunk(high)).norm())
    assert moved > 100 * (high - low)
    assert moved <= clipped(Signal(2, "example", sensitivity=high - low), 0.5).sensitivity


def test_an_example_can_turn_a_projection_around() -> None:
    """Why the diameter, 2·norm, and not norm is the other bound: from one side of the ball to the other."""
    first, second = clip([[-1.0, 0.0], [9.0, 0.0]], 1.0)
    assert float((first - second).norm()) == pytest.approx(2, rel=1e-5)
    assert clipped(Signal(2, "example", sensitivity=10.0), 1.0).sensitivity == 2.0


@pytest.mark.parametrize(
    ("unit", "sensitivity", "declared"),
    [("owner", math.inf, 0.3), ("owner", 0.1, 0.1), ("example", 0.1, 0.1), ("example", 5.0, 0.6)],
)
def test_declaration(unit: str, sensitivity: float, declared: float) -> None:
    signal = Clip(0.3).declare(Signal(5, unit, sensitivity=sensitivity))
    assert signal.sensitivity == pytest.approx(declared, rel=1e-5)
    assert (signal.dim, signal.bound, signal.peak) == (5, 0.3, 0.3)


def test_factors_of_norms() -> None:
    found = factors(torch.tensor([0.0, 0.5, 2.0, math.nan, math.inf, 1e30], dtype=torch.float64), 1.0)
    assert found.tolist() == [1.0, 1.0, (1 - SLACK) / 2, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("norm", [0.0, -1.0, math.nan, math.inf, 1e-30, 1e30, True, "1"])
def test_an_impossible_norm_is_refused(norm: object) -> None:
    with pytest.raises(PipelineError, match=r"norm = .*; give"):
        Clip(norm)
