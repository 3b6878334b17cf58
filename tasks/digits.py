"""Digits: 1,797 handwritten digits of 8×8 pixels, ten classes (scikit-learn's copy of the UCI test set, Alpaydin 1998).

The public split is 1,438 training and 359 test images. An owner's own CSV has the 64 columns `pixel_0_0` … `pixel_7_7`
(row, column) with values 0 to 16 and `target`; an NPZ has `inputs` `[N, 64]` or `[N, 8, 8]`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeAlias

import torch
from torch import nn

from .examples import DataError, Examples
from .losses import cross_entropy
from .models import cnn, linear, mlp
from .options import chosen
from .orientation import orientation_features
from .split import stratified_split
from .tables import readers
from .task import Task

TEST = 359
INK = 16.0
PIXELS = tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8))

Model: TypeAlias = tuple[Callable[[], nn.Module], Callable[[torch.Tensor], torch.Tensor]]

# What each model is, and what it sees of images `[N, 8, 8]` with ink in [0, 1].
MODELS: Mapping[str, Model] = {
    "softmax": (partial(linear, 128, 10, bias=False), orientation_features),
    "mlp": (partial(mlp, 64, 32, 10), lambda images: contrast(images).flatten(1)),
    "cnn": (cnn, lambda images: contrast(images).unsqueeze(1)),
}


def contrast(images: torch.Tensor) -> torch.Tensor:
    """Pixels less the image's own mean, twice as large: gradients of clipped examples then point where ink differs."""
    return 2 * (images - images.mean(dim=(1, 2), keepdim=True))


def digits(*, model: str = "softmax", split: int = 0) -> Task:
    """Recognise a digit. `model`: softmax on fixed edge features (1,280 parameters), mlp or cnn on pixels (`contrast`).

    `split` picks another public division into training and test images; 0 is the usual one.
    """
    make, view = chosen("digits", "model", model, MODELS)

    def prepare(raw: Examples) -> Examples:
        return Examples(view(_images(raw.inputs)), raw.targets)

    return Task(
        name="digits",
        model=make,
        loss=cross_entropy,
        train=lambda: prepare(_halves(split)[0]),
        test=lambda: prepare(_halves(split)[1]),
        readers=readers(PIXELS, prepare=prepare),
    )


def _images(raw: torch.Tensor) -> torch.Tensor:
    """Raw ink 0 to 16, `[N, 64]` or `[N, 8, 8]`, as images `[N, 8, 8]` in [0, 1]."""
    if raw.shape[1:] not in ((64,), (8, 8)):
        raise DataError(f"digits: an image has shape {list(raw.shape[1:])}; give 64 pixels or 8×8")
    wrong = torch.nonzero((raw < 0) | (raw > INK))
    if len(wrong):
        raise DataError(
            f"digits: image {int(wrong[0][0])} (counted from 0) has a pixel outside 0..16; rescale the ink to 0..16"
        )
    return raw.reshape(-1, 8, 8).to(torch.float32) / INK


@functools.cache
def _halves(split: int) -> tuple[Examples, Examples]:
    from sklearn.datasets import load_digits

    bundle = load_digits()
    whole = Examples.of(bundle.data, bundle.target)
    train, test = stratified_split(bundle.target, TEST, "digits", split)
    return whole.subset(train), whole.subset(test)
