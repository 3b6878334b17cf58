"""Pipeline: an update's journey as a value.

`clip → encode → noise → mask → (wire, sum) → unmask → decode → …` is ONE list of stages, read left to right at the owner
and right to left at the server, with only a sum between the halves. A stage's position is its depth, not its time: a
central noise stands early because its server half runs late. The same object is what the simulator runs, what travels
to an owner, and what the accountant reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor

from .correlation import Memory
from .entropy import Entropy
from .event import Event
from .signal import Signal
from .updates import Updates


class PipelineError(ValueError):
    """Stages stand in an order, or carry parameters, with which nothing sound can be said; names the remedy."""


@dataclass(frozen=True, slots=True)
class Env:
    """The surroundings of one round: its randomness, number and attempt, and whose contributions are in the batch.

    `owner_ids` names the rows of a batch on the owner half; `survivors` those that are in the sum on the server half.
    `measures` `[k, m]` is what they measured of the model, centred: see `stages.measure`.
    `memory`: what noise that is correlated over rounds was so far, where somebody keeps it.
    `masked`: whoever sends has seen to it that nothing but the sum over the cohort becomes readable.
    """

    entropy: Entropy
    round: int
    attempt: int = 0
    owner_ids: tuple[int, ...] = ()
    survivors: tuple[int, ...] = ()
    masked: bool = False
    measures: Tensor | None = None
    memory: Memory | None = None


StageState: TypeAlias = tuple[float, ...]


class Stage:
    """A no-op stage; real ones are frozen dataclasses whose fields are public configuration.

    `signal` is always the Signal that ENTERS the stage on the owner half, the same in all three methods.
    """

    def declare(self, signal: Signal) -> Signal:
        """The Signal that leaves the stage; raises `PipelineError` where the order is wrong."""
        return signal

    def send(self, updates: Updates, signal: Signal, env: Env) -> Updates:
        """Owner half, on a batch of k contributions."""
        return updates

    def receive(self, total: Tensor, signal: Signal, env: Env) -> Tensor:
        """Server half, on the sum."""
        return total

    def read(self, total: Tensor, signal: Signal) -> Mapping[str, float]:
        """What the opened sum that enters this stage's server half tells besides the update, by name."""
        return {}

    def initial(self) -> StageState:
        """What changes between rounds, before the first."""
        return ()

    def at(self, state: StageState) -> Stage:
        """The concrete stage of one round."""
        return self

    def learn(self, state: StageState, total: Tensor, signal: Signal) -> StageState:
        """The state after a round whose opened sum entered this stage's server half as `total`."""
        return state


State: TypeAlias = tuple[StageState, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """What a paid release reveals: the decoded sum `[d]`, and the total that entered each adapting stage's server half.

    `seen[i]` is None for a stage without state: a total from outside the noise must not outlive the release. `measures` is
    what stages read off the sum besides the update.
    """

    total: Tensor
    seen: tuple[Tensor | None, ...]
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the true number of survivors made of a release's event. No guarantee: the price stays that of the floor."""

    survivors: int
    event: Event


@dataclass(frozen=True, slots=True)
class Release:
    """An opaque aggregate with its price. `ledger.open(release)` charges first, then reveals.

    `outcome` is given where owners share the noise, so that survivors matter (PRIVACY.md 14).

    A discipline of our own code, not a security boundary (PRIVACY.md, Claims).
    """

    event: Event
    round: int
    attempt: int
    _reveal: Callable[[], Opened] = field(repr=False)
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Stages traced from a source Signal. `signals[i]` enters stage i; `signals[-1]` is what travels."""

    source: Signal
    stages: tuple[Stage, ...]
    signals: tuple[Signal, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        signals = [self.source]
        for stage in self.stages:
            listens = bool(stage.initial()) or type(stage).read is not Stage.read
            require(
                not (listens and signals[-1].noise),
                type(stage).__name__,
                "it learns from the opened sum but stands after the noise, where it would see the sum without it",
                "put it before every noise stage",
            )
            signals.append(stage.declare(signals[-1]))
        object.__setattr__(self, "signals", tuple(signals))

    @property
    def final(self) -> Signal:
        """The Signal of what travels."""
        return self.signals[-1]

    def send(self, updates: Updates, env: Env) -> Updates:
        """Owner half: k contributions `[k, d]` to k messages `[k, d']`; d' is `final.dim`."""
        for stage, signal in zip(self.stages, self.signals, strict=False):
            updates = stage.send(updates, signal, env)
        return updates

    def receive(self, total: Tensor, env: Env) -> Opened:
        """Server half: the sum of messages `[d']` to the decoded, noised sum `[d]`."""
        if total.shape != (self.final.dim,):
            raise PipelineError(
                f"the sum has shape {tuple(total.shape)}; this pipeline's messages have {self.final.dim} numbers"
            )
        seen: list[Tensor | None] = []
        measures: dict[str, float] = {}
        for stage, signal in zip(reversed(self.stages), reversed(self.signals[:-1]), strict=True):
            seen.append(total if stage.initial() else None)
            measures |= stage.read(total, signal)
            total = stage.receive(total, signal, env)
        return Opened(total, tuple(reversed(seen)), measures)

    def release(self, total: Tensor, env: Env, event: Event) -> Release:
        """The sum as an opaque Release that costs `event`; noise of the server half is drawn when it is opened."""
        return Release(event, env.round, env.attempt, lambda: self.receive(total, env))

    def empty(self) -> Tensor:
        """The sum of no messages `[d']`: an empty round still releases noise and is charged (PRIVACY.md 13)."""
        return torch.zeros(self.final.dim, dtype=torch.float32 if self.final.scale is None else torch.int64)

    def initial(self) -> State:
        """State of every stage before the first round."""
        return tuple(stage.initial() for stage in self.stages)

    def at(self, state: State) -> Pipeline:
        """The concrete pipeline of one round: what travels to owners and what the ledger sees; itself where nothing adapts."""
        stages = tuple(stage.at(s) for stage, s in zip(self.stages, state, strict=True))
        same = all(now is before for now, before in zip(stages, self.stages, strict=True))
        return self if same else Pipeline(self.source, stages)

    def learn(self, state: State, opened: Opened) -> State:
        """The state after a round."""
        rows = zip(self.stages, state, opened.seen, self.signals, strict=False)
        return tuple(s if seen is None else stage.learn(s, seen, signal) for stage, s, seen, signal in rows)


def require(holds: bool, stage: str, found: str, remedy: str) -> None:
    """Raise `PipelineError` with what was found and what to do, unless `holds`."""
    if not holds:
        raise PipelineError(f"{stage}: {found}; {remedy}")


def pipeline(source: Signal, stages: Sequence[Stage]) -> Pipeline:
    """The pipeline of `stages` from a solver's Signal."""
    return Pipeline(source, tuple(stages))
