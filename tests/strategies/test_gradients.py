"""Solvers at example level: what they declare is what they do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.claim import Observer, event_of
from tacit.privacy.entropy import SeededEntropy, Stream
from tacit.privacy.event import Gaussian, NonPrivate, Poisson, Repeated
from tacit.privacy.local import LocalError
from tacit.privacy.pipeline import PipelineError
from tacit.strategies.gradients import ClippedGradient, DpSgd
from tacit.strategies.learner import Learner
from tacit.strategies.local import SolverError, local_update, streams_of
from tacit.tasks.examples import Examples
from tacit.tasks.losses import cross_entropy
from tacit.tasks.trainable import Trainable
from torch import Tensor, nn


def owner(count: int, seed: int = 0) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    return Examples(torch.randn(count, 4, generator=generator), torch.randint(0, 3, (count,), generator=generator))


def learner(scale: float = 1.0) -> Learner:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    return Learner(module, lambda outputs, targets: scale * cross_entropy(outputs, targets), Trainable(module))


STREAMS = streams_of(SeededEntropy(1), 1, 0)


def own_gradients(model: Learner, weights: Tensor, examples: Examples) -> Tensor:
    """`[n, d]` float64, one backward pass an example."""
    return torch.stack([model.gradient(weights, examples.subset([i])).double() for i in range(len(examples))])


def clip(rows: Tensor, norm: float) -> Tensor:
    return rows * (norm / rows.norm(dim=1, keepdim=True)).clamp(max=1)


def update(
    model: Learner, solver: ClippedGradient | DpSgd, examples: Examples, seed: int = 1, owner: int = 0
) -> Tensor:
    return local_update(model, solver, model.weights(), examples, streams_of(SeededEntropy(seed), 1, owner))


# --- clipped-gradient ---


def test_clipped_gradient_is_its_formula() -> None:
    model, examples = learner(), owner(17)
    expected = -clip(own_gradients(model, model.weights(), examples), 0.4).sum(0) / 20
    found = update(model, ClippedGradient(norm=0.4, denominator=20), examples)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)


@given(st.integers(1, 12), st.floats(0.01, 10), st.floats(1, 2000), st.floats(0.01, 1e6))
@settings(max_examples=25, deadline=None)
def test_one_example_moves_the_update_by_at_most_what_is_declared(
    count: int, norm: float, denominator: float, scale: float
) -> None:
    model, solver = learner(scale), ClippedGradient(norm=norm, denominator=denominator)
    signal = solver.declare(model.dim, 1, 1)
    examples = owner(count, seed=count)
    whole, without = (update(model, solver, part).double() for part in (examples, examples.subset(range(count - 1))))
    assert float((whole - without).norm()) <= signal.sensitivity
    assert float(whole.norm()) <= signal.bound


def test_many_equal_examples_neither_leave_the_bound_nor_the_sensitivity() -> None:
    # The worst case for a float32 sum: 3,000 gradients along one line, far past 4 · denominator.
    model, solver = learner(1e3), ClippedGradient(norm=1.0, denominator=100)
    signal = solver.declare(model.dim, 1, 1)
    same = owner(1).subset([0] * 3000)
    whole = update(model, solver, same).double()
    assert float(whole.norm()) <= signal.bound
    for count in (1, 350, 399, 401, 2999):
        parts = [update(model, solver, same.subset(range(n))).double() for n in (count, count + 1)]
        assert float((parts[1] - parts[0]).norm()) <= signal.sensitivity


def test_clipped_gradient_declares_its_unit_and_bounds() -> None:
    signal = ClippedGradient(norm=0.5, denominator=40).declare(9, 2, 3)
    assert (signal.dim, signal.unit, signal.least, signal.most) == (9, "example", 2, 3)
    assert signal.sensitivity == 0.5 / 40
    assert signal.bound == 2.0
    assert signal.prior is None


def test_no_example_is_no_update() -> None:
    model = learner()
    assert not update(model, ClippedGradient(norm=1.0, denominator=5), owner(3).subset([])).any()


# --- dp-sgd ---


def test_dp_sgd_declares_its_whole_event_and_stays_free_of_later_noise() -> None:
    solver = DpSgd(norm=1.0, noise_multiplier=1.1, rate=0.05, denominator=5, steps=12)
    signal = solver.declare(100, 1, 4)
    assert signal.unit == "example"
    assert signal.prior == Repeated(Poisson(0.05, Gaussian(1.1)), 12)
    assert event_of(signal, Observer("server")) == signal.prior
    one = DpSgd(norm=1.0, noise_multiplier=1.1, rate=0.05, denominator=5).declare(100, 1, 4)
    assert signal.delta_extra == 12 * one.delta_extra
    assert 0 < signal.delta_extra < 1e-12
    assert DpSgd(norm=1.0, noise_multiplier=2.0, rate=1.0, denominator=5).declare(9, 1, 1).prior == Gaussian(2.0)


def test_dp_sgd_without_noise_claims_nothing() -> None:
    signal = DpSgd(norm=1.0, noise_multiplier=0.0, rate=0.5, denominator=5).declare(9, 1, 1)
    assert isinstance(signal.prior, NonPrivate)


def test_noise_too_small_for_the_grid_is_refused() -> None:
    with pytest.raises(PipelineError, match="noise_multiplier"):
        DpSgd(norm=1.0, noise_multiplier=1e-9, rate=0.5, denominator=5).declare(9, 1, 1)


def test_noise_to_be_calibrated_is_refused() -> None:
    solver = DpSgd(norm=1.0, noise_multiplier="calibrate", rate=0.5, denominator=5)
    with pytest.raises(SolverError, match="budget"):
        solver.declare(9, 1, 1)
    model = learner()
    with pytest.raises(SolverError, match="budget"):
        update(model, solver, owner(3))


def test_noiseless_dp_sgd_on_everybody_is_its_formula() -> None:
    model, examples = learner(), owner(9)
    found = update(
        model, DpSgd(norm=0.3, noise_multiplier=0.0, rate=1.0, denominator=7, steps=3, lr=0.5, momentum=0.8), examples
    )
    weights, velocity = model.weights().double(), torch.zeros(model.dim, dtype=torch.float64)
    for _ in range(3):
        gradient = clip(own_gradients(model, weights.float(), examples), 0.3).sum(0) / 7
        velocity = 0.8 * velocity + gradient
        weights = weights - 0.5 * velocity
    torch.testing.assert_close(found.double(), weights - model.weights().double(), atol=1e-5, rtol=0)


def test_its_noise_has_the_declared_scale() -> None:
    torch.manual_seed(0)
    module = nn.Linear(200, 100)  # d = 20,100 draws of noise
    model = Learner(module, cross_entropy, Trainable(module))
    empty = Examples(torch.zeros(0, 200), torch.zeros(0, dtype=torch.int64))
    solver = DpSgd(norm=0.5, noise_multiplier=3.0, rate=0.1, denominator=10, lr=2.0)
    found = update(model, solver, empty).double()
    # No examples at all: lr · z · C / denominator, to six standard errors; an empty draw still adds noise.
    assert abs(float(found.std()) / (2.0 * 3.0 * 0.5 / 10) - 1) < 6 / math.sqrt(2 * model.dim)
    four = DpSgd(norm=0.5, noise_multiplier=3.0, rate=0.1, denominator=10, lr=2.0, steps=4)
    # Independent from step to step: variances add.
    assert abs(float(update(model, four, empty).std()) / (2 * 2.0 * 3.0 * 0.5 / 10) - 1) < 6 / math.sqrt(2 * model.dim)
    assert not torch.equal(found, update(model, solver, empty, seed=2).double())
    assert not torch.equal(found, update(model, solver, empty, owner=1).double())


def test_every_example_is_drawn_independently_at_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def counting(self: Learner, weights: Tensor, examples: Examples, norm: float) -> Tensor:
        drawn.append(len(examples))
        return torch.zeros(self.dim, dtype=torch.int64)

    monkeypatch.setattr(Learner, "clipped_sum", counting)
    update(learner(), DpSgd(norm=1.0, noise_multiplier=0.0, rate=0.3, denominator=3, steps=2000), owner(10))
    counts = np.bincount(drawn, minlength=11)
    expected = [2000 * math.comb(10, k) * 0.3**k * 0.7 ** (10 - k) for k in range(11)]
    pooled = [(counts[:1].sum(), sum(expected[:1])), *zip(counts[1:6], expected[1:6], strict=True),
              (counts[6:].sum(), sum(expected[6:]))]  # fmt: skip
    # χ² with 6 degrees of freedom exceeds 38.3 with probability 1e-6.
    assert sum((found - want) ** 2 / want for found, want in pooled) < 38.3
    assert counts[0] > 0


def test_every_step_has_streams_of_its_own() -> None:
    asked: list[str] = []

    def listed(purpose: str) -> Stream:
        asked.append(purpose)
        return STREAMS(purpose)

    model = learner()
    solver = DpSgd(norm=1.0, noise_multiplier=1.0, rate=0.5, denominator=3, steps=3)
    local_update(model, solver, model.weights(), owner(5), listed)
    assert len(set(asked)) == len(asked)
    assert [name for name in asked if name.startswith("noise")] == ["noise/0", "noise/1", "noise/2"]


def test_the_same_streams_give_the_same_bits() -> None:
    model, solver = learner(), DpSgd(norm=1.0, noise_multiplier=1.0, rate=0.5, denominator=3, steps=3)
    assert torch.equal(update(model, solver, owner(8)), update(model, solver, owner(8)))


# --- refusals ---

BOTH = [
    ClippedGradient(norm=1.0, denominator=5),
    DpSgd(norm=1.0, noise_multiplier=1.0, rate=0.5, denominator=5),
]


@pytest.mark.parametrize("solver", BOTH)
def test_control_variates_are_refused(solver: ClippedGradient | DpSgd) -> None:
    model = learner()
    with pytest.raises(SolverError, match="control variates"):
        local_update(model, solver, model.weights(), owner(3), STREAMS, correction=torch.zeros(model.dim))


@pytest.mark.parametrize("solver", BOTH)
def test_a_model_with_batch_norm_is_refused_before_and_during_training(solver: ClippedGradient | DpSgd) -> None:
    module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    with pytest.raises(SolverError, match=r"1 \(BatchNorm1d\).*GroupNorm"):
        solver.check(module)
    model = Learner(module, cross_entropy, Trainable(module))
    with pytest.raises(LocalError, match="GroupNorm"):
        local_update(model, solver, model.weights(), owner(3), STREAMS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm": 0.0}, "norm = 0.0"),
        ({"norm": math.nan}, "norm = nan"),
        ({"denominator": 0.0}, "denominator = 0.0"),
        ({"denominator": 1e9}, "denominator = 1000000000.0.*up to 131072"),
        ({"noise_multiplier": -1.0}, "noise_multiplier = -1.0"),
        ({"noise_multiplier": math.inf}, "noise_multiplier = inf"),
        ({"rate": 0.0}, "rate = 0.0"),
        ({"rate": 1.5}, "rate = 1.5"),
        ({"steps": 0}, "steps = 0"),
        ({"momentum": 1.0}, "momentum = 1.0"),
        ({"lr": -1.0}, "lr = -1.0"),
    ],
)
def test_impossible_parameters_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(SolverError, match=message):
        DpSgd(**{"norm": 1.0, "noise_multiplier": 1.0, "rate": 0.5, "denominator": 5, **change})  # type: ignore[arg-type]  # on purpose
