"""Performance: one run from its order to its end, over real owners; it goes on from whatever an earlier process left.

A release is charged in the ledger on disk before it is read. A process that is killed after that and before its checkpoint
has lost the release: the round is asked for again under the next attempt number and charged again. Where noise depends on
that of earlier rounds a second release is covered by no charge: there the first is kept (`releases`). Under a seed nothing is
private and nothing is charged: the round draws the same bytes again.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..config import ConfigError
from ..privacy.claim import ClaimError
from ..privacy.correlation import CorrelationError
from ..privacy.entropy import Entropy, SeededEntropy, SystemEntropy
from ..privacy.ledger.allowance import Allowed, Limit
from ..privacy.ledger.durable import DurableLedger
from ..privacy.ledger.entry import Currency, Price, price_of
from ..privacy.ledger.memory import BudgetError, Ledger, MemoryLedger, entry_from
from ..privacy.ledger.store import Store
from ..strategies.budget import budget_for
from ..strategies.federation import Federation, OverBudgetError, affordable_rounds, build, learner_for
from ..tasks.evaluation import evaluate
from ..tasks.task import TaskError, initial
from .certifying import Notary
from .checkpoint import Checkpoint, CheckpointError, load, save
from .coordinator import Coordinator, Progress, Round, RoundError, restored
from .exchange import Exchange
from .flower import Address
from .mail import Bell
from .masked import MaskedRounds
from .members import Members
from .metrics import Metrics
from .patience import Patience
from .phases import Protocol, plain_round
from .pieces import Pieces
from .releases import ReleaseError, Releases, forget
from .runs import AGAIN, Ending, RunsError, ServedRun
from .seating import Seated, wire_number
from .witness import Witness

log = logging.getLogger(__name__)

_NUMBER, _PEER, _BESIDE = 8, 1024, 1 << 20  # most bytes of a reply for each number, for each owner, and besides


class PerformanceError(RuntimeError):
    """A run that cannot go on, whatever is tried."""


_FAILURES = (
    ConfigError, TaskError, RunsError, RoundError, CheckpointError, CorrelationError, PerformanceError, ReleaseError,
)  # fmt: skip


class RefusedByOwnersError(RuntimeError):
    """A round that came to nothing because owners' policies do not permit it; says whose, and why."""


def perform(
    run: ServedRun,
    members: Members,
    address: Address,
    bell: Path,
    store: Store,
    seed: int | None,
    metrics: Metrics,
    notary: Notary,
) -> None:
    """Bring `run` to its end and note that. Raises `SuperLinkError`, `LedgerError` or `OSError` where another try may help."""
    log.info("run %s begins or goes on", run.name)
    how, why = _outcome(run, members, address, bell, store, seed, metrics, notary)
    if how not in AGAIN:
        forget(run.release)
    run.end(how, why, len(store.spent().records(run.name)))
    log.info("run %s ended: %s", run.name, run.ended())


def _outcome(
    run: ServedRun,
    members: Members,
    address: Address,
    bell: Path,
    store: Store,
    seed: int | None,
    metrics: Metrics,
    notary: Notary,
) -> tuple[Ending, str]:
    try:
        return "done", f"{_rounds(run, members, address, bell, store, seed, metrics, notary)} rounds"
    except (OverBudgetError, RefusedByOwnersError) as error:
        return "refused", str(error)
    except BudgetError as error:
        return "stopped", str(error)
    except _FAILURES as error:
        return "failed", str(error)


def _rounds(
    run: ServedRun,
    members: Members,
    address: Address,
    bell: Path,
    store: Store,
    seed: int | None,
    metrics: Metrics,
    notary: Notary,
) -> int:
    config, order = run.config(), run.order()
    if order.seed != seed:
        raise PerformanceError(
            f"asked of a daemon with {_seeded(order.seed)}, which is now one with {_seeded(seed)}; start it as it was, and "
            f"ask anew"
        )
    federation = build(config)
    if "public-test" in config.evaluation.on:
        federation.task.testing()
    total, _ = affordable_rounds(federation)
    nodes = members.nodes()
    found = load(run.checkpoint, config.digest()) if run.checkpoint.exists() else None
    ledger, first = _ledger(run, federation, store, total, seed, found)
    entropy: Entropy = SystemEntropy() if seed is None else SeededEntropy(seed)
    here = tuple(number for number in order.seats if number in nodes)
    by_wire = {wire_number(number): nodes[number] for number in here}
    dim = federation.pipeline.final.dim
    exchange = Exchange(
        address, run.exchange, by_wire, Pieces(bell.with_name("pieces")), numbers=dim,
        largest=_NUMBER * dim + _PEER * len(order.seats) + _BESIDE,
        ring=Bell(bell).ring, carried=metrics.carried,
    )  # fmt: skip

    def gone() -> set[int]:
        return set(order.seats) - set(here).intersection(owner.number for owner in members.owners())

    seated = Seated(exchange, order.seats, gone)
    witness = Witness(seated, metrics)
    metrics.spending(run.name, _spending(federation, store, run.name, seed))
    protocol: Protocol = plain_round
    attempt = first
    if federation.pipeline.final.masked:
        protocol = MaskedRounds(lambda: members.directory(order.seats), run.begin)

        def attempt(number: int) -> int:
            return max(first(number), run.fresh(number))

    def name(seat: int) -> str:
        return members.name(order.seats[seat])

    def certified(progress: Progress) -> None:
        weights = federation.algorithm.final(progress.weights, progress.algorithm)
        notary.certify(run, federation, seated, store, progress.round, weights)

    # Under a seed the noise of earlier rounds is drawn again; without one it is kept.
    kept = federation.schedule.upfront and seed is None
    coordinator = Coordinator(
        federation, witness, ledger, entropy, run.name, total, attempt, protocol,
        Patience(witness, config.rounds.deadline), name,
        Releases(run.release, config.digest(), store, run.name) if kept else None,
    )  # fmt: skip
    learner = learner_for(federation.task, seed or 0)
    progress = coordinator.start(learner.weights()) if found is None else restored(found)
    rows: list[Mapping[str, Any]] = [] if found is None else list(found.facts["rows"])
    run.write_rows(rows)
    before = 0.0 if not rows else float(rows[-1]["seconds"])
    torch.set_num_threads(1)  # the sums are small, and their bits must not depend on the machine
    started = time.monotonic()
    try:
        while progress.round < total:
            progress, record = _step(coordinator, progress, witness, name)
            if not bool(torch.isfinite(progress.weights).all()):
                raise PerformanceError(
                    f"round {record.number}: the model is not finite; lower strategy.server_lr or local.lr"
                )
            row = _row(record, before + time.monotonic() - started)
            if record.number % config.evaluation.every == 0 or record.number == total:
                row["metrics"] = _metrics(federation, progress, seed)
            rows.append(row)
            _save(run, coordinator.checkpoint(progress, {"rows": rows, "seed": seed}, {}), progress)
            run.append(row)
        certified(progress)
    except BudgetError:
        if progress.round:
            certified(progress)
        exchange.close()
        raise
    except BaseException:
        exchange.close()
        raise
    exchange.finish()
    return progress.round


def _step(
    coordinator: Coordinator, progress: Progress, witness: Witness, name: Callable[[int], str]
) -> tuple[Progress, Round]:
    """One round, counted. Raises `RefusedByOwnersError` where it is the owners' policies that it comes to nothing by."""
    try:
        after, record = coordinator.step(progress)
    except RoundError as error:
        denials = witness.denials()
        witness.metrics.round_ended("refused" if denials else "failed", witness.survivors)
        if not denials:
            raise
        named = "; ".join(f"{name(denial.seat)} ({denial.code}): {denial.reason}" for denial in denials)
        raise RefusedByOwnersError(f"round {progress.round + 1}: owners' policies do not permit it: {named}") from error
    witness.metrics.round_ended("opened", record.survived)
    return after, record


def _spending(federation: Federation, store: Store, run: str, seed: int | None) -> Callable[[], float]:
    """ε of the budget's claim for what `run` has released; worked out again only where there is more of it."""
    known: dict[int, float] = {0: 0.0}

    def epsilon() -> float:
        charges = len(store.spent().records(run))
        if seed is not None:
            return math.inf
        if charges not in known:
            try:
                known[charges] = federation.epsilon(charges)
            except ClaimError:
                return math.inf
        return known[charges]

    return epsilon


def _ledger(
    run: ServedRun, federation: Federation, store: Store, total: int, seed: int | None, found: Checkpoint | None
) -> tuple[Ledger, Callable[[int], int]]:
    """What pays for the run, and the first attempt number of a round."""
    budget = budget_for(federation, total)
    if seed is not None:
        return MemoryLedger(budget, [entry_from(row) for row in found.facts["ledger"]] if found else ()), lambda _: 0
    claims = [claim for claim in federation.claims(1) if claim.observer == federation.observer]
    privacy, event = federation.config.privacy, federation.round_event(federation.pipeline)
    currency = Currency(privacy.unit, privacy.relation, federation.observer)
    price = price_of(claims[0]) if claims else Price(currency, event)
    # The schedule is fixed before its first round, so a quota keeps it (`strategies.budget`).
    limit = Limit("run", federation.config.budget.epsilon, "quota")
    allowed = Allowed(currency, federation.delta, (limit,), "federation.toml", int(time.time()))
    ledger = DurableLedger(store, run.name, federation.config.digest(), price, budget, allowed)
    return ledger, ledger.next_attempt


def _save(run: ServedRun, whole: Checkpoint, progress: Progress) -> None:
    """Write the checkpoint. A full disk is an `OSError`: the process is started again until there is room."""
    paid = [entry for entry in whole.facts["ledger"] if entry["round"] <= progress.round]
    try:
        save(run.checkpoint, replace(whole, facts={**whole.facts, "ledger": paid}))
    except CheckpointError as error:
        raise OSError(str(error)) from error


def _row(record: Round, seconds: float) -> dict[str, Any]:
    return {
        "round": record.number, "attempt": record.attempt, "sampled": record.sampled, "survived": record.survived,
        "seconds": seconds, "metrics": None, "measured": {name: each.to_json() for name, each in record.measured.items()},
    }  # fmt: skip


def _metrics(federation: Federation, progress: Progress, seed: int | None) -> dict[str, float]:
    """The model's measures on the task's public test data, where these are wanted."""
    task = federation.task
    if "public-test" not in federation.config.evaluation.on:
        return {}
    module = initial(task, seed or 0)
    task.trainable(module).unflatten_into(module, federation.algorithm.final(progress.weights, progress.algorithm))
    return dict(evaluate(task, module, task.testing()))


def _seeded(seed: int | None) -> str:
    return "no seed" if seed is None else f"the seed {seed}"
