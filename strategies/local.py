"""Local work: one owner's turn with the model, from the global weights to its update."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from torch import Tensor, nn

from ..config import ConfigError
from ..privacy.entropy import Entropy, Stream
from ..privacy.signal import Signal

if TYPE_CHECKING:
    from ..tasks.examples import Examples
    from .learner import Learner

Streams: TypeAlias = Callable[[str], Stream]


class SolverError(ConfigError):
    """A solver's parameters are impossible, or it cannot do what an algorithm asks of it; names the remedy."""


def demand(holds: bool, solver: str, key: str, found: object, remedy: str) -> None:
    """Raise `SolverError` with the key, the value found and the remedy, unless `holds`."""
    if not holds:
        raise SolverError(f"{key} = {found!r} ({solver}): {remedy}")


class Solver(Protocol):
    """What an owner does with its data in one round; a frozen dataclass of public configuration."""

    def declare(self, dim: int, least: int, most: int) -> Signal:
        """What is known of the update `[dim]` before any data is touched; `least` to `most` of them make a sum."""
        ...

    def check(self, module: nn.Module) -> None:
        """Raise `SolverError` for a model that this solver cannot train soundly."""
        ...

    def train(
        self, learner: Learner, start: Tensor, examples: Examples, streams: Streams, correction: Tensor | None = None
    ) -> Tensor:
        """The update `[d]`: trained weights less `start`. `correction` `[d]` is added to every gradient (SCAFFOLD).

        A result that is not finite is returned as it is: the pipeline's clip makes it the zero vector.
        """
        ...


def streams_of(entropy: Entropy, round: int, owner: int, attempt: int = 0) -> Streams:
    """One owner's randomness of one attempt of one round, by purpose."""
    return lambda purpose: entropy.stream(f"local/{purpose}", round, owner=owner, attempt=attempt)


def local_update(
    learner: Learner,
    solver: Solver,
    start: Tensor,
    examples: Examples,
    streams: Streams,
    correction: Tensor | None = None,
) -> Tensor:
    """The update `[d]` float32 of one owner's turn, on the CPU; the learner is left without a trace of the owner."""
    with learner.turn(streams):
        start, examples = start.to(learner.device), examples.to(learner.device)
        moved = None if correction is None else correction.to(learner.device)
        return solver.train(learner, start, examples, streams, moved).cpu()
