"""Schedule: the events of a whole run, for whom they amplify, and what is refused."""

import pytest
from tacit.privacy.claim import ClaimError, Observer
from tacit.privacy.event import DiscreteGaussian, FixedCohort, Gaussian, NonPrivate, Poisson, Repeated
from tacit.privacy.participation import Cyclic, Everyone, FixedOwners, PoissonOwners
from tacit.privacy.pipeline import pipeline
from tacit.privacy.schedule import Schedule
from tacit.privacy.signal import Signal
from tacit.privacy.stages.central import CentralGaussian
from tacit.privacy.stages.clip import Clip
from tacit.privacy.stages.discrete import DiscreteGaussian as Shares
from tacit.privacy.stages.encode import Encode
from tacit.privacy.stages.mask import Mask
from tacit.privacy.stages.own import OwnGaussian

ANALYST, SERVER, OWNERS = Observer("analyst"), Observer("server"), Observer("owners")


def schedule(participation, *stages, rounds: int = 10, unit: str = "owner") -> Schedule:
    source = Signal(16, unit, least=5, most=50)
    return Schedule(pipeline(source, [Clip(1.0), *stages]), participation, 50, rounds)


CENTRAL = CentralGaussian(2.0)


def test_a_secret_draw_amplifies_for_those_who_do_not_know_it() -> None:
    plan = schedule(PoissonOwners(0.2), CENTRAL)
    assert plan.events(ANALYST, "add-remove") == (
        Repeated(Poisson(0.2, Gaussian(2.0)), 10),
        Repeated(Gaussian(2.0), 10),
    )
    assert plan.events(OWNERS, "add-remove")[0] == Repeated(Poisson(0.2, Gaussian(2.0)), 10)
    assert all(isinstance(each, Repeated | NonPrivate) for each in plan.events(SERVER, "add-remove"))
    assert isinstance(plan.round_events(SERVER, "add-remove")[0], NonPrivate)


def test_members_of_a_masked_cohort_see_one_another() -> None:
    plan = schedule(PoissonOwners(0.2), CENTRAL, Encode(bits=40), Mask())
    assert plan.round_events(ANALYST, "add-remove")[0] == Poisson(0.2, Gaussian(2.0))
    assert plan.round_events(OWNERS, "add-remove")[0] == Gaussian(2.0)


def test_a_fixed_cohort_amplifies_under_replace_one_only() -> None:
    plan = schedule(FixedOwners(5), CENTRAL)
    assert plan.round_events(ANALYST, "replace-one") == (FixedCohort(5, 50, Gaussian(2.0)), Gaussian(2.0))
    assert plan.round_events(ANALYST, "zero-out")[0] == Gaussian(2.0)
    with pytest.raises(ClaimError, match='use relation = "replace-one"'):
        plan.round_events(ANALYST, "add-remove")


def test_an_owner_knows_its_own_draw_and_colluders_theirs() -> None:
    plan = schedule(FixedOwners(5), CENTRAL)
    assert plan.round_events(OWNERS, "replace-one")[0] == FixedCohort(5, 49, Gaussian(2.0))
    assert plan.round_events(Observer("analyst", 10), "replace-one")[0] == FixedCohort(5, 40, Gaussian(2.0))


def test_shared_noise_is_claimed_for_a_public_cohort_that_stays() -> None:
    plan = schedule(PoissonOwners(0.5), Encode(20), Shares(2.0), Mask())
    amplified, plain = plan.round_events(SERVER, "zero-out")
    assert isinstance(amplified, DiscreteGaussian)
    assert amplified == plain
    assert amplified.shares == 5
    assert amplified.variance * 5 == pytest.approx((2.0 * amplified.l2) ** 2)
    for relation in ("add-remove", "replace-one"):
        with pytest.raises(ClaimError, match='use relation = "zero-out"'):
            plan.round_events(SERVER, relation)


def test_separation_saves_rounds() -> None:
    plan = schedule(Cyclic(5, 4), CENTRAL, rounds=10)
    assert plan.events(ANALYST, "add-remove")[0] == Repeated(Gaussian(2.0), 3)
    assert plan.delta_extra() == pytest.approx(3 * plan.pipeline.final.delta_extra)
    assert plan.events(ANALYST, "add-remove", rounds=4)[0] == Gaussian(2.0)


@pytest.mark.parametrize(
    ("stages", "basis", "adversary"),
    [
        ([CENTRAL], "statistical", "honest"),
        ([OwnGaussian(2.0)], "statistical", "semi-honest"),
        ([Encode(20), Shares(2.0), Mask()], "computational", "malicious"),
        ([Encode(20), Shares(2.0), Mask("semi-honest")], "computational", "semi-honest"),
    ],
)
def test_a_claim_says_what_it_rests_on(stages: list, basis: str, adversary: str) -> None:
    claim = schedule(Everyone(), *stages).claim(ANALYST, "zero-out")
    assert (claim.basis, claim.adversary) == (basis, adversary)
    assert claim.unit == "owner"
    assert 0 < claim.delta_extra < 1e-9
    assert claim.why


def test_without_noise_there_is_nothing_to_claim() -> None:
    claim = schedule(Everyone()).claim(ANALYST, "add-remove")
    assert isinstance(claim.event.of, NonPrivate)
    assert claim.why == "no noise is added"


def test_a_norm_that_adapts_leaves_the_events_alone() -> None:
    from tacit.privacy.stages.adaptive import AdaptiveClip

    source = Signal(16, "owner", least=5, most=50, expected=10.0)
    line = pipeline(source, [AdaptiveClip(1.0), CENTRAL])
    plan = Schedule(line, PoissonOwners(0.2), 50, 3)
    later = Schedule(line.at(((0.0123,), ())), PoissonOwners(0.2), 50, 3)
    assert plan.events(ANALYST, "add-remove") == later.events(ANALYST, "add-remove")
