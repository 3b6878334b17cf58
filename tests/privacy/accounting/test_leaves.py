"""What is known of each leaf: every known leaf has an RDP vector, and pairs and vectors agree."""

import numpy as np
import pytest
from scipy.special import logsumexp
from tacit.privacy.accounting import cells, grid, leaves, renyi
from tacit.privacy.accounting.multiset import multiset
from tacit.privacy.accounting.relation import AccountingError, Relation
from tacit.privacy.event import (
    DiscreteGaussian,
    Event,
    FixedCohort,
    Gaussian,
    Laplace,
    Poisson,
    RandomizedResponse,
    Repeated,
    Skellam,
    Tree,
    TruncatedPoisson,
    Tuned,
)

PAIRED: list[tuple[Event, Relation]] = [
    (Gaussian(1.5), "add-remove"),
    (Gaussian(1.5), "replace-one"),
    (Laplace(2.0), "zero-out"),
    (Laplace(2.0), "replace-one"),
    (RandomizedResponse(0.6, 5), "zero-out"),
    (RandomizedResponse(0.6, 5), "replace-one"),
    (Poisson(0.2, Gaussian(1.5)), "add-remove"),
    (Poisson(0.2, Gaussian(1.5)), "replace-one"),
    (Poisson(0.2, Laplace(1.0)), "zero-out"),
    (TruncatedPoisson(0.2, 25, 100, Gaussian(1.5)), "add-remove"),
    (TruncatedPoisson(0.2, 25, 100, Gaussian(1.5)), "replace-one"),
    (FixedCohort(20, 100, Gaussian(1.5)), "replace-one"),
    (FixedCohort(20, 100, Laplace(2.0)), "replace-one"),
]


def _divergence(one: leaves.Pair, alpha: float) -> float:
    """log E_P e^{(α−1)L} / (α−1) on a fine pessimistic grid."""
    atoms = grid.pessimistic(cells.cut(one, 1e-3))
    with np.errstate(divide="ignore"):
        return float(logsumexp(np.log(atoms.mass) + (alpha - 1) * atoms.losses)) / (alpha - 1)


@pytest.mark.parametrize(("leaf", "relation"), PAIRED, ids=repr)
@pytest.mark.parametrize("alpha", [1.5, 2.0, 4.0])
def test_rdp_bounds_the_divergence_of_the_dominating_pairs(leaf: Event, relation: Relation, alpha: float) -> None:
    pairs = leaves.dominating(leaf, relation)
    assert pairs is not None
    vector = float(leaves.rdp(leaf, relation)[int(np.argmin(np.abs(renyi.ORDERS - alpha)))])
    exact = max(_divergence(one, alpha) for one in pairs)
    # A cohort's RDP theorem bounds the mechanism itself, and may lie below its dominating pair.
    assert vector >= exact * (1 - 1e-3) or isinstance(leaf, FixedCohort)
    if isinstance(leaf, Gaussian | RandomizedResponse) or (isinstance(leaf, Poisson) and isinstance(leaf.of, Gaussian)):
        assert vector == pytest.approx(exact, rel=1e-3)


@pytest.mark.parametrize(("leaf", "relation"), PAIRED, ids=repr)
def test_attained_pairs_never_exceed_dominating_ones(leaf: Event, relation: Relation) -> None:
    upper, lower = leaves.dominating(leaf, relation), leaves.attained(leaf, relation)
    assert upper is not None
    assert lower is not None
    for epsilon in (0.0, 0.3, 1.0, 2.5):

        def most(pairs: tuple[leaves.Pair, leaves.Pair], at: float = epsilon) -> float:
            tails = [one.above(np.array([at])) for one in pairs]
            return max(float(p[0] - np.exp(at) * q[0]) for p, q in tails)

        assert most(lower) <= most(upper) + 1e-12


@pytest.mark.parametrize(
    ("event", "relation"),
    [(Skellam(50.0, 2.0, 3.0), "zero-out"), (DiscreteGaussian(5.0, 2.0, 3.0, 8, 4), "replace-one"),
     (Tuned(Gaussian(2.0), 3.0, 1.0), "add-remove"), (Poisson(0.1, Skellam(50.0, 2.0, 3.0)), "add-remove"),
     (FixedCohort(10, 100, Skellam(50.0, 2.0, 3.0)), "replace-one")],
)  # fmt: skip
def test_leaves_known_by_rdp_alone(event: Event, relation: Relation) -> None:
    assert leaves.dominating(event, relation) is None
    vector = leaves.rdp(event, relation)
    assert np.all(vector > 0)
    assert np.isfinite(renyi.epsilon(vector, 1e-5))
    assert not vector.flags.writeable
    leaves.refuse_unknown(event, relation)


def test_amplification_by_cohorts_helps_discrete_noise_too() -> None:
    plain, drawn = Skellam(50.0, 2.0, 3.0), FixedCohort(2, 1000, Skellam(50.0, 2.0, 3.0))
    small, large = (renyi.epsilon(10 * leaves.rdp(leaf, "replace-one"), 1e-5) for leaf in (drawn, plain))
    assert small < 0.6 * large


def test_totals_add_up() -> None:
    total = leaves.total_rdp(multiset(Repeated(Laplace(2.0), 7)), "add-remove")
    assert total == pytest.approx(7 * leaves.rdp(Laplace(2.0), "add-remove"))
    assert leaves.total_pure(multiset(Repeated(Laplace(2.0), 7)), "replace-one") == pytest.approx(7.0)


def test_an_event_outside_the_table_is_refused() -> None:
    with pytest.raises(AccountingError, match="no accountant knows Tree"):
        leaves.rdp(Tree(1.0, 3), "zero-out")
