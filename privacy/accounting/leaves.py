"""What is known of each leaf event under each relation: dominating pairs, attained pairs, Rényi divergences.

| leaf | dominating pairs (PLD) | Rényi |
|---|---|---|
| Gaussian, Laplace | exact | exact |
| randomised response (not add-remove) | exact | exact |
| Poisson of Gaussian | exact; `opposed` under replace-one | exact |
| Poisson of Laplace, add-remove and zero-out | exact | Zhu and Wang |
| Poisson of anything else, add-remove and zero-out | – | Zhu and Wang |
| truncated Poisson | arXiv 2508.15089 | of those pairs |
| fixed cohort of Gaussian or Laplace, replace-one only | `symmetrised` | Wang, Balle, Kasiviswanathan |
| fixed cohort of anything else, replace-one only | – | Wang, Balle, Kasiviswanathan |
| discrete Gaussian, Skellam, tuning | – | their papers |

Everything else is refused, with the remedy.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ..event import (
    DiscreteGaussian,
    Event,
    FixedCohort,
    Gaussian,
    Laplace,
    NonPrivate,
    Poisson,
    RandomizedResponse,
    Skellam,
    TruncatedPoisson,
    Tuned,
)
from ..signal import Relation
from . import moments, pair, renyi
from .multiset import Multiset, multiset
from .pair import Array, Pair
from .relation import AccountingError, norm_factor

# Below it a single Gaussian already costs ε > 10⁵, and its loss no longer fits a grid.
_LEAST_NOISE = 2e-3


def refuse_unknown(leaf: Event, relation: Relation) -> None:
    """Raises `AccountingError` where no bound is known for this leaf under this relation."""
    match leaf:
        case FixedCohort() if relation != "replace-one":
            raise AccountingError(
                f"a fixed cohort of {leaf.cohort} from {leaf.population} has no amplified bound under {relation}: adding, "
                "removing or zeroing one unit changes who else is drawn; use relation replace-one, Poisson "
                "sampling, or account it without amplification"
            )
        case RandomizedResponse() if relation == "add-remove":
            raise AccountingError(
                "randomised response under add-remove: the number of answers already tells who took part; "
                "use relation zero-out or replace-one"
            )
        case Poisson(_, of) if relation == "replace-one" and not isinstance(of, Gaussian):
            raise AccountingError(
                f"Poisson sampling of {type(of).__name__} has no proven amplification under replace-one; use relation "
                "add-remove or zero-out, or account it without amplification"
            )
        case DiscreteGaussian(variance=variance, shares=shares) if shares > 1 and variance < 0.25:
            raise AccountingError(
                f"a sum of discrete Gaussians needs variance of at least 1/4 a share (Kairouz, Liu, Steinke 2021), "
                f"found {variance}; use more noise, a finer grid, or Skellam shares"
            )
        case Poisson(_, of) | FixedCohort(_, _, of) | Tuned(of):
            for inner, _ in multiset(of).leaves:
                refuse_unknown(inner, relation)


@lru_cache(maxsize=64)
def dominating(leaf: Event, relation: Relation) -> tuple[Pair, Pair] | None:
    """Pairs that dominate the leaf in the two directions (a unit leaves, a unit comes), or `None`."""
    factor = norm_factor(relation)
    match leaf:
        case Gaussian(noise) if noise / factor >= _LEAST_NOISE:
            return _both(pair.gaussian(noise / factor))
        case Laplace(noise) if noise / factor >= _LEAST_NOISE**2:
            return _both(pair.laplace(noise / factor))
        case RandomizedResponse():
            p, q = _answers(leaf, relation)
            one = pair.atoms(p, q)
            return one, pair.reversed_(one)
        case Poisson(rate, Gaussian(noise)) if relation == "replace-one" and noise / factor >= _LEAST_NOISE:
            return _both(pair.opposed(noise, rate))
        case Poisson(rate, (Gaussian() | Laplace()) as of) if relation != "replace-one":
            inner = dominating(of, relation)
            return None if inner is None else _directed(pair.amplified(inner[0], rate))
        case TruncatedPoisson(of=Gaussian(noise)) if noise / 2 >= _LEAST_NOISE:
            return _truncated(leaf, relation)
        case FixedCohort(cohort, population, (Gaussian() | Laplace()) as of) if relation == "replace-one":
            inner = dominating(of, relation)
            return None if inner is None else _both(pair.symmetrised(pair.amplified(inner[0], cohort / population)))
        case _:
            return None


@lru_cache(maxsize=64)
def attained(leaf: Event, relation: Relation) -> tuple[Pair, Pair] | None:
    """The pairs of two real neighbouring data sets, for lower bounds, or `None` where none is known."""
    match leaf:
        case FixedCohort(cohort, population, (Gaussian() | Laplace()) as of) if relation == "replace-one":
            # The replaced unit contributes +C, every other unit, and its replacement, −C: whoever is drawn in its
            # stead, the sum differs by 2C exactly when it is drawn.
            inner = dominating(of, relation)
            return None if inner is None else _directed(pair.amplified(inner[0], cohort / population))
        case TruncatedPoisson(of=Gaussian(noise) as of) if noise / 2 >= _LEAST_NOISE:
            # Nobody else contributes anything, so it does not matter whom the unit displaces.
            return dominating(Poisson(_kept_rate(leaf), of), relation)
        case _:
            return dominating(leaf, relation)


@lru_cache(maxsize=512)
def rdp(leaf: Event, relation: Relation) -> Array:
    """Rényi divergences of one leaf over `renyi.ORDERS`, ∞ where none is known; read-only."""
    try:
        with np.errstate(all="ignore"):
            vector = np.nan_to_num(np.asarray(_rdp(leaf, relation), dtype=np.float64), nan=np.inf, posinf=np.inf)
    except (OverflowError, ZeroDivisionError):
        # Parameters beyond float64: nothing is proven, which is an infinite ε.
        vector = np.full(len(renyi.ORDERS), np.inf)
    vector.setflags(write=False)
    return vector


def total_pure(leaves: Multiset, relation: Relation) -> float:
    """The ε that holds at δ = 0, ∞ where a leaf has none: the sum of the leaves' largest losses."""
    return math.fsum(count * _pure(leaf, relation) for leaf, count in leaves.leaves)


def total_rdp(leaves: Multiset, relation: Relation) -> Array:
    """Rényi divergences of a composition."""
    total = np.zeros(len(renyi.ORDERS))
    for leaf, count in leaves.leaves:
        total += count * rdp(leaf, relation)
    return total


def _pure(leaf: Event, relation: Relation) -> float:
    match leaf:
        case Laplace(noise):
            return norm_factor(relation) / noise
        case RandomizedResponse():
            p, q = _answers(leaf, relation)
            return float(np.max(np.abs(np.log(p) - np.log(q))))
        case Poisson(rate, of) if relation != "replace-one":
            inner = total_pure(multiset(of), relation)
        case FixedCohort(cohort, population, of) if relation == "replace-one":
            inner, rate = total_pure(multiset(of), relation), cohort / population
        case _:
            return math.inf
    # log(1 + q(e^ε − 1)), which covers both directions (Balle, Barthe, Gaboardi 2018, Theorems 8 and 9).
    return float(np.logaddexp(math.log1p(-rate), math.log(rate) + inner))


def _rdp(leaf: Event, relation: Relation) -> Array:
    factor = norm_factor(relation)
    match leaf:
        case NonPrivate():
            return np.full(len(renyi.ORDERS), np.inf)
        case Gaussian(noise):
            return moments.gaussian(noise / factor)
        case Laplace(noise):
            return moments.laplace(noise / factor)
        case RandomizedResponse():
            p, q = _answers(leaf, relation)
            return np.maximum(moments.finite(p, q), moments.finite(q, p))
        case DiscreteGaussian(variance, l2, l1, dim, shares):
            bound = moments.discrete_gaussian(variance, factor * l2, factor * l1, dim, shares)
            return np.full(len(renyi.ORDERS), np.inf) if bound is None else bound
        case Skellam(variance, l2, l1):
            return moments.skellam(variance, factor * l2, factor * l1)
        case Poisson(rate, Gaussian(noise)) if relation == "replace-one":
            return np.minimum(moments.opposed(rate, noise), moments.gaussian(noise / factor))
        case Poisson(rate, Gaussian(noise)):
            return moments.poisson_gaussian(rate, noise)
        case Poisson(rate, of):
            return moments.poisson(rate, total_rdp(multiset(of), relation))
        case TruncatedPoisson():
            return _truncated_rdp(leaf, relation)
        case FixedCohort(cohort, population, Gaussian(noise)):
            return moments.gaussian_without_replacement(cohort / population, noise / factor)
        case FixedCohort(cohort, population, of):
            return moments.without_replacement(cohort / population, total_rdp(multiset(of), relation))
        case Tuned(of, mean, shape):
            return moments.tuned(total_rdp(multiset(of), relation), mean, shape, renyi.delta)
        case _:
            raise AccountingError(
                f"no accountant knows {type(leaf).__name__}; describe it by the events of privacy/event"
            )


def _both(one: Pair) -> tuple[Pair, Pair]:
    """A pair that is its own reverse."""
    return one, one


def _directed(one: Pair) -> tuple[Pair, Pair]:
    return one, pair.reversed_(one)


def _answers(response: RandomizedResponse, relation: Relation) -> tuple[Array, Array]:
    """The answer's law for one true value, and for another (replace-one) or for none (zero-out: uniform)."""
    lie = response.noise / response.buckets
    truth = 1 - response.noise + lie
    if relation == "replace-one":
        rest = (response.buckets - 2) * lie
        p, q = np.array([truth, lie, rest]), np.array([lie, truth, rest])
        return (p, q) if rest > 0 else (p[:2], q[:2])
    share = 1 / response.buckets
    return np.array([truth, 1 - truth]), np.array([share, 1 - share])


def _truncation(event: TruncatedPoisson) -> tuple[float, float]:
    """(probability that a sampled unit meets a full cohort, probability of being kept given such truncation)."""
    from scipy.stats import binom  # half a second to import, needed here only

    cut = float(binom.sf(event.cap - 1, event.population - 1, event.rate))
    if cut == 0:
        return 0.0, 1.0
    full = float(binom.sf(event.cap, event.population, event.rate))
    return cut, min(1.0, full * event.cap / cut / event.population)


def _truncated(event: TruncatedPoisson, relation: Relation) -> tuple[Pair, Pair] | None:
    cut, kept = _truncation(event)
    plain = _whole_or_sampled(event.rate, event.of, relation)
    if cut == 0 or plain is None:
        return plain
    # When somebody is cut, a unit that comes displaces another: a replacement, at both directions.
    half = event.of.noise_multiplier / 2
    displaced = pair.opposed(half, kept) if 0 < kept < 1 else pair.gaussian(half / 2)
    return pair.mixed(displaced, plain[0], cut), pair.mixed(displaced, plain[1], cut)


def _truncated_rdp(event: TruncatedPoisson, relation: Relation) -> Array:
    cut, kept = _truncation(event)
    plain = _sampled_rdp(event.rate, event.of, relation)
    if cut == 0:
        return plain
    half = event.of.noise_multiplier / 2
    displaced = moments.opposed(kept, half) if 0 < kept < 1 else moments.gaussian(half / 2)
    return displaced if cut >= 1 else moments.mixture(displaced, plain, cut)


def _whole_or_sampled(rate: float, of: Gaussian, relation: Relation) -> tuple[Pair, Pair] | None:
    return dominating(of if rate == 1 else Poisson(rate, of), relation)


def _sampled_rdp(rate: float, of: Gaussian, relation: Relation) -> Array:
    return rdp(of if rate == 1 else Poisson(rate, of), relation)


def _kept_rate(event: TruncatedPoisson) -> float:
    """P[sampled and kept], from E min(sampled, cap) = population · P, rounded down."""
    from scipy.stats import binom

    most = int(min(event.cap, event.population))
    if most > 10**6:
        return 0.0
    # E min(X, cap) = Σ_{j=0}^{cap−1} P[X > j]
    expected = math.fsum(binom.sf(np.arange(most), event.population, event.rate))
    return min(event.rate, expected / event.population) * (1 - 1e-9)
