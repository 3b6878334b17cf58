"""Models of the bundled tasks on images and tables: small, without BatchNorm or dropout.

BatchNorm mixes the examples of a batch, so one example's gradient is no longer its own; dropout draws from a generator
that nobody else can repeat. Convolutions and Linear layers alone give every engine and Opacus exact per-example gradients.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


def linear(features: int, outputs: int, bias: bool = True) -> nn.Linear:
    """Softmax or logistic regression, `[B, features] -> [B, outputs]`, started at zero.

    The loss is convex, so the start decides nothing but the first steps; zero draws no randomness and wastes no budget
    on forgetting it. On inputs of unit norm a bias would take half of every clipped gradient and add no accuracy.
    """
    layer = nn.Linear(features, outputs, bias=bias)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers of the given widths with ReLU between them, `[B, widths[0]] -> [B, widths[-1]]`."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Cnn(nn.Module):
    """Two 3×3 convolutions (16 and 32 channels), each with ReLU and 2×2 maximum, and one Linear: 6,090 parameters.

    8×8 images `[B, 1, 8, 8] -> [B, classes]`.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 32, 3, padding=1)
        self.last = nn.Linear(32 * 2 * 2, classes)

    def forward(self, images: Tensor) -> Tensor:
        hidden = torch.max_pool2d(torch.relu(self.first(images)), 2)
        hidden = torch.max_pool2d(torch.relu(self.second(hidden)), 2)
        outputs: Tensor = self.last(hidden.flatten(1))
        return outputs
