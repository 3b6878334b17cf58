"""Schedule: a pipeline, who takes part, and how many rounds; `plan`, the ledger and the owner's policy all read it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .claim import Adversary, Basis, Claim, ClaimError, Observer, Rule, event_of, verdict
from .correlation import MOST_TERMS, ROUNDING
from .event import Event, Gaussian, NonPrivate
from .participation import Cyclic, Everyone, Participation, participation_name, repeated
from .pipeline import Pipeline
from .signal import Place, Relation


@dataclass(frozen=True, slots=True)
class Schedule:
    """`rounds` rounds of `pipeline` over `population` owners, drawn by `participation`; all of it public and fixed.

    The events depend on noise multipliers relative to the Signal only, so a pipeline that adapts its norm between rounds
    has the same events in every round.
    """

    pipeline: Pipeline
    participation: Participation
    population: int
    rounds: int

    def rule(self, relation: Relation) -> Rule | None:
        """The row of the table of claims that decides this schedule; None where no noise is added."""
        signal = self.pipeline.final
        if signal.prior is not None:
            place: Place = "owner"
        elif signal.noise:
            place = signal.noise[0].place
        else:
            return None
        return verdict(signal.unit, relation, participation_name(self.participation), place)

    def round_events(self, observer: Observer, relation: Relation) -> tuple[Event, Event]:
        """The event of one round for `observer`: with and without the amplification by a secret draw of owners.

        Where noise is correlated over rounds it is that of all of them, to be charged once, before the first.

        Raises `ClaimError` where the table refuses the combination.
        """
        event = self._seen(observer)
        rule = self.rule(relation)
        if rule is None or isinstance(event, NonPrivate):
            return event, event
        if not rule.allowed:
            raise ClaimError(
                f"no claim for unit = {self.pipeline.final.unit!r}, relation = {relation!r}, "
                f"participation = {participation_name(self.participation)!r}, noise at the {rule.place or 'owner'}: {rule.why}"
            )
        # The server made the draw; under masks every member of the cohort sees the others (PRIVACY.md 1).
        hidden = observer.who == "analyst" or (observer.who == "owners" and not self.pipeline.final.masked)
        if not (rule.amplified and hidden and self.participation.secret):
            return event, event
        # Colluders know whether they were drawn, and so does the owner who looks on.
        known = observer.colluders + (observer.who == "owners")
        return self.participation.amplified(event, self.population, known), event

    def realised(self, observer: Observer, survivors: int) -> Event | None:
        """The event of one round in which so many owners shared the noise; None where survivors do not matter.

        No guarantee: nobody promised that so many would answer (PRIVACY.md 14).
        """
        signal = self.pipeline.final
        if not signal.noise or signal.noise[0].place != "shared":
            return None
        return event_of(replace(signal, least=survivors), observer)

    @property
    def upfront(self) -> bool:
        """Whether all rounds are one event, charged as a whole however many of them are run."""
        return self.pipeline.final.correlation is not None

    def _seen(self, observer: Observer) -> Event:
        """`event_of`; of all rounds where the noise is correlated over them, its rounding included (see `correlation`)."""
        signal = self.pipeline.final
        correlation = signal.correlation
        if correlation is None:
            return event_of(signal, observer)
        event = event_of(replace(signal, correlation=None), observer)
        if not isinstance(event, Gaussian):
            return event
        if not isinstance(self.participation, Everyone | Cyclic):
            raise ClaimError(
                f"noise correlated over rounds needs to know how far apart one owner's rounds are, which participation = "
                f'{participation_name(self.participation)!r} does not say; use "cyclic" or "everyone"'
            )
        if correlation.terms(self.rounds) > MOST_TERMS:
            raise ClaimError(
                f"correlated noise of {correlation.terms(self.rounds)} terms a round; at most {MOST_TERMS} are added exactly "
                f"enough: give fewer bands, or fewer decays or rounds"
            )
        gap = self.participation.separation if isinstance(self.participation, Cyclic) else 1
        rounding = ROUNDING * math.sqrt(signal.dim * self.rounds) / signal.sensitivity
        times = self.participation.times(self.rounds)
        return correlation.event(event.noise_multiplier / (1 + rounding), self.rounds, min(gap, self.rounds), times)

    def events(self, observer: Observer, relation: Relation, rounds: int | None = None) -> tuple[Event, Event]:
        """The event of `rounds` rounds (all of them by default), amplified and not."""
        amplified, plain = self.round_events(observer, relation)
        if self.upfront:
            return amplified, plain
        count = self.participation.times(self.rounds if rounds is None else rounds)
        return repeated(amplified, count), repeated(plain, count)

    def delta_extra(self, rounds: int | None = None) -> float:
        """Total variation that approximations of the samplers add over the schedule (see `Signal.delta_extra`)."""
        if self.upfront:  # a unit's shift is spread over all rounds from its first on
            return self.pipeline.final.delta_extra * self.rounds
        return self.pipeline.final.delta_extra * self.participation.times(self.rounds if rounds is None else rounds)

    def claim(self, observer: Observer, relation: Relation, rounds: int | None = None) -> Claim:
        """The claim of `rounds` rounds for `observer`; its ε is what an accountant makes of `event`."""
        signal = self.pipeline.final
        event, unamplified = self.events(observer, relation, rounds)
        rule = self.rule(relation)
        shared = bool(signal.noise) and signal.noise[0].place == "shared"
        server_noise = bool(signal.noise) and signal.noise[0].place == "server"
        basis: Basis = "computational" if shared and signal.masked else "statistical"
        adversary: Adversary = "honest" if server_noise else signal.masked.adversary if signal.masked else "semi-honest"
        return Claim(
            unit=signal.unit,
            observer=observer,
            relation=relation,
            adversary=adversary,
            basis=basis,
            event=event,
            unamplified=unamplified,
            delta_extra=self.delta_extra(rounds),
            why="no noise is added" if rule is None else rule.why,
        )
