"""Breast cancer: is a breast mass benign? 569 fine-needle aspirates, 30 measures of cell nuclei each.

Wolberg, Street and Mangasarian 1993 (UCI: Breast Cancer Wisconsin, Diagnostic), scikit-learn's copy and its coding:
target 0 is malignant, 1 benign. The public split is 455 training and 114 test cases.

**Scaling is public, not estimated.** Means and deviations taken from the owners' records would be a release to be paid for
(PRIVACY.md 4 and 6). The ranges below are constants of this program instead: the minimum and maximum that the
data set's published description prints for each measure, rounded outwards to one or two figures. They were public before
any training, the same for every owner and every split, and other data keep them: values outside are clipped. What they do
tell, they tell of the published description and not of any owner's file.

An owner's own CSV has the 30 columns named as in `MEASURES` and `target`; an NPZ has `inputs` `[N, 30]` in that order.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from .examples import DataError, Examples
from .losses import binary_cross_entropy
from .models import linear, mlp
from .options import chosen
from .split import stratified_split
from .tables import readers
from .task import Task

TEST = 114

# Declared public: nuclear measure -> (lowest, highest) of its mean, its standard error, and its mean over the three
# worst nuclei. Lengths in units of the published images; a lowest of 0 marks a measure that may vanish.
RANGES: Mapping[str, tuple[tuple[float, float], ...]] = {
    "radius": ((6, 30), (0.1, 3), (7, 40)),
    "texture": ((9, 40), (0.3, 5), (12, 50)),
    "perimeter": ((40, 200), (0.7, 25), (50, 260)),
    "area": ((100, 3000), (6, 600), (150, 5000)),
    "smoothness": ((0.05, 0.17), (0.0015, 0.04), (0.07, 0.25)),
    "compactness": ((0.015, 0.4), (0.002, 0.15), (0.02, 1.2)),
    "concavity": ((0, 0.5), (0, 0.4), (0, 1.3)),
    "concave points": ((0, 0.25), (0, 0.06), (0, 0.3)),
    "symmetry": ((0.1, 0.31), (0.007, 0.08), (0.15, 0.7)),
    "fractal dimension": ((0.045, 0.1), (0.0008, 0.03), (0.05, 0.21)),
}
MEASURES = (
    *(f"mean {name}" for name in RANGES),
    *(f"{name} error" for name in RANGES),
    *(f"worst {name}" for name in RANGES),
)
_LOW, _HIGH = (
    torch.tensor([ranges[view][end] for view in range(3) for ranges in RANGES.values()], dtype=torch.float64)
    for end in range(2)
)

MODELS: Mapping[str, Callable[[], nn.Module]] = {
    "logistic": partial(linear, 30, 1),
    "mlp": partial(mlp, 30, 16, 1),
}


def breast_cancer(*, model: str = "logistic", split: int = 0) -> Task:
    """Tell benign from malignant. `model`: logistic (31 parameters) or mlp (513).

    `split` picks another public division into training and test cases; 0 is the usual one.
    """
    return Task(
        name="breast-cancer",
        model=chosen("breast-cancer", "model", model, MODELS),
        loss=binary_cross_entropy,
        train=lambda: _prepare(_halves(split)[0]),
        test=lambda: _prepare(_halves(split)[1]),
        readers=readers(MEASURES, prepare=_prepare),
    )


def scaled(measures: Tensor) -> Tensor:
    """Raw measures `[N, 30]` to float32 in [−1, 1] by the public ranges: by ratio, as sizes of nuclei spread, not by step.

    2·log(x/low)/log(high/low) − 1; for a measure that may vanish 2·√(x/high) − 1, which stays finite there.
    """
    if measures.shape[1:] != (30,):
        raise DataError(f"breast-cancer: a case has shape {list(measures.shape[1:])}; give the 30 measures")
    wrong = torch.nonzero(measures < 0)
    if len(wrong):
        case, column = wrong[0].tolist()
        raise DataError(
            f"breast-cancer: case {case} (counted from 0), column {MEASURES[column]!r} is negative; no measure can be"
        )
    values = measures.to(torch.float64)
    vanishing = _LOW == 0
    low = _LOW.where(~vanishing, _HIGH / 2)  # any positive number: this half of the `where` below is not used
    by_ratio = (torch.maximum(values, low) / low).log() / (_HIGH / low).log()
    by_root = (values / _HIGH).sqrt()
    return (2 * by_root.where(vanishing, by_ratio) - 1).clamp(-1, 1).to(torch.float32)


def _prepare(raw: Examples) -> Examples:
    return Examples(scaled(raw.inputs), raw.targets)


@functools.cache
def _halves(split: int) -> tuple[Examples, Examples]:
    from sklearn.datasets import load_breast_cancer

    bundle = load_breast_cancer()
    whole = Examples.of(bundle.data, bundle.target)
    train, test = stratified_split(bundle.target, TEST, "breast-cancer", split)
    return whole.subset(train), whole.subset(test)
