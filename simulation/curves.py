"""Curves: ε over rounds of every claim, the `curves` of `result.json`."""

from __future__ import annotations

from typing import Any

from ..privacy.accounting.figures import Figures, figures
from ..privacy.claim import Claim
from ..strategies.federation import Federation

POINTS = 12


def curves(federation: Federation, rounds: int) -> tuple[dict[str, Any], ...]:
    """ε after 1 … `rounds` rounds for each claim of `federation.claims()`, in that order; about 12 points each.

    `rounds`, `epsilon`, `epsilon_unamplified` and `epsilon_at_1e-5` are lists of equal length. Each point is an
    accounting of its own, from the event of so many rounds; observers who learn the same are accounted once.
    """
    known: dict[tuple[Any, ...], Figures] = {}

    def found(claim: Claim) -> Figures:
        key = (claim.event, claim.unamplified, claim.relation, claim.delta_extra)
        if key not in known:
            known[key] = figures(claim, federation.delta)
        return known[key]

    made = []
    for last in federation.claims(rounds):
        at = points(rounds)
        rows = [found(federation.schedule.claim(last.observer, last.relation, number)) for number in at]
        made.append(
            {
                "observer": last.observer.who,
                "rounds": list(at),
                "epsilon": [row.epsilon for row in rows],
                "epsilon_unamplified": [row.epsilon_unamplified for row in rows],
                "epsilon_at_1e-5": [row.headline for row in rows],
            }
        )
    return tuple(made)


def points(rounds: int) -> tuple[int, ...]:
    """Numbers of rounds from 1 to `rounds`, denser at the start, where ε bends; none without a round."""
    if rounds < 1:
        return ()
    steps = max(1, POINTS - 1)
    return tuple(sorted({1 + round((rounds - 1) * (step / steps) ** 2) for step in range(steps + 1)}))
