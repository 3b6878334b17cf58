"""A malicious server lies about who survived: nobody shows both kinds of share for one owner, nor one for another story.

Seven members, of whom owner 20 helps the server (its keys are the server's). Five shares open a secret, five signatures agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tacit.privacy.secagg import keys, mask, messages
from tacit.privacy.secagg import session as sessions
from tacit.privacy.secagg.errors import FaultError
from tacit.privacy.secagg.messages import Agreements, Secret, Survivors, Verdict
from tacit.privacy.secagg.parameters import Parameters

Make = Callable[..., Any]
EVE, HONEST = 20, (2, 5, 8, 11, 14, 17)
EVERYBODY = (*HONEST, EVE)


def agreed(world: Any, view: bytes, survivors: tuple[int, ...], index: int) -> bytes:
    """The signature of a member over a set of survivors, which the server makes for owner 20."""
    return keys.sign(world.signing[index], "agree", Survivors(survivors).signed(view))


WITHOUT_2 = (5, 8, 11, 14, 17, EVE)


class TellsHalfThatOneDropped:
    """Owner 2's seed from one half, its mask key from the other: together its vector. Owner 20 signs both stories."""

    code, hit = "agreement", (5, 8, 11, 14, 17)
    half = (5, 8, 11)

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step == "agree" and index in self.half:
            return Survivors(WITHOUT_2).to_bytes(world.session)
        return request

    def begin(self, world: Any, step: str) -> None:
        if step != "agree":
            return
        # the agreements are composed by the server, each half with its own
        true, view = world.collector.requests(), world.collector._view
        said: dict[int, bytes] = {}
        for index in EVERYBODY:
            answer = world.ask(index, "agree", self.tell(world, step, index, true[index]))
            said[index] = messages.agreement_from(answer, world.session).signature
        for index in HONEST:
            mine = WITHOUT_2 if index in self.half else EVERYBODY
            side = [each for each in HONEST if (each in self.half) == (index in self.half)]
            signed = {each: said[each] for each in side} | {EVE: agreed(world, view, mine, EVE)}
            world.ask(index, "unmask", Agreements(signed).to_bytes(world.session))


class MixesSignaturesOfTwoStories(TellsHalfThatOneDropped):
    """Enough signatures, but half of them on the other story."""

    code, hit = "signature", (5, 8, 11, 14, 17)

    def begin(self, world: Any, step: str) -> None:
        if step != "agree":
            return
        true, view = world.collector.requests(), world.collector._view
        said = {}
        for index in EVERYBODY:
            answer = world.ask(index, "agree", self.tell(world, step, index, true[index]))
            said[index] = messages.agreement_from(answer, world.session).signature
        for index in (5, 8, 11, 14, 17):
            mine = WITHOUT_2 if index in self.half else EVERYBODY
            signed = {each: said[each] for each in (5, 8, 11, 14, 17)} | {EVE: agreed(world, view, mine, EVE)}
            world.ask(index, "unmask", Agreements(signed).to_bytes(world.session))


class ChangesTheSurvivorsAfterTheySigned:
    """Everybody signed one set; the server asks to sign another."""

    code, hit = "changed", HONEST

    def begin(self, world: Any, step: str) -> None:
        if step == "unmask":
            for index in HONEST:
                world.ask(index, "agree", Survivors(WITHOUT_2).to_bytes(world.session))


class ForgesAgreementsOnAnotherSet:
    """Everybody signed one set; the server shows signatures on another, its own helper's and made-up ones."""

    code, hit = "signature", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step != "unmask" or index == EVE:
            return request
        signed = dict(messages.agreements_from(request, world.session).signatures)
        others = [each for each in signed if each != index]
        signed |= {each: agreed(world, world.collector._view, WITHOUT_2, EVE) for each in others}
        return Agreements(signed).to_bytes(world.session)


class ShowsItsHelpersSignatureManyTimes:
    """One colluder stands in for every signature that is lacking."""

    code, hit = "signature", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step != "unmask" or index == EVE:
            return request
        signed = dict(messages.agreements_from(request, world.session).signatures)
        return Agreements({each: own if each == index else signed[EVE] for each, own in signed.items()}).to_bytes(
            world.session
        )


class LeavesOutTheirOwnSignature:
    """Six of seven agree, on whatever they agree: an owner finds its own word missing."""

    code, hit = "agreement", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step != "unmask" or index == EVE:
            return request
        signed = dict(messages.agreements_from(request, world.session).signatures)
        del signed[index]
        return Agreements(signed).to_bytes(world.session)


class ShowsTwoViews:
    """The same members and survivors, but half were shown one report more before they masked: their masks do not cancel."""

    code, hit = "signature", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step != "mask" or index not in (5, 8, 11):
            return request
        unsigned = messages.Report(EVE, bytes(32), {}, b"")
        signature = keys.sign(world.signing[EVE], "report", unsigned.signed(world.session))
        return Verdict(EVERYBODY, (replace(unsigned, signature=signature),)).to_bytes(world.session)

    def begin(self, world: Any, step: str) -> None:
        if step != "agree":
            return
        asked = world.collector.requests()
        answers = {index: world.ask(index, "agree", asked[index]) for index in EVERYBODY}
        signed = {each: messages.agreement_from(said, world.session).signature for each, said in answers.items()}
        for index in HONEST:
            world.ask(index, "unmask", Agreements(signed).to_bytes(world.session))


class NamesADroppedOwnerAmongSigners:
    """A quorum is filled with members that are no survivors."""

    code, hit = "agreement", (2, 5, 8, 11, 14)

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step == "mask" and index == 17:
            return None
        if step == "unmask" and index != EVE:
            signed = dict(messages.agreements_from(request, world.session).signatures)
            signed[17] = signed[EVE]
            return Agreements({each: signed[each] for each in sorted(signed)}).to_bytes(world.session)
        return request


class SaysThatItsVictimDropped:
    """The victim itself is asked to sign that it did not survive: it knows better."""

    code, hit = "survivors", (2,)
    opens = True

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        return Survivors(WITHOUT_2).to_bytes(world.session) if step == "agree" and index == 2 else request


class AsksForBothKindsOneAfterTheOther:
    """After the shares for one set of survivors, those for another, with whatever signatures."""

    code, hit = "changed", HONEST
    opens = True

    def begin(self, world: Any, step: str) -> None:
        if step != "unmask":
            return
        true, view = world.collector.requests(), world.collector._view
        for index in HONEST:
            world.ask(index, "unmask", true[index])
        for index in HONEST:  # forged as well as can be: even with everybody's keys
            signed = {each: agreed(world, view, WITHOUT_2, each) for each in WITHOUT_2}
            world.ask(index, "unmask", Agreements(signed).to_bytes(world.session))


class DeclaresTooManyDropped:
    """A sum of one is what it sent: everybody else is declared dropped."""

    code, hit = "too-few", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        alive = tuple(sorted({index, 2, 5, EVE}))
        return Survivors(alive).to_bytes(world.session) if step == "agree" else request


class InventsASurvivor:
    """A survivor whom nobody asked for a vector is one more to count towards the floor."""

    code, hit = "survivors", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        return Survivors((*EVERYBODY, 99)).to_bytes(world.session) if step == "agree" else request


ATTACKS = [
    TellsHalfThatOneDropped,
    MixesSignaturesOfTwoStories,
    ChangesTheSurvivorsAfterTheySigned,
    ForgesAgreementsOnAnotherSet,
    ShowsItsHelpersSignatureManyTimes,
    LeavesOutTheirOwnSignature,
    ShowsTwoViews,
    NamesADroppedOwnerAmongSigners,
    SaysThatItsVictimDropped,
    AsksForBothKindsOneAfterTheOther,
    DeclaresTooManyDropped,
    InventsASurvivor,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_two_stories_about_survivors_show_no_share_of_use(
    world: Make, defeated: Callable[..., None], attack: type
) -> None:
    defeated(world(), attack())


@pytest.mark.parametrize("origin", [{"attempt": 2}, {"round": 4}, {"run": "another"}], ids=str)
def test_an_agreement_of_another_attempt_round_or_run_proves_nothing(world: Make, origin: dict[str, Any]) -> None:
    at, other = world(), world(**origin)
    elsewhere = messages.agreements_from(other.until("unmask")[2], other.session).signatures
    for index, request in at.until("unmask").items():
        own = messages.agreements_from(request, at.session).signatures[index]
        assert at.ask(index, "unmask", Agreements({**elsewhere, index: own}).to_bytes(at.session)) is None
        assert at.refusals[index].code == "signature"
    at.judge()
    assert at.openings() == []


def test_a_vector_that_comes_late_stays_masked_though_its_owner_s_key_is_open(world: Make) -> None:
    """Everybody is told that owner 2 dropped, its vector arrives after that: its own mask is on it, and nobody shows a seed."""

    class Late:
        vector: Any = None

        def say(self, world: Any, step: str, index: int, answer: Any) -> Any:
            if step == "mask" and index == 2:
                self.vector = answer
                return None
            return answer

    at, late = world(), Late()
    at.play(late, before="agree")
    with pytest.raises(FaultError, match="a vector in step agree"):  # an honest server adds nothing that comes late
        at.collector.fold(2, late.vector)
    at.play(late)
    assert np.array_equal(at.collector.total(), at.sum(WITHOUT_2))
    shown = at.shares_of(2)
    assert shown[Secret.SEED] == set()
    assert shown[Secret.MASK_KEY] == set(WITHOUT_2)
    # What the server can do: take every pair mask off with the mask key that was opened.
    view, bits = at.collector._view, at.parameters.bits
    own = at.owners[2]._secrets
    rest = mask.working(late.vector, bits)
    for each in WITHOUT_2:
        shared = own.mask_key.shared(at.collector._advertised[each].mask_key)
        sign = sessions.pair_sign(2, each)
        mask.add_mask(rest, sessions.pair_mask(shared, view, 2, each), -1 if sign == 1 else 1, bits)
    mask.reduce(rest, bits)
    assert not np.array_equal(rest, at.vectors[2])
    mask.add_mask(
        rest, sessions.self_mask(own.seed, view, 2), -1, bits
    )  # what is left is the mask of its seed, exactly
    mask.reduce(rest, bits)
    assert np.array_equal(rest, at.vectors[2])
    at.judge()
    assert at.ask(2, "agree", Survivors(EVERYBODY).to_bytes(at.session)) is not None  # its one signature helps nobody
    assert at.ask(2, "unmask", Agreements({2: at.owners[2]._agreed}).to_bytes(at.session)) is None
    assert at.refusals[2].code == "agreement"


def test_one_vector_is_masked_once(world: Make) -> None:
    """Two masked copies of one vector, for two verdicts, would give the server the difference of two sums."""
    at = world()
    true = at.until("mask")[2]
    first = at.ask(2, "mask", true)
    assert at.ask(2, "mask", true) is first
    at.vectors[2] = at.vectors[2] + 1
    assert at.ask(2, "mask", true) is first
    assert at.ask(2, "mask", Verdict(EVERYBODY[:-1], ()).to_bytes(at.session)) is None
    assert at.refusals[2].code == "changed"
    assert at.ask(2, "agree", Survivors(EVERYBODY).to_bytes(at.session)) is None
    at.judge()


def test_sybils_that_sign_two_stories_are_no_quorum(world: Make) -> None:
    """Eight honest owners in two halves; two members that they did not approve sign for either, and make six of ten of each."""
    at = world(
        Parameters(n=10, least=7, colluders=0, threshold=7, bits=20, dim=3, adversary="malicious"),
        approved=frozenset(range(2, 24, 3)),
    )
    at.until("agree")
    members, sybils, view = tuple(at.cohort), (26, 29), at.collector._view
    for half, survivors in (((2, 5, 8, 11), members), ((14, 17, 20, 23), members[1:])):
        asked = Survivors(survivors).to_bytes(at.session)
        said = {each: at.ask(each, "agree", asked) for each in half}
        signed = {each: messages.agreement_from(answer, at.session).signature for each, answer in said.items()}
        signed |= {each: agreed(at, view, survivors, each) for each in sybils}
        for each in half:
            assert at.ask(each, "unmask", Agreements(signed).to_bytes(at.session)) is None
            assert at.refusals[each].code == "agreement"
            assert "6 agree on the survivors, and 7 have to" in str(at.refusals[each])
    assert at.openings() == []
    at.judge()
