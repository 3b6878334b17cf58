"""Low rank: chains of Linear layers under plain descent, for a whole group at once, without ever forming a weight.

After s steps an owner's weight is W_s = (1 + a_s)·W₀ + Σ_{t<s} C_st·E_tᵀX_t (`pace.py`, `factors.py`), so

    x W_sᵀ = (1 + a_s)·x W₀ᵀ + Σ_t C_st·(x X_tᵀ) E_t          forward
    e W_s  = (1 + a_s)·e W₀  + Σ_t C_st·(e E_tᵀ) X_t          backward

The products with W₀ are one matrix product for all owners of a group; the others are small. Only sums leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...client.worker import Plan
from ...privacy.entropy import Entropy
from ...privacy.factors import Factors, Held, Layer
from ...privacy.updates import Updates
from ...strategies.algorithm import Algorithm
from ...strategies.learner import Learner
from ...strategies.messages import Request
from ..population import Population
from .affine import Affine
from .batches import Batches, batches_of, sorted_groups
from .chain import Chain, chain_of, entered, known_chain, unfit
from .engine import in_turn
from .formed import Formed, formed_of
from .front import Passage
from .moving import Add, Moving, descent
from .pace import Pace, pace_of
from .precision import FULL, Precision, linear
from .sweep import Swept, sweep
from .weights import Own, Shared, add_gradients

_PAYS = 1.0  # an owner's rows × (in + out), relative to in × out, summed over layers: below, products are cheaper than weights
_SMALL = 1 << 13  # numbers of a model so small that copies of its weights cost nothing
_NUMBERS = 1 << 23  # of a group's factors: 16 MiB


@dataclass(frozen=True, slots=True)
class LowRank:
    """Linear layers, perhaps behind convolutions, under `sgd` and `prox`, at most `group` owners at once."""

    group: int = 50  # two processes share a cohort of 100; twice as many would be a tenth faster in one
    name: str = "low-rank"
    purpose: str = "Linear layers whose updates are of low rank, never formed"
    precision: Precision = FULL

    def accepts(self, plan: Plan, learner: Learner, population: Population) -> str | None:
        pace = pace_of(plan.solver)
        if pace is None:
            return f"{type(plan.solver).__name__} does not step linearly in the gradients"
        if type(plan.algorithm).contribute is not Algorithm.contribute:
            return f"{type(plan.algorithm).__name__} has owners do more than train"
        chain = chain_of(learner.module, learner.trainable)
        return chain if isinstance(chain, str) else unfit(chain, learner, population)

    def pays(self, plan: Plan, learner: Learner, population: Population) -> str | None:
        """Why forming the weights would be faster; None where it would not. Half of all owners' examples decide."""
        pace, chain = pace_of(plan.solver), chain_of(learner.module, learner.trainable)
        if pace is None or isinstance(chain, str):
            return None
        numbers = sum(affine.numbers for affine in chain.affines)
        if numbers <= _SMALL:
            return f"{numbers} weights of Linear layers are few enough to have side by side"
        rows = _rows(pace, population)
        limit = _PAYS * numbers / max(1, chain.widths)
        if rows > limit:
            return f"{rows:.0f} rows an owner are more than weights of {numbers} numbers are worth ({limit:.0f})"
        return None

    def layers(self, plan: Plan, learner: Learner, population: Population) -> str:
        """What becomes of each layer, in half a line."""
        pace, chain = pace_of(plan.solver), known_chain(learner.module, learner.trainable)
        held = formed_of(chain, round(_rows(pace, population)) if pace is not None else 0).held
        named = [f"{each.layer.in_features}→{each.layer.out_features}" for each in chain.affines]
        kinds = {
            "of low rank": [name for place, name in enumerate(named) if place not in held],
            "as numbers": [name for place, name in enumerate(named) if place in held],
            "owner by owner": [f"{c.layer.in_channels}∗{c.layer.out_channels}" for c in chain.front.convolutions],
        }
        return ", ".join(f"{' and '.join(names)} {how}" for how, names in kinds.items() if names)

    def groups(self, plan: Plan, requests: Sequence[Request], population: Population) -> list[list[Request]]:
        pace = pace_of(plan.solver)
        if pace is None:
            return in_turn(requests, self.group)
        example = population.training.inputs[:1].numel()  # a measure of what the layers take, known without them
        return sorted_groups(pace, requests, population, _NUMBERS // max(512, 3 * example), self.group)

    def train(
        self,
        plan: Plan,
        learner: Learner,
        requests: Sequence[Request],
        population: Population,
        entropy: Entropy,
        memories: dict[int, Tensor],
    ) -> Updates:
        pace, chain = pace_of(plan.solver), known_chain(learner.module, learner.trainable)
        if pace is None:
            raise ValueError(f"{self.name} was given {type(plan.solver).__name__}; ask accepts() first")
        batches = batches_of(pace, requests, population, entropy, learner.device)
        along, parts = pace.coefficients(len(batches.steps))
        training, start = population.resident(learner.device), requests[0].weights.to(learner.device)
        past, met = list[Swept](), _Met.of(len(chain.affines))
        formed, move = formed_of(chain, sum(step.shape[1] for step in batches.steps)), descent(pace)
        ahead = Moving.of(formed.cut(start), len(requests))
        for s, step in enumerate(batches.steps):
            inputs, targets = step.of(training)
            scale, coefficients = 1.0 + float(along[s]), tuple(parts[s, :s].tolist())
            moving = ahead.first(step.shape[0])
            own = Own(formed.affines, moving.weights, self.precision) if s else None
            shared = Shared(formed.affines, ahead.start, self.precision)
            weights = _Weights(
                chain.affines, start, scale, coefficients, tuple(past), met, self.precision, formed.held, own or shared
            )
            passage = Passage(formed.front, moving.weights if s else ahead.start[None], self.precision)
            rows = entered(chain, passage, inputs.view(*step.shape, *inputs.shape[1:]))
            swept = sweep(chain, weights, rows, targets, step.weights, learner.loss)
            if formed.trained:
                move(moving, s, _gradients(formed, passage, swept))
            past.append(replace(swept, entry=None))
        return _factors(chain, past, met, start, batches, along, parts, formed, ahead.update)


def _gradients(formed: Formed, passage: Passage, swept: Swept) -> Add:
    """Those of the layers that are held as numbers."""
    errors = tuple(each if place in formed.held else None for place, each in enumerate(swept.errors))
    held = replace(swept, errors=errors)

    def add(into: Tensor, scale: float) -> None:
        add_gradients(formed.affines, held, into, scale)
        if swept.entry is not None:
            passage.add_gradients(swept.entry, into, scale)

    return add


def _rows(pace: Pace, population: Population) -> float:
    """Rows in all steps of an owner, as the owner of an example in the middle has them."""
    sizes = population.sizes()
    return float(np.average(pace.counts(sizes) * np.minimum(sizes, pace.batch or sizes), weights=sizes + 1e-9))


@dataclass(frozen=True, slots=True)
class _Met:
    """How the rows of two steps meet in each Linear layer, as `Layer` keeps it: norms need the same products again."""

    inputs: tuple[dict[tuple[int, int], Tensor], ...]
    errors: tuple[dict[tuple[int, int], Tensor], ...]

    @classmethod
    def of(cls, layers: int) -> _Met:
        """Nothing yet."""
        return cls(tuple({} for _ in range(layers)), tuple({} for _ in range(layers)))


@dataclass(frozen=True, slots=True)
class _Weights:
    """The weights of a group in one step, as what they are made of: scale·start + Σ_t coefficients[t]·(what passed in t).

    Layers at `held` have numbers instead: those of `formed`.
    """

    affines: tuple[Affine, ...]
    start: Tensor
    scale: float
    coefficients: tuple[float, ...]
    past: tuple[Swept, ...]
    met: _Met
    precision: Precision
    held: frozenset[int]
    formed: Shared | Own

    def forward(self, place: int, values: Tensor) -> Tensor:
        if place in self.held:
            return self.formed.forward(place, values)
        link = self.affines[place]
        weight = link.weight(self.start)
        outputs = linear(values, weight if link.weight_at is None else self._scaled(weight), None, self.precision)
        for t, (coefficient, swept) in enumerate(zip(self.coefficients, self.past, strict=True)):
            errors = swept.errors[place]
            if not link.trained or errors is None:
                continue
            errors = errors[: len(values)]
            if link.weight_at is None:
                outputs.add_(errors.sum(dim=1, keepdim=True), alpha=coefficient)
                continue
            met = torch.bmm(values, swept.inputs[place][: len(values)].transpose(1, 2))
            if link.bias_at is not None:
                met.add_(1)
            self.met.inputs[place][len(self.past), t] = met
            outputs.baddbmm_(met, errors, alpha=coefficient)
        return outputs

    def bias(self, place: int) -> Tensor | None:
        if place in self.held:
            return self.formed.bias(place)
        link = self.affines[place]
        bias = link.bias(self.start)
        return bias if bias is None or link.bias_at is None else self._scaled(bias)

    def backward(self, place: int, errors: Tensor) -> Tensor:
        if place in self.held:
            return self.formed.backward(place, errors)
        link = self.affines[place]
        weight = link.weight(self.start)
        if link.weight_at is None:
            return linear(errors, weight.t(), None, self.precision)
        gradient = linear(errors, self._scaled(weight).t(), None, self.precision)
        for t, (coefficient, swept) in enumerate(zip(self.coefficients, self.past, strict=True)):
            old = swept.errors[place]
            if old is not None:
                met = torch.bmm(errors, old[: len(errors)].transpose(1, 2))
                self.met.errors[place][len(self.past), t] = met
                gradient.baddbmm_(met, swept.inputs[place][: len(errors)], alpha=coefficient)
        return gradient

    def _scaled(self, values: Tensor) -> Tensor:
        return values if self.scale == 1.0 else values * self.scale


def _factors(
    chain: Chain,
    past: Sequence[Swept],
    met: _Met,
    start: Tensor,
    batches: Batches,
    along: NDArray[np.float64],
    parts: NDArray[np.float64],
    formed: Formed,
    update: Tensor,
) -> Factors:
    """The updates after each owner's own number of steps."""
    last = parts[batches.counts]
    coefficients = tuple(
        torch.from_numpy(last[: step.shape[0], t].astype(np.float32)).to(start.device)
        for t, step in enumerate(batches.steps)
    )
    decay = along[batches.counts]
    moved = bool(decay.any())
    layers = []
    for place, link in enumerate(chain.affines):
        errors = tuple(swept.errors[place] for swept in past)
        if link.trained and place not in formed.held:
            kept = tuple(each for each in errors if each is not None)
            entered = tuple(swept.inputs[place] for swept in past)
            layers.append(Layer(link.weight_at, link.bias_at, entered, kept, met.inputs[place], met.errors[place]))
    return Factors(
        chain.dim,
        tuple(layers),
        coefficients,
        batches.rows,
        formed.without(start) if moved else None,
        torch.from_numpy(decay.astype(np.float32)).to(start.device) if moved else None,
        held=Held(formed.as_in_layers(update), formed.places) if formed.trained else None,
        common=tuple(last[0].tolist()) if bool((last == last[:1]).all()) else None,
    )
