"""Mechanism: an event's JSON in one line, so that a reader can account it again: `80 × Poisson 0.5 of Gaussian 3.74`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .numerals import number, plain_text


def mechanism(event: Any) -> str:
    """The event in words; a noise multiplier is the number after the law. Unknown events give their name and fields.

    >>> once = {"event": "poisson", "rate": 0.5, "of": {"event": "gaussian", "noise_multiplier": 3.74}}
    >>> mechanism({"event": "repeated", "count": 80, "of": once})
    '80 × Poisson 0.5 of Gaussian 3.74'
    """
    if not isinstance(event, Mapping):
        return "unknown"
    name, inner = str(event.get("event", "unknown")), mechanism(event["of"]) if "of" in event else ""
    parts = event.get("parts")
    if isinstance(parts, list | tuple):
        return " + ".join(mechanism(part) for part in parts if not _empty(part)) or "nothing"
    if name == "repeated":
        return f"{plain_text(event.get('count'))} × {f'({inner})' if ' + ' in inner or ' × ' in inner else inner}"
    if name == "poisson":
        return f"Poisson {_exact(event.get('rate'))} of {inner}"
    if name == "fixed-cohort":
        return f"{plain_text(event.get('cohort'))} of {plain_text(event.get('population'))} drawn, {inner}"
    if name in ("gaussian", "laplace"):
        return f"{name.capitalize()} {_exact(event.get('noise_multiplier'))}"
    if name in ("skellam", "discrete-gaussian"):
        return _in_shares(event)
    if name == "non-private":
        return "no privacy"
    fields = ", ".join(f"{key} {_exact(value)}" for key, value in event.items() if key not in ("event", "of"))
    return " ".join(part for part in (name, f"({fields})" if fields else "", f"of {inner}" if inner else "") if part)


def _in_shares(event: Mapping[str, Any]) -> str:
    """Noise of integers that owners share; its multiplier is that of the sum, over the L2 norm."""
    l2, shares = number(event.get("l2")), number(event.get("shares", 1))
    multiplier = math.sqrt(max(0.0, shares * number(event.get("variance")))) / l2 if l2 > 0 else math.nan
    law = "Skellam" if event.get("event") == "skellam" else "discrete Gaussian"
    norms = [f"{key} {_exact(event[key])}" for key in ("l2", "l1", "dim", "shares") if key in event]
    return f"{law} {_exact(multiplier)} ({', '.join(norms)})"


def _empty(event: Any) -> bool:
    """Whether an event releases nothing more: the later rounds of a schedule that its first one paid for."""
    if not isinstance(event, Mapping):
        return False
    return event.get("event") == "nothing" or (event.get("event") == "repeated" and _empty(event.get("of")))


def _exact(value: Any) -> str:
    """A number to six digits, enough to find ε again to three; lists are counted, not printed."""
    if isinstance(value, list | tuple):
        return f"of {len(value)} numbers"
    return f"{number(value):.6g}" if isinstance(value, int | float) else str(value)
