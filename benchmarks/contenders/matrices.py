"""Matrices: nothing but the fp32 products of a work's training, on two processes: the limit of whatever is built on them.

Forward, backward and gradient of every layer, the first one's backward included though nobody needs it. Convolutions are their
im2col matrices, laid out already. Each product is cut into as many alike as makes it fastest, alone and before the first
turn, and operands lie as it likes them best, hot in cache: a real training does not reach that.

`mm` is `torch.mm`, in this build of torch MKL, which does not use all of a processor that is not Intel's; `onednn` is
the product with which torch's compiler makes Linear layers. Convolutions go through oneDNN in either case when they are
convolutions, so a plain loop may beat `mm` here.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from pair import Round, train
from torch import Tensor
from turns import Turns
from works import WORKS, Work

SHORTEST, LONGEST, CUTS = 100, 40_000, 8  # rows of a piece, and how many lengths are tried


def _mm(left: Tensor, right: Tensor) -> Callable[[], object]:
    """left·right: `[a, b]`, `[b, c]`."""
    out = torch.empty(left.shape[0], right.shape[1])
    return lambda: torch.mm(left, right, out=out)


def _onednn(left: Tensor, right: Tensor) -> Callable[[], object]:
    left, turned = left.contiguous(), right.t().contiguous()
    return lambda: torch.ops.mkldnn._linear_pointwise(left, turned, None, "none", [], "")


WAYS = {"mm": _mm, "onednn": _onednn}


def _lengths(rows: int) -> list[int]:
    """Lengths of equal pieces that `rows` can be cut into, few and of every size."""
    found = [rows // cuts for cuts in range(1, rows + 1) if rows % cuts == 0]
    fitting = [length for length in found if SHORTEST <= length <= LONGEST] or [rows]
    return fitting[:: max(1, len(fitting) // CUTS)]


def _seconds(run: Callable[[], object], times: int) -> float:
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(times):
            run()
        best = min(best, time.perf_counter() - began)
    return best / times


def _fastest(rows: int, make: Callable[[int], Callable[[], object]]) -> tuple[Callable[[], object], int]:
    """The product of a piece, and how many pieces `rows` are, for the length that is fastest by the row."""
    tried = [(length, make(length)) for length in _lengths(rows)]
    for _, run in tried:
        run()
    length, run = min(tried, key=lambda each: _seconds(each[1], max(1, 2000 // each[0])) / each[0])
    return run, rows // length


@torch.inference_mode()
def products(work: Work, way: str) -> list[tuple[Callable[[], object], int]]:
    """Every product of half a cohort's training, and how often."""
    product, found = WAYS[way], []
    for rows, a, b in work.layers:
        whole = rows * work.examples * (work.cohort // 2)
        weight = torch.randn(a, b)
        found += [
            _fastest(whole, lambda n, w=weight, a=a: product(torch.randn(n, a), w)),
            _fastest(whole, lambda n, w=weight, b=b: product(torch.randn(n, b), w.t())),
            _fastest(whole, lambda n, a=a, b=b: product(torch.randn(n, a).t(), torch.randn(n, b))),
        ]
    return found


def matrices(work: Work, way: str) -> Round:
    """Half a cohort's products, whoever is asked for."""
    chosen = products(work, way)

    def run(owners: list[int]) -> None:
        with torch.inference_mode():
            for product, times in chosen:
                for _ in range(times):
                    product()

    return run


def main() -> None:
    work = WORKS[sys.argv[1]]
    train(Turns(), work, matrices, work, sys.argv[2])


if __name__ == "__main__":
    main()
