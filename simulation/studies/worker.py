"""Worker: a process that answers a study's questions, one JSON line each, until its input ends.

    python -m tacit.simulation.studies.worker

The first line says what is studied. Whatever a task prints goes to standard error: standard output carries answers alone.
A Ctrl-C is the study's, which ends its workers; a worker whose study died reads the end of its input and leaves.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from ...config import ConfigError, from_mapping
from .trial import Bench, curve, price, sketch, train

ANSWERS: Mapping[str, Callable[[Bench, Mapping[str, Any]], dict[str, Any]]] = {
    "sketch": lambda bench, ask: sketch(bench, ask["values"]),
    "price": lambda bench, ask: price(ask["mechanism"]),
    "curve": lambda bench, ask: curve(ask["mechanism"], ask["at"]),
    "train": lambda bench, ask: train(bench, ask["values"], ask["noise"], ask["scale"], ask["seed"]),
}


def serve(asked: TextIO, answered: TextIO) -> None:
    """Answer every line of `asked` on `answered`; a line `{"fatal": …}` and the end for a study that cannot be begun."""
    first = json.loads(asked.readline())
    try:
        bench = bench_of(first)
    except ConfigError as error:
        answered.write(json.dumps({"fatal": str(error)}) + "\n")
        answered.flush()
        return
    for line in asked:
        ask = json.loads(line)
        answered.write(json.dumps(ANSWERS[ask["do"]](bench, ask)) + "\n")
        answered.flush()


def bench_of(first: Mapping[str, Any]) -> Bench:
    """The bench that a first line describes; raises `ConfigError`."""
    folder = None if first["folder"] is None else Path(first["folder"])
    return Bench(from_mapping(first["config"]), folder, first["predict"])


def main() -> None:
    """Serve the process that started this one."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)  # one process a core; threads inside an operation would only wait for one another
    answered = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, answered)


if __name__ == "__main__":
    main()
