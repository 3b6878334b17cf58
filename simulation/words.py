"""Words: what a claim promises and what it does not, in sentences for somebody who answers for other people's data.

A claim here is its row in `result.json`. All texts are plain, nothing is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .numerals import (
    certainty,
    certainty_text,
    epsilon_text,
    lower_text,
    metric_name,
    metric_text,
    number,
    plain_text,
    small_text,
)

SECRETS: Mapping[tuple[str, str], str] = {
    ("owner", "add-remove"): "whether any one owner took part at all",
    ("owner", "zero-out"): "whether any one owner's data was used, or nothing in its place",
    ("owner", "replace-one"): "which of two data sets any one owner held",
    ("example", "add-remove"): "whether any one record was in the training data",
    ("example", "zero-out"): "whether any one record was used, or a blank one in its place",
    ("example", "replace-one"): "which of two records stood at any one place of the training data",
}  # fmt: skip

_SEEN: Mapping[str, str] = {
    "analyst": "Anyone who sees everything that is published (the model after every round, and the configuration)",
    "server": "Whoever runs the server, sees what arrives there and knows who was asked in which round",
    "owners": "Any other owner, who receives the model of every round",
}
_TITLES: Mapping[str, str] = {
    "analyst": "Anyone who sees what is published",
    "server": "The server's operator",
    "owners": "The other owners",
}
_SHORT: Mapping[str, str] = {"analyst": "analyst", "server": "server", "owners": "other owners"}

_EQUALS = "\u00a0=\u00a0"  # a figure is not broken over two lines
_USELESS = 0.9995  # a chance of being recognised above this is written out as what it is: no limit worth the name


def observer_title(claim: Mapping[str, Any]) -> str:
    """The observer as a heading."""
    who = str(claim.get("observer", ""))
    return _TITLES.get(who, who) + _colluders(claim)


def observer_short(claim: Mapping[str, Any]) -> str:
    """The observer in a table or beside a curve."""
    who = str(claim.get("observer", ""))
    return _SHORT.get(who, who) + _colluders(claim)


def _colluders(claim: Mapping[str, Any]) -> str:
    count = int(number(claim.get("colluders", 0)) or 0)
    return f" with {count} colluding owner{'s' if count != 1 else ''}" if count else ""


def secret(claim: Mapping[str, Any]) -> str:
    """What the observer must not find out, as the claim's unit and relation define it."""
    unit, relation = str(claim.get("unit", "")), str(claim.get("relation", ""))
    return SECRETS.get((unit, relation), f"what any one {unit} contributed ({relation})")


def is_private(claim: Mapping[str, Any]) -> bool:
    """Whether the claim's ε is finite."""
    return math.isfinite(number(claim.get("epsilon")))


def figure(claim: Mapping[str, Any]) -> str:
    """The claim's numbers: `ε = 4.00 at δ = 0.0011`."""
    if not is_private(claim):
        return f"not private (ε{_EQUALS}∞)"
    return f"ε = {epsilon_text(claim.get('epsilon'))} at δ = {small_text(claim.get('delta'))}".replace(" = ", _EQUALS)


def epsilon_range(claim: Mapping[str, Any]) -> str:
    """ε in a table: one number, or the interval where no more is known."""
    lower, upper = number(claim.get("epsilon_lower")), number(claim.get("epsilon"))
    if _is_interval(lower, upper):
        return f"{lower_text(lower)} – {epsilon_text(upper)}"
    return epsilon_text(upper)


def _is_interval(lower: float, upper: float) -> bool:
    # A lower end of 0 says that nobody worked one out, which is no interval worth a sentence.
    return 0 < lower < upper * (1 - 1e-3) and math.isfinite(upper)


def first_claim(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The claim of the budget's observer; empty where none was derived."""
    found: Mapping[str, Any] = next(iter(result.get("privacy") or ()), {})
    return found


def promise(claim: Mapping[str, Any]) -> str:
    """What holds, in a sentence or three; for ε = ∞ that nothing does, and why."""
    seen = _SEEN.get(str(claim.get("observer", "")), str(claim.get("observer", "")))
    seen += f", helped by {_helpers(claim)}" if _helpers(claim) else ""
    if not is_private(claim):
        return f"{seen}: nothing is promised against them, because {reason(claim)}. Not private (ε = ∞)."
    told = f"{seen}, and who may even know all the other data, tries to tell {secret(claim)}. {_odds(claim)}"
    return told + _interval(claim)


def _helpers(claim: Mapping[str, Any]) -> str:
    count = int(number(claim.get("colluders", 0)) or 0)
    return (
        f"{count} owner{'s' if count != 1 else ''} who share{'s' if count == 1 else ''} all they know" if count else ""
    )


def _odds(claim: Mapping[str, Any]) -> str:
    epsilon, delta = number(claim.get("epsilon")), number(claim.get("delta"))
    if certainty(epsilon, delta) >= _USELESS:
        return f"At {figure(claim)} the attacker may be right practically every time: this is no limit worth the name."
    chance = certainty_text(epsilon, delta)
    return f"Starting from even odds, the attacker is right at most {chance} of the time ({figure(claim)})."


def _interval(claim: Mapping[str, Any]) -> str:
    lower, upper = number(claim.get("epsilon_lower")), number(claim.get("epsilon"))
    if not _is_interval(lower, upper):
        return ""
    return (
        f" The exact ε is only known to lie between {lower_text(lower)} and {epsilon_text(upper)}; "
        "the upper end is what is claimed."
    )


def reason(claim: Mapping[str, Any]) -> str:
    """Why ε is infinite."""
    return _found_reason(claim.get("events")) or "no accountant gives a finite bound for what was run"


def _found_reason(event: Any) -> str:
    if not isinstance(event, Mapping):
        return ""
    if event.get("event") == "non-private":
        return str(event.get("reason", ""))
    inner = [event.get("of"), *(event.get("parts") or ())]
    return next((found for found in map(_found_reason, inner) if found), "")


def is_amplified(claim: Mapping[str, Any]) -> bool:
    """Whether the claim rests on a draw that its observer does not know."""
    epsilon, plain = number(claim.get("epsilon")), number(claim.get("epsilon_unamplified"))
    return epsilon < plain and not math.isclose(epsilon, plain, rel_tol=1e-6)


def limits(claim: Mapping[str, Any]) -> tuple[str, ...]:
    """What the claim does NOT protect, one sentence each; nothing for a claim that promises nothing."""
    if not is_private(claim):
        return ()
    found = [*_of_unit(claim), *_of_relation(claim), *_of_trust(claim)]
    if is_amplified(claim):
        found.append(
            f"Against anyone who learns who was drawn in which round: for them ε = "
            f"{epsilon_text(claim.get('epsilon_unamplified'))} instead of {epsilon_text(claim.get('epsilon'))}."
        )
    return tuple(found)


def _of_unit(claim: Mapping[str, Any]) -> list[str]:
    if claim.get("unit") == "example":
        return [
            "An owner as a whole: what is typical of its many records may show.",
            "Several records of one person: k of them can cost up to k times the ε.",
        ]
    return [
        "A person whose data lies with several owners: with k of them the cost can be k times the ε.",
        "What is true of many owners: to learn that is the purpose.",
    ]


def _of_relation(claim: Mapping[str, Any]) -> list[str]:
    unit = "record" if claim.get("unit") == "example" else "owner"
    if claim.get("relation") == "zero-out":
        return [f"That an {unit} was there, and how many there were: this relation treats both as public."
                if unit == "owner" else
                "How many records there were, and where: this relation treats both as public."]  # fmt: skip
    if claim.get("relation") == "replace-one":
        return [f"How many {unit}s there were: this relation treats it as public"
                + ("." if unit == "record" else ", and so that a given owner was one of them.")]  # fmt: skip
    return []


def _of_trust(claim: Mapping[str, Any]) -> list[str]:
    found = []
    if claim.get("adversary") == "honest":
        found.append("Against the server itself: it adds the noise and sees the sum without it, so it must be trusted.")
    elif claim.get("adversary") == "semi-honest":
        found.append("Against those who break the rules: everybody is taken to follow the protocol, however curious.")
    if claim.get("basis") == "computational":
        found.append("Against whoever breaks the masks' cryptography, now or later, from recorded traffic.")
    return found


def general_limits() -> tuple[str, ...]:
    """What no claim of this system protects, whatever its ε."""
    return (
        "Poisoned data: an owner can pull the model where it likes, within the clipping norm.",
        "Timing and volume: when an owner answers, and how much traffic it makes, is not hidden.",
        "What the model is meant to learn: a pattern shared by many can be read off it, and applied to people who "
        "never took part.",
    )


def headline(result: Mapping[str, Any]) -> str:
    """The budget's claim in one sentence: observer, unit, relation, ε and δ."""
    claims = result.get("privacy") or ()
    if not claims:
        return "Nothing is promised: no privacy claim was derived for this run."
    claim = claims[0]
    if not is_private(claim):
        return f"Not private (ε = ∞): {reason(claim)}."
    who = {
        "analyst": "someone who sees every published model",
        "server": "whoever runs the server",
        "owners": "another owner, who sees every model,",
    }.get(str(claim.get("observer", "")), str(claim.get("observer", "")))
    helped = f", helped by {_helpers(claim)}," if _helpers(claim) else ""
    epsilon, delta = number(claim.get("epsilon")), number(claim.get("delta"))
    often = (
        "practically every time"
        if certainty(epsilon, delta) >= _USELESS
        else f"at most {certainty_text(epsilon, delta)} of the time"
    )
    return (
        f"Starting from even odds, {who}{helped} is right {often} about {secret(claim)}: {figure(claim)} "
        f"({claim.get('unit')} level, {claim.get('relation')}, observer {claim.get('observer')})."
    )


def achieved(result: Mapping[str, Any], metric: str | None) -> str:
    """What was trained, on how many owners, in how many rounds, and how good it became."""
    config = result.get("config") or {}
    task = config.get("task") or {}
    model = (
        f"A {task['model']} model for {task.get('use')}"
        if task.get("model")
        else f"A model for {task.get('use', 'a task')}"
    )
    rows = result.get("rounds") or ()
    rounds = plain_text(rows[-1].get("round")) if rows else "0"
    owners = plain_text((config.get("population") or {}).get("owners"))
    told = f"{model} was trained over {owners} simulated owners in {rounds} round{'s' if rounds != '1' else ''}"
    if metric is None:
        return f"{told}; no metric was evaluated."
    reached = metric_text(metric, (result.get("final") or {}).get(metric))
    return f"{told}; on public test data its {metric_name(metric)} is {reached}."


def seeded(result: Mapping[str, Any]) -> str:
    """What a seed means for the claims; empty for a run without one."""
    if result.get("seed") is None:
        return ""
    return (
        f"Made with seeded randomness (seed {result['seed']}): a simulation, no guarantee for real data. Whoever knows "
        "the seed can subtract the noise; the figures say what the same schedule costs with secret randomness."
    )
