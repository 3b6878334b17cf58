"""Compiled: with loops and without, the same bits of noise; and a run goes on where there are none."""

import logging
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy import compiled, loops, noise
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.outer import Sums
from tacit.privacy.signal import Signal
from tacit.privacy.stages.lattice import real_values, rounded_sum

SIGMAS = [0.6, 30.0, 2270.0, 2271.0, 2.0**22 * 1.1, 2.0**28, 2.0**36, 2.0**37, 2.0**50]


def streams(count: int):
    return SeededEntropy(7).streams("noise", 1, owners=range(count))


def both(draw):
    """What `draw()` gives with compiled loops, and without."""
    assert compiled.loops() is not None
    with_loops = draw()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "loops", lambda: None)
        return with_loops, draw()


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize(("owners", "count"), [(1, 100_000), (40, 1_000), (3, 33_000), (2, 1), (1, 0)])
def test_noise_is_the_same_to_the_bit(sigma: float, owners: int, count: int) -> None:
    """Long enough that words tie, that proposals are refused, and that a block has several owners, or an owner several."""
    quick, slow = both(lambda: noise.discrete_gaussians(streams(owners), sigma, count))
    assert np.array_equal(quick, slow)


@pytest.mark.parametrize("variance", [0.3, 1e4, 2e7])
def test_skellam_noise_is_the_same_to_the_bit(variance: float) -> None:
    quick, slow = both(lambda: noise.skellams(streams(3), variance, 40_000))
    assert np.array_equal(quick, slow)


def test_narrow_sums_get_the_same_noise() -> None:
    def added():
        into = np.arange(80_000, dtype=np.int32)[None].copy()
        noise.add_discrete_gaussians(streams(1), 5e6, into)
        return into

    quick, slow = both(added)
    assert np.array_equal(quick, slow)


halves = st.integers(-(2**22), 2**22).map(lambda n: n / 2)


@given(st.lists(halves | st.floats(-1e6, 1e6, width=32), min_size=1, max_size=70))
def test_sums_are_rounded_to_even_either_way(numbers: list[float]) -> None:
    sums = Sums(torch.tensor([numbers], dtype=torch.float32), torch.int32)
    quick, slow = both(lambda: sums.piece(0, slice(0, len(numbers))))
    assert quick.dtype == slow.dtype == torch.int32
    assert quick.tolist() == slow.tolist() == [round(x) for x in torch.tensor(numbers, dtype=torch.float32).tolist()]


def test_lattice_points_are_the_same_either_way() -> None:
    signal = Signal(5000, "owner", sensitivity=3.0, bound=3.0, scale=3.0 / 2**28)
    total = torch.randn(5000, generator=torch.Generator().manual_seed(1))
    quick, slow = both(lambda: rounded_sum(total, signal))
    assert torch.equal(quick, slow)
    assert torch.equal(*both(lambda: real_values(quick, signal)))


@pytest.mark.parametrize("count", [1, 15, 4000])
def test_a_step_of_descent_is_torch_s_up_to_one_rounding(count: int) -> None:
    found, random = compiled.loops(), torch.Generator().manual_seed(1)
    assert found is not None
    gradient = torch.randint(-(2**24), 2**24, (count,), dtype=torch.int32, generator=random)
    start, update = torch.randn(2, count, generator=random).mul_(0.1)
    for kept in (0, 1):
        now, after = update.clone(), torch.empty(count)
        found.moved(gradient.numpy(), 1e-9, kept, start.numpy(), now.numpy(), after.numpy())
        expected = kept * update.double() - 1e-9 * gradient.double()
        assert torch.allclose(now.double(), expected, rtol=2.0**-22, atol=2.0**-29)
        assert torch.equal(after, start + now)
        found.moved(gradient.numpy(), 1e-9, kept, start.numpy(), now.numpy(), start[:0].numpy())
        assert not torch.equal(now, update)


def test_loops_are_loaded_for_what_they_change_no_bit_of_only_once_that_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled._Asked, "numbers", 0)
    monkeypatch.setattr(compiled, "loops", lambda: "loaded")
    assert compiled.loops_for(compiled._PAYS - 1) is None
    assert compiled.loops_for(1) is None
    assert compiled.loops_for(1) == "loaded"


def test_without_numba_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "find_spec", lambda name: None)
    assert compiled.loops.__wrapped__() is None


def test_a_numba_that_cannot_compile_is_told_of_and_done_without(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(compiled._TYPES, "moved", ("void(" + ", ".join(["unicode_type"] * 6) + ")",))
    with caplog.at_level(logging.WARNING):
        assert compiled.loops.__wrapped__() is None
    assert "compiled loops cannot be had (TypingError" in caplog.text


def test_a_variable_leaves_them_out() -> None:
    program = "from tacit.privacy.compiled import loops; print(loops())"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "None"


def test_they_are_made_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    import numba

    def refusing(*types, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return lambda function: ("made", function)

    monkeypatch.setattr(numba, "njit", refusing)
    found = compiled.loops.__wrapped__()
    assert found is not None
    assert found.coarse == ("made", loops.coarse)
