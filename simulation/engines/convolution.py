"""Convolution: a Conv2d layer of k owners, each with weights of its own or all with the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .precision import FULL, Precision

_back = torch.ops.aten.convolution_backward


@dataclass(frozen=True, slots=True)
class Convolution:
    """y = x ∗ w + b, `[k, b, in, H, W] -> [k, b, out, H', W']`. `weight_at`, `bias_at`: places in the vector, None for what
    is fixed.

    Weights are rows of `vectors` `[k, d]`; a single row serves all. Several owners at once are one grouped convolution.
    `channels_last`: w stands there as `[out, height, width, in]`, the order of patches, as convolutions of images that lie so
    read it; else as in the layer, and every call copies it.
    """

    layer: nn.Conv2d
    weight_at: slice | None
    bias_at: slice | None
    channels_last: bool = False

    @property
    def trained(self) -> bool:
        """Whether any of it trains."""
        return self.weight_at is not None or self.bias_at is not None

    @property
    def numbers(self) -> int:
        """How many numbers of it train."""
        return sum(place.stop - place.start for place in (self.weight_at, self.bias_at) if place is not None)

    @property
    def kernel(self) -> torch.Size:
        """Shape of w: `[out, in, height, width]`."""
        return self.layer.weight.shape

    def forward(self, vectors: Tensor, x: Tensor, precision: Precision = FULL) -> Tensor:
        weight, bias = self._weight(vectors), self._bias(vectors)
        if len(vectors) > 1:
            made = self._run(_grouped(x), weight.flatten(0, 1), None, len(vectors), precision)
            outputs = _apart(made, len(vectors))
            return outputs if bias is None else outputs + bias[:, None, :, None, None]
        flat = None if bias is None else bias[0]
        return parted(self._run(x.flatten(0, 1), weight[0], flat, 1, precision), *x.shape[:2])

    def backward(self, vectors: Tensor, errors: Tensor, x: Tensor, precision: Precision = FULL) -> Tensor:
        """The gradient at `x`, from that at the outputs."""
        weight = self._weight(vectors)
        if len(vectors) > 1:
            made = self._gradient(
                _grouped(errors), _grouped(x), weight.flatten(0, 1), len(vectors), (True, False), precision
            )
            return _apart(made, len(vectors))
        made = self._gradient(errors.flatten(0, 1), x.flatten(0, 1), weight[0], 1, (True, False), precision)
        return parted(made, *x.shape[:2])

    def add_gradients(self, errors: Tensor, x: Tensor, into: Tensor, scale: float, precision: Precision = FULL) -> None:
        """Add scale·(gradient of each owner's loss) to `into` `[k, d]`."""
        count = len(into)
        if self.weight_at is not None:
            shape = self.kernel  # the gradient of the weights reads nothing of them but their shape
            if count > 1:
                blank = x.new_empty(()).expand(count * shape[0], *shape[1:])
                made = self._gradient(_grouped(errors), _grouped(x), blank, count, (False, True), precision)
            else:
                like = self._weight(into)[0]
                made = self._gradient(errors[0], x[0], like, 1, (False, True), precision)
            made = made.permute(0, 2, 3, 1) if self.channels_last else made
            into[:, self.weight_at].add_(made.reshape(count, -1), alpha=scale)
        if self.bias_at is not None:
            into[:, self.bias_at].add_(errors.sum(dim=(1, 3, 4)), alpha=scale)

    def gradients_of_examples(self, errors: Tensor, x: Tensor) -> Tensor:
        """What every image adds to the gradient, `[n, out, H', W']` and `[n, in, H, W]` to `[n, d]`: weights, then biases.

        One matrix product an image, of the errors with the patches that they come from (im2col). Weights stand in the order
        of patches, which norms and sums do not mind: `in_order` gives them that of the layer.
        """
        own = errors.permute(0, 2, 3, 1).flatten(1, 2)
        rows = own.new_empty(len(own), self.numbers)
        if self.weight_at is not None:
            patches = self._patches(x)
            weights = rows[:, : self.kernel.numel()].view(len(own), self.kernel[0], patches.shape[2])
            weights.baddbmm_(own.transpose(1, 2), patches, beta=0)
        if self.bias_at is not None:
            torch.sum(own, dim=1, out=rows[:, self.numbers - self.kernel[0] :])
        return rows

    def in_order(self, rows: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Places in the vector, and what of `rows` `[k, d]` belongs there, `rows` being in the order of patches."""
        first = 0
        if self.weight_at is not None:
            first = self.kernel.numel()
            yield self.weight_at, rows[:, :first] if self.channels_last else self.as_in_layer(rows[:, :first])
        if self.bias_at is not None:
            yield self.bias_at, rows[:, first:]

    def as_in_layer(self, weights: Tensor) -> Tensor:
        """Weights `[k, n]` in the order of patches, in that of the layer."""
        out, inputs, height, width = self.kernel
        return weights.view(-1, out, height, width, inputs).permute(0, 1, 4, 2, 3).flatten(1)

    def as_in_patches(self, weights: Tensor) -> Tensor:
        """Weights `[k, n]` in the order of the layer, in that of patches."""
        return weights.view(-1, *self.kernel).permute(0, 1, 3, 4, 2).flatten(1)

    def _patches(self, x: Tensor) -> Tensor:
        """What each output reads, channels last: `[n, in, H, W] -> [n, H'·W', height·width·in]`."""
        (up, left), (down, right), (apart, aside) = (
            _two(each) for each in (self.layer.padding, self.layer.stride, self.layer.dilation)
        )
        height, width = self.kernel[2:]
        padded = torch.nn.functional.pad(x, (left, left, up, up)).permute(0, 2, 3, 1).contiguous()
        n, rows, columns, channels = padded.shape
        rows = (rows - apart * (height - 1) - 1) // down + 1
        columns = (columns - aside * (width - 1) - 1) // right + 1
        image, row, column, one = padded.stride()
        seen = padded.as_strided(
            (n, rows, columns, height, width, channels),
            (image, down * row, right * column, apart * row, aside * column, one),
        )
        return seen.reshape(n, rows * columns, height * width * channels)

    def _weight(self, vectors: Tensor) -> Tensor:
        """`[k, out, in, height, width]`."""
        if self.weight_at is None:
            return self.layer.weight.detach().expand(len(vectors), *self.kernel)
        if not self.channels_last:
            return vectors[:, self.weight_at].view(len(vectors), *self.kernel)
        out, inputs, height, width = self.kernel
        return vectors[:, self.weight_at].view(len(vectors), out, height, width, inputs).permute(0, 1, 4, 2, 3)

    def _bias(self, vectors: Tensor) -> Tensor | None:
        if self.bias_at is not None:
            return vectors[:, self.bias_at]
        return None if self.layer.bias is None else self.layer.bias.detach().expand(len(vectors), -1)

    def _run(self, x: Tensor, weight: Tensor, bias: Tensor | None, groups: int, precision: Precision) -> Tensor:
        layer, bias = self.layer, None if bias is None else bias.to(precision)
        return torch.conv2d(
            x.to(precision), weight.to(precision), bias, layer.stride, layer.padding, layer.dilation, groups
        ).to(FULL)

    def _gradient(
        self, errors: Tensor, x: Tensor, weight: Tensor, groups: int, wanted: tuple[bool, bool], precision: Precision
    ) -> Tensor:
        """The one of both gradients that is wanted: at the input, or of the weights."""
        layer, rounded = self.layer, (each.to(precision) for each in (errors, x, weight))
        made: tuple[Tensor | None, ...] = _back(
            *rounded, None, layer.stride, layer.padding, layer.dilation, False, (0, 0), groups, (*wanted, False)
        )
        (found,) = (each for each, asked in zip(made, wanted, strict=False) if asked and each is not None)
        return found.to(FULL)


def _two(value: Any) -> tuple[int, int]:
    """What a layer says of both dimensions at once or of each; strings are not taken (see `chain`)."""
    return value if isinstance(value, tuple) else (value, value)


def _grouped(x: Tensor) -> Tensor:
    """`[k, b, C, H, W] -> [b, k·C, H, W]`."""
    return x.transpose(0, 1).flatten(1, 2)


def _apart(x: Tensor, count: int) -> Tensor:
    """`[b, k·C, H, W] -> [k, b, C, H, W]`."""
    return x.view(len(x), count, -1, *x.shape[2:]).transpose(0, 1)


def parted(x: Tensor, owners: int, batch: int) -> Tensor:
    """`[k·b, …] -> [k, b, …]`."""
    return x.view(owners, batch, *x.shape[1:])
