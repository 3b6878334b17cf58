"""Factors: products that were never formed have the norms and the sum of the vectors that they stand for."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.factors import Factors, Layer
from tacit.privacy.pipeline import Env, pipeline
from tacit.privacy.signal import Signal
from tacit.privacy.stages.central import CentralGaussian
from tacit.privacy.stages.clip import Clip
from tacit.privacy.stages.lattice import STEPS
from tacit.privacy.updates import Dense, Total, UpdatesError
from torch import Tensor

pytestmark = pytest.mark.usefixtures("either_way")


def factors(counts: list[int], decay: bool = False, scale: float = 1.0, seed: int = 0) -> Factors:
    """Two layers, 5→4 with a bias and 4→3 of which nothing but the weight trains; step t holds the first counts[t]."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    k = counts[0]
    first = Layer(
        slice(0, 20),
        slice(20, 24),
        tuple(random(n, 3, 5) for n in counts),
        tuple(scale * random(n, 3, 4) for n in counts),
    )
    second = Layer(
        slice(24, 36), None, tuple(random(n, 3, 4) for n in counts), tuple(scale * random(n, 3, 3) for n in counts)
    )
    rows = torch.randperm(k, generator=generator)
    start = random(36) if decay else None
    return Factors(36, (first, second), tuple(random(n) for n in counts), rows, start, random(k) if decay else None)


def formed(made: Factors) -> Tensor:
    """The definition, in float64, a contribution at a time."""
    values = torch.zeros(len(made), made.dim, dtype=torch.float64)
    for k in range(len(made)):
        if made.start is not None and made.decay is not None:
            values[k] += made.decay[k].double() * made.start.double()
        for layer in made.layers:
            for coefficient, inputs, errors in zip(made.coefficients, layer.inputs, layer.errors, strict=True):
                if k < len(coefficient):
                    error, entered = coefficient[k].double() * errors[k].double(), inputs[k].double()
                    if layer.weight is not None:
                        values[k, layer.weight] += (error.t() @ entered).flatten()
                    if layer.bias is not None:
                        values[k, layer.bias] += error.sum(dim=0)
    return values[made.rows]


COUNTS = st.lists(st.integers(0, 5), min_size=1, max_size=3).map(lambda c: sorted([max(1, max(c)), *c], reverse=True))


@given(COUNTS, st.booleans(), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_norms_sum_and_vectors_are_those_of_the_definition(counts: list[int], decay: bool, seed: int) -> None:
    made = factors(counts, decay, seed=seed)
    expected = formed(made)
    torch.testing.assert_close(made.dense().double(), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(made.total().double(), expected.sum(dim=0), rtol=1e-4, atol=1e-4)
    found, lengths = made.norms(), expected.norm(dim=1)
    assert found.dtype == torch.float64
    assert bool((found >= lengths).all())
    assert bool((found <= lengths * (1 + 2.0**-18) + 1e-12).all())
    assert torch.equal(made.measured().norms(), found)
    shrink = torch.rand(len(made), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    scaled = made.measured().scaled(shrink)
    torch.testing.assert_close(scaled.dense().double(), expected * shrink[:, None], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(scaled.norms(), lengths * shrink, rtol=2.0**-17, atol=1e-9)


@pytest.mark.parametrize("gap", [1e-2, 1e-4, 1e-6])
def test_norms_hold_where_almost_everything_cancels(gap: float) -> None:
    """Two steps forth and back: the norm is `gap` of what its parts have, far below float32's rounding of their squares."""
    made = factors([4], seed=3)
    layers = tuple(
        replace(layer, inputs=layer.inputs * 2, errors=(layer.errors[0], -(1 - gap) * layer.errors[0]))
        for layer in made.layers
    )
    made = replace(made, layers=layers, coefficients=made.coefficients * 2)
    lengths = formed(made).norm(dim=1)
    assert float(lengths.max()) < 100 * gap
    assert bool((made.norms() >= lengths * (1 - 1e-12)).all())
    assert bool((made.norms() <= lengths * (1 + 2.0**-18)).all())


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["inputs", "errors"])
def test_what_is_not_finite_shows_in_its_norm_and_zero_times_it_is_zero(value: float, where: str) -> None:
    made = factors([4, 2], decay=True)
    broken = [part.clone() for part in getattr(made.layers[0], where)]
    broken[1][1, 0, 0] = value
    made = replace(made, layers=(replace(made.layers[0], **{where: tuple(broken)}), made.layers[1]))
    finite = torch.isfinite(made.norms())
    place = int(torch.nonzero(made.rows == 1))
    assert finite.tolist() == [i != place for i in range(4)]
    cleared = made.scaled(finite.double())
    assert cleared.dense()[place].tolist() == [0.0] * 36
    assert bool(torch.isfinite(cleared.total()).all())
    torch.testing.assert_close(cleared.total(), cleared.dense().sum(dim=0), rtol=1e-4, atol=1e-4)


def test_nothing_is_nothing() -> None:
    empty = Factors(3, (), (), torch.arange(2))
    assert empty.total().tolist() == [0, 0, 0]
    assert empty.norms().tolist() == [0, 0]
    assert empty.dense().tolist() == [[0, 0, 0]] * 2
    assert len(empty) == 2


def test_clipped_and_put_on_the_lattice_the_sum_is_that_of_the_messages_to_half_a_step_each() -> None:
    """And float32's rounding of the sum, 2⁻²² of its length."""
    made, norm = factors([5, 3], seed=4), 0.3
    stages = pipeline(Signal(36, "owner", least=5, most=5), [Clip(norm), CentralGaussian(1.0)])
    env = Env(SeededEntropy(1), 1, owner_ids=tuple(range(5)))
    found = stages.send(made, env)
    expected = stages.send(Dense(formed(made).float()), env).total()
    assert isinstance(found, Total)
    assert found.total().dtype == torch.int64
    apart = (found.total() - expected).double().norm()
    assert float(apart) <= 5 * math.sqrt(36) / 2 + 5 * STEPS * 2.0**-18


def test_a_total_answers_for_the_sum_alone() -> None:
    total = Total(torch.tensor([1, 2]), 3)
    assert (len(total), total.total().tolist()) == (3, [1, 2])
    for ask in (total.norms, total.dense, lambda: total.scaled(torch.ones(3))):
        with pytest.raises(UpdatesError, match="only the sum of these 3 contributions"):
            ask()
