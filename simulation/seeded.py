"""Seeded: what may be claimed of a run over real processes whose draws follow from a seed: nothing."""

from __future__ import annotations

from dataclasses import replace

from ..privacy.accounting.figures import Figures, figures
from ..privacy.event import NonPrivate
from ..strategies.federation import Federation

WHY = "drawn from a seed: whoever knows it can take the noise off"


def figures_under(federation: Federation, rounds: int, seed: int | None) -> tuple[Figures, ...]:
    """The figures of every claim after so many rounds; under a seed every ε is infinite (PRIVACY.md 10)."""
    claims = federation.claims(rounds)
    if seed is not None:
        nothing = NonPrivate(WHY)
        claims = tuple(replace(claim, event=nothing, unamplified=nothing, delta_extra=0.0, why=WHY) for claim in claims)
    return tuple(figures(claim, federation.delta) for claim in claims)
