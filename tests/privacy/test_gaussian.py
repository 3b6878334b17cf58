"""Gaussian: the coarse table and the refusals make the law, in arithmetic that neither of them uses."""

import math
from decimal import Context, Decimal, localcontext
from itertools import count as counted

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy import compiled, noise
from tacit.privacy import gaussian as module
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.gaussian import WIDEST, Gaussian, gaussian

pytestmark = pytest.mark.usefixtures("either_way")


def stream(purpose: str):
    return SeededEntropy(20).stream(purpose)


def pmf(table) -> dict[int, float]:
    """Probabilities of an alias table, as floats."""
    bits = table.column_bits
    capacity = 2.0 ** (128 - bits)
    found: dict[int, float] = {}
    for own, column, middle, low in zip(counted(table.first), table.columns, table.middle, table.low, strict=False):
        kept = float(column >> bits) * 2.0**96 + float(middle) * 2.0**32 + float(low)
        other = table.first + int(column) % (1 << bits)
        found[own] = found.get(own, 0.0) + kept / 2.0**128
        found[other] = found.get(other, 0.0) + (capacity - kept) / 2.0**128
    return found


WIDE = [2271.0, 4e3, 2.0**28, 3.3 * 2.0**28, 2.0**36, 2.0**37, 2.0**50]


def logarithm(x: int, sigma: float) -> Decimal:
    """log of exp(−x²/2σ²)."""
    return -Decimal(x * x) / (2 * Decimal(sigma) ** 2)


@pytest.mark.parametrize("sigma", WIDE)
def test_coarse_weight_times_acceptance_is_the_law(sigma: float) -> None:
    """P[A = a] · P[accepted | a, b] / exp(−x²/2σ²) is the same for every x = 2^bits · a + b, also at the ends of cells."""
    law = gaussian(sigma)
    found, fine = pmf(law.table), 1 << law.bits
    rng = np.random.default_rng(0)
    for coarse in [0, -1, 1, -2, *rng.integers(-3000, 3000, 40).tolist()]:
        for b in {0, 1, fine - 1, int(rng.integers(0, fine))}:
            x = np.array([coarse * fine + b])
            limit = refusal(law, x)
            with localcontext(Context(prec=60)):
                expected = logarithm(int(x[0]), sigma).exp() / Decimal(found[coarse])
                kept = Decimal(1) - Decimal(limit) / 64
                common = Decimal(1) / Decimal(found[0])
                assert float(expected / (kept * common)) == pytest.approx(1, abs=1e-9)
            assert 0 <= limit < 1  # six bits that are zero are enough


class Listed:
    """Words of a list."""

    def __init__(self, words: np.ndarray) -> None:
        self.left = words

    def words(self, count: int) -> np.ndarray:
        now, self.left = self.left[:count], self.left[count:]
        assert len(now) == count
        return now


class Fixed:
    """Words that are all the same."""

    word = 0

    def words(self, count: int) -> np.ndarray:
        return np.full(count, self.word, dtype=np.uint64)


def refusal(law, x: np.ndarray) -> float:
    """The least word, in units of 2⁶⁴, with which x is no longer refused: by halving."""
    source = Fixed()
    low, high = 0, 1 << 64  # refused with every word below `low`, kept with `high` and above
    while high - low > 1:
        source.word = (low + high) // 2
        refused = law.refused(x, np.array([0]), 1, [source], compiled.loops())
        low, high = (source.word, high) if len(refused) else (low, source.word)
    return low / 2.0**64


@pytest.mark.parametrize("sigma", WIDE)
def test_decimal_arithmetic_decides_as_floating_point_does(sigma: float, monkeypatch: pytest.MonkeyPatch) -> None:
    law = gaussian(sigma)
    rng = np.random.default_rng(1)
    x = (rng.integers(-12_000, 12_000, 300) << law.bits) + rng.integers(0, 1 << law.bits, 300)
    doubtful = np.arange(300)

    words = rng.integers(0, 1 << 64, 600, dtype=np.uint64)
    quick = law.refused(x, doubtful, 300, [Listed(words)], compiled.loops())
    monkeypatch.setattr(module, "_CLOSE", 2.0)
    assert np.array_equal(law.refused(x, doubtful, 300, [Listed(words)], compiled.loops()), quick)
    assert 0 < len(quick) < 300


def test_a_word_too_close_to_call_is_decided_by_the_next() -> None:
    law, x = gaussian(2.0**28), np.array([(1000 << 17) + 4321])
    near, far = 4321, (2000 << 17) + 4321
    with localcontext(Context(prec=60)):
        limit = 64 * (1 - (-Decimal(near * far) / (2 * Decimal(2) ** 56)).exp())
        top, rest = divmod(int(limit * 2**128), 1 << 64)
    for last, expected in [(rest - 1, 1), (rest + 1, 0)]:
        source = Listed(np.array([top, last], dtype=np.uint64))
        assert len(law.refused(x, np.array([0]), 1, [source], compiled.loops())) == expected


@pytest.mark.parametrize("sigma", [2.0**28, 2.0**40])
@pytest.mark.parametrize("spare", [1, 50])
def test_refused_proposals_are_replaced_by_accepted_ones(
    sigma: float, spare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With too few of them made at once, too: what then comes is of the law, and nothing that was refused stays."""
    law, gone = gaussian(sigma), []
    proposed = Gaussian.proposed

    def half(self, sources, count, desk):
        drawn, _ = proposed(self, sources, count, desk)
        found = np.arange(0, drawn.coarse.size, 2)
        gone.extend(drawn.at(found).tolist())
        return drawn, found

    monkeypatch.setattr(Gaussian, "proposed", half)
    monkeypatch.setattr(noise, "_spare", lambda width: spare)
    draws = noise.discrete_gaussians([stream("one"), stream("two")], law.sigma, 300)
    assert draws.shape == (2, 300)
    assert len(gone) >= 300
    assert not set(gone) & set(draws.ravel().tolist())


@given(st.floats(1e-3, 2.0**50))
@settings(max_examples=25)
def test_every_sigma_has_a_small_table_and_few_refusals(sigma: float) -> None:
    law = gaussian(sigma)
    assert math.ldexp(sigma, -law.bits) <= WIDEST
    assert len(law.table.columns) <= 1 << 16
    if law.bits:
        coarse = math.ldexp(sigma, -law.bits)
        assert coarse > WIDEST / 2 * (1 - 1e-12)
        assert (14.5 * coarse + 2) / coarse**2 < 2.0**-module._FILTER
        assert -law.table.first < 14.45 * coarse + 2


@pytest.mark.parametrize("table", [gaussian(WIDEST).table, noise._skellam_table(WIDEST**2)])
def test_the_widest_tables_stay_within_what_sums_in_int32_are_sized_for(table) -> None:
    assert len(table.columns) == 1 << 16
    assert all(abs(value) < 1 << 15 for value, p in pmf(table).items() if p > 0)
