"""Participation: the laws of the draws, and what they do to an event."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tacit.privacy.entropy import SeededEntropy
from tacit.privacy.event import FixedCohort, Gaussian, Nothing, Poisson, Repeated, Skellam, TruncatedPoisson
from tacit.privacy.participation import (
    PARTICIPATIONS,
    Cyclic,
    Everyone,
    FixedOwners,
    ParticipationError,
    PoissonOwners,
    participation_name,
    repeated,
)

EVENT = Gaussian(1.0)
P_LIMIT = 1e-6


def draws(participation, population: int, rounds: int) -> list[np.ndarray]:
    entropy = SeededEntropy(11)
    return [participation.draw(population, round, entropy.stream("cohort", round)) for round in range(1, rounds + 1)]


ALL = [Everyone(), PoissonOwners(0.3), PoissonOwners(0.9, cap=3), FixedOwners(4), Cyclic(3, 4)]


@pytest.mark.parametrize("participation", ALL, ids=str)
def test_a_draw_is_an_ascending_set_of_owners_within_the_declared_most(participation) -> None:
    for chosen in draws(participation, 20, 50):
        assert chosen.dtype == np.int64
        assert bool((np.diff(chosen) > 0).all())
        assert all(0 <= owner < 20 for owner in chosen)
        assert len(chosen) <= participation.most(20)


@pytest.mark.parametrize("participation", ALL, ids=str)
def test_no_owner_takes_part_more_often_than_declared(participation) -> None:
    counts = np.bincount(np.concatenate(draws(participation, 20, 30)), minlength=20)
    assert counts.max() <= participation.times(30)


@pytest.mark.parametrize("participation", [Everyone(), PoissonOwners(0.3), FixedOwners(4), Cyclic(3, 4)], ids=str)
def test_the_expected_cohort_is_the_mean(participation) -> None:
    sizes = [len(chosen) for chosen in draws(participation, 20, 4000)]
    assert np.mean(sizes) == pytest.approx(participation.expected(20), abs=5.5 * math.sqrt(20 * 0.3 * 0.7 / 4000))


def test_poisson_draws_are_independent_of_the_given_rate() -> None:
    taken = np.zeros((3000, 12), dtype=int)
    for row, chosen in enumerate(draws(PoissonOwners(0.3), 12, 3000)):
        taken[row, chosen] = 1
    assert all(stats.binomtest(int(column.sum()), 3000, 0.3).pvalue > P_LIMIT for column in taken.T)
    sizes = np.bincount(taken.sum(axis=1), minlength=13)
    law = stats.binom(12, 0.3).pmf(np.arange(13)) * 3000
    keep = law >= 10
    observed = np.append(sizes[keep], sizes[~keep].sum())
    assert stats.chisquare(observed, np.append(law[keep], law[~keep].sum())).pvalue > P_LIMIT


def test_fixed_draws_are_uniform_over_subsets() -> None:
    counts: dict[tuple[int, ...], int] = {}
    for chosen in draws(FixedOwners(2), 5, 5000):
        counts[tuple(chosen)] = counts.get(tuple(chosen), 0) + 1
    assert len(counts) == 10
    assert stats.chisquare(list(counts.values())).pvalue > P_LIMIT


def test_a_capped_draw_cuts_to_a_uniform_subset() -> None:
    chosen = np.concatenate(draws(PoissonOwners(1.0, cap=2), 6, 3000))
    assert len(chosen) == 6000
    assert stats.chisquare(np.bincount(chosen, minlength=6)).pvalue > P_LIMIT


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10))
def test_cyclic_draws_keep_their_separation(cohort: int, separation: int, spare: int) -> None:
    population = cohort * separation + spare
    last: dict[int, int] = {}
    for round, chosen in enumerate(draws(Cyclic(cohort, separation), population, 20), start=1):
        assert len(chosen) == cohort
        for owner in chosen.tolist():
            assert round - last.get(owner, -separation) >= separation
            last[owner] = round


@pytest.mark.parametrize(
    ("participation", "expected"),
    [
        (Everyone(), EVENT),
        (PoissonOwners(0.2), Poisson(0.2, EVENT)),
        (PoissonOwners(1.0), EVENT),
        (PoissonOwners(0.2, cap=4), TruncatedPoisson(0.2, 4, 10, EVENT)),
        (PoissonOwners(0.2, cap=10), Poisson(0.2, EVENT)),
        (FixedOwners(3), FixedCohort(3, 10, EVENT)),
        (FixedOwners(10), EVENT),
        (Cyclic(2, 3), EVENT),
    ],
    ids=str,
)
def test_amplification(participation, expected: object) -> None:
    assert participation.amplified(EVENT, 10) == expected


def test_whoever_knows_some_of_the_draw_has_less_to_guess() -> None:
    assert FixedOwners(3).amplified(EVENT, 10, 2) == FixedCohort(3, 8, EVENT)
    assert FixedOwners(3).amplified(EVENT, 10, 7) == EVENT
    assert PoissonOwners(0.2).amplified(EVENT, 10, 7) == Poisson(0.2, EVENT)  # draws are independent
    assert PoissonOwners(0.2, cap=4).amplified(EVENT, 10, 1) == EVENT


def test_a_capped_cohort_with_other_noise_is_refused() -> None:
    with pytest.raises(ParticipationError, match="leave `cap` out"):
        PoissonOwners(0.2, cap=4).amplified(Skellam(1.0, 1.0, 1.0), 10)


def test_repetition() -> None:
    assert [repeated(EVENT, count) for count in (0, 1, 5)] == [Nothing(), EVENT, Repeated(EVENT, 5)]
    assert Cyclic(1, 4).times(9) == 3


def test_names() -> None:
    assert {participation_name(each) for each in ALL} == set(PARTICIPATIONS)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: PoissonOwners(0.0), "rate = 0.0; give"),
        (lambda: PoissonOwners(1.1), "rate = 1.1; give"),
        (lambda: PoissonOwners(math.nan), "rate = nan; give"),
        (lambda: PoissonOwners(0.5, cap=0), "cap = 0; give"),
        (lambda: FixedOwners(0), "cohort = 0; give"),
        (lambda: Cyclic(0, 1), "cohort = 0"),
        (lambda: FixedOwners(30).check(20), "cohort = 30 of 20 owners; give at most 20"),
        (lambda: PoissonOwners(0.5, cap=30).check(20), "cap = 30 of 20 owners"),
        (lambda: Cyclic(5, 5).check(20), "needs 25 owners; found 20; lower one"),
        (lambda: Everyone().check(0), "owners = 0; give at least 1"),
    ],
)
def test_impossible_draws_are_refused(make, says: str) -> None:
    with pytest.raises(ParticipationError) as refusal:
        make()
    assert says in str(refusal.value)


@pytest.mark.parametrize("participation", ALL, ids=str)
def test_possible_draws_pass(participation) -> None:
    participation.check(20)
