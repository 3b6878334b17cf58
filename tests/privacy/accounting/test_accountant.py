"""The accountant: laws of ε and δ, then golden numbers and the traps of the libraries beneath."""

import math

import mpmath
import pytest
from dp_accounting import NeighboringRelation, dp_event, pld, rdp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from tacit.privacy.accounting.accountant import account, delta, epsilon, epsilon_by_rdp
from tacit.privacy.accounting.multiset import multiset
from tacit.privacy.accounting.relation import RELATIONS, AccountingError, Relation
from tacit.privacy.event import (
    BandedMatrix,
    BufferedLinearToeplitz,
    Composed,
    DiscreteGaussian,
    Event,
    FixedCohort,
    Gaussian,
    Laplace,
    NonPrivate,
    Nothing,
    Poisson,
    RandomizedResponse,
    Repeated,
    Skellam,
    Tree,
    TruncatedPoisson,
    Tuned,
)

_THEIRS = {
    "add-remove": NeighboringRelation.ADD_OR_REMOVE_ONE,
    "zero-out": NeighboringRelation.REPLACE_SPECIAL,
    "replace-one": NeighboringRelation.REPLACE_ONE,
}
_rates = st.sampled_from([0.01, 0.1, 0.5, 1.0])
_noises = st.floats(0.6, 10)
_deltas = st.sampled_from([1e-3, 1e-5, 1e-7])
_relations = st.sampled_from(["add-remove", "replace-one"])
_few = settings(max_examples=15, deadline=None)


def _rounds(rate: float, noise: float, count: int) -> Event:
    return Repeated(Poisson(rate, Gaussian(noise)), count)


# ---------------------------------------------------------------------------------------------------------- laws


@given(_rates, _noises, st.integers(1, 200), _deltas, _relations)
@_few
def test_epsilon_grows_with_rounds_and_rate_and_falls_with_noise_and_delta(
    rate: float, noise: float, count: int, target: float, relation: Relation
) -> None:
    here = epsilon(_rounds(rate, noise, count), relation, target)
    slack = 1 + 1e-4
    assert here >= 0
    assert epsilon(_rounds(rate, noise, count + 20), relation, target) >= here / slack
    assert epsilon(_rounds(rate, noise * 1.2, count), relation, target) <= here * slack
    assert epsilon(_rounds(min(1.0, rate * 1.3), noise, count), relation, target) >= here / slack
    assert epsilon(_rounds(rate, noise, count), relation, target / 2) >= here / slack


@given(_rates, _noises, st.integers(1, 200), _deltas, _relations)
@_few
def test_rdp_is_never_below_and_the_ends_are_in_order(
    rate: float, noise: float, count: int, target: float, relation: Relation
) -> None:
    found = account(_rounds(rate, noise, count), relation, target)
    assert 0 <= found.lower <= found.upper == found.epsilon <= found.epsilon_rdp
    assert found.upper - found.lower <= 0.01 * max(1.0, found.upper)


@given(st.floats(0.8, 5), st.integers(1, 60), st.integers(1, 60), _relations)
@_few
def test_composition_commutes_and_splits(noise: float, first: int, second: int, relation: Relation) -> None:
    one, other = _rounds(0.1, noise, first), Repeated(Gaussian(10.0 * noise), second)
    together = epsilon(Composed((one, other)), relation, 1e-5)
    assert epsilon(Composed((other, one)), relation, 1e-5) == together
    split = Composed((_rounds(0.1, noise, first - 1), other, Poisson(0.1, Gaussian(noise))))
    assert epsilon(split, relation, 1e-5) == together
    assert together >= max(epsilon(one, relation, 1e-5), epsilon(other, relation, 1e-5)) * (1 - 1e-4)


@given(_rates, _noises, st.integers(1, 100), st.floats(1e-9, 1e-2), _relations)
@_few
def test_delta_inverts_epsilon(rate: float, noise: float, count: int, target: float, relation: Relation) -> None:
    event = _rounds(rate, noise, count)
    found = epsilon(event, relation, target)
    assert delta(event, relation, found) <= target * 1.01
    if found > 0.01:
        assert delta(event, relation, found * 0.97) >= target * 0.99


@given(st.floats(0.05, 0.9), _noises, st.integers(1, 50))
@_few
def test_sampling_never_costs_more_than_not_sampling(rate: float, noise: float, count: int) -> None:
    plain = epsilon(Repeated(Gaussian(noise), count), "replace-one", 1e-5)
    cohort = max(1, round(100 * rate))
    for sampled in (Poisson(rate, Gaussian(noise)), FixedCohort(cohort, 100, Gaussian(noise))):
        assert epsilon(Repeated(sampled, count), "replace-one", 1e-5) <= plain * (1 + 1e-4)


@given(st.integers(1, 40), st.integers(2, 400), st.floats(0.5, 5), st.integers(1, 100))
@_few
def test_fixed_cohorts_give_an_interval_and_cost_more_than_poisson(
    cohort: int, more: int, noise: float, count: int
) -> None:
    event = Repeated(FixedCohort(cohort, cohort + more, Gaussian(noise)), count)
    found = account(event, "replace-one", 1e-5)
    assert found.lower <= found.upper <= found.epsilon_rdp
    # The pair of `attained` at rate q is Poisson's under add-remove at half the noise.
    same = epsilon(Repeated(Poisson(cohort / (cohort + more), Gaussian(noise / 2)), count), "add-remove", 1e-5)
    assert found.lower <= same * (1 + 1e-4) + 1e-9
    assert same <= found.upper * (1 + 1e-4) + 1e-9


# ------------------------------------------------------------------------------------------------- golden numbers


@pytest.mark.parametrize(
    ("rate", "noise", "count", "target"),
    [(0.01, 1.1, 1000, 1e-5), (0.1, 3.74, 80, 1.13e-3), (0.5, 2.0, 50, 1e-6), (0.02, 0.7, 100, 1e-6),
     (0.3, 20.0, 500, 1e-8), (0.9, 1.5, 3, 1e-5), (0.25, 1.0, 1, 1e-4)],
)  # fmt: skip
@pytest.mark.parametrize("relation", RELATIONS)
def test_poisson_agrees_with_dp_accounting(
    rate: float, noise: float, count: int, target: float, relation: Relation
) -> None:
    other = pld.PLDAccountant(_THEIRS[relation])
    other.compose(dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(noise)), count)
    theirs = other.get_epsilon(target)
    found = account(_rounds(rate, noise, count), relation, target)
    assert found.accountant == "pld"
    assert found.epsilon == pytest.approx(theirs, rel=0.001, abs=0.001)
    assert found.lower <= theirs
    if relation != "replace-one":
        classic = rdp.RdpAccountant(neighboring_relation=_THEIRS[relation])
        classic.compose(dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(noise)), count)
        assert found.epsilon <= found.epsilon_rdp <= classic.get_epsilon(target) * (1 + 1e-6)


@pytest.mark.parametrize(("rate", "noise", "at"), [(0.01, 1.0, 0.5), (0.2, 0.5, 3.0), (0.5, 2.0, 0.1)])
def test_one_poisson_release_agrees_with_fifty_digits(rate: float, noise: float, at: float) -> None:
    with mpmath.workdps(50):
        place = mpmath.mpf(noise) ** 2 * mpmath.log((mpmath.exp(at) - 1 + rate) / rate) + 0.5
        p = (1 - rate) * mpmath.ncdf(-place / noise) + rate * mpmath.ncdf((1 - place) / noise)
        exact = float(p - mpmath.exp(at) * mpmath.ncdf(-place / noise))
    event = Poisson(rate, Gaussian(noise))
    assert exact * (1 - 1e-9) <= delta(event, "add-remove", at) <= exact * 1.002
    assert epsilon(event, "add-remove", exact) == pytest.approx(at, rel=1e-3)


def test_heterogeneous_compositions_agree_with_dp_accounting() -> None:
    other = pld.PLDAccountant()
    other.compose(dp_event.PoissonSampledDpEvent(0.1, dp_event.GaussianDpEvent(2.0)), 100)
    other.compose(dp_event.PoissonSampledDpEvent(0.05, dp_event.GaussianDpEvent(1.0)), 50)
    other.compose(dp_event.GaussianDpEvent(30.0), 20)
    other.compose(dp_event.LaplaceDpEvent(20.0), 4)
    event = Composed(
        (_rounds(0.1, 2.0, 100), _rounds(0.05, 1.0, 50), Repeated(Gaussian(30.0), 20), Repeated(Laplace(20.0), 4))
    )
    assert epsilon(event, "add-remove", 1e-5) == pytest.approx(other.get_epsilon(1e-5), abs=0.002)


@pytest.mark.parametrize("relation", ["zero-out", "replace-one"])
def test_truncated_poisson_agrees_with_dp_accounting(relation: Relation) -> None:
    other = pld.PLDAccountant(_THEIRS[relation])
    other.compose(dp_event.TruncatedSubsampledGaussianDpEvent(1000, 0.01, 15, 1.0), 10)
    found = account(Repeated(TruncatedPoisson(0.01, 15, 1000, Gaussian(1.0)), 10), relation, 1e-5)
    assert found.epsilon == pytest.approx(other.get_epsilon(1e-5), rel=0.001)
    assert 0 < found.lower < found.epsilon < found.epsilon_rdp
    assert found.epsilon > epsilon(_rounds(0.01, 1.0, 10), relation, 1e-5)


def test_facts_fixed_cohort() -> None:
    event = Repeated(FixedCohort(10, 1000, Gaussian(1.0)), 100)
    found = account(event, "replace-one", 1e-5)
    assert epsilon(_rounds(0.01, 1.0, 100), "add-remove", 1e-5) == pytest.approx(0.72, abs=0.005)
    assert found.lower == pytest.approx(6.476, abs=0.002)
    assert 6.48 <= found.upper <= 6.65
    assert found.epsilon_rdp == pytest.approx(11.21, abs=0.01)
    classic = rdp.RdpAccountant(neighboring_relation=NeighboringRelation.REPLACE_ONE)
    classic.compose(dp_event.SampledWithoutReplacementDpEvent(1000, 10, dp_event.GaussianDpEvent(0.5)), 100)
    assert found.epsilon_rdp <= classic.get_epsilon(1e-5) * (1 + 1e-9)


def test_correlated_noise_is_the_gaussian_of_its_sensitivity() -> None:
    assert epsilon(Tree(3.0, 1000), "zero-out", 1e-5) == epsilon(Gaussian(3.0 / math.sqrt(10)), "zero-out", 1e-5)
    banded = BandedMatrix(3.0, (1.0, 0.5), 100, 2, 50)
    assert epsilon(banded, "zero-out", 1e-5) == pytest.approx(
        epsilon(Gaussian(3.0 / math.sqrt(50 * 1.25)), "zero-out", 1e-5)
    )
    general = account(BandedMatrix(3.0, (1.0, -0.5, 0.4), 100, 1, 5), "zero-out", 1e-5)
    assert general.lower < general.upper
    blt = BufferedLinearToeplitz(3.0, (0.9,), (0.1,), 50, 5, 3)
    assert epsilon(blt, "zero-out", 1e-5) > epsilon(Repeated(Gaussian(3.0), 3), "zero-out", 1e-5)


def test_sums_of_discrete_shares_are_close_to_the_continuous_rdp() -> None:
    gaussian = epsilon_by_rdp(multiset(Repeated(Gaussian(10.0), 20)), "zero-out", 1e-5)
    for event in (
        DiscreteGaussian(100.0, 1.0, 1.0, 64, 1),
        DiscreteGaussian(10.0, 1.0, 1.0, 64, 10),
        Skellam(100.0, 1.0, 1.0),
    ):
        found = account(Repeated(event, 20), "zero-out", 1e-5)
        assert found.accountant == "rdp"
        assert found.lower == 0.0
        assert gaussian * (1 - 1e-9) <= found.epsilon <= gaussian * 1.06


def test_tuning_costs_more_than_one_run_and_grows_with_their_number() -> None:
    run = _rounds(0.01, 1.0, 100)
    costs = [epsilon(Tuned(run, mean, shape), "add-remove", 1e-5) for mean, shape in ((2.0, 1.0), (50.0, 1.0))]
    assert epsilon(run, "add-remove", 1e-5) < costs[0] < costs[1]
    assert epsilon(run, "add-remove", 1e-5) < epsilon(Tuned(run, 50.0, math.inf), "add-remove", 1e-5) < 5


# --------------------------------------------------------------------------------------------------------- traps


def test_replace_one_doubles_the_sensitivity_under_rdp_too() -> None:
    # dp-accounting's RdpAccountant ignores it.
    for event, half in ((Gaussian(2.0), Gaussian(1.0)), (Laplace(2.0), Laplace(1.0))):
        one, two = account(event, "replace-one", 1e-5), account(half, "add-remove", 1e-5)
        assert (one.epsilon, one.epsilon_rdp) == pytest.approx((two.epsilon, two.epsilon_rdp))
    skellam = account(Skellam(100.0, 1.0, 1.0), "replace-one", 1e-5)
    assert skellam.epsilon == pytest.approx(account(Skellam(100.0, 2.0, 2.0), "zero-out", 1e-5).epsilon)


def test_repeated_randomised_response_is_counted() -> None:
    # dp-accounting's PLDAccountant ignores `count`.
    other = pld.PLDAccountant(NeighboringRelation.REPLACE_ONE)
    for _ in range(10):
        other.compose(dp_event.RandomizedResponseDpEvent(0.9, 4))
    found = epsilon(Repeated(RandomizedResponse(0.9, 4), 10), "replace-one", 1e-5)
    assert found == pytest.approx(other.get_epsilon(1e-5), abs=1e-3)
    assert found > 3 * epsilon(RandomizedResponse(0.9, 4), "replace-one", 1e-5)


def test_pure_mechanisms_never_cost_more_than_their_epsilon() -> None:
    assert epsilon(Laplace(2.0), "add-remove", 1e-9) == pytest.approx(0.5, abs=1e-6)
    found = account(RandomizedResponse(0.5, 2), "replace-one", 1e-9)
    assert found.epsilon == pytest.approx(math.log(0.75 / 0.25), rel=1e-12)
    assert found.accountant == "pure"
    assert delta(RandomizedResponse(0.5, 2), "replace-one", math.log(3.0) + 1e-12) == 0.0
    assert epsilon(Repeated(Laplace(10.0), 3), "replace-one", 1e-12) == pytest.approx(0.6, abs=1e-9)
    sampled = epsilon(Poisson(0.3, Laplace(1.0)), "add-remove", 1e-12)
    assert sampled <= math.log(1 + 0.3 * math.expm1(1.0)) * (1 + 1e-12)


def test_hardly_any_privacy_loss_is_zero_and_never_negative() -> None:
    for event in (Gaussian(1e6), _rounds(0.01, 1e6, 10), Skellam(1e12, 1.0, 1.0)):
        assert account(event, "zero-out", 1e-3).epsilon == 0.0


@pytest.mark.parametrize("noise", [1e-160, 1e-6, 1e-3, 0.01, 0.03, 0.1, 0.2])
@pytest.mark.parametrize("relation", ["add-remove", "replace-one"])
def test_very_little_noise_is_a_large_number_or_infinity(noise: float, relation: Relation) -> None:
    found = epsilon(_rounds(0.1, noise, 50), relation, 1e-5)
    # At rate 0.1 and 50 rounds a unit is in some round all but surely; then ε is at least that of one Gaussian release
    # at δ = 1/2: μ²/2.
    assert found >= 0.5 / noise / noise * (1 - 1e-6)
    fixed = epsilon(Repeated(FixedCohort(10, 100, Gaussian(noise)), 50), "replace-one", 1e-5)
    assert fixed >= 0.5 / noise / noise * (1 - 1e-6)


@pytest.mark.parametrize("rate", [1e-12, 1e-8, 1e-5])
def test_rare_sampling_costs_little_and_not_nothing(rate: float) -> None:
    found = account(_rounds(rate, 1.0, 1000), "add-remove", 1e-9)
    advantage = 1000 * rate * (2 * norm.cdf(0.5) - 1)
    assert found.lower <= found.epsilon <= max(2e-9, 300 * advantage)
    if advantage > 1e-8:
        assert found.lower > 0


@pytest.mark.parametrize("target", [1e-10, 1e-14, 1e-18])
def test_very_small_delta_still_agrees_with_the_exact_gaussian(target: float) -> None:
    # A Poisson event at a rate of all but 1, through the grids, against the closed form.
    near = epsilon(_rounds(1 - 1e-12, 10.0, 25), "add-remove", target)
    assert near == pytest.approx(epsilon(Gaussian(2.0), "add-remove", target), rel=1e-3)


def test_zero_rounds_rates_and_nothing_cost_nothing() -> None:
    never = TruncatedPoisson(0.0, 1, 2, Gaussian(1.0))
    for event in (Nothing(), Composed(()), _rounds(0.1, 1.0, 0), _rounds(0.0, 1.0, 10), never):
        for relation in RELATIONS:
            assert account(event, relation, 1e-5).epsilon == 0.0
            assert delta(event, relation, 0.0) == 0.0


def test_rate_one_is_no_sampling_and_a_whole_cohort_neither() -> None:
    for sampled in (Poisson(1.0, Gaussian(2.0)), FixedCohort(7, 7, Gaussian(2.0))):
        assert epsilon(sampled, "add-remove", 1e-5) == epsilon(Gaussian(2.0), "add-remove", 1e-5)


def test_no_noise_is_infinite() -> None:
    for event in (NonPrivate(), Gaussian(0.0), Composed((Gaussian(1.0), Poisson(0.5, Laplace(0.0))))):
        found = account(event, "add-remove", 1e-5)
        assert (found.epsilon, found.lower, found.accountant) == (math.inf, math.inf, "none")
        assert delta(event, "add-remove", 5.0) == 1.0


@pytest.mark.parametrize("relation", ["add-remove", "zero-out"])
def test_fixed_cohorts_are_refused_outside_replace_one(relation: Relation) -> None:
    with pytest.raises(AccountingError, match="use relation replace-one"):
        epsilon(Repeated(FixedCohort(10, 100, Gaussian(1.0)), 3), relation, 1e-5)


@pytest.mark.parametrize(
    ("event", "relation", "said"),
    [
        (RandomizedResponse(0.5), "add-remove", "zero-out or replace-one"),
        (Poisson(0.1, Skellam(100.0, 1.0, 1.0)), "replace-one", "without amplification"),
        (Poisson(0.1, Laplace(1.0)), "replace-one", "without amplification"),
        (Poisson(0.1, FixedCohort(1, 2, Laplace(1.0))), "add-remove", "replace-one"),
        (Tuned(RandomizedResponse(0.5), 2.0, 1.0), "add-remove", "zero-out"),
        (DiscreteGaussian(0.1, 1.0, 1.0, 4, 10), "zero-out", "1/4 a share"),
    ],
)
def test_what_no_theorem_covers_is_refused_with_a_remedy(event: Event, relation: Relation, said: str) -> None:
    for ask in (epsilon, account, delta):
        with pytest.raises(AccountingError, match=said):
            ask(event, relation, 1e-5)


@pytest.mark.parametrize("bad", [0.0, 1.0, -1e-5, math.nan, math.inf, True, "1e-5"])
def test_delta_outside_the_open_unit_interval_is_refused(bad: float) -> None:
    with pytest.raises(AccountingError, match="delta"):
        epsilon(Gaussian(1.0), "add-remove", bad)


def test_an_unknown_relation_is_refused() -> None:
    with pytest.raises(AccountingError, match="add-remove, zero-out, replace-one"):
        epsilon(Gaussian(1.0), "add", 1e-5)  # type: ignore[arg-type]  # that it is wrong is the point


def test_discrete_noise_under_sampling_uses_the_general_bound() -> None:
    plain = epsilon(Repeated(Skellam(400.0, 10.0, 50.0), 20), "zero-out", 1e-5)
    sampled = account(Repeated(Poisson(0.05, Skellam(400.0, 10.0, 50.0)), 20), "zero-out", 1e-5)
    gaussian = epsilon(_rounds(0.05, 2.0, 20), "zero-out", 1e-5)
    assert gaussian < sampled.epsilon < plain
    assert sampled.accountant == "rdp"


@pytest.mark.parametrize(
    ("event", "relation", "least", "most"),
    [
        (Repeated(Poisson(1e-300, Gaussian(1.0)), 10**9), "add-remove", 0.0, 0.01),
        (Repeated(Poisson(0.5, Gaussian(1e150)), 10), "replace-one", 0.0, 1e-9),
        (Repeated(Laplace(1e-3), 10**6), "replace-one", 1e6, 2e9 * (1 + 1e-9)),
        (RandomizedResponse(1e-12, 10), "replace-one", 29.9, 30.0),
        (Repeated(FixedCohort(1, 10**9, Gaussian(1.0)), 1000), "replace-one", 0.0, 2.0),
        (Repeated(TruncatedPoisson(1.0, 5, 10, Gaussian(1.0)), 10), "add-remove", 10.0, 41.0),
        (Skellam(1e-300, 1.0, 1.0), "zero-out", 1e10, math.inf),
        (Skellam(1.0, 1e200, 1.0), "zero-out", 1e10, math.inf),
        (Skellam(1e300, 1.0, 1.0), "zero-out", 0.0, math.inf),
        (Tuned(Gaussian(5.0), 1e12, -0.9), "add-remove", 0.79, 10.0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_extreme_parameters_give_a_sane_number_in_bounded_memory(
    event: Event, relation: Relation, least: float, most: float
) -> None:
    found = account(event, relation, 1e-5)
    assert least <= found.epsilon <= most
    assert found.lower <= found.epsilon
