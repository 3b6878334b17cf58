"""Compiled: with loops and without, the same bits of noise; and a run goes on where there are none."""

import logging
import subprocess
import sys

import numpy as np
import pytest
import torch
from tacit.privacy import compiled, loops, noise
from tacit.privacy.alias import CHUNK, Desk
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.outer import Motion, Sums
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


def test_lattice_points_are_the_same_either_way() -> None:
    signal = Signal(5000, "owner", sensitivity=3.0, bound=3.0, scale=3.0 / 2**28)
    total = torch.randn(5000, generator=torch.Generator().manual_seed(1))
    quick, slow = both(lambda: rounded_sum(total, signal))
    assert torch.equal(quick, slow)
    assert torch.equal(*both(lambda: real_values(quick, signal)))


@pytest.mark.parametrize("count", [1, 15, 4000, 70_000])
@pytest.mark.parametrize("kept", [0, 1])
def test_a_step_of_descent_is_that_of_the_rounded_sum_and_its_noise(count: int, kept: int) -> None:
    """Halves are rounded to even; the noise is the stream's own; what was kept and what was not."""
    random, sigma, rate = torch.Generator().manual_seed(1), 2.0**22 * 1.1, 1e-9
    sums = Sums(torch.randint(-(2**25), 2**25, (2, count), generator=random) / 2, torch.int32)
    start, update = torch.randn(2, count, generator=random).mul_(0.1)
    found, now, after = sums.loops(sigma), update.clone(), torch.full((count,), 7.0)
    assert found is not None
    sums.step(1, sigma, streams(2)[1], Motion(rate, kept, start.numpy(), now.numpy(), after.numpy()), found)
    gradient = sums.piece(1, slice(0, count)).numpy()[None]
    noise.add_discrete_gaussians(streams(2)[1:], sigma, gradient)
    expected = kept * update.double() - rate * torch.from_numpy(gradient[0]).double()
    assert torch.allclose(now.double(), expected, rtol=2.0**-22, atol=2.0**-27)
    assert torch.equal(after, start + now)
    before, nothing = now.clone(), np.empty(0, dtype=np.float32)
    sums.step(1, sigma, streams(2)[1], Motion(rate, kept, start.numpy(), now.numpy(), nothing), found)
    assert torch.equal(now, before) == (kept == 0)


@pytest.mark.parametrize("sigma", [0.0, 1000.0, 2.0**36])
def test_noise_that_has_no_two_short_parts_is_added_otherwise(sigma: float) -> None:
    assert Sums(torch.zeros(1, 3), torch.int32).loops(2.0**22) is not None
    assert Sums(torch.zeros(1, 3), torch.int32).loops(sigma) is None
    assert Sums(torch.zeros(1, 3, dtype=torch.float64), torch.int64).loops(2.0**22) is None


def test_desks_are_handed_on_and_never_to_two() -> None:
    with Desk.of(10, 10) as first, Desk.of(10, 10) as second, Desk.of(CHUNK * 2, 10) as large:
        assert first is not second
        assert len(large.entry) == CHUNK * 2
    with Desk.of(CHUNK, 10) as third, Desk.of(7, 10) as fourth:
        assert {third, fourth} == {first, second}


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
    monkeypatch.setitem(compiled._TYPES, "onto", ("void(" + ", ".join(["unicode_type"] * 3) + ")",))
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
