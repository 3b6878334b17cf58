"""The canonical form: what composition may not depend on."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.accounting.multiset import counts, event_of, merged, multiset
from tacit.privacy.accounting.relation import AccountingError
from tacit.privacy.event import (
    BandedMatrix,
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

_parts: list[Event] = [Gaussian(2.0), Laplace(3.0), Poisson(0.1, Gaussian(1.0)), Skellam(10.0, 1.0, 1.0), Nothing()]


@given(st.lists(st.sampled_from(_parts), max_size=8), st.randoms())
def test_order_and_nesting_do_not_matter(parts: list[Event], chance: random.Random) -> None:
    flat = multiset(Composed(tuple(parts)))
    shuffled = list(parts)
    chance.shuffle(shuffled)
    half = len(shuffled) // 2
    nested = Composed((Composed(tuple(shuffled[:half])), Repeated(Composed(tuple(shuffled[half:])), 1)))
    assert multiset(nested) == flat
    assert multiset(event_of(flat)) == flat


@given(st.lists(st.tuples(st.floats(0.1, 100), st.integers(1, 50)), min_size=1, max_size=6))
def test_gaussians_merge_by_their_precisions(parts: list[tuple[float, int]]) -> None:
    found = multiset(Composed(tuple(Repeated(Gaussian(noise), count) for noise, count in parts))).gaussian
    assert found is not None
    assert found**-2 == pytest.approx(sum(count / noise**2 for noise, count in parts))


@pytest.mark.parametrize(
    ("event", "leaf"),
    [
        (Poisson(0.0, Gaussian(1.0)), None),
        (Poisson(0.3, Nothing()), None),
        (Poisson(1.0, Gaussian(1.0)), Gaussian(1.0)),
        (Repeated(Gaussian(1.0), 0), None),
        (Composed(()), None),
        (FixedCohort(10, 10, Gaussian(1.0)), Gaussian(1.0)),
        (TruncatedPoisson(0.0, 5, 10, Gaussian(1.0)), None),
        (TruncatedPoisson(0.5, 10, 10, Gaussian(1.0)), Poisson(0.5, Gaussian(1.0))),
        (RandomizedResponse(1.0, 5), None),
        (RandomizedResponse(0.0, 1), None),
        (RandomizedResponse(0.0, 5), NonPrivate()),
        (Skellam(0.0, 1.0, 1.0), NonPrivate()),
        (Skellam(0.0, 0.0, 0.0), None),
        (DiscreteGaussian(0.0, 1.0, 1.0, 1), NonPrivate()),
        (Gaussian(0.0), NonPrivate()),
        (Laplace(0.0), NonPrivate()),
        (Gaussian(1e-200), NonPrivate()),
        (NonPrivate("by choice"), NonPrivate()),
        (Poisson(0.5, NonPrivate()), NonPrivate()),
        (Tuned(Gaussian(0.0), 2.0, 1.0), NonPrivate()),
        (Poisson(0.5, Poisson(0.4, Gaussian(1.0))), Poisson(0.2, Gaussian(1.0))),
        (Poisson(0.5, Repeated(Gaussian(2.0), 4)), Poisson(0.5, Gaussian(1.0))),
        (Poisson(0.5, Composed((Gaussian(math.sqrt(2)), Gaussian(math.sqrt(2))))), Poisson(0.5, Gaussian(1.0))),
        (FixedCohort(5, 10, Repeated(Gaussian(2.0), 4)), FixedCohort(5, 10, Gaussian(1.0))),
        (Tree(2.0, 8), Gaussian(1.0)),
        (BandedMatrix(2.0, (1.0,), 10, 1, 4), Gaussian(1.0)),
    ],
)
def test_canonical_leaves(event: Event, leaf: Event | None) -> None:
    found = multiset(event).leaves
    if leaf is None:
        assert found == ()
        return
    ((only, count),) = found
    assert count == 1
    assert type(only) is type(leaf)
    assert multiset(Composed((only, leaf))) == multiset(Repeated(leaf, 2)) or only == leaf


def test_anything_readable_without_noise_is_all_there_is() -> None:
    assert multiset(Composed((Gaussian(1.0), NonPrivate("x"), Laplace(1.0)))).leaves == ((NonPrivate(), 1),)


def test_counts_beyond_float64_are_refused() -> None:
    with pytest.raises(AccountingError, match="2\\^53"):
        multiset(Repeated(Repeated(Laplace(1.0), 2**52), 2**52))


def test_counts_keep_gaussians_apart_and_merged_joins_them() -> None:
    found = counts(Composed((Gaussian(1.0), Gaussian(2.0), Gaussian(1.0))))
    assert found == {Gaussian(1.0): 2, Gaussian(2.0): 1}
    assert merged(found).gaussian == pytest.approx((2 + 0.25) ** -0.5)
