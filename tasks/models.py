"""Models of the bundled tasks on images and tables: small, without BatchNorm or dropout.

BatchNorm mixes the examples of a batch, so one example's gradient is no longer its own; dropout draws from a generator
that nobody else can repeat. Convolutions and Linear layers alone give every engine and Opacus exact per-example gradients.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

from torch import nn


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


def cnn(classes: int = 10) -> nn.Sequential:
    """Two 3×3 convolutions (16 and 32 channels), each with ReLU and 2×2 maximum, and one Linear: 6,090 parameters.

    8×8 images `[B, 1, 8, 8] -> [B, classes]`. A sequence of layers, which the simulator's engines can read.
    """
    layers: dict[str, nn.Module] = {
        "first": nn.Conv2d(1, 16, 3, padding=1),
        "first_relu": nn.ReLU(),
        "first_pool": nn.MaxPool2d(2),
        "second": nn.Conv2d(16, 32, 3, padding=1),
        "second_relu": nn.ReLU(),
        "second_pool": nn.MaxPool2d(2),
        "flat": nn.Flatten(),
        "last": nn.Linear(32 * 2 * 2, classes),
    }
    return nn.Sequential(OrderedDict(layers))
