"""Claims: which sentence about privacy a pipeline supports, for whom, and which it does not.

`event_of(signal, observer)` reads the event of one participation off the final Signal; `verdict(…)` looks the claim up in
the public table of what is allowed (PRIVACY.md 1–2). Claims of different unit or relation never add up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from .event import DiscreteGaussian, Event, Gaussian, NonPrivate, Skellam, to_json
from .participation import ParticipationName
from .signal import Noise, Place, Relation, Signal, Unit

Who: TypeAlias = Literal["server", "analyst", "owners"]
Adversary: TypeAlias = Literal["honest", "semi-honest", "malicious"]
Basis: TypeAlias = Literal["statistical", "computational"]


class ClaimError(ValueError):
    """No sound claim exists for this combination; says why and what would be."""


@dataclass(frozen=True, slots=True)
class Observer:
    """Who looks on: the `server`, an `analyst` of everything published, or other `owners`; with `colluders` owners.

    The server sees every message and the draw of owners; the analyst every published model (PRIVACY.md 3).
    """

    who: Who = "analyst"
    colluders: int = 0

    def __str__(self) -> str:
        return self.who if not self.colluders else f"{self.who} with {self.colluders} colluding owners"


@dataclass(frozen=True, slots=True)
class Claim:
    """One derived sentence: this `event`, for this unit, observer and relation; ε is what an accountant makes of it.

    `event` uses the amplification by secret draws, `unamplified` does not; `delta_extra` is a total variation η, with which
    the claim holds at δ + (1 + e^ε)·η.
    """

    unit: Unit
    observer: Observer
    relation: Relation
    adversary: Adversary
    basis: Basis
    event: Event
    unamplified: Event
    delta_extra: float
    why: str

    def to_json(self) -> dict[str, Any]:
        """The claim as result.json and certificates hold it, without ε."""
        return {
            "unit": self.unit,
            "observer": self.observer.who,
            "colluders": self.observer.colluders,
            "relation": self.relation,
            "adversary": self.adversary,
            "basis": self.basis,
            "delta_extra": self.delta_extra,
            "why": self.why,
            "events": to_json(self.event),
            "events_unamplified": to_json(self.unamplified),
        }


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table; `None` matches anything. The first row that matches decides."""

    unit: Unit | None
    relation: Relation | None
    participation: ParticipationName | None
    place: Place | None
    allowed: bool
    amplified: bool
    why: str


RULES: tuple[Rule, ...] = (
    Rule(
        "owner", "zero-out", None, "shared", True, False,
        "shares of noise come from the cohort, whose members and size are public; the owner stays, its data is zeroed",
    ),
    Rule(
        "owner", None, None, "shared", False, False,
        "taking an owner away takes its share of the noise away, and the variance shows the cohort's size; "
        "use relation = \"zero-out\"",
    ),
    Rule(
        "owner", "add-remove", None, "owner", False, False,
        "an owner that adds its own noise shows by sending that it is there; use relation = \"zero-out\" or \"replace-one\"",
    ),
    Rule(
        "owner", None, None, "owner", True, False,
        "each owner adds its noise in full before anything leaves it; whoever sees single messages knows who sent them",
    ),
    Rule(
        "owner", "replace-one", "fixed", "server", True, True,
        "a fixed number of owners is drawn in secret; ε is the upper end of an interval that contains the truth",
    ),
    Rule(
        "owner", "add-remove", "fixed", "server", False, False,
        "with a fixed cohort, an owner that is taken away is replaced by another one in the draw; "
        "use relation = \"replace-one\" (amplified) or \"zero-out\" (not amplified), or participation = \"poisson\"",
    ),
    Rule(
        "owner", "zero-out", "fixed", "server", True, False,
        "fixed-size draws amplify with proof under replace-one only; the draw counts as known",
    ),
    Rule(
        "owner", None, "poisson", "server", True, True,
        "owners are drawn independently and in secret; the server adds the noise once, on the sum",
    ),
    Rule("owner", None, None, "server", True, False, "the cohort is public; the server adds the noise once, on the sum"),
    Rule(
        "example", None, None, "shared", True, False,
        "shares of noise come from the owners, who stay whatever example is added or taken away",
    ),
    Rule(
        "example", None, None, "owner", True, False,
        "each owner adds its noise in full before anything leaves it; no draw of owners is counted on",
    ),
    Rule(
        "example", None, None, "server", True, False,
        "the server adds the noise once, on the sum; no draw of owners is counted on",
    ),
)  # fmt: skip


def verdict(unit: Unit, relation: Relation, participation: ParticipationName, place: Place) -> Rule:
    """The row of `RULES` that decides this combination."""
    for rule in RULES:
        row = (rule.unit, rule.relation, rule.participation, rule.place)
        if all(
            want is None or want == found
            for want, found in zip(row, (unit, relation, participation, place), strict=True)
        ):
            return rule
    raise ClaimError(f"no rule decides {unit}, {relation}, {participation}, {place}; a claim without a rule is refused")


def event_of(signal: Signal, observer: Observer) -> Event:
    """The event of one participation in one round, read off the final Signal, without any draw of owners.

    Shared noise counts at its floor: `signal.least` honest shares less the colluders' (PRIVACY.md 14, 17).
    Raises `ClaimError` for mixed laws, places or blocks, which have no proven joint bound (PRIVACY.md 4).
    """
    if signal.prior is not None:
        if signal.noise:
            raise ClaimError(
                "the solver already adds noise per example and a stage adds more: no joint bound is proven; remove one"
            )
        return signal.prior
    if not signal.noise:
        return NonPrivate("no stage adds noise")
    if len({(noise.law, noise.place, noise.block) for noise in signal.noise}) > 1:
        kinds = ", ".join(f"{noise.law} at the {noise.place} on {noise.block}" for noise in signal.noise)
        raise ClaimError(f"noise of several kinds ({kinds}): no joint bound is proven; keep one noise stage")
    noise = signal.noise[0]
    if signal.correlation is not None:
        raise ClaimError("noise that is correlated over rounds has no event of one round; account the whole schedule")
    if noise.place == "server" and observer.who == "server":
        return NonPrivate("the server adds the noise and sees the sum without it")
    if noise.place == "shared" and observer.who == "server" and signal.masked is None:
        return NonPrivate("without masks the server sees every contribution with one share of the noise only")
    if (
        noise.place == "shared"
        and observer.who == "server"
        and signal.masked
        and observer.colluders > signal.masked.colluders
    ):
        return NonPrivate(
            f"the masks withstand {signal.masked.colluders} owners who help the server, not {observer.colluders}"
        )
    return _sum_event(signal, sum(each.variance for each in signal.noise), noise, observer)


def _sum_event(signal: Signal, variance: float, noise: Noise, observer: Observer) -> Event:
    shares = 1
    if noise.place == "shared":
        shares = signal.least - observer.colluders
        if shares < 1:
            return NonPrivate(
                f"{observer.colluders} colluders of {signal.least} owners leave no honest share of the noise"
            )
    if signal.sensitivity == float("inf"):
        raise ClaimError("noise on a signal without a bound on one unit's contribution; put a clip before the noise")
    if noise.law == "gaussian":
        return Gaussian((variance * shares) ** 0.5 / signal.sensitivity)
    if noise.law == "skellam":
        return Skellam(variance * shares, signal.sensitivity, signal.l1)
    return DiscreteGaussian(variance, signal.sensitivity, signal.l1, signal.dim, shares)
