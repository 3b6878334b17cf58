"""A malicious server lies about who takes part, and sends messages out of their order, kind or attempt.

Seven members, of whom owner 20 helps the server (its keys are the server's).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tacit.privacy.secagg import messages
from tacit.privacy.secagg import session as sessions
from tacit.privacy.secagg.messages import Directory, Shares, Verdict
from tacit.privacy.secagg.owner import STEPS
from tacit.privacy.secagg.parameters import Parameters

Make = Callable[..., Any]
EVE, HONEST = 20, (2, 5, 8, 11, 14, 17)
EVERYBODY = (*HONEST, EVE)


# --- who masks ---


class TellsHalfOfOtherMembers:
    """Two verdicts: one half masks without owner 17, so that what its masks leave in the other half's sum says something."""

    code, hit = "survivors", (2, 5, 8)

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step == "mask" and index in self.hit:
            return Verdict(tuple(each for each in EVERYBODY if each != 17), ()).to_bytes(world.session)
        return request


class ExpelsEverybodyElse:
    """A verdict with its victim, its helper and nobody besides."""

    code, hit = "too-few", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        kept = tuple(sorted({index, EVE}))
        return Verdict(kept, ()).to_bytes(world.session) if step == "mask" else request


class MakesUpAComplaint:
    """Complaints, not signed by who they are said to be of, to expel honest owners with."""

    code, hit = "signature", (2, 5, 8, 14, 17)

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step != "mask":
            return request
        report = messages.Report(EVE, bytes(32), {11: messages.Reason.SHARE}, bytes(64))
        return Verdict(tuple(each for each in EVERYBODY if each != 11), (report,)).to_bytes(world.session)


# --- order, kind and origin of messages ---


class SkipsAStep:
    """Masked vectors without a look at the shares that will unmask them."""

    code, hit = "order", HONEST

    def begin(self, world: Any, step: str) -> None:
        if step == "check":
            for index in HONEST:
                world.ask(index, "mask", Verdict(EVERYBODY, ()).to_bytes(world.session))


class TakesAStepAgain:
    """Shares for one directory, then for another one."""

    code, hit = "changed", HONEST

    def begin(self, world: Any, step: str) -> None:
        if step == "check":
            full = tuple(world.collector._advertised[each] for each in (2, 5, 8, 11, 14, 17))
            for index in HONEST:
                world.ask(index, "deal", Directory(messages.entries(full), full).to_bytes(world.context))


class CutsCiphertexts:
    """A sealed share that is a byte short."""

    code, hit = "malformed", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        return request[:-1] if step == "check" else request


class HidesDealers:
    """Shares of too few dealers to ever put a secret together."""

    code, hit = "too-few", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step != "check":
            return request
        dealt = messages.shares_from(request, world.session).dealt
        return Shares({each: dealt[each] for each in list(dealt)[:3]}).to_bytes(world.session)


class KeepsAnOwnerOfWhomSomeHoldNothing:
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


class SendsSharesOfAStranger:
    """What nobody of the session dealt."""

    code, hit = "members", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step != "check":
            return request
        dealt = dict(messages.shares_from(request, world.session).dealt)
        return Shares({**dealt, 99: dealt[EVE] if EVE in dealt else dealt[2]}).to_bytes(world.session)


class KeepsAMemberThatNeverAdvertised:
    """One more to count, of whom nobody has a key."""

    code, hit = "members", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        return Verdict((*EVERYBODY, 99), ()).to_bytes(world.session) if step == "mask" else request


class LeavesItsVictimOutAndAsksForItsVector:
    """Nobody else would mask with owner 2, and its vector would have its own mask only."""

    code, hit = "members", (2,)
    opens = True

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step != "mask" or index != 2:
            return request
        return Verdict(tuple(each for each in EVERYBODY if each != 2), ()).to_bytes(world.session)


class CitesAStrangersComplaint:
    """A complaint of somebody who is no member, with whatever signature."""

    code, hit = "members", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        report = messages.Report(99, bytes(32), {}, bytes(64))
        return Verdict(EVERYBODY, (report,)).to_bytes(world.session) if step == "mask" else request


class SpoilsAShare:
    """The share of owner 2 for owner 8 is spoiled on its way, and owner 8 complains of it."""

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step == "check" and index == 8:
            dealt = dict(messages.shares_from(request, world.session).dealt)
            dealt[2] = (*dealt[2][:2], dealt[2][2][::-1])
            return Shares(dealt).to_bytes(world.session)
        return self.verdict(world, index, request) if step == "mask" else request

    def verdict(self, world: Any, index: int, request: bytes) -> bytes:
        raise NotImplementedError


class HidesAComplaintFromWhoMadeIt(SpoilsAShare):
    """Owner 8 would mask with owner 2, of whose secrets it holds nothing."""

    code, hit = "own", (8,)

    def verdict(self, world: Any, index: int, request: bytes) -> bytes:
        return Verdict(EVERYBODY, ()).to_bytes(world.session)


class KeepsWhomAComplaintNames(SpoilsAShare):
    """The complaint is shown, and not followed."""

    code, hit = "members", (5, 11, 14, 17)

    def verdict(self, world: Any, index: int, request: bytes) -> bytes:
        return replace(messages.verdict_from(request, world.session), members=EVERYBODY).to_bytes(world.session)


ATTACKS = [
    SendsSharesOfAStranger,
    KeepsAMemberThatNeverAdvertised,
    LeavesItsVictimOutAndAsksForItsVector,
    CitesAStrangersComplaint,
    HidesAComplaintFromWhoMadeIt,
    KeepsWhomAComplaintNames,
    TellsHalfOfOtherMembers,
    ExpelsEverybodyElse,
    MakesUpAComplaint,
    SkipsAStep,
    TakesAStepAgain,
    CutsCiphertexts,
    HidesDealers,
    KeepsAnOwnerOfWhomSomeHoldNothing,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_story_that_is_not_everybodys_ends_in_refusals(
    world: Make, defeated: Callable[..., None], attack: type
) -> None:
    defeated(world(), attack())


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


@pytest.mark.parametrize("step", ["deal", "mask", "agree"])
def test_a_floor_holds_at_every_step_though_fewer_would_open_the_sum(world: Make, step: str) -> None:
    """Six of seven are the policy's floor; five would be enough to put secrets together."""
    at = world(replace(world().parameters, least=6))
    at.until(step)
    five = (2, 5, 8, 11, 14)
    if step == "deal":
        full = tuple(at.collector._advertised[each] for each in five)
        request = Directory(messages.entries(full), full).to_bytes(at.context)
    else:
        request = (Verdict(five, ()) if step == "mask" else messages.Survivors(five)).to_bytes(at.session)
    for index in five:
        assert at.ask(index, step, request) is None
        assert (at.refusals[index].code, "the floor is 6" in str(at.refusals[index])) == ("too-few", True)
    at.judge(HONEST)


@pytest.mark.parametrize("step", ["deal", "mask", "agree"])
def test_in_a_sparse_graph_a_neighbourhood_that_cannot_open_its_secrets_is_refused(world: Make, step: str) -> None:
    """Enough members everywhere, but too few around one owner."""
    at = world(Parameters(80, 68, 1, 4, 20, 3, "semi-honest", 14))
    at.until(step)
    graph = [each for each in at.collector._session.near(8) if each != 8]
    kept = tuple(each for each in at.cohort if each not in graph[2:])
    if (
        step == "deal"
    ):  # another directory is another session and another graph: this owner's are those of the whole cohort
        full = tuple(at.collector._advertised[each] for each in kept)
        near = sessions.session(Directory(messages.entries(full), ()), at.context, at.cohort, at.parameters).near(8)
        shown = tuple(each for each in full if each.index in near[:3] or each.index == 8)
        request = Directory(messages.entries(full), shown).to_bytes(at.context)
    else:
        request = (Verdict(kept, ()) if step == "mask" else messages.Survivors(kept)).to_bytes(at.session)
    assert at.ask(8, step, request) is None
    assert at.refusals[8].code == ("members" if step == "deal" else "too-few")
    at.judge()


@pytest.mark.parametrize("members", [(2, *EVERYBODY), EVERYBODY[::-1], (*EVERYBODY, EVE)], ids=str)
@pytest.mark.parametrize("step", ["mask", "agree"])
def test_nobody_stands_in_a_list_twice_or_out_of_order(world: Make, step: str, members: tuple[int, ...]) -> None:
    """One set would have many encodings, and so many views; and one owner could fill a floor."""
    at = world()
    at.until(step)
    request = (Verdict(members, ()) if step == "mask" else messages.Survivors(members)).to_bytes(at.session)
    for index in HONEST:
        assert at.ask(index, step, request) is None
        assert at.refusals[index].code == "malformed"
    at.judge()
