"""Pipeline: the onion of stages, its state, and what a release shows before it is paid."""

from dataclasses import dataclass, replace

import pytest
import torch
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.event import Gaussian
from tacit.privacy.pipeline import Env, Opened, PipelineError, Stage, pipeline, require
from tacit.privacy.signal import Noise, Signal
from tacit.privacy.updates import Dense

SOURCE = Signal(2, "owner")
ENV = Env(SeededEntropy(0), 1, owner_ids=(0,))


@dataclass(frozen=True, slots=True)
class Affine(Stage):
    """x ↦ factor·x at the owner, y ↦ y + shift at the server; the Signal counts the stages."""

    factor: float
    shift: float

    def declare(self, signal: Signal) -> Signal:
        return replace(signal, inflation=signal.inflation + 1)

    def send(self, updates, signal: Signal, env: Env):
        return Dense(updates.dense() * self.factor + signal.inflation)

    def receive(self, total: torch.Tensor, signal: Signal, env: Env) -> torch.Tensor:
        return total * self.factor + self.shift * signal.inflation


@dataclass(frozen=True, slots=True)
class Learning(Stage):
    """Remembers the first coordinate of what it saw."""

    value: float = 1.0

    def initial(self) -> tuple[float, ...]:
        return (self.value,)

    def at(self, state: tuple[float, ...]) -> "Learning":
        return Learning(state[0])

    def learn(self, state: tuple[float, ...], total: torch.Tensor, signal: Signal) -> tuple[float, ...]:
        return (state[0] + float(total[0]),)


@dataclass(frozen=True, slots=True)
class Noisy(Stage):
    """Declares noise."""

    def declare(self, signal: Signal) -> Signal:
        return replace(signal, noise=(Noise("gaussian", "server", 1.0),))


def test_owners_read_left_to_right_the_server_right_to_left_with_the_same_signals() -> None:
    line = pipeline(SOURCE, [Affine(2.0, 10.0), Affine(3.0, 100.0)])
    assert [signal.inflation for signal in line.signals] == [1, 2, 3]
    sent = line.send(Dense(torch.tensor([[1.0, 0.0]])), ENV).dense()
    assert sent.tolist() == [[(1 * 2 + 1) * 3 + 2, (0 * 2 + 1) * 3 + 2]]
    opened = line.receive(torch.tensor([1.0, 0.0]), ENV)
    assert opened.total.tolist() == [(1 * 3 + 200) * 2 + 10, 200 * 2 + 10]
    assert opened.seen == (None, None)


def test_state_travels_through_at_and_learn() -> None:
    line = pipeline(SOURCE, [Affine(1.0, 0.0), Learning(5.0), Noisy()])
    state = line.initial()
    assert state == ((), (5.0,), ())
    now = line.at(((), (7.0,), ()))
    assert now.stages[1] == Learning(7.0)
    opened = now.receive(torch.tensor([3.0, 0.0]), ENV)
    assert [seen is None for seen in opened.seen] == [True, False, True]
    assert now.learn(state, opened) == ((), (8.0,), ())


def test_a_learning_stage_inside_the_noise_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"Learning.*stands after the noise.*put it before"):
        pipeline(SOURCE, [Noisy(), Learning()])


def test_a_release_shows_its_price_and_nothing_else() -> None:
    line = pipeline(SOURCE, [Learning()])
    release = line.release(torch.tensor([41.5, 2.0]), ENV, Gaussian(2.0))
    assert "41.5" not in repr(release)
    assert "Gaussian" in repr(release)
    opened = release._reveal()
    assert isinstance(opened, Opened)
    assert opened.total.tolist() == [41.5, 2.0]


def test_the_sum_of_nobody_has_the_shape_and_type_of_a_message() -> None:
    assert pipeline(SOURCE, []).empty().dtype == torch.float32
    lattice = pipeline(replace(SOURCE, dim=5, scale=0.5), [])
    assert lattice.empty().dtype == torch.int64
    assert lattice.empty().tolist() == [0] * 5


def test_a_sum_of_another_shape_is_refused() -> None:
    with pytest.raises(PipelineError, match=r"shape \(3,\); this pipeline's messages have 2 numbers"):
        pipeline(SOURCE, []).receive(torch.zeros(3), ENV)


def test_a_stage_without_methods_changes_nothing() -> None:
    line = pipeline(SOURCE, [Stage()])
    assert line.final == SOURCE
    assert line.send(Dense(torch.ones(1, 2)), ENV).dense().tolist() == [[1, 1]]
    assert line.receive(torch.ones(2), ENV).total.tolist() == [1, 1]


def test_require_names_stage_fault_and_remedy() -> None:
    require(True, "x", "fault", "remedy")
    with pytest.raises(PipelineError, match=r"^x: fault; remedy$"):
        require(False, "x", "fault", "remedy")
