"""Product: x Wᵀ in float32 by the faster of the two libraries that torch brings for it.

`torch.matmul` on the CPU goes to MKL, which leaves the wide registers of processors that are not Intel's unused; oneDNN does
not, but copies what does not lie as it likes. Which of them multiplies depends on shapes and on the processor, never on a
measurement: a product has the same bits in every process of a machine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

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
def processor() -> str:
    """What decides which bits a product has: the processor's maker, where the system tells, and its registers."""
    capability: str = torch.backends.cpu.get_cpu_capability()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return capability
    makers = [line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")]
    return f"{makers[0]} {capability}" if makers else capability


@functools.cache
def _wide() -> Callable[[Tensor, Tensor, Tensor | None], Tensor] | None:
    """oneDNN's product, where this torch has it and the processor has registers of 512 bits and is not Intel's."""
    if not torch._C._has_mkldnn or "AVX512" not in processor() or "GenuineIntel" in processor():
        return None
    try:
        found = torch.ops.mkldnn._linear_pointwise.default
    except AttributeError:
        return None

    def multiply(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        made: Tensor = found(rows, weight, bias, "none", [], "")
        return made

    return multiply
