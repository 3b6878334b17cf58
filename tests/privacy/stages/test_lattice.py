"""Lattice: exact integer norms, and the distance of its noise from the continuous Gaussian."""

import math

import mpmath
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from tacit.privacy.pipeline import PipelineError
from tacit.privacy.signal import Signal
from tacit.privacy.stages.lattice import STEPS, exceeds, noised, onto, real_values, rounded, shortest


def owner(dim: int, bound: float = 1.0) -> Signal:
    return Signal(dim, "owner", sensitivity=bound, bound=bound, peak=bound, most=10)


def test_the_discrete_gaussian_is_as_close_to_a_rounded_gaussian_as_claimed() -> None:
    """KL(DG ‖ round N) at σ = 64, in 40 digits: at most 1/(160σ⁴), and of that order (the limit is 1/(576σ⁴))."""
    sigma = 64
    with mpmath.workdps(40):
        cells = [mpmath.mpf(n) for n in range(13 * sigma)]
        law = [mpmath.exp(-n * n / (2 * sigma * sigma)) for n in cells]
        total = law[0] + 2 * mpmath.fsum(law[1:])
        edge = [mpmath.erfc((n - mpmath.mpf(1) / 2) / (sigma * mpmath.sqrt(2))) / 2 for n in [*cells, len(cells)]]
        terms = [p / total * mpmath.log(p / total / (edge[i] - edge[i + 1])) for i, p in enumerate(law)]
        divergence = float(terms[0] + 2 * mpmath.fsum(terms[1:]))
    assert 1 / (600 * sigma**4) <= divergence <= 1 / (160 * sigma**4)


@given(st.integers(1, 10**8), st.floats(0.05, 1e3))
def test_the_declared_distance(dim: int, noise_multiplier: float) -> None:
    """Total variation of one release: √(d/394)/σ², a few times 1e-16 at a million coordinates and z = 1."""
    signal = onto("x", owner(dim))
    distance = math.sqrt(dim / 394) / (noise_multiplier * STEPS) ** 2
    assume(abs(distance / 1e-12 - 1) > 1e-3)  # the sampler's own distance decides within that
    if distance > 1e-12:
        with pytest.raises(PipelineError, match="total variation"):
            noised("x", signal, noise_multiplier, "server")
        return
    found = noised("x", signal, noise_multiplier, "server")
    assert found.delta_extra == pytest.approx(distance, rel=1e-3)
    assert found.noise[0].variance == (noise_multiplier * STEPS) ** 2
    assert noised("x", signal, noise_multiplier, "owner").delta_extra == pytest.approx(10 * found.delta_extra)


def test_no_noise_declares_none() -> None:
    signal = onto("x", owner(5))
    assert noised("x", signal, 0.0, "server") is signal


@pytest.mark.parametrize("noise_multiplier", [1e-9, 1e-7, 1e12])
def test_noise_outside_the_range_of_the_lattice_is_refused(noise_multiplier: float) -> None:
    with pytest.raises(PipelineError, match=r"noise_multiplier = .*; give"):
        noised("x", onto("x", owner(5)), noise_multiplier, "server")


def test_the_smallest_multiplier_that_a_refusal_names_is_accepted() -> None:
    signal = onto("x", owner(10**8))
    with pytest.raises(PipelineError) as refusal:
        noised("x", signal, 1e-2, "server")
    smallest = float(str(refusal.value).split("give at least ")[1].split(",")[0])
    assert noised("x", signal, smallest, "server").noise


@given(
    st.lists(st.lists(st.integers(-(1 << 28), 1 << 28), min_size=3, max_size=3), min_size=1, max_size=4),
    st.integers(-3, 3), st.data(),
)  # fmt: skip
def test_the_norm_check_is_exact(rows: list[list[int]], off: int, data: st.DataObject) -> None:
    squared = [sum(value * value for value in row) for row in rows]
    limit = max(1, data.draw(st.sampled_from(squared)) + off)
    found = exceeds(torch.tensor(rows, dtype=torch.float64), limit)
    assert found.tolist() == [each > limit for each in squared]


def test_the_norm_check_is_exact_where_float64_is_not() -> None:
    """2⁵⁶ + 1 is not a float64: the vector (2²⁸, 1) is one step too long and has to be seen."""
    vectors = torch.tensor([[float(STEPS), 1.0], [float(STEPS), 0.0]], dtype=torch.float64)
    assert exceeds(vectors, STEPS**2).tolist() == [True, False]


def test_a_vector_that_rounds_past_the_bound_is_truncated_and_one_that_breaks_it_is_dropped() -> None:
    on_edge = [math.sqrt(0.5)] * 2
    sent = rounded(
        torch.tensor([on_edge, [1.0, 1.0], [math.nan, 0.0], [1e38, 0.0], [0.5, 0.0]], dtype=torch.float64), owner(2)
    )
    assert sent[1:].tolist() == [[0, 0], [0, 0], [0, 0], [STEPS // 2, 0]]
    assert sum(value * value for value in sent[0].tolist()) <= STEPS**2
    assert sent[0].tolist() == pytest.approx([math.sqrt(0.5) * STEPS] * 2, abs=1)


def test_shortest_falls_back_once_and_then_to_zero() -> None:
    vectors = torch.tensor([[3.0, 4.0], [3.0, 4.0], [1.0, 0.0]], dtype=torch.float64)
    found = shortest(vectors, lambda rows: torch.tensor([[3.0, 3.0], [4.0, 4.0]], dtype=torch.float64), 24)
    assert found.tolist() == [[3, 3], [0, 0], [1, 0]]


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=20), st.floats(1e-3, 1e3))
def test_rounding_moves_a_coordinate_by_half_a_step_at_most(values: list[float], bound: float) -> None:
    signal = owner(len(values), bound)
    real = torch.tensor([values]) * (0.99 * bound / math.sqrt(len(values)))
    back = real_values(rounded(real, signal)[0], onto("x", signal))
    step = bound / STEPS
    assert ((back.to(torch.float64) - real[0]).abs() <= 0.51 * step + 2.0**-23 * real[0].abs()).all()


def test_examples_are_charged_for_rounding_their_sum() -> None:
    signal = onto("x", Signal(10_000, "example", sensitivity=0.5, most=4))
    assert signal.sensitivity == pytest.approx(STEPS + 100, abs=0.2)
    assert signal.sensitivity > STEPS + 100
    assert signal.scale == 0.5 / STEPS
    assert signal.inflation == signal.sensitivity / STEPS


def test_sums_of_examples_are_cut_where_int64_would_end() -> None:
    source = Signal(3, "example", sensitivity=1e-3, most=1000)
    sent = rounded(torch.tensor([[3e38, -3e38, 0.001], [math.inf, 0.0, 0.0]]), source)
    assert sent[1].tolist() == [0, 0, 0]
    assert sent[0, 2] == pytest.approx(STEPS, rel=1e-6)
    assert 1000 * int(sent[0, 0]) < 2**62
    assert sent[0, 0] == -sent[0, 1]
