"""Recomputation: the ε of a signed cost worked out again from its events, by two programs that share no code.

The first is Tacit's own accountant. The second takes the events as they are: dp-accounting's PLD where that supports all of
them (correlated noise is the Gaussian that its explicit matrix makes of it, `columns`), else its RDP; for Skellam and shared
discrete Gaussian noise, which it does not know, the published RDP formulas below with dp-accounting's conversion. Where neither
applies the answer is no: an ε that cannot be checked is not confirmed.

| second | held against each other                                                                             |
|--------|-----------------------------------------------------------------------------------------------------|
| pld    | both are tight: they have to be equal within 1 % and 0.005                                           |
| rdp    | RDP here and there, within 2 % and 0.01; RDP is loose, so the stated ε may be below it               |
| bound  | RDP of cohorts of fixed size: the stated ε is at most the other's, because the better proof is ours   |
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from .accounting.figures import account_within
from .accounting.relation import AccountingError
from .claim import Adversary, Basis
from .columns import norm_by_columns
from .event import (
    BandedMatrix,
    BufferedLinearToeplitz,
    Composed,
    DiscreteGaussian,
    Event,
    EventError,
    FixedCohort,
    Gaussian,
    Laplace,
    NonPrivate,
    Nothing,
    Poisson,
    Repeated,
    Skellam,
    TruncatedPoisson,
)
from .ledger.certificate import Cost
from .ledger.currency import Currency
from .signal import Relation

Second: TypeAlias = Literal["pld", "rdp", "bound", "none"]

_ROUNDING = 1e-6  # relative: another version of NumPy may round otherwise; a changed digit is found by the signature
_ORDERS = tuple([1 + 2**power for power in (-6, -5, -4, -3, -2, -1.5, -1, -0.5)] + [1.0 * n for n in range(2, 129)]
                + [2.0**power for power in (7.5, 8, 8.5, 9, 9.5, 10, 11, 12)])  # fmt: skip
_WHOLE = tuple(order for order in range(2, 513))
_REMEDY = "do not rely on it, and ask who signed it"


def priced(
    currency: Currency, adversary: Adversary, basis: Basis, events: tuple[tuple[Event, int], ...], delta_extra: float,
    delta: float,
) -> Cost:  # fmt: skip
    """The cost of `events` at `delta`; ε = ∞ where nothing is private, or nothing can be said."""
    bare = Cost(currency, adversary, basis, events, delta_extra, delta, math.inf)
    try:
        return replace(bare, epsilon=account_within(bare.event, currency.relation, delta, delta_extra).epsilon)
    except (AccountingError, EventError):
        return bare


class _UnknownEventError(ValueError):
    """The second computation does not know this event."""


@dataclass(frozen=True, slots=True)
class Recomputed:
    """`epsilon` and its RDP bound `rdp` by the first computation, `second` `by` the other; an empty `fault` where all agree.

    Where it is by RDP, `second` is held against `rdp`.
    """

    epsilon: float
    rdp: float
    second: float
    by: Second
    fault: str = ""


def recompute(cost: Cost) -> Recomputed:
    """Both computations of `cost`, and the first reason, if any, to refuse what it states."""
    stated, relation = cost.epsilon, cost.currency.relation
    if any(isinstance(event, NonPrivate) for event, _ in cost.events):
        if math.isinf(stated):
            return Recomputed(math.inf, math.inf, math.inf, "none")
        return Recomputed(math.inf, math.inf, math.inf, "none", f"states ε = {stated:g}, and nothing of it is private")
    try:
        first = account_within(cost.event, relation, cost.delta, cost.delta_extra)
    except (AccountingError, EventError) as error:
        if math.isinf(stated):
            return Recomputed(math.inf, math.inf, math.inf, "none")
        return Recomputed(math.inf, math.inf, math.inf, "none", f"no ε follows from its events: {error}; {_REMEDY}")
    if not _same(stated, first.epsilon):
        fault = f"states ε = {stated:.10g}; from its events follows {first.epsilon:.10g}; {_REMEDY}"
        return Recomputed(first.epsilon, first.epsilon_rdp, math.nan, "none", fault)
    if math.isinf(stated):
        return Recomputed(stated, stated, stated, "none")
    needed = first.delta + (1 + math.exp(min(stated, 700.0))) * cost.delta_extra
    if needed > cost.delta * (1 + 1e-9):
        fault = f"needs δ = {needed:.10g} with what its samplers err by; it states {cost.delta:g}; {_REMEDY}"
        return Recomputed(first.epsilon, first.epsilon_rdp, math.nan, "none", fault)
    try:
        second, by = second_epsilon(cost.events, relation, first.delta)
    except (_UnknownEventError, ValueError, ArithmeticError) as error:
        fault = f"no second computation of its ε: {error}; update tacit, or do not rely on this number"
        return Recomputed(first.epsilon, first.epsilon_rdp, math.nan, "none", fault)
    agree = {
        "pld": _near(first.epsilon, second, 0.01, 0.005),
        "rdp": _near(first.epsilon_rdp, second, 0.02, 0.01) and first.epsilon <= second * 1.02 + 0.01,
        "bound": first.epsilon <= second * 1.02 + 0.01,
    }[by]
    fault = "" if agree else (
        f"the two computations disagree: ε = {first.epsilon:.6g} (by RDP {first.epsilon_rdp:.6g}) and {second:.6g} by {by}; "
        f"report this as a fault of Tacit, and do not rely on the number"
    )  # fmt: skip
    return Recomputed(first.epsilon, first.epsilon_rdp, second, by, fault)


def second_epsilon(
    events: tuple[tuple[Event, int], ...], relation: Relation, delta: float
) -> tuple[float, Literal["pld", "rdp", "bound"]]:
    """ε of the composed `events`, without Tacit's accountant; raises `ValueError` for what this does not know."""
    from dp_accounting import NeighboringRelation, dp_event
    from dp_accounting.pld.pld_privacy_accountant import PLDAccountant
    from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon

    if not events:
        return 0.0, "pld"
    try:
        parts = [dp_event.SelfComposedDpEvent(_theirs(event, relation), count) for event, count in events]
    except _UnknownEventError:
        return _by_rdp(events, relation, delta, compute_epsilon)
    # Doubled sensitivity stands in the noise already where nothing is sampled; neither accountant doubles it by itself there.
    sampled = any(_is_sampled(event) for event, _ in events)
    kinds = {"add-remove": NeighboringRelation.ADD_OR_REMOVE_ONE, "zero-out": NeighboringRelation.REPLACE_SPECIAL,
             "replace-one": NeighboringRelation.REPLACE_ONE}  # fmt: skip
    kind = kinds[relation] if sampled else NeighboringRelation.ADD_OR_REMOVE_ONE
    accountant = PLDAccountant(kind)
    composed = dp_event.ComposedDpEvent(parts)
    if accountant.supports(composed):
        return float(accountant.compose(composed).get_epsilon(delta)), "pld"
    return _by_rdp(events, relation, delta, compute_epsilon)


def _is_sampled(event: Event) -> bool:
    match event:
        case Poisson() | TruncatedPoisson() | FixedCohort():
            return True
        case Repeated(of, _):
            return _is_sampled(of)
        case Composed(parts):
            return any(map(_is_sampled, parts))
        case _:
            return False


def _theirs(event: Event, relation: Relation) -> Any:
    """The event as dp-accounting writes it, for its PLD."""
    from dp_accounting import dp_event

    factor = 2.0 if relation == "replace-one" else 1.0
    match event:
        case Nothing():
            return dp_event.NoOpDpEvent()
        case Gaussian(noise):
            return dp_event.GaussianDpEvent(noise / factor)
        case Laplace(noise):
            return dp_event.LaplaceDpEvent(noise / factor)
        case Poisson(rate, Gaussian(noise)):
            return dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(noise))
        case TruncatedPoisson(rate, cap, population, Gaussian(noise)):
            return dp_event.TruncatedSubsampledGaussianDpEvent(population, rate, cap, noise)
        case BandedMatrix(noise) | BufferedLinearToeplitz(noise):
            return dp_event.GaussianDpEvent(noise / norm_by_columns(event) / factor)
        case Repeated(of, count):
            return dp_event.SelfComposedDpEvent(_theirs(of, relation), count)
        case Composed(parts):
            return dp_event.ComposedDpEvent([_theirs(part, relation) for part in parts])
        case _:
            raise _UnknownEventError(f"{type(event).__name__} under {relation}")


def _by_rdp(
    events: tuple[tuple[Event, int], ...], relation: Relation, delta: float, convert: Any
) -> tuple[float, Literal["rdp", "bound"]]:
    """By Rényi divergences, at integer orders where one of the formulas holds at these only."""
    flat = [each for event, count in events for each in _leaves(event, count)]
    whole = any(isinstance(event, Skellam) for event, _ in flat)
    fixed = any(isinstance(event, FixedCohort) for event, _ in flat)
    orders: tuple[float, ...] = _WHOLE if whole or fixed else _ORDERS
    total = [math.fsum(part) for part in zip(*(_rdp(e, n, relation, orders) for e, n in flat), strict=True)]
    return max(0.0, float(convert(orders, total, delta)[0])), "bound" if fixed else "rdp"


def _leaves(event: Event, count: int) -> list[tuple[Event, int]]:
    match event:
        case Nothing():
            return []
        case Repeated(of, times):
            return _leaves(of, times * count) if times else []
        case Composed(parts):
            return [leaf for part in parts for leaf in _leaves(part, count)]
        case _:
            return [(event, count)]


def _rdp(event: Event, count: int, relation: Relation, orders: tuple[float, ...]) -> list[float]:
    """Rényi divergence `[orders]` of `count` times `event`.

    Skellam: Agarwal, Kairouz, Liu 2021, Theorem 3.5. Shares of discrete Gaussians: ε²/2-concentrated with ε from Kairouz, Liu,
    Steinke 2021, Proposition 14. Under replace-one the norms are those of a difference of two contributions: doubled.
    """
    from dp_accounting import NeighboringRelation, dp_event
    from dp_accounting.rdp.rdp_privacy_accountant import RdpAccountant

    factor = 2.0 if relation == "replace-one" else 1.0
    match event:
        case Gaussian(noise):
            return [count * order * (factor / noise) ** 2 / 2 for order in orders]
        case Skellam(mu, l2, l1):
            two, one = (l2 * factor) ** 2, l1 * factor
            return [
                count * (a * two / (2 * mu) + min(((2 * a - 1) * two + 6 * one) / (4 * mu * mu), 3 * one / (2 * mu)))
                for a in orders
            ]
        case DiscreteGaussian(variance, l2, l1, dim, shares):
            two, one, deviation = (l2 * factor) ** 2, l1 * factor, math.sqrt(shares * variance)
            tau = 10 * math.fsum(math.exp(-2 * math.pi**2 * variance * k / (k + 1)) for k in range(1, shares))
            epsilon = min(
                math.sqrt(two / deviation**2 + tau * dim / 2),
                math.sqrt(two / deviation**2 + 2 * tau * one / deviation + tau * tau * dim),
                math.sqrt(two) / deviation + tau * math.sqrt(dim),
            )
            return [count * order * epsilon * epsilon / 2 for order in orders]
        case Poisson(rate, Gaussian(noise)) if relation != "replace-one":
            accountant = RdpAccountant(list(orders), NeighboringRelation.ADD_OR_REMOVE_ONE)
            accountant.compose(dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(noise)), count)
            return [float(each) for each in accountant.rdp]
        case FixedCohort(cohort, population, Gaussian(noise)) if relation == "replace-one":
            # This accountant leaves the doubled sensitivity to whoever calls it.
            accountant = RdpAccountant(list(orders), NeighboringRelation.REPLACE_ONE)
            inner = dp_event.GaussianDpEvent(noise / factor)
            accountant.compose(dp_event.SampledWithoutReplacementDpEvent(population, cohort, inner), count)
            return [float(each) for each in accountant.rdp]
        case _:
            raise _UnknownEventError(f"none is written for {type(event).__name__} under {relation}")


def _same(one: float, other: float) -> bool:
    return one == other or _near(one, other, _ROUNDING, 1e-9)


def _near(one: float, other: float, relative: float, absolute: float) -> bool:
    finite = math.isfinite(one) and math.isfinite(other)  # ∞ is near nothing
    return finite and abs(one - other) <= relative * max(abs(one), abs(other)) + absolute
