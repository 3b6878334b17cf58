"""Precision: the numbers that large products are computed in; everything between them stays float32.

An option for accelerators, whose units for half precision are several times as fast. Sums, norms, clipping and noise are
computed as ever, so a claim does not change; the updates do, by the rounding of what was multiplied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from ...privacy.product import product

Precision: TypeAlias = torch.dtype

FULL: Precision = torch.float32
PRECISIONS: Mapping[str, Precision] = {"float32": FULL, "bfloat16": torch.bfloat16, "float16": torch.float16}


def linear(rows: Tensor, weight: Tensor, bias: Tensor | None, precision: Precision) -> Tensor:
    """`[…, in]` by `[out, in]` plus `[out]`, float32 in and out; the factors are rounded to `precision` first."""
    if precision == FULL:
        return product(rows, weight, bias)
    outputs = torch.nn.functional.linear(rows.to(precision), weight.to(precision)).to(FULL)
    return outputs if bias is None else outputs.add_(bias)


def batched(left: Tensor, right: Tensor, precision: Precision) -> Tensor:
    """`[k, n, m]` by `[k, m, p]`, float32 in and out."""
    if precision == FULL:
        return torch.bmm(left, right)
    return torch.bmm(left.to(precision), right.to(precision)).to(FULL)
