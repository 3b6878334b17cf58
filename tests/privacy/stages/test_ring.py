"""Ring: sums wrap without harm while the true sum fits."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tacit.privacy.pipeline import PipelineError
from tacit.privacy.signal import Noise, Signal
from tacit.privacy.stages.ring import bits_for, centred, fits, residues, span, tail


@given(st.integers(5, 62), st.data())
def test_sums_survive_the_ring(bits: int, data: st.DataObject) -> None:
    most = 2 ** (bits - 1)
    parts = data.draw(st.lists(st.integers(-most // 8, most // 8 - 1), min_size=1, max_size=4))
    wrapped = residues(torch.tensor(parts), bits)
    assert bool(((wrapped >= 0) & (wrapped < 2**bits)).all())
    assert int(centred(wrapped.sum(), bits)) == sum(parts)


def test_the_ends_of_the_ring() -> None:
    assert centred(torch.tensor([127, 128, 255, 256, -128, -129]), 8).tolist() == [127, -128, -1, 0, -128, 127]


@given(st.integers(0, 2**61))
def test_bits_for_a_largest_value(largest: int) -> None:
    bits = bits_for(float(largest))
    assert largest <= 2 ** (bits - 1) * (1 + 1e-9)
    assert bits <= 2 or largest > (2 ** (bits - 2) - 1) * (1 - 1e-9)


@pytest.mark.parametrize("variance", [1e-3, 0.5, 4.0, 100.0, 1e6])
def test_the_tail_holds_for_both_laws(variance: float) -> None:
    limit = tail(math.sqrt(variance))
    assert stats.norm.logsf(limit / math.sqrt(variance)) < -48
    assert limit**2 / (2 * (variance + limit / 3)) > 48  # Bennett's exponent, for Skellam
    assert tail(0.0) == 0.0


def test_server_noise_needs_no_room() -> None:
    signal = Signal(4, "owner", bound=10.0, peak=3.0, scale=1.0, ring=8, most=5)
    assert span(signal) == 15
    shared = Signal(4, "owner", bound=10.0, peak=3.0, ring=8, most=5, noise=(Noise("skellam", "shared", 5.0),))
    assert span(shared) == 15 + 10 * 5 + 34
    server = Signal(4, "owner", bound=10.0, peak=3.0, ring=8, most=5, noise=(Noise("gaussian", "server", 5.0),))
    assert span(server) == 15


def test_a_ring_that_is_too_small_says_what_would_do() -> None:
    signal = Signal(4, "owner", bound=200.0, scale=1.0, ring=8, most=5)
    with pytest.raises(PipelineError, match=r"8 bits is too small for 5 contributions .*; take bits = 11"):
        fits("x", signal, "take")
    endless = Signal(4, "owner", scale=1.0, ring=8)
    with pytest.raises(PipelineError, match="no ring of up to 62 bits"):
        fits("x", endless, "take")
