"""Product: x Wᵀ in float32 by the faster of the two libraries that torch brings for it.

`torch.matmul` on the CPU goes to MKL, which leaves the wide registers of processors that are not Intel's unused; oneDNN does
not. Which of them multiplies depends on shapes and on what the processor can do, never on a measurement: a product has the
same bits in every process of a machine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

_PAYS = 1 << 19  # multiplications from which the detour pays


def product(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`rows` times `weight` transposed, plus `bias` where there is one: `[…, in]`, `[out, in]`, `[out]` -> `[…, out]`.

    Takes any strides. Gradients are not recorded on the fast route; ask `torch.nn.functional.linear` for them.
    """
    wide = _wide()
    work = rows.numel() * weight.shape[0]
    if wide is None or work < _PAYS or rows.device.type != "cpu" or rows.dtype != torch.float32:
        return torch.nn.functional.linear(rows, weight, bias)
    return wide(rows, weight, bias)


@functools.cache
def _wide() -> Callable[[Tensor, Tensor, Tensor | None], Tensor] | None:
    """oneDNN's product, where this torch has it and the processor has registers of 512 bits."""
    if not torch._C._has_mkldnn or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return None
    try:
        found = torch.ops.mkldnn._linear_pointwise.default
    except AttributeError:
        return None

    def multiply(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        made: Tensor = found(rows, weight, bias, "none", [], "")
        return made

    return multiply
