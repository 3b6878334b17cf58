"""Pair: two processes of one thread each that share every cohort, by halves, and add their sums up in the first of them."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor
from turns import Turns
from works import Work

Round = Callable[[list[int]], Tensor | None]
Maker = Callable[..., Round]
PATIENCE = 600.0  # seconds for which a half may take for its part of one round


def cohort(work: Work, number: int) -> list[int]:
    """The clients of a round: the next ones in turn, so that drawing them costs nobody anything."""
    return [(number * work.cohort + place) % work.clients for place in range(work.cohort)]


def _second(pipe: Connection, maker: Maker, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    run = maker(*arguments)
    pipe.send("ready")
    while owners := pipe.recv():
        total = run(owners)
        pipe.send(None if total is None else total.numpy())


def train(turns: Turns, work: Work, maker: Maker, *arguments: Any, **about: str) -> None:
    """Serve turns of rounds of `maker(*arguments)`, which trains clients and returns their sum `[d]`."""
    torch.set_num_threads(1)
    mine, theirs = multiprocessing.get_context("spawn").Pipe()
    other = multiprocessing.get_context("spawn").Process(
        target=_second, args=(theirs, maker, arguments), daemon=True
    )  # a daemon: ended with this process
    other.start()
    theirs.close()
    run, number = maker(*arguments), 0
    if not mine.poll(PATIENCE) or mine.recv() != "ready":
        raise TimeoutError(f"the second process is not ready after {PATIENCE:.0f} s")

    def rounds(count: int) -> None:
        nonlocal number
        for _ in range(count):
            owners = cohort(work, number)
            number += 1
            mine.send(owners[1::2])
            own = run(owners[::2])
            if not mine.poll(PATIENCE):
                raise TimeoutError(f"the second process has not answered for {PATIENCE:.0f} s")
            half = mine.recv()
            if own is not None:
                own += torch.from_numpy(half)

    turns.ready(processes="2", **about)
    turns.serve(rounds)
    mine.send([])
    other.join(10)
