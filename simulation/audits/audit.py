"""Audit: whether an ε that is claimed survives an observer who tries to tell canaries in from canaries out.

One run (two at owner level) per audit: each view is scored, guessed and bounded at its share of the false alarms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...config import ConfigError
from ...privacy.accounting.audit import LEVEL
from ...privacy.accounting.audit_curve import inverse_of
from ...privacy.accounting.audit_finding import Claimed, Finding, Verdict, finding
from ...privacy.claim import Claim
from ...strategies.federation import Federation, build
from ...tasks.evaluation import per_example
from ...tasks.task import TaskError, initial
from ..run import Source, config_of
from .canaries import AuditError
from .membership import RATES, Roc, permitted, roc
from .trial import Trial, View, example_trial, owner_trial

VIEWS: tuple[View, ...] = ("white-box", "black-box")
CANARIES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """One view: what was found about the claim, and the attack as a curve."""

    finding: Finding
    roc: Roc


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """All views of one configuration; `natural` is the attack by loss on the task's own examples, without canaries' help.

    `permitted`: the TPR that the claim allows at each of `RATES`; `limit` the same as a curve, pairs (FPR, TPR).
    """

    claim: Claim
    claimed: Claimed
    seed: int
    canaries: int
    rounds: int
    looks: Mapping[View, Look]
    permitted: Mapping[float, float]
    limit: tuple[tuple[float, float], ...]
    natural: Roc | None = None
    notes: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def verdict(self) -> Verdict:
        """`fail` where a view fails; `no power` where none could have shown the claim; else `pass`."""
        found = {look.finding.verdict for look in self.looks.values()}
        return "fail" if "fail" in found else "pass" if "pass" in found else "no power"

    def to_json(self) -> dict[str, Any]:
        """What `tacit audit --json` prints and the page is made from."""
        return {
            "verdict": self.verdict,
            "level": 1 - LEVEL,
            "claim": {**self.claim.to_json(), "epsilon": self.claimed.epsilon, "delta": self.claimed.delta},
            "seed": self.seed,
            "canaries": self.canaries,
            "rounds": self.rounds,
            "views": {name: {**look.finding.to_json(), "roc": look.roc.to_json()} for name, look in self.looks.items()},
            "permitted": {f"{rate:g}": value for rate, value in self.permitted.items()},
            "limit": [list(point) for point in self.limit],
            "natural": None if self.natural is None else self.natural.to_json(),
            "notes": list(self.notes),
            "config": dict(self.config),
        }


def audit(
    source: Source,
    *,
    canaries: int = CANARIES,
    seed: int = 0,
    set: Mapping[str, Any] | None = None,  # the keyword that the command line uses too
    level: float = LEVEL,
    device: str = "auto",
    views: tuple[View, ...] = VIEWS,
    tasks: Path | None = None,
) -> Audit:
    """Try the claim of a configuration with canaries; a true claim is said to fail with probability at most `level`.

    One's own tasks are looked up in `tasks` first, or beside the file. Raises `ConfigError` for what cannot be run,
    `AuditError` where nothing finite is claimed.
    """
    config, beside = config_of(source, set)
    folder = tasks if tasks is not None else beside
    if canaries < 2:
        raise AuditError(f"--canaries {canaries}: give at least 2; each is a coin that somebody guesses")
    if not views:
        raise AuditError("no view was asked for; give white-box, black-box or both")
    if not config.private:
        raise AuditError(
            "budget.epsilon = inf: nothing is claimed, so there is nothing to exceed; give a finite budget"
        )
    natural = build(config, folder)
    notes: list[str] = []
    if config.privacy.unit == "owner":
        room = natural.algorithm.width * natural.task.trainable(initial(natural.task, 0)).dim
        if canaries > room:
            notes.append(f"{room} canaries instead of {canaries}: updates of this model have {room} numbers")
            canaries = room
    try:
        if config.privacy.unit == "example":
            trials = dict.fromkeys(views, example_trial(config, folder, canaries, seed, device))
        else:
            trials = {view: owner_trial(config, folder, canaries, seed, device, view) for view in views}
    except ConfigError as error:  # without them it was built
        raise ConfigError(f"with {canaries:,} canaries among its {config.privacy.unit}s: {error}") from error
    looks: dict[View, Look] = {}
    share = level / len(views)
    for view, trial in trials.items():
        claimed = _claimed(trial.federation, trial.rounds)[1]
        looks[view] = Look(finding(trial.scores[view], trial.inside, claimed, share), _curve(trial, view))
    trial = trials[views[-1]]
    claim, claimed = _claimed(trial.federation, trial.rounds)
    inverse = inverse_of(claimed.event, claimed.relation, claimed.extra)
    limit = tuple((float(rate), permitted(inverse, float(rate))) for rate in np.geomspace(1e-3, 1.0, 61))
    return Audit(
        claim=claim,
        claimed=claimed,
        seed=seed,
        canaries=canaries,
        rounds=trial.rounds,
        looks=looks,
        permitted={rate: permitted(inverse, rate) for rate in RATES},
        limit=limit,
        natural=_natural(trial, seed),
        notes=tuple(notes),
        config=config.model_dump(mode="json"),
    )


def _curve(trial: Trial, view: View) -> Roc:
    try:
        return roc(trial.scores[view], trial.inside)
    except ValueError as error:
        raise AuditError(f"all coins fell on one side ({error}); give more canaries, or another seed") from error


def _claimed(federation: Federation, rounds: int) -> tuple[Claim, Claimed]:
    """The budget's claim after so many rounds, and its numbers; `AuditError` where ε is infinite."""
    claim = federation.claims(rounds)[0]
    epsilon = federation.epsilon(rounds)
    if math.isinf(epsilon):
        raise AuditError("the claim is ε = ∞, which nothing exceeds; add noise that the observer cannot see behind")
    return claim, Claimed(claim.event, claim.relation, federation.delta, epsilon, claim.delta_extra)


def _natural(trial: Trial, seed: int) -> Roc | None:
    """The attack by loss: the examples that the model was trained on against public test data; None without such."""
    task = trial.federation.task
    try:
        others = task.testing()
    except TaskError:
        return None
    module = initial(task, seed)
    task.trainable(module).unflatten_into(module, trial.weights)
    training = trial.population.training
    inside = -per_example(task, module, training).loss
    outside = -per_example(task, module, others).loss
    member = np.concatenate([np.ones(len(inside), dtype=np.bool_), np.zeros(len(outside), dtype=np.bool_)])
    return roc(np.concatenate([inside, outside]), member)
