"""Numerals: the numbers of a `result.json` as floats, and as a reader sees them.

An ε or a chance of being recognised is rounded up, a lower end is rounded down: a printed number never promises more
than was derived.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_FRACTIONS = frozenset({"accuracy", "precision", "recall", "f1", "roc_auc"})
_NAMES = {"f1": "F1", "roc_auc": "ROC-AUC"}
_HIGHER_IS_BETTER = _FRACTIONS
_TINY = 1e-9  # what binary arithmetic may add to a decimal: 4.00 must not become 4.01


def number(value: Any) -> float:
    """A number of result.json: `"inf"` is ∞, `null` and whatever is no number is NaN."""
    if isinstance(value, bool):
        return math.nan
    if isinstance(value, int | float):
        return float(value)
    if value in ("inf", "-inf"):
        return math.inf if value == "inf" else -math.inf
    return math.nan


def epsilon_text(value: Any) -> str:
    """An ε, rounded up: `4.00`, `36.1`, `0.013`, `∞`; `unknown` where there is none."""
    return _decimal(number(value), up=True)


def lower_text(value: Any) -> str:
    """A lower end of an ε, rounded down."""
    return _decimal(number(value), up=False)


def _decimal(value: float, up: bool) -> str:
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "∞"
    if value <= 0:
        return "0.00"
    places = 2 if 0.1 <= value < 10 else 1 if 10 <= value < 100 else 0 if value >= 100 else 1 - _exponent(value)
    scaled = value * 10.0**places
    whole = math.ceil(scaled * (1 - _TINY)) if up else math.floor(scaled * (1 + _TINY))
    return f"{whole / 10.0**places:,.{places}f}"


def _exponent(value: float) -> int:
    return math.floor(math.log10(value))


def small_text(value: Any) -> str:
    """A δ or another small positive number: `0.0011`, `10⁻⁵`, `3.2·10⁻⁷`."""
    found = number(value)
    if math.isnan(found):
        return "unknown"
    if found == 0 or math.isinf(found) or found >= 1e-3:
        return "∞" if math.isinf(found) else f"{found:.2g}"
    mantissa, exponent = f"{found:.1e}".split("e")
    power = f"10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    return power if mantissa == "1.0" else f"{mantissa}·{power}"


def plain_text(value: Any) -> str:
    """Any other number, to three significant digits: `1,290`, `0.3`, `1.2·10⁻⁶`."""
    found = number(value)
    if math.isnan(found) or math.isinf(found):
        return "unknown" if math.isnan(found) else "∞" if found > 0 else "−∞"
    if found == int(found) and abs(found) < 1e6:
        return f"{int(found):,}".replace("-", "−")
    if 1e-3 <= abs(found) < 1e6:
        return f"{found:,.3g}".replace("-", "−") if abs(found) < 1e3 else f"{found:,.0f}".replace("-", "−")
    mantissa, exponent = f"{found:.2g}e0".split("e")[:2] if found == 0 else f"{found:.1e}".split("e")
    return f"{mantissa}·10{str(int(exponent)).translate(_SUPERSCRIPT)}".replace("-", "−")


def metric_name(name: str) -> str:
    """A metric's name in running text."""
    return _NAMES.get(name, name.replace("_", " ").replace("-", " "))


def metric_text(name: str, value: Any) -> str:
    """A metric's value: a percentage where the metric is a share, three significant digits elsewhere."""
    found = number(value)
    if math.isnan(found):
        return "not a number"
    return f"{100 * found:.1f}\u00a0%" if name in _FRACTIONS and math.isfinite(found) else plain_text(found)


def estimate_text(name: str, told: Any) -> str:
    """A noised measure with the standard error of its noise: `91.2 % ± 3.1 %`."""
    if not isinstance(told, Mapping):
        return "unknown"
    return f"{metric_text(name, told.get('value'))} ± {metric_text(name, told.get('error'))}"


def is_share(name: str) -> bool:
    """Whether a metric lies in [0, 1] and reads best as a percentage."""
    return name in _FRACTIONS


def better(name: str, first: float, second: float) -> bool:
    """Whether `first` is the better value of this metric."""
    return first > second if name in _HIGHER_IS_BETTER else first < second


def certainty(epsilon: float, delta: float) -> float:
    """How often the best attacker is right who starts from even odds: 1 − (1 − δ)/(1 + e^ε), at most.

    Of any test, FPR + e^ε·FNR ≥ 1 − δ and FNR + e^ε·FPR ≥ 1 − δ (Kairouz, Oh, Viswanath 2015, Theorem 2.1); added up,
    FPR + FNR ≥ 2(1 − δ)/(1 + e^ε).
    """
    if math.isnan(epsilon) or math.isnan(delta):
        return 1.0
    return min(1.0, 1 - (1 - delta) / (1 + math.exp(min(epsilon, 700.0))))


def certainty_text(epsilon: float, delta: float) -> str:
    """`certainty` as a percentage, rounded up."""
    found = math.ceil(1000 * certainty(epsilon, delta) - _TINY) / 10
    return f"{found:.1f}\u00a0%" if found < 100 else "100\u00a0%"
