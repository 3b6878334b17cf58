"""Claims: the public table, row by row, and the event that an observer faces."""

from dataclasses import replace
from itertools import product

import pytest
from tacit.privacy.claim import RULES, Claim, ClaimError, Observer, event_of, verdict
from tacit.privacy.event import DiscreteGaussian, Gaussian, NonPrivate, Poisson, Skellam
from tacit.privacy.signal import Masks, Noise, Signal

UNITS = ("owner", "example")
RELATIONS = ("add-remove", "zero-out", "replace-one")
PARTICIPATIONS = ("everyone", "poisson", "fixed", "cyclic")
PLACES = ("owner", "shared", "server")

# Owner level, per relation and place: one letter for each of everyone, poisson, fixed, cyclic.
# A: allowed and amplified, a: allowed, not amplified, -: refused. PRIVACY.md 1 and 2.
OWNER = {
    ("add-remove", "server"): "aA-a",
    ("zero-out", "server"): "aAaa",
    ("replace-one", "server"): "aAAa",
    ("add-remove", "shared"): "----",
    ("zero-out", "shared"): "aaaa",
    ("replace-one", "shared"): "----",
    ("add-remove", "owner"): "----",
    ("zero-out", "owner"): "aaaa",
    ("replace-one", "owner"): "aaaa",
}


@pytest.mark.parametrize(("relation", "place", "participation"), list(product(RELATIONS, PLACES, PARTICIPATIONS)))
def test_owner_level_claims(relation: str, place: str, participation: str) -> None:
    rule = verdict("owner", relation, participation, place)
    letter = OWNER[relation, place][PARTICIPATIONS.index(participation)]
    assert (rule.allowed, rule.amplified) == {"A": (True, True), "a": (True, False), "-": (False, False)}[letter]
    assert rule.why
    assert rule.allowed or "use relation" in rule.why  # a refusal names the remedy


@pytest.mark.parametrize(("relation", "place", "participation"), list(product(RELATIONS, PLACES, PARTICIPATIONS)))
def test_example_level_claims_never_count_on_a_draw_of_owners(relation: str, place: str, participation: str) -> None:
    rule = verdict("example", relation, participation, place)
    assert (rule.allowed, rule.amplified) == (True, False)


def test_every_rule_decides_something() -> None:
    combinations = product(UNITS, RELATIONS, PARTICIPATIONS, PLACES)
    assert {id(verdict(*each)) for each in combinations} == {id(rule) for rule in RULES}


def test_what_no_rule_decides_is_refused() -> None:
    with pytest.raises(ClaimError, match="no rule decides"):
        verdict("household", "add-remove", "everyone", "server")


def signal(*noise: Noise, **given: object) -> Signal:
    return Signal(100, "owner", sensitivity=10.0, bound=10.0, scale=0.1, noise=noise, **given)


SERVER = Noise("gaussian", "server", 900.0)
OWN = Noise("gaussian", "owner", 900.0)
SHARES = Noise("discrete-gaussian", "shared", 100.0)
SKELLAM = Noise("skellam", "shared", 100.0)
HIDDEN = NonPrivate


@pytest.mark.parametrize(
    ("noise", "given", "who", "colluders", "expected"),
    [
        (SERVER, {}, "analyst", 0, Gaussian(3.0)),
        (SERVER, {}, "owners", 5, Gaussian(3.0)),
        (SERVER, {}, "server", 0, HIDDEN),
        (OWN, {}, "analyst", 0, Gaussian(3.0)),
        (OWN, {}, "server", 0, Gaussian(3.0)),
        (OWN, {}, "owners", 3, Gaussian(3.0)),
        (SHARES, {"least": 9}, "analyst", 0, DiscreteGaussian(100.0, 10.0, 100.0, 100, 9)),
        (SHARES, {"least": 9}, "analyst", 2, DiscreteGaussian(100.0, 10.0, 100.0, 100, 7)),
        (SHARES, {"least": 9}, "analyst", 9, HIDDEN),
        (SHARES, {"least": 9}, "server", 0, HIDDEN),
        (
            SHARES,
            {"least": 9, "masked": Masks("malicious", 4)},
            "server",
            0,
            DiscreteGaussian(100.0, 10.0, 100.0, 100, 9),
        ),
        (
            SHARES,
            {"least": 9, "masked": Masks("malicious", 4)},
            "server",
            4,
            DiscreteGaussian(100.0, 10.0, 100.0, 100, 5),
        ),
        (SHARES, {"least": 9, "masked": Masks("malicious", 20)}, "server", 12, HIDDEN),
        (SKELLAM, {"least": 9}, "owners", 1, Skellam(800.0, 10.0, 100.0)),
        (SHARES, {"least": 9, "masked": Masks("malicious", 3)}, "server", 4, HIDDEN),
        (SKELLAM, {"least": 9, "masked": Masks("malicious", 4)}, "server", 0, Skellam(900.0, 10.0, 100.0)),
    ],
)
def test_the_event_that_an_observer_faces(
    noise: Noise, given: dict, who: str, colluders: int, expected: object
) -> None:
    found = event_of(signal(noise, **given), Observer(who, colluders))
    if expected is HIDDEN:
        assert isinstance(found, NonPrivate)
        assert found.reason
    else:
        assert found == expected


def test_a_solver_that_carries_its_event_is_charged_that() -> None:
    prior = Poisson(0.1, Gaussian(1.0))
    carried = Signal(4, "example", prior=prior)
    assert all(event_of(carried, Observer(who)) == prior for who in ("server", "analyst", "owners"))
    with pytest.raises(ClaimError, match="remove one"):
        event_of(replace(carried, noise=(SERVER,)), Observer())


def test_no_noise_is_no_privacy() -> None:
    assert isinstance(event_of(signal(), Observer()), NonPrivate)


@pytest.mark.parametrize("other", [OWN, SKELLAM, Noise("gaussian", "server", 900.0, block="metrics")])
def test_mixed_noise_has_no_event(other: Noise) -> None:
    with pytest.raises(ClaimError, match="no joint bound is proven; keep one"):
        event_of(signal(SERVER, other), Observer())


def test_noise_over_an_unbounded_unit_has_no_event() -> None:
    with pytest.raises(ClaimError, match="put a clip before the noise"):
        event_of(Signal(4, "owner", noise=(SERVER,)), Observer())


def test_a_claim_as_json_names_what_it_is_about() -> None:
    claim = Claim(
        "owner",
        Observer("server", 2),
        "zero-out",
        "semi-honest",
        "computational",
        Gaussian(1.0),
        Gaussian(1.0),
        1e-9,
        "w",
    )
    row = claim.to_json()
    assert [row[key] for key in ("unit", "observer", "colluders", "relation", "adversary", "basis", "delta_extra")] == [
        "owner", "server", 2, "zero-out", "semi-honest", "computational", 1e-9,
    ]  # fmt: skip
    assert row["events"] == {"event": "gaussian", "noise_multiplier": 1.0}
    assert "epsilon" not in row


def test_observers_in_words() -> None:
    assert str(Observer("analyst")) == "analyst"
    assert str(Observer("server", 3)) == "server with 3 colluding owners"
