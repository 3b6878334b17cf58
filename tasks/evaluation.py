"""Evaluation: a model's measures on examples, as additive sums, as numbers, and by owner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .examples import Examples
from .metrics import Sums, add
from .task import Task

_BATCH = 1024


@dataclass(frozen=True, slots=True, eq=False)
class PerExample:
    """One value per example, `[N]` float64: its loss, and how right it is in [0, 1] (None without classes)."""

    loss: NDArray[np.float64]
    correct: NDArray[np.float64] | None


def sums(task: Task, module: nn.Module, examples: Examples) -> Sums:
    """Additive statistics: those of `task.metrics` and `loss`, its sum, and `count`, the number of examples.

    For disjoint examples, `add(sums(a), sums(b))` is `sums(a ∪ b)`: exactly for counts, to rounding for sums of reals.
    No examples give empty sums.
    """
    total: Sums = {}
    with _inference(module):
        for inputs, targets in _batches(module, examples):
            outputs = module(inputs)
            loss = task.loss(outputs, targets).sum(dtype=torch.float64)
            batch: Sums = {"loss": np.array(float(loss)), "count": np.array(float(len(inputs)))}
            total = add(total, batch | task.metrics.sums(outputs, targets))
    return total


def finish(task: Task, total: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """The measures of added sums: `loss`, the mean over examples, and those of `task.metrics`."""
    if not total:
        raise ValueError("no examples were evaluated; give at least one")
    return {"loss": float(total["loss"] / total["count"]), **task.metrics.finish(total)}


def evaluate(task: Task, module: nn.Module, examples: Examples) -> dict[str, float]:
    """`finish` of `sums`: the measures of `module` on `examples`."""
    return finish(task, sums(task, module, examples))


def per_example(task: Task, module: nn.Module, examples: Examples) -> PerExample:
    """The loss and the correctness of every example, in order: one pass serves any number of owners."""
    losses: list[Tensor] = []
    rights: list[Tensor] = []
    with _inference(module):
        for inputs, targets in _batches(module, examples):
            outputs = module(inputs)
            losses.append(task.loss(outputs, targets))
            right = task.metrics.correct(outputs, targets)
            if right is not None:
                rights.append(right)
    return PerExample(_joined(losses), _joined(rights) if rights else None)


def owner_means(values: NDArray[np.float64], shares: Sequence[NDArray[np.int64]]) -> NDArray[np.float64]:
    """Each owner's mean of `values` `[N]` over its examples `shares[k]`: `[owners]`, NaN for an owner without any."""
    return np.array([values[share].mean() if len(share) else np.nan for share in shares])


@contextmanager
def _inference(module: nn.Module) -> Iterator[None]:
    """Without gradients and in evaluation mode; each layer's own mode is restored (a frozen one may differ)."""
    modes = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for layer, mode in modes:
            layer.training = mode


def _batches(module: nn.Module, examples: Examples) -> Iterator[tuple[Tensor, Tensor]]:
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    for start in range(0, len(examples), _BATCH):
        inputs, targets = (part[start : start + _BATCH] for part in (examples.inputs, examples.targets))
        yield inputs.to(device), targets.to(device)


def _joined(parts: list[Tensor]) -> NDArray[np.float64]:
    if not parts:
        return np.empty(0, dtype=np.float64)
    joined: NDArray[np.float64] = torch.cat(parts).to("cpu", torch.float64).numpy()
    return joined
