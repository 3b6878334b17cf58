"""Front: the convolutions before a model's first Linear layer, owner by owner on a processor, all at once on an accelerator.

One owner's pass stays in the cache, and a convolution of ten images fills a processor's registers as well as one of a
thousand: there is nothing to be gained by more than one. An accelerator waits for every call, so there it is one call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch
from torch import Tensor

from .activations import Activation
from .convolution import Convolution, parted
from .pool import Pool
from .precision import FULL, Precision

Layer: TypeAlias = Convolution | Activation | Pool


@dataclass(frozen=True, slots=True)
class Front:
    """Layers from an image `[n, C, H, W]` to the row `[n, features]` that the first Linear layer reads; none for models
    without convolutions.
    """

    layers: tuple[Layer, ...]

    @property
    def convolutions(self) -> tuple[Convolution, ...]:
        """The layers that have weights."""
        return tuple(layer for layer in self.layers if isinstance(layer, Convolution))

    @property
    def trained(self) -> bool:
        """Whether any of it trains."""
        return any(layer.trained for layer in self.convolutions)

    @property
    def numbers(self) -> int:
        """How many numbers of it train."""
        return sum(layer.numbers for layer in self.convolutions)

    @property
    def places(self) -> tuple[slice, ...]:
        """Where in the vector they are, in the order of layers."""
        both = [place for layer in self.convolutions for place in (layer.weight_at, layer.bias_at)]
        return tuple(place for place in both if place is not None)

    def apart(self) -> Front:
        """The same layers in a vector of their own, which `places` cut out, with weights as convolutions read them."""
        end = 0

        def moved(place: slice | None) -> slice | None:
            nonlocal end
            if place is None:
                return None
            first, end = end, end + place.stop - place.start
            return slice(first, end)

        layers = [
            replace(layer, weight_at=moved(layer.weight_at), bias_at=moved(layer.bias_at), channels_last=True)
            if isinstance(layer, Convolution)
            else layer
            for layer in self.layers
        ]
        return Front(tuple(layers))


@dataclass(frozen=True, slots=True)
class Trace:
    """What one pass leaves for the way back: for each layer what its gradient needs, and the shape of the last output."""

    kept: list[Any] = field(repr=False)
    shape: torch.Size


@dataclass(frozen=True, slots=True)
class Passage:
    """One pass of a group's images through a front, and back. `vectors` `[k, d]`, or one row `[1, d]` that all share."""

    front: Front
    vectors: Tensor
    precision: Precision = FULL
    traces: list[Trace] = field(default_factory=list, repr=False)

    def forward(self, images: Tensor) -> Tensor:
        """`[k, b, C, H, W] -> [k, b, features]`."""
        return torch.cat([self._through(images[some], self._own(some)) for some in self._turns(len(images))])

    def add_gradients(self, errors: Tensor, into: Tensor, scale: float) -> None:
        """Add scale·(gradient) to `into` `[k, d]`, from the gradients at the features `[k, b, features]`."""
        for some, trace in zip(self._turns(len(errors)), self.traces, strict=True):
            for layer, own, x in self._back(errors[some], self._own(some), trace):
                layer.add_gradients(own, x, into[some], scale, self.precision)

    def gradients_of_examples(self, errors: Tensor) -> Iterator[tuple[Convolution, Tensor]]:
        """What every example adds to the gradient of each layer that trains, `[k, b, d]`, from the last layer on; in the
        order of patches (`Convolution.in_order`).
        """
        images = [
            [
                (layer, layer.gradients_of_examples(own.flatten(0, 1), x.flatten(0, 1)))
                for layer, own, x in self._back(errors[some], self._own(some), trace)
            ]
            for some, trace in zip(self._turns(len(errors)), self.traces, strict=True)
        ]
        for turns in zip(*images, strict=True):
            rows = turns[0][1] if len(turns) == 1 else torch.cat([each for _, each in turns])
            yield turns[0][0], parted(rows, *errors.shape[:2])

    def _turns(self, count: int) -> Iterator[slice]:
        if self.vectors.device.type != "cpu":
            yield slice(0, count)
            return
        for place in range(count):
            yield slice(place, place + 1)

    def _own(self, some: slice) -> Tensor:
        return self.vectors if len(self.vectors) == 1 else self.vectors[some]

    def _through(self, images: Tensor, vectors: Tensor) -> Tensor:
        lead, trace = (len(images), images.shape[1]), list[Any]()
        values = images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        for layer in self.front.layers:
            before = values
            if isinstance(layer, Convolution):
                values = layer.forward(vectors, parted(before, *lead), self.precision).flatten(0, 1)
                trace.append(before)
            elif isinstance(layer, Pool):
                values, kept = layer.forward(before)
                trace.append(kept)
            else:
                values = layer.forward(before)
                trace.append((before, values))
        self.traces.append(Trace(trace, values.shape))
        return parted(values.flatten(1), *lead)

    def _back(self, errors: Tensor, vectors: Tensor, trace: Trace) -> Iterator[tuple[Convolution, Tensor, Tensor]]:
        """Every convolution that trains, from the last, with the gradient at its output and what went into it."""
        lead = (len(errors), errors.shape[1])
        first = next(
            at for at, layer in enumerate(self.front.layers) if isinstance(layer, Convolution) and layer.trained
        )
        values = errors.reshape(trace.shape).contiguous(memory_format=torch.channels_last)
        for at in range(len(self.front.layers) - 1, first - 1, -1):
            layer, kept = self.front.layers[at], trace.kept[at]
            if isinstance(layer, Convolution):
                own, x = parted(values, *lead), parted(kept, *lead)
                yield layer, own, x
                if at > first:
                    values = layer.backward(vectors, own, x, self.precision).flatten(0, 1)
            elif isinstance(layer, Pool):
                values = layer.backward(values, kept)
            else:
                values = layer.backward(values, *kept)
