"""Low rank: chains of Linear layers under plain descent, for a whole group at once, without ever forming a weight.

After s steps an owner's weight is W_s = (1 + a_s)·W₀ + Σ_{t<s} C_st·E_tᵀX_t (`pace.py`, `factors.py`), so

    x W_sᵀ = (1 + a_s)·x W₀ᵀ + Σ_t C_st·(x X_tᵀ) E_t          forward
    e W_s  = (1 + a_s)·e W₀  + Σ_t C_st·(e E_tᵀ) X_t          backward

The products with W₀ are one matrix product for all owners of a group; the others are small. Only sums leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ...client.worker import Plan
from ...privacy.entropy import Entropy
from ...privacy.factors import Factors, Layer
from ...privacy.updates import Updates
from ...strategies.algorithm import Algorithm
from ...strategies.learner import Learner, Loss, per_example
from ...strategies.messages import Request
from ..population import Population
from .activations import Activation
from .batches import Batches, Step, batches_of, sorted_groups
from .chain import Affine, Chain, chain_of, unfit
from .engine import in_turn
from .pace import pace_of

_PAYS = (
    1.0  # rows held, relative to in·out/(in + out) summed over layers, up to which it is faster than forming weights
)
_NUMBERS = 1 << 22  # of a group's factors: 16 MiB


@dataclass(slots=True)
class _Trace:
    """What has passed one Linear layer: inputs and errors of every step so far, `[k_t, b_t, in]` and `[k_t, b_t, out]`."""

    link: Affine
    inputs: list[Tensor] = field(default_factory=list)
    errors: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LowRank:
    """Linear layers under `sgd` and `prox`, at most `group` owners at once."""

    group: int = 100
    name: str = "low-rank"
    purpose: str = "Linear layers whose updates are of low rank, never formed"

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
        sizes = population.sizes()
        rows = float(np.average(pace.counts(sizes) * np.minimum(sizes, pace.batch or sizes), weights=sizes + 1e-9))
        limit = _PAYS * chain.dim / max(1, chain.widths)
        if rows > limit:
            return f"{rows:.0f} rows an owner are more than weights of {chain.dim} numbers are worth ({limit:.0f})"
        return None

    def groups(self, plan: Plan, requests: Sequence[Request], population: Population) -> list[list[Request]]:
        pace = pace_of(plan.solver)
        if pace is None:
            return in_turn(requests, self.group)
        return sorted_groups(pace, requests, population, _NUMBERS // 512, self.group)

    def train(
        self,
        plan: Plan,
        learner: Learner,
        requests: Sequence[Request],
        population: Population,
        entropy: Entropy,
        memories: dict[int, Tensor],
    ) -> Updates:
        pace, chain = pace_of(plan.solver), chain_of(learner.module, learner.trainable)
        if pace is None or isinstance(chain, str):
            raise ValueError(f"{self.name} was given work that it does not accept: {chain}; ask accepts() first")
        batches = batches_of(pace, requests, population, entropy)
        along, parts = pace.coefficients(len(batches.steps))
        traces = [_Trace(link) for link in chain.affines]
        start = requests[0].weights
        for s, step in enumerate(batches.steps):
            inputs, targets = step.of(population.training)
            _step(chain, traces, start, step, inputs, targets, learner.loss, 1.0 + float(along[s]), parts[s, :s])
        return _factors(chain, traces, start, batches, along, parts)


def _step(
    chain: Chain,
    traces: list[_Trace],
    start: Tensor,
    step: Step,
    inputs: Tensor,
    targets: Tensor,
    loss: Loss,
    scale: float,
    coefficients: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> None:
    """One forward and backward pass at the weights of this step; adds its rows to `traces`."""
    shape = step.shape
    values, passed, at = inputs, [], 0
    for link in chain.links:
        if isinstance(link, Activation):
            before, values = values, link.forward(values)
            passed.append((before, values))
            continue
        trace = traces[at]
        at += 1
        mine = values.view(*shape, -1)
        weight, bias = _scaled(link.weight(start), scale if link.weight_at is not None else 1.0), link.bias(start)
        if bias is not None and link.bias_at is not None:
            bias = _scaled(bias, scale)
        outputs = values @ weight.t() if bias is None else torch.addmm(bias, values, weight.t())
        if link.trained:
            _recall_forward(trace, mine, outputs.view(*shape, -1), coefficients)
        trace.inputs.append(mine)
        values = outputs
    errors = _loss_gradient(loss, values, targets, step.weights.flatten())
    for link in reversed(chain.links):
        if isinstance(link, Activation):
            before, after = passed.pop()
            errors = link.backward(errors, before, after)
            continue
        at -= 1
        trace = traces[at]
        mine = errors.view(*shape, -1)
        if any(each.link.trained for each in traces[:at]):
            weight = _scaled(link.weight(start), scale if link.weight_at is not None else 1.0)
            errors = errors @ weight
            if link.weight_at is not None:
                back = errors.view(*shape, -1)
                for t, coefficient in enumerate(coefficients):
                    met = torch.bmm(mine, trace.errors[t][: shape[0]].transpose(1, 2))
                    back.baddbmm_(met, trace.inputs[t][: shape[0]], alpha=float(coefficient))
        trace.errors.append(mine)
        if not any(each.link.trained for each in traces[:at]):
            break


def _recall_forward(
    trace: _Trace, mine: Tensor, outputs: Tensor, coefficients: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> None:
    """Add what the steps so far changed: Σ_t C_t·(x X_tᵀ + 1)E_t, the 1 where the bias trains."""
    for t, coefficient in enumerate(coefficients):
        errors = trace.errors[t][: len(mine)]
        if trace.link.weight_at is None:
            outputs.add_(errors.sum(dim=1, keepdim=True), alpha=float(coefficient))
            continue
        met = torch.bmm(mine, trace.inputs[t][: len(mine)].transpose(1, 2))
        if trace.link.bias_at is not None:
            met.add_(1)
        outputs.baddbmm_(met, errors, alpha=float(coefficient))


def _loss_gradient(loss: Loss, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """∇ of Σ weights·losses at the outputs `[n, …]`; exactly zero where the weight is."""
    leaf = outputs.detach().requires_grad_()
    with torch.enable_grad():
        losses = per_example(loss, leaf, targets)
    (gradient,) = torch.autograd.grad(losses, leaf, weights)
    return gradient


def _scaled(values: Tensor, scale: float) -> Tensor:
    return values if scale == 1.0 else values * scale


def _factors(
    chain: Chain,
    traces: list[_Trace],
    start: Tensor,
    batches: Batches,
    along: np.ndarray[tuple[int], np.dtype[np.float64]],
    parts: np.ndarray[tuple[int, int], np.dtype[np.float64]],
) -> Factors:
    """The updates after each owner's own number of steps."""
    last = parts[batches.counts]
    coefficients = tuple(
        torch.from_numpy(last[: step.shape[0], t].astype(np.float32)) for t, step in enumerate(batches.steps)
    )
    decay = along[batches.counts]
    moved = bool(decay.any())
    return Factors(
        chain.dim,
        tuple(
            Layer(trace.link.weight_at, trace.link.bias_at, tuple(trace.inputs), tuple(trace.errors))
            for trace in traces
            if trace.link.trained
        ),
        coefficients,
        batches.rows,
        start if moved else None,
        torch.from_numpy(decay.astype(np.float32)) if moved else None,
    )
