"""Metrics: how good a model is, in sums that add up over owners.

`sums(outputs, targets)` of two disjoint sets of examples add to the sums of their union, entry by entry, so that owners
can be evaluated under secure aggregation; `finish(sums)` turns a total into numbers. Every entry is a float64 array of
counts or of sums over examples, of a shape known beforehand; nothing in it is an average.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Sums: TypeAlias = dict[str, NDArray[np.float64]]

# Scores are log-odds, cut to ±16 (a probability within 1.2e-7 of 0 or 1) on a public grid of steps of 1/32.
_REACH = 16.0
_BINS = 1024


class Metrics(Protocol):
    """The measures of one kind of task; the loss is added by `evaluation`, as it is the task's own."""

    def classes(self, outputs: Tensor) -> int | None:
        """How many classes outputs of this shape tell apart, hence the range of valid targets; None where any goes."""
        ...

    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        """The share of each example that is predicted right, `[B]` in [0, 1]; None where nothing is right or wrong."""
        ...

    def sums(self, outputs: Tensor, targets: Tensor) -> Sums:
        """Additive statistics of a batch."""
        ...

    def finish(self, sums: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        """The measures of added statistics."""
        ...


@dataclass(frozen=True, slots=True)
class Classification:
    """One of C classes per example: accuracy, macro precision, recall and F1, and ROC-AUC.

    Outputs are logits `[B, C]`, or `[B]` and `[B, 1]` for the logit of class 1 against class 0; targets `[B]` int64.
    Macro means over the classes that occur among targets or predictions; 0/0 counts as 0 (scikit-learn's
    `zero_division=0`). ROC-AUC of two classes is that of class 1, of more the mean of one against the rest. It is taken
    from histograms of log-odds: pairs within one bin count one half, so it is at most `resolution` off. It is left out
    where a class has no positives or no negatives.
    """

    def classes(self, outputs: Tensor) -> int | None:
        return _logits(outputs).shape[1]

    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        return (_logits(outputs).argmax(dim=1) == targets).to(torch.float32)

    def sums(self, outputs: Tensor, targets: Tensor) -> Sums:
        logits = _logits(outputs).detach().to("cpu", torch.float64)
        truth = targets.detach().cpu()
        count = logits.shape[1]
        pairs = torch.bincount(truth * count + logits.argmax(dim=1), minlength=count * count)
        return {
            "confusion": pairs.reshape(count, count).to(torch.float64).numpy(),
            "scores": _histograms(_log_odds(logits), truth),
        }

    def finish(self, sums: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        confusion = sums["confusion"]
        right, truth, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
        seen = truth + predicted > 0
        measures = {
            "accuracy": _ratio(right.sum(), confusion.sum()),
            "precision": _mean_ratio(right[seen], predicted[seen]),
            "recall": _mean_ratio(right[seen], truth[seen]),
            "f1": _mean_ratio(2 * right[seen], (truth + predicted)[seen]),
        }
        areas = [area for area, _ in map(_area, sums["scores"])]
        if not any(math.isnan(area) for area in areas):
            measures["roc_auc"] = float(np.mean(areas))
        return measures

    def resolution(self, sums: Mapping[str, NDArray[np.float64]]) -> float:
        """How far the ROC-AUC of `finish` can lie from that of the unbinned scores."""
        return float(np.mean([width for _, width in map(_area, sums["scores"])]))


@dataclass(frozen=True, slots=True)
class NextSymbol:
    """A symbol at each position: accuracy over positions, and perplexity e^(mean −log p).

    Outputs are logits `[B, T, V]`, targets `[B, T]` int64.
    """

    def classes(self, outputs: Tensor) -> int | None:
        return outputs.shape[-1]

    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        return (outputs.argmax(dim=-1) == targets).to(torch.float32).mean(dim=-1)

    def sums(self, outputs: Tensor, targets: Tensor) -> Sums:
        # Float32 on the device, float64 from the sum on: a batch of logits in float64 would be the largest thing here.
        surprise = torch.log_softmax(outputs.detach(), dim=-1).gather(-1, targets.unsqueeze(-1)).neg()
        return {
            "positions": np.array(float(targets.numel())),
            "right": np.array(float((outputs.argmax(dim=-1) == targets).sum())),
            "surprise": np.array(float(surprise.sum(dtype=torch.float64))),
        }

    def finish(self, sums: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        positions = sums["positions"]
        with np.errstate(over="ignore"):  # a diverged model has an infinite perplexity, which says just that
            perplexity = float(np.exp(_ratio(sums["surprise"], positions)))
        return {"accuracy": _ratio(sums["right"], positions), "perplexity": perplexity}


@dataclass(frozen=True, slots=True)
class LossOnly:
    """Nothing but the loss: for regression and whatever else has no classes."""

    def classes(self, outputs: Tensor) -> int | None:
        return None

    def correct(self, outputs: Tensor, targets: Tensor) -> Tensor | None:
        return None

    def sums(self, outputs: Tensor, targets: Tensor) -> Sums:
        return {}

    def finish(self, sums: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
        return {}


def add(first: Sums, second: Sums) -> Sums:
    """The sums of two disjoint sets of examples; empty sums are the neutral element."""
    if first and second and first.keys() != second.keys():
        raise ValueError(f"sums of {sorted(first)} and of {sorted(second)}; add sums of the same task only")
    return {name: first[name] + second[name] for name in first} if first and second else dict(first or second)


def worst_decile(values: NDArray[np.float64]) -> float:
    """Mean of the ⌈n/10⌉ lowest of n owners' values; negate a loss, of which the highest are worst."""
    if len(values) == 0:
        raise ValueError("no owner's value; the worst decile needs at least one")
    return float(np.sort(values)[: -(-len(values) // 10)].mean())


def _logits(outputs: Tensor) -> Tensor:
    """Logits `[B, C]` with C at least 2: one lone logit z stands for (0, z)."""
    if outputs.dim() > 2:
        raise ValueError(
            f"outputs have shape {list(outputs.shape)}; Classification takes logits [B, C], [B, 1] or [B], "
            "NextSymbol takes [B, T, V]"
        )
    if outputs.dim() == 2 and outputs.shape[1] > 1:
        return outputs
    lone = outputs if outputs.dim() == 2 else outputs.unsqueeze(1)
    return torch.cat([torch.zeros_like(lone), lone], dim=1)


def _log_odds(logits: Tensor) -> Tensor:
    """log p_c / (1 − p_c) for each scored class, `[B, C]`; of two classes only the second, `[B, 1]`."""
    if logits.shape[1] == 2:
        return logits[:, 1:] - logits[:, :1]
    # 1 − p_c loses every digit as p_c nears 1; the sum over the others keeps them.
    others = logits.unsqueeze(1).expand(-1, logits.shape[1], -1)
    diagonal = torch.eye(logits.shape[1], dtype=torch.bool)
    return logits - others.masked_fill(diagonal, -math.inf).logsumexp(dim=2)


def _histograms(scores: Tensor, truth: Tensor) -> NDArray[np.float64]:
    """Counts `[K, 2, bins]` of the scores `[B, K]`: row 0 of negatives, row 1 of positives of each class."""
    width = 2 * _REACH / _BINS
    bins = ((scores.nan_to_num(nan=-_REACH).clamp(-_REACH, _REACH) + _REACH) / width).long().clamp(max=_BINS - 1)
    kinds = scores.shape[1]
    positive = torch.stack([truth == (1 if kinds == 1 else kind) for kind in range(kinds)], dim=1).long()
    place = (torch.arange(kinds) * 2 + positive) * _BINS + bins
    counts = torch.bincount(place.flatten(), minlength=kinds * 2 * _BINS)
    histogram: NDArray[np.float64] = counts.reshape(kinds, 2, _BINS).to(torch.float64).numpy()
    return histogram


def _area(histogram: NDArray[np.float64]) -> tuple[float, float]:
    """The area P[positive above negative] + ½P[same bin], and the ½P[same bin] that binning can shift it by."""
    negatives, positives = histogram
    pairs = negatives.sum() * positives.sum()
    if pairs == 0:
        return math.nan, math.nan
    below = np.cumsum(negatives) - negatives
    tied = float(negatives @ positives / pairs / 2)
    return float(below @ positives / pairs) + tied, tied


def _ratio(part: np.float64 | NDArray[np.float64], whole: np.float64 | NDArray[np.float64]) -> float:
    return float(part / whole) if whole > 0 else math.nan


def _mean_ratio(parts: NDArray[np.float64], wholes: NDArray[np.float64]) -> float:
    if len(wholes) == 0:
        return math.nan
    return float(np.divide(parts, wholes, out=np.zeros_like(parts), where=wholes > 0).mean())
