"""Law 7: no clip, a tenth of the noise and reused noise are caught by what is released; the true system passes the same checks.

Every check is a statistical test of the released sum with a false alarm below 10⁻⁶, and each has the power to reject the
fault that is planted here in a stage of the real pipeline.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from tacit.config import parse
from tacit.privacy.entropy import Entropy, SeededEntropy, Stream, SystemEntropy
from tacit.privacy.event import Gaussian
from tacit.privacy.ledger.memory import MemoryLedger
from tacit.privacy.pipeline import Env, Pipeline, Stage, pipeline
from tacit.privacy.signal import Signal
from tacit.privacy.stages.adaptive import AdaptiveClip
from tacit.privacy.stages.central import CentralGaussian
from tacit.privacy.stages.clip import Clip
from tacit.privacy.stages.discrete import DiscreteGaussian
from tacit.privacy.stages.encode import Encode
from tacit.privacy.stages.own import OwnGaussian
from tacit.privacy.stages.skellam import Skellam
from tacit.privacy.updates import Dense
from tacit.simulation.run import prepare
from tacit.strategies.budget import RoundBudget

NORM, MULTIPLIER, DIM, OWNERS, ROUNDS = 0.5, 2.0, 64, 8, 60
FALSE_ALARM = 1e-6
CANARY = 3  # the owner whose contribution is a hundred times too long, along the first axis

Law = Callable[[NDArray[np.float64], float], bool]


# --- the checks: True where the sums look as they were declared ---


def right_variance(errors: NDArray[np.float64], deviation: float) -> bool:
    """Σe²/σ² against χ² with as many degrees of freedom as there are numbers, both ends."""
    count, found = errors.size, float((errors**2).sum()) / deviation**2
    return bool(2 * min(stats.chi2.cdf(found, count), stats.chi2.sf(found, count)) > FALSE_ALARM)


def fresh(errors: NDArray[np.float64], deviation: float) -> bool:
    """Errors of neighbouring rounds, and of the first with all others, are uncorrelated."""
    pairs = [*pairwise(errors), *((errors[0], later) for later in errors[1:])]
    scores = [float(a @ b) / (np.linalg.norm(a) * np.linalg.norm(b)) * math.sqrt(errors.shape[1]) for a, b in pairs]
    return bool(2 * stats.norm.sf(max(abs(score) for score in scores)) * len(scores) > FALSE_ALARM)


def bounded(projections: NDArray[np.float64], deviation: float) -> bool:
    """Mean projection onto the canary is at most NORM, within what the noise allows."""
    limit = NORM + stats.norm.isf(FALSE_ALARM) * deviation / math.sqrt(len(projections))
    return bool(projections.mean() <= limit)


# --- what is released ---


@dataclass(frozen=True)
class Seen:
    """Released sums `[T, d]`, and the same less the true sum of the clipped contributions."""

    released: NDArray[np.float64]
    errors: NDArray[np.float64]


def contributions() -> torch.Tensor:
    """Owners' updates `[k, d]`: the canary a hundred times too long, the others short and elsewhere."""
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(OWNERS, DIM, generator=generator)
    values[:, 0] = 0
    values *= 0.3 * NORM / values.norm(dim=1, keepdim=True)
    values[CANARY] = 0
    values[CANARY, 0] = 100 * NORM
    return values


def seen(line: Pipeline, entropy: Entropy) -> Seen:
    """`ROUNDS` releases of the same contributions, opened by a ledger."""
    values = contributions()
    clipped = values.to(torch.float64)
    clipped *= (NORM / clipped.norm(dim=1, keepdim=True)).clamp(max=1.0)
    ledger = MemoryLedger(RoundBudget(Gaussian(MULTIPLIER), ROUNDS))
    owners = tuple(range(OWNERS))
    released = []
    for number in range(1, ROUNDS + 1):
        total = line.send(Dense(values), Env(entropy, number, 0, owners)).total()
        opened = ledger.open(line.release(total, Env(entropy, number, 0, survivors=owners), Gaussian(MULTIPLIER)))
        released.append(opened.total.to(torch.float64).numpy())
    sums = np.array(released)
    return Seen(sums, sums - clipped.sum(dim=0).numpy())


def deviation(line: Pipeline) -> float:
    """Standard deviation of the noise on the sum: as configured, times the shares that are more than the floor."""
    rounding = OWNERS * line.final.rounding_variance * (line.final.scale or 0.0) ** 2
    inflated = MULTIPLIER * NORM * line.final.inflation
    shares = {"owner": OWNERS, "shared": OWNERS / line.final.least, "server": 1}[line.final.noise[0].place]
    return math.sqrt(inflated**2 * shares + rounding)


STAGES: dict[str, list[Stage]] = {
    "central": [Clip(NORM), CentralGaussian(MULTIPLIER)],
    "central in a ring": [Clip(NORM), CentralGaussian(MULTIPLIER), Encode(bits=48)],
    "own": [Clip(NORM), OwnGaussian(MULTIPLIER)],
    "skellam": [Clip(NORM), Encode(), Skellam(MULTIPLIER)],
    "discrete": [Clip(NORM), Encode(), DiscreteGaussian(MULTIPLIER)],
}


def built(stages: list[Stage]) -> Pipeline:
    return pipeline(Signal(DIM, "owner", least=OWNERS, most=OWNERS, expected=float(OWNERS)), stages)


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("entropy", [SeededEntropy(1), SystemEntropy()], ids=["seeded", "system"])
def test_the_true_system_passes(name: str, entropy: Entropy) -> None:
    line = built(STAGES[name])
    found = seen(line, entropy)
    assert right_variance(found.errors, deviation(line))
    assert fresh(found.errors, deviation(line))
    assert bounded(found.released[:, 0], deviation(line))


# --- faults, each a stage of the real pipeline with one thing wrong ---


class NoClip(Clip):
    """Declares the bound and does not keep it."""

    def send(self, updates: Any, signal: Signal, env: Env) -> Any:
        return updates


def weak(kind: type[Any]) -> Stage:
    """Declares the noise and adds a tenth of it."""

    class Weak(kind):  # type: ignore[misc]  # a stage with one thing wrong
        def declare(self, signal: Signal) -> Signal:
            return kind(MULTIPLIER).declare(signal)

    return Weak(MULTIPLIER / 10)


def reused(kind: type[Any]) -> Stage:
    """Draws every round what it drew in the first."""

    class Reused(kind):  # type: ignore[misc]
        def send(self, updates: Any, signal: Signal, env: Env) -> Any:
            return kind.send(self, updates, signal, replace(env, round=1))

        def receive(self, total: Any, signal: Signal, env: Env) -> Any:
            return kind.receive(self, total, signal, replace(env, round=1))

    return Reused(MULTIPLIER)


@dataclass(frozen=True)
class OneOwner:
    """Gives every owner the first one's streams."""

    inner: Entropy
    seeded = True

    def streams(self, purpose: str, round: int, *, owners: Sequence[int], attempt: int = 0) -> list[Stream]:
        return [self.inner.streams(purpose, round, owners=[0], attempt=attempt)[0] for _ in owners]


def common(kind: type[Any]) -> Stage:
    """All owners draw the first one's noise."""

    class Common(kind):  # type: ignore[misc]
        def send(self, updates: Any, signal: Signal, env: Env) -> Any:
            return kind.send(self, updates, signal, replace(env, entropy=OneOwner(env.entropy)))

    return Common(MULTIPLIER)


def silent(kind: type[Any]) -> Stage:
    """Adds none."""

    class Silent(kind):  # type: ignore[misc]
        def declare(self, signal: Signal) -> Signal:
            return kind(MULTIPLIER).declare(signal)

    return Silent(0.0)


NOISES = {name: stages[-1] if name != "central in a ring" else stages[1] for name, stages in STAGES.items()}
FAULTS = {
    "a tenth of the noise": (weak, right_variance),
    "no noise": (silent, right_variance),
    "reused noise": (reused, fresh),
    "one noise for all owners": (common, right_variance),
}


CASES = [
    (name, fault)
    for name in STAGES
    for fault in FAULTS
    if not (fault == "one noise for all owners" and name.startswith("central"))  # there, owners draw nothing
]


@pytest.mark.parametrize(("name", "fault"), CASES)
def test_wrong_noise_is_caught(name: str, fault: str) -> None:
    plant, caught_by = FAULTS[fault]
    kind = type(NOISES[name])
    broken = built([plant(kind) if stage is NOISES[name] else stage for stage in STAGES[name]])
    assert not caught_by(seen(broken, SeededEntropy(1)).errors, deviation(built(STAGES[name])))


@pytest.mark.parametrize("factor", [1.001, 1.9, 100.0, 1e30])
@pytest.mark.parametrize("second", [CentralGaussian(0.0), OwnGaussian(0.0), Encode(), Encode(step=0.01)])
def test_a_missing_clip_is_made_harmless_where_integers_are_checked(second: Stage, factor: float) -> None:
    """On a lattice and in a ring the norm is checked once more: a message that would break its bound is cut or zero."""
    broken = built([NoClip(NORM), second])
    values = torch.zeros(OWNERS, DIM)
    values[CANARY, 0] = factor * NORM
    opened = broken.receive(
        broken.send(Dense(values), Env(SeededEntropy(1), 1, 0, tuple(range(OWNERS)))).total(), Env(SeededEntropy(1), 1)
    )
    assert float(opened.total[0]) <= broken.final.bound * (broken.final.scale or 0.0) * (1 + 1e-6)


def test_a_missing_clip_without_the_integers_check_is_caught() -> None:
    """Reals with noise added to them, as a system without lattice would: the check sees what no second stage mends."""
    line = built([NoClip(NORM)])
    values = contributions()
    sums = np.array([line.send(Dense(values), Env(SeededEntropy(1), t, 0)).total().numpy() for t in range(ROUNDS)])
    sums = sums + np.random.default_rng(1).normal(scale=MULTIPLIER * NORM, size=sums.shape)
    assert not bounded(sums[:, 0].astype(np.float64), MULTIPLIER * NORM)


def test_the_quantile_bit_is_inside_the_noise() -> None:
    """What an adapting stage learns from is as noisy as the vector: its sum alone shows nobody's bit."""
    line = built([AdaptiveClip(NORM), CentralGaussian(MULTIPLIER)])
    bits = []
    for number in range(1, 400):
        total = line.send(Dense(contributions()), Env(SeededEntropy(2), number, 0, tuple(range(OWNERS)))).total()
        opened = line.receive(total, Env(SeededEntropy(2), number, 0))
        assert opened.seen[0] is not None
        bits.append(float(opened.seen[0][-1]))
    joint = math.hypot(NORM, 0.1 * NORM / 1.0)
    noise = np.array(bits) - np.mean(bits)
    assert right_variance(noise[:, None] * math.sqrt(399 / 398), MULTIPLIER * joint)
    assert not right_variance(noise[:, None], MULTIPLIER * joint / 10)


# --- the whole system, from a configuration to the weights ---

TEXT = """
[task]
use = "digits"
[population]
owners = 20
[rounds]
total = 20
[local]
use = "sgd"
lr = 1e-9
[privacy]
delta = 1e-4
pipeline = [ { stage = "clip", norm = 0.5 }, { stage = "central-gaussian", noise_multiplier = 2.0 } ]
[budget]
epsilon = 1e6
[evaluation]
every = 1000
"""


def steps(engine: str, **changes: Any) -> NDArray[np.float64]:
    """What each round added to the weights, times the denominator `[T, d]`: the released sums."""
    simulation = prepare(parse(TEXT, changes), seed=8, engine=engine, device="cpu")
    weights = [simulation.progress.weights.to(torch.float64).numpy()]
    for progress, _ in simulation.coordinator.rounds(simulation.progress, simulation.total):
        weights.append(progress.weights.to(torch.float64).numpy())
    return np.diff(np.array(weights), axis=0) * 20


@pytest.mark.parametrize("engine", ["in-memory", "plain-loop"])
def test_the_model_carries_the_noise_that_is_charged(engine: str) -> None:
    """At a learning rate of nothing the model moves by the noise alone: fresh each round, of the configured size."""
    found = steps(engine)
    assert right_variance(found, 2.0 * 0.5)
    assert fresh(found, 2.0 * 0.5)
    assert not right_variance(found, 0.9)  # the check would see a tenth less


@pytest.mark.parametrize("engine", ["in-memory", "plain-loop"])
def test_the_model_carries_no_more_of_an_owner_than_the_clip(engine: str) -> None:
    """At an absurd learning rate every owner is cut to its norm: n owners move the sum by n norms at most."""
    quiet = {"privacy.pipeline.1.noise_multiplier": 0.0, "budget.epsilon": math.inf, "local.lr": 1e6, "rounds.total": 2}
    lengths = np.linalg.norm(steps(engine, **quiet), axis=1)
    assert bool((lengths <= 20 * 0.5 * (1 + 1e-6)).all())
    assert bool((lengths > 0.5).all())
    one = {**quiet, "population.owners": 1}
    assert np.linalg.norm(steps(engine, **one), axis=1) / 20 == pytest.approx(0.5, rel=1e-5)
