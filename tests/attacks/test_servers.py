"""A malicious server as a program, one owner in league with it: attacks end in typed refusals and show no share of use.

Seven members, of whom owner 20 helps the server (its keys are the server's). Five shares open a secret, five signatures agree.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.privacy.secagg import keys, mask, messages
from tacit.privacy.secagg import session as sessions
from tacit.privacy.secagg.keys import AgreementKey
from tacit.privacy.secagg.messages import Advertisement, Agreements, Directory, Secret, Shares, Survivors, Verdict
from tacit.privacy.secagg.owner import STEPS

Make = Callable[..., Any]
EVE, HONEST = 20, (2, 5, 8, 11, 14, 17)
EVERYBODY = (*HONEST, EVE)


def signer(index: int) -> Ed25519PrivateKey:
    """A member's signing key, of which the coalition has only owner 20's; tests also forge with others'."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"member %d" % index).digest())


class Server:
    """Follows the protocol; attacks override. `hit` refuse with `code`; `opens` says whether anybody shows a share."""

    code = ""
    hit: tuple[int, ...] = ()
    opens = False

    def begin(self, world: Any, step: str) -> None:
        return

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        return request

    def say(self, world: Any, step: str, index: int, answer: Any) -> Any:
        return answer


def agreed(world: Any, view: bytes, survivors: tuple[int, ...], index: int) -> bytes:
    """The signature of a member over a set of survivors, which the server makes for owner 20."""
    return keys.sign(signer(index), "agree", Survivors(survivors).signed(view))


# --- which owners survived ---

WITHOUT_2 = (5, 8, 11, 14, 17, EVE)


class TellsHalfThatOneDropped(Server):
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


class ChangesTheSurvivorsAfterTheySigned(Server):
    """Everybody signed one set; the server asks to sign another."""

    code, hit = "changed", HONEST

    def begin(self, world: Any, step: str) -> None:
        if step == "unmask":
            for index in HONEST:
                world.ask(index, "agree", Survivors(WITHOUT_2).to_bytes(world.session))


class ForgesAgreementsOnAnotherSet(Server):
    """Everybody signed one set; the server shows signatures on another, its own helper's and made-up ones."""

    code, hit = "signature", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step != "unmask" or index == EVE:
            return request
        signed = dict(messages.agreements_from(request, world.session).signatures)
        others = [each for each in signed if each != index]
        signed |= {each: agreed(world, world.collector._view, WITHOUT_2, EVE) for each in others}
        return Agreements(signed).to_bytes(world.session)


class ShowsItsHelpersSignatureManyTimes(Server):
    """One colluder stands in for every signature that is lacking."""

    code, hit = "signature", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step != "unmask" or index == EVE:
            return request
        signed = dict(messages.agreements_from(request, world.session).signatures)
        return Agreements({each: own if each == index else signed[EVE] for each, own in signed.items()}).to_bytes(
            world.session
        )


class NamesADroppedOwnerAmongSigners(Server):
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


class SaysThatItsVictimDropped(Server):
    """The victim itself is asked to sign that it did not survive: it knows better."""

    code, hit = "survivors", (2,)
    opens = True

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        return Survivors(WITHOUT_2).to_bytes(world.session) if step == "agree" and index == 2 else request


class AsksForBothKindsOneAfterTheOther(Server):
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


class DeclaresTooManyDropped(Server):
    """A sum of one is what it sent: everybody else is declared dropped."""

    code, hit = "too-few", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        alive = tuple(sorted({index, 2, 5, EVE}))
        return Survivors(alive).to_bytes(world.session) if step == "agree" else request


class InventsASurvivor(Server):
    """A survivor whom nobody asked for a vector is one more to count towards the floor."""

    code, hit = "survivors", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        return Survivors((*EVERYBODY, 99)).to_bytes(world.session) if step == "agree" else request


# --- who masks ---


class TellsHalfOfOtherMembers(Server):
    """Two verdicts: one half masks without owner 17, so that what its masks leave in the other half's sum says something."""

    code, hit = "survivors", (2, 5, 8)

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step == "mask" and index in self.hit:
            return Verdict(tuple(each for each in EVERYBODY if each != 17), ()).to_bytes(world.session)
        return request


class ExpelsEverybodyElse(Server):
    """A verdict with its victim, its helper and nobody besides."""

    code, hit = "too-few", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        kept = tuple(sorted({index, EVE}))
        return Verdict(kept, ()).to_bytes(world.session) if step == "mask" else request


class MakesUpAComplaint(Server):
    """Complaints, not signed by who they are said to be of, to expel honest owners with."""

    code, hit = "signature", (2, 5, 8, 14, 17)

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step != "mask":
            return request
        report = messages.Report(EVE, bytes(32), {11: messages.Reason.SHARE}, bytes(64))
        return Verdict(tuple(each for each in EVERYBODY if each != 11), (report,)).to_bytes(world.session)


# --- keys ---

FRESH = AgreementKey.of(bytes(range(32)))
LOW = (1).to_bytes(32, "little")


class Directories(Server):
    """Everybody is shown a directory in which `change` changed the advertisements."""

    hit = HONEST

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        raise NotImplementedError

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step != "deal":
            return request
        listed = {each.index: each for each in messages.directory_from(request, world.context).full}
        self.change(world, listed)
        full = tuple(listed[each] for each in sorted(listed))
        return Directory(messages.entries(full), full).to_bytes(world.context)


def signed(world: Any, advertisement: Advertisement) -> Advertisement:
    """With the helper's own signature."""
    signature = keys.sign(signer(EVE), "advertise", advertisement.signed(world.context))
    return replace(advertisement, signature=signature)


class SubstitutesAMaskKey(Directories):
    """The server in the middle of owner 2's masks; owner 2 itself sees that its own entry was changed."""

    code, hit = "signature", (5, 8, 11, 14, 17)

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[2] = replace(listed[2], mask_key=FRESH.public)


class SubstitutesASealingKey(SubstitutesAMaskKey):
    """The server reads what is dealt to owner 2."""

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[2] = replace(listed[2], sealing_key=FRESH.public)


class SwapsTheKeysOfTwoOwners(Directories):
    """Owner 2's keys under owner 5's name."""

    code, hit = "signature", (8, 11, 14, 17)

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[2], listed[5] = replace(listed[5], index=2), replace(listed[2], index=5)


class ReplaysAnAdvertisementOfAnotherAttempt(Directories):
    """A key of owner 2 whose secret leaked since."""

    code, hit = "signature", (5, 8, 11, 14, 17)
    earlier: Advertisement

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[2] = self.earlier


class RegistersAStranger(Directories):
    """A member of the roster's making that is not in the cohort, properly signed with a key of its own."""

    code = "members"

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[99] = signed(world, replace(listed[EVE], index=99, mask_key=FRESH.public))


class AdvertisesALowOrderMaskKey(Directories):
    """With which every pair mask of owner 20 is known to whoever looks."""

    code = "keys"

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[EVE] = signed(world, replace(listed[EVE], mask_key=LOW))


class AdvertisesALowOrderSealingKey(Directories):
    """With which everything dealt to owner 20 is readable."""

    code = "keys"

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[EVE] = signed(world, replace(listed[EVE], sealing_key=bytes(32)))


class AdvertisesAKeyThatIsNotReduced(Directories):
    """Another spelling of owner 2's key, which passes for a different one."""

    code = "keys"

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        top = bytearray(listed[2].mask_key)
        top[31] |= 0x80
        listed[EVE] = signed(world, replace(listed[EVE], mask_key=bytes(top)))


class AdvertisesAnotherOwnersKey(Directories):
    """Owner 2's mask key as its own: the masks of everybody with 2 and with 20 would come from one secret."""

    code = "keys"

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[EVE] = signed(world, replace(listed[EVE], mask_key=listed[2].mask_key))


class AdvertisesAnotherOwnersCommitment(Directories):
    """Owner 2's commitment as its own."""

    code = "keys"

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[EVE] = signed(world, replace(listed[EVE], commitment=listed[2].commitment))


class ShowsTwoDirectories(Server):
    """Two sessions of one attempt, each with enough members on paper: nobody is in both."""

    code, hit = "too-few", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step == "check":  # what the others of its own session dealt
            return Shares(self._dealt(world, index)).to_bytes(world.owners[index]._session.id)
        if step != "deal":
            return request
        shown = messages.directory_from(request, world.context)
        kept = tuple(
            each for each in shown.full if each.index in ((2, 5, 8, 11, 20) if index < 10 else (5, 8, 11, 14, 17, 20))
        )
        return Directory(messages.entries(kept), kept).to_bytes(world.context)

    def say(self, world: Any, step: str, index: int, answer: Any) -> Any:
        if step != "deal":
            return answer
        self._said = {**getattr(self, "_said", {}), index: messages.dealing_from(answer, answer[5:37])}
        if index != EVERYBODY[-1]:
            return None
        for (
            each
        ) in HONEST:  # the collector would find no session in which these are messages: the server goes on by itself
            world.ask(each, "check", self.tell(world, "check", each, b""))
        return None

    def _dealt(self, world: Any, holder: int) -> dict[int, tuple[bytes, bytes, bytes]]:
        session = world.owners[holder]._session.id
        return {
            dealer: (*dealing.commitments[holder], dealing.sealed[holder])
            for dealer, dealing in self._said.items()
            if dealer != holder and holder in dealing.sealed and world.owners[dealer]._session.id == session
        }


# --- order, kind and origin of messages ---


class SkipsAStep(Server):
    """Masked vectors without a look at the shares that will unmask them."""

    code, hit = "order", HONEST

    def begin(self, world: Any, step: str) -> None:
        if step == "check":
            for index in HONEST:
                world.ask(index, "mask", Verdict(EVERYBODY, ()).to_bytes(world.session))


class TakesAStepAgain(Server):
    """Shares for one directory, then for another one."""

    code, hit = "changed", HONEST

    def begin(self, world: Any, step: str) -> None:
        if step == "check":
            full = tuple(world.collector._advertised[each] for each in (2, 5, 8, 11, 14, 17))
            for index in HONEST:
                world.ask(index, "deal", Directory(messages.entries(full), full).to_bytes(world.context))


class CutsCiphertexts(Server):
    """A sealed share that is a byte short."""

    code, hit = "malformed", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        return request[:-1] if step == "check" else request


class HidesDealers(Server):
    """Shares of too few dealers to ever put a secret together."""

    code, hit = "too-few", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step != "check":
            return request
        dealt = messages.shares_from(request, world.session).dealt
        return Shares({each: dealt[each] for each in list(dealt)[:3]}).to_bytes(world.session)


class KeepsAnOwnerOfWhomSomeHoldNothing(Server):
    """Shares of owner 17 are withheld from some, who are then asked to mask with it."""

    code, hit = "members", (2, 5, 8)

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step != "check" or index not in self.hit:
            return request
        dealt = dict(messages.shares_from(request, world.session).dealt)
        del dealt[17]
        return Shares(dealt).to_bytes(world.session)

    def say(self, world: Any, step: str, index: int, answer: Any) -> Any:
        if step != "check" or index not in self.hit:
            return answer
        shown = world.collector._shown[index]  # the server knows, and counts the report all the same
        report = messages.report_from(answer, world.session)
        world.collector._reports[index] = replace(report, column=shown.column(world.session, index))
        world.collector._answered[index] = b""
        return None


def programs(base: type[Server]) -> list[type[Server]]:
    """Every attack of this file."""
    found = [each for each in base.__subclasses__() if each.code]
    return [*found, *(each for kind in base.__subclasses__() for each in programs(kind))]


@pytest.mark.parametrize("attack", programs(Server), ids=lambda attack: attack.__name__)
def test_a_server_that_lies_is_refused_and_shown_no_share(world: Make, attack: type[Server]) -> None:
    at, program = world(), attack()
    if isinstance(program, ReplaysAnAdvertisementOfAnotherAttempt):
        program.earlier = messages.advertisement_from(world(attempt=0).owners[2].advertise(), world(attempt=0).context)
    at.play(program)
    for index in attack.hit:
        assert at.refusals[index].code == attack.code, (index, at.refusals[index])
    assert at.collector.step == "done" if attack.opens and attack.code != "changed" else True
    after = [] if attack.opens else [opening for opening in at.openings() if opening.index != EVE]
    assert after == []
    at.judge(HONEST)
    for victim in HONEST:  # no secret of anybody can be put together twice over
        shown = at.shares_of(victim)
        assert min(len(shown[secret] | {EVE}) for secret in Secret) < at.parameters.threshold


@pytest.mark.parametrize("step", STEPS[1:])
@pytest.mark.parametrize("origin", [{"attempt": 2}, {"round": 4}, {"run": "another"}, {"task": b"\1" * 32}], ids=str)
def test_a_request_of_another_attempt_round_run_or_task_is_no_message(
    world: Make, step: str, origin: dict[str, Any]
) -> None:
    at, other = world(), world(**origin)
    replayed = other.until(step)
    at.until(step)
    for index in HONEST:
        assert at.ask(index, step, replayed[index]) is None
        assert at.refusals[index].code == "malformed"
    at.judge()
    assert at.openings() == []


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


KINDS = ("deal", "check", "mask", "agree", "unmask")


@pytest.mark.parametrize(("due", "given"), list(itertools.permutations(KINDS, 2)))
def test_a_message_of_another_kind_is_no_message(world: Make, due: str, given: str) -> None:
    """Also under the head of the kind that is due: lists of one kind are not lists of another."""
    at, other = world(), world()
    wrong = dict(other.until(given))
    true = at.until(due)
    assert at.ask(2, due, wrong[2]) is None
    assert at.refusals[2].code == "malformed"
    assert at.ask(5, due, true[5][:37] + wrong[5][37:]) is None
    assert at.refusals[5].code in ("malformed", "members", "survivors", "agreement", "own", "too-few")
    at.judge()


def test_a_vector_that_comes_late_stays_masked_though_its_owner_s_key_is_open(world: Make) -> None:
    """Everybody is told that owner 2 dropped, its vector arrives after that: its own mask is on it, and nobody shows a seed."""

    class Late(Server):
        vector: Any = None

        def say(self, world: Any, step: str, index: int, answer: Any) -> Any:
            if step == "mask" and index == 2:
                self.vector = answer
                return None
            return answer

    at, late = world(), Late()
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
