"""Recomputation: two computations that share no code agree on every kind of event, and what they do not confirm is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy import recomputation
from tacit.privacy.claim import Observer
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
    Repeated,
    Skellam,
    TruncatedPoisson,
)
from tacit.privacy.ledger.certificate import Cost
from tacit.privacy.ledger.currency import Currency
from tacit.privacy.recomputation import priced, recompute
from tacit.privacy.signal import Relation

RELATIONS: tuple[Relation, ...] = ("add-remove", "zero-out", "replace-one")


def cost(*events: tuple[Event, int], relation: Relation = "zero-out", extra: float = 0.0, delta: float = 1e-5) -> Cost:
    return priced(Currency("owner", relation, Observer("server")), "semi-honest", "statistical", events, extra, delta)


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize(
    ("event", "count", "by"),
    [(Gaussian(9.0), 3, "pld"), (Poisson(0.1, Gaussian(2.0)), 30, "pld"), (Laplace(5.0), 3, "pld"),
     (Repeated(Poisson(0.2, Gaussian(4.0)), 4), 5, "pld"), (TruncatedPoisson(0.1, 20, 100, Gaussian(3.0)), 3, "pld"),
     (Composed((Gaussian(9.0), Gaussian(7.0))), 2, "pld"), (Skellam(1e6, 300.0, 3000.0), 10, "rdp"),
     (DiscreteGaussian(1e6, 300.0, 3000.0, 100, 5), 10, "rdp")],
    ids=lambda value: type(value).__name__ if not isinstance(value, int | str) else str(value),
)  # fmt: skip
def test_both_computations_agree(relation: Relation, event: Event, count: int, by: str) -> None:
    found = recompute(cost((event, count), relation=relation))
    assert (found.fault, found.by) == ("", by)
    assert 0 < found.epsilon <= found.second * 1.01 + 0.005
    if by == "pld":
        assert found.second == pytest.approx(found.epsilon, rel=1e-3)


def test_a_fixed_cohort_is_held_against_an_upper_bound() -> None:
    """FACTS: n = 1000, m = 10, σ = 1, T = 100: the bound by subsampled RDP at doubled sensitivity is 11.2."""
    found = recompute(cost((FixedCohort(10, 1000, Gaussian(1.0)), 100), relation="replace-one"))
    assert (found.fault, found.by) == ("", "bound")
    assert found.epsilon < 11.2
    assert found.second == pytest.approx(11.21, abs=0.01)


def test_poisson_costs_what_others_say() -> None:
    """n = 1000, m = 10, σ = 1, T = 100 read as Poisson: 0.72."""
    assert recompute(cost((Poisson(0.01, Gaussian(1.0)), 100))).second == pytest.approx(0.72, abs=0.005)


@settings(max_examples=20)
@given(st.floats(2.0, 50.0), st.integers(1, 40), st.sampled_from([-1e-3, 1e-3, -0.5, 1.0]))
def test_another_number_than_follows_is_refused(noise: float, count: int, off: float) -> None:
    true = cost((Gaussian(noise), count))
    assert recompute(true).fault == ""
    assert "follows" in recompute(replace(true, epsilon=true.epsilon * (1 + off))).fault


def test_what_was_changed_beside_epsilon_is_refused() -> None:
    true = cost((Gaussian(9.0), 3), extra=1e-12)
    for changed in (
        replace(true, delta=2e-5), replace(true, events=((Gaussian(9.0), 4),)), replace(true, delta_extra=1e-7),
        replace(true, events=((Gaussian(9.1), 3),)), replace(true, epsilon=math.inf), replace(true, events=()),
        replace(true, currency=Currency("owner", "replace-one", Observer("server"))),
    ):  # fmt: skip
        assert recompute(changed).fault, changed


def test_a_finite_number_for_what_nothing_can_be_said_of_is_refused() -> None:
    hopeless = cost((Gaussian(9.0), 3), extra=1e-3)  # the samplers' error leaves nothing of δ
    assert math.isinf(hopeless.epsilon)
    assert recompute(hopeless).fault == ""
    assert "follows" in recompute(replace(hopeless, epsilon=1.0)).fault


def test_what_is_not_private_cannot_have_a_number() -> None:
    endless = cost((NonPrivate("seed"), 3))
    assert math.isinf(endless.epsilon)
    assert recompute(endless).fault == ""
    assert "nothing of it is private" in recompute(replace(endless, epsilon=1.0)).fault


def test_nothing_costs_nothing() -> None:
    for free in (cost(), cost((Nothing(), 3))):
        assert free.epsilon == 0
        assert recompute(free).fault == ""


def test_where_no_second_computation_applies_the_answer_is_no() -> None:
    many = cost((BandedMatrix(5.0, (1.0, 0.5), 4000, 2000, 2), 1))  # a matrix that nobody writes out
    sampled = cost((Poisson(0.1, BandedMatrix(5.0, (1.0, 0.5), 10, 5, 2)), 1))
    for each in (many, sampled):
        assert math.isfinite(each.epsilon)
        assert "no second computation" in recompute(each).fault


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize(
    "event",
    [BandedMatrix(9.0, (1.0, 0.5, 0.375), 12, 4, 3), BandedMatrix(9.0, (1.0, -0.5, 0.25), 12, 4, 3),
     BufferedLinearToeplitz(9.0, (0.9, 0.5), (0.12, 0.3), 12, 3, 4)],
    ids=["banded", "banded with signs", "blt"],
)  # fmt: skip
def test_a_schedule_of_correlated_noise_is_worked_out_again_by_its_matrix(relation: Relation, event: Event) -> None:
    stated = cost((event, 1), (Nothing(), 11), relation=relation)
    found = recompute(stated)
    assert (found.fault, found.by) == ("", "pld")
    assert found.second == pytest.approx(found.epsilon, rel=1e-3)
    assert "follows" in recompute(replace(stated, epsilon=stated.epsilon * 1.001)).fault


@pytest.mark.parametrize("event", [Gaussian(9.0), Skellam(1e6, 300.0, 3000.0)])
@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_two_computations_that_disagree_are_refused(
    event: Event, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault planted in the second one; the first has the same law from here, because only their difference is looked at."""
    true = cost((event, 3))
    honest = recomputation.second_epsilon

    def planted(*given: object) -> object:
        found, by = honest(*given)  # type: ignore[arg-type]  # passed on as it came
        return factor * found, by

    monkeypatch.setattr(recomputation, "second_epsilon", planted)
    assert "disagree" in recompute(true).fault


def test_an_accountant_of_ours_that_understates_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = recomputation.account_within

    def understated(*given: object) -> object:
        found = honest(*given)  # type: ignore[arg-type]  # passed on as it came
        return replace(found, epsilon=0.8 * found.epsilon)

    monkeypatch.setattr(recomputation, "account_within", understated)
    assert "disagree" in recompute(cost((Gaussian(9.0), 3))).fault
