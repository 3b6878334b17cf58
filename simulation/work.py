"""Work: what an engine and the owner half of the pipeline make of a group of owners, down to the sum of their messages."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..client.worker import UNREADABLE, Plan, measure
from ..privacy.entropy import Entropy
from ..privacy.factors import Factors
from ..privacy.pipeline import Env
from ..privacy.stages.measure import measure_in
from ..privacy.updates import Updates
from ..strategies.learner import Learner
from ..strategies.local import streams_of
from ..strategies.measuring import measured_together
from ..strategies.messages import Request
from ..strategies.requests import owners_in
from .engines.engine import Engine
from .engines.plain import PlainLoop
from .engines.planner import stays_factored
from .memory import refused_memory
from .population import Population

log = logging.getLogger(__name__)


class SimulationError(RuntimeError):
    """Something that a simulation must not hide: it names the owner, which a real server could never learn."""


def stop_at_fault(owner: int, round: int, what: str) -> None:
    """Stop the simulation and name the owner (PRIVACY.md 12: only the simulator may)."""
    raise SimulationError(f"round {round}, owner {owner}: {what}")


def stop_at_faults(updates: Updates, requests: Sequence[Request]) -> None:
    """Stop at the first of these owners whose contribution is not finite."""
    norms = updates.norms()
    if not bool(torch.isfinite(norms).all()):
        at = requests[int((~torch.isfinite(norms)).nonzero()[0])]
        stop_at_fault(at.owner, at.round, "the local update is not finite (lower local.lr, or look at the data)")


def finite(values: Tensor) -> bool:
    """Whether all of them are: their sum says so, in one pass, unless it is too large itself."""
    return bool(torch.isfinite(values.sum())) or bool(torch.isfinite(values).all())


@dataclass(frozen=True, slots=True)
class Work:
    """Who trains whom with what. A group's sum depends on the group alone: not on the process, nor on what went before."""

    population: Population
    engine: Engine
    learner: Learner
    entropy: Entropy = field(repr=False)

    def total(self, plan: Plan, group: Sequence[Request], memories: dict[int, Tensor]) -> Tensor:
        """The sum of a group's messages `[d']`; stops at the first owner whose contribution is not finite.

        `memories` is what owners remember between rounds: read, and brought up to date. A group for which there is no room
        is trained in halves; their sum may differ from the whole's in the last bits of float32.
        """
        kept = dict(memories)
        try:
            return self._together(plan, group, memories)
        except (MemoryError, RuntimeError) as error:
            size = refused_memory(error)
            if size is None:
                raise
            if len(group) == 1:
                what = f"there is no memory to train it ({size} refused); take a smaller model or batch, or fewer --workers"
                raise SimulationError(f"round {group[0].round}, owner {group[0].owner}: {what}") from error
        # Outside the handler, whose traceback holds on to all that the attempt had made.
        log.warning("no memory to train %d owners at once (%s refused): they are trained in halves", len(group), size)
        memories.clear()
        memories.update(kept)
        middle = len(group) // 2
        first = self.total(plan, group[:middle], memories)
        return first + self.total(plan, group[middle:], memories)

    def _together(self, plan: Plan, group: Sequence[Request], memories: dict[int, Tensor]) -> Tensor:
        updates = self.engine.train(plan, self.learner, group, self.population, self.entropy, memories)
        if isinstance(updates, Factors) and not stays_factored(plan.pipeline):
            updates = updates.formed()
        if not plan.pipeline.stages:
            total = updates.total()
            if not finite(total):
                stop_at_faults(updates, group)
            return total.cpu()
        if isinstance(updates, Factors):
            updates = updates.measured()
        stop_at_faults(updates, group)
        owners = owners_in(group)
        measures = None if measure_in(plan.pipeline) is None else self._measured(plan, group)
        # Masks cancel in the sum, and the sum is all that leaves here.
        env = Env(self.entropy, group[0].round, group[0].attempt, owners, masked=True, measures=measures)
        return plan.pipeline.send(updates, env).total().cpu()

    def _measured(self, plan: Plan, group: Sequence[Request]) -> Tensor:
        """What each owner of the group measures of the model that it received, `[k, m]`."""
        held, first = [self.population.examples(request.owner) for request in group], group[0]
        if isinstance(self.engine, PlainLoop):  # it takes models that look from one example at another, too
            found = [measure(plan, self.learner, *each, self.entropy) for each in zip(group, held, strict=True)]
        else:
            streams = streams_of(self.entropy, first.round, first.owner, first.attempt)
            found = measured_together(plan.pipeline, self.learner, first.weights, held, streams)
        for request, each in zip(group, found, strict=True):
            if not each.readable:
                stop_at_fault(request.owner, request.round, UNREADABLE)
        return torch.stack([each.row for each in found]).to(self.learner.device)
