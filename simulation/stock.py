"""Stock: a whole run under a stock Flower server, over whatever transport reaches its owners, into a run folder.

The rounds are the coordinator's, the files those of `simulate`. What differs from a daemon: the ledger and the state are in
memory, so that a run that is interrupted is lost and begins anew.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..config import Config, ConfigError, load
from ..privacy.entropy import Entropy, SeededEntropy, SystemEntropy
from ..privacy.ledger.memory import MemoryLedger
from ..server.coordinator import Coordinator, Progress
from ..strategies.budget import budget_for
from ..strategies.federation import Federation, affordable_rounds, build, learner_for
from ..strategies.transport import Transport
from ..tasks.evaluation import evaluate
from ..tasks.task import initial
from .artefacts import RunFolder, append_row, begin, default_path, finish, fresh
from .result import RoundRow, Run, Timing
from .run import epsilon_after, signal_rows
from .seeded import WHY, figures_under
from .transport import SimulationError

ENGINE = "flower"
LACKS = (
    "It ran under stock Flower: the nodes ran the code that came with the run, nobody had to sign in to start it, and state "
    "was kept in memory only (docs/flower.md)."
)
_KEYS = ("config", "seed", "out", "wait")


@dataclass(frozen=True, slots=True)
class Order:
    """What is run, where its files go, and for how many seconds its owners are waited for."""

    config: Config
    tasks: Path = field(repr=False)
    folder: RunFolder
    seed: int | None
    wait: float


def order_from(settings: Mapping[str, object], places: Callable[[], list[Path]] | None = None) -> Order:
    """The order that a Flower run configuration gives: `config`, `seed`, `out`, `wait`; "" means left out.

    A relative `config` is looked up in `places`: by default in the app's own folder, which Flower puts on the import path, then
    in the current one. Raises `ConfigError`.
    """
    unknown = sorted(set(settings) - set(_KEYS))
    if unknown:
        raise ConfigError(f"run configuration: unknown key {', '.join(unknown)}; it takes {', '.join(_KEYS)}")
    named = settings.get("config", "")
    if not isinstance(named, str) or not named:
        raise ConfigError(f"run configuration: config = {named!r}; name a file: --run-config 'config=\"digits.toml\"'")
    path = _found(Path(named), places() if places is not None else [*map(Path, filter(None, sys.path)), Path.cwd()])
    config = load(path)
    out = settings.get("out", "")
    if not isinstance(out, str):
        raise ConfigError(f"run configuration: out = {out!r}; give the path of a folder as a string")
    folder = fresh((Path(out) if out else default_path(config, Path("runs"))).absolute())
    return Order(config, path.parent, folder, _seed(settings.get("seed", "")), _wait(settings.get("wait", "")))


def _found(named: Path, places: list[Path]) -> Path:
    path = next((found for place in places if (found := place / named).is_file()), None)
    if path is None:
        raise ConfigError(
            f"config = {str(named)!r}: neither in the app's folder nor here; put it there, or give a whole path"
        )
    return path.resolve()


def _seed(value: object) -> int | None:
    if value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"run configuration: seed = {value!r}; give a whole number from 0, or leave it out")
    return value


def _wait(value: object) -> float:
    if value == "":
        return 60.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ConfigError(f"run configuration: wait = {value!r}; give seconds, more than 0")
    return float(value)


def prepared(order: Order) -> Federation:
    """The federation of an order; raises `ConfigError` for what stock nodes cannot take part in."""
    federation = build(order.config, order.tasks)
    if federation.pipeline.final.masked:
        raise ConfigError(
            "privacy.pipeline: mask needs owners that live between two messages, and a stock Flower node starts a process for "
            "each; leave the stage out, or run the file with `tacit up` or `tacit server run`"
        )
    return federation


def perform(order: Order, federation: Federation, name: str, transport: Transport) -> Run:
    """Every round of an order, called `name` towards its owners; its run folder holds all of it when this returns.

    With a seed nothing is claimed: every ε is infinite. Raises what `Coordinator.step` raises, `OverBudgetError`,
    `SimulationError` for a model that is not finite, `ArtefactError`.
    """
    config, seed = federation.config, order.seed
    total, notes = affordable_rounds(federation)
    entropy: Entropy = SystemEntropy() if seed is None else SeededEntropy(seed)
    ledger = MemoryLedger(budget_for(federation, total))
    coordinator = Coordinator(federation, transport, ledger, entropy, name, total)
    progress = coordinator.start(learner_for(federation.task, seed or 0).weights())
    # Times and counts tell how many owners were drawn; where that draw is a secret, they are nobody's.
    hidden = seed is None and federation.schedule.participation.secret
    begin(order.folder, config, order.tasks)
    rows: list[RoundRow] = []
    trained, started, seconds = 0, time.perf_counter(), 0.0
    torch.set_num_threads(1)  # the sums are small, and their bits must not depend on the machine
    while progress.round < total:
        progress, record = coordinator.step(progress)
        if not bool(torch.isfinite(progress.weights).all()):
            raise SimulationError(
                f"round {record.number}: the model is not finite; lower strategy.server_lr or local.lr"
            )
        trained, seconds = trained + record.survived, time.perf_counter() - started
        if record.number % config.evaluation.every == 0 or record.number == total:
            spent = math.inf if seed is not None else epsilon_after(federation, record.number)
            shown = math.nan if hidden else seconds
            measured = {name: each.to_json() for name, each in record.measured.items()}
            rows.append(RoundRow(record.number, _metrics(federation, progress, seed), spent, shown, measured))
            append_row(order.folder, rows[-1])
    run = Run(
        config=config,
        seed=seed,
        engine=ENGINE,
        rounds=tuple(rows),
        claims=figures_under(federation, progress.round, seed),
        timing=Timing(math.nan, math.nan) if hidden else Timing(seconds, trained / seconds),
        weights=federation.algorithm.final(progress.weights, progress.algorithm),
        task=federation.task,
        notes=(*notes, LACKS, *(() if seed is None else (f"Not private, ε = ∞: {WHY}.",))),
        signals=signal_rows(federation),
    )
    finish(order.folder, run, "flwr run APP --run-config 'config=\"FILE\"'")
    return run


def _metrics(federation: Federation, progress: Progress, seed: int | None) -> dict[str, Any]:
    """The model's measures on the task's public test data, where these are wanted."""
    task = federation.task
    if "public-test" not in federation.config.evaluation.on:
        return {}
    module = initial(task, seed or 0)
    task.trainable(module).unflatten_into(module, federation.algorithm.final(progress.weights, progress.algorithm))
    return dict(evaluate(task, module, task.testing()))
