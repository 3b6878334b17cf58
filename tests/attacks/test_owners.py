"""Malicious owners as programs: what one sends wrong costs it its place, or names it when it is too late; nobody else pays.

Owner 20 of seven does not follow the protocol; its own keys, and its own signature on whatever it says, are all it has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.privacy.secagg import keys, messages, shamir
from tacit.privacy.secagg import session as sessions
from tacit.privacy.secagg.keys import AgreementKey
from tacit.privacy.secagg.messages import Dealing, Opening, Reason, Secret

Make = Callable[..., Any]
EVE, HONEST = 20, (2, 5, 8, 11, 14, 17)
EVERYBODY = (*HONEST, EVE)
MINE = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"member %d" % EVE).digest())


class Owners:
    """The server follows the protocol; in one step owner 20 says what `lie` makes of its true answer."""

    def __init__(self, step: str, lie: Callable[[Any, Any], Any]) -> None:
        self._step, self._lie = step, lie

    def say(self, world: Any, step: str, index: int, answer: Any) -> Any:
        return self._lie(world, answer) if (step, index) == (self._step, EVE) else answer


# --- advertisements ---


def advertised(**fields: Any) -> Callable[[Any, bytes], bytes]:
    """Its advertisement with other fields, properly signed."""

    def lie(world: Any, answer: bytes) -> bytes:
        true = messages.advertisement_from(answer, world.context)
        given = {name: value(world) if callable(value) else value for name, value in fields.items()}
        changed = replace(true, **given)
        signature = keys.sign(MINE, "advertise", changed.signed(world.context))
        return replace(changed, signature=signature).to_bytes(world.context)

    return lie


def owner_2(name: str) -> Callable[[Any], bytes]:
    """A field of owner 2's advertisement, which comes first."""
    return lambda world: getattr(world.collector._advertised[2], name)


# --- dealings ---

Pair = tuple[bytes, bytes]


def dealt(change: Callable[[Any, int, Pair], Pair], committed: Callable[[int, Pair], Pair] | None = None) -> Any:
    """Its dealing with other shares, sealed, committed to (as they are, or as `committed` says) and signed."""

    def lie(world: Any, answer: bytes) -> bytes:
        true = messages.dealing_from(answer, world.session)
        own = world.owners[EVE]._secrets
        commitments, sealed = {}, dict(true.sealed)
        for holder in true.commitments:
            if holder == EVE:
                commitments[holder] = true.commitments[holder]
                continue
            text = keys.open_sealed(own.sealing[holder], world.session, EVE, holder, true.sealed[holder])
            pair = change(world, holder, (text[:33], text[33:]))
            shown = pair if committed is None else committed(holder, (text[:33], text[33:]))
            commitments[holder] = (
                sessions.share_commitment(world.session, EVE, holder, Secret.MASK_KEY, shown[0]),
                sessions.share_commitment(world.session, EVE, holder, Secret.SEED, shown[1]),
            )
            sealed[holder] = keys.seal(own.sealing[holder], world.session, EVE, holder, b"".join(pair))
        return signed(world, Dealing(EVE, b"", commitments, sealed))

    return lie


def signed(world: Any, dealing: Dealing) -> bytes:
    signature = keys.sign(MINE, "deal", dealing.signed(world.session))
    return replace(dealing, signature=signature).to_bytes(world.session)


def only(holder: int, pair: Callable[[Pair], Pair]) -> Callable[[Any, int, Pair], Pair]:
    """Other shares for one holder."""
    return lambda world, each, true: pair(true) if each == holder else true


def sealed(change: Callable[[dict[int, bytes]], None]) -> Callable[[Any, bytes], bytes]:
    """Its dealing with other ciphertexts, which are not signed for."""

    def lie(world: Any, answer: bytes) -> bytes:
        true = messages.dealing_from(answer, world.session)
        changed = dict(true.sealed)
        change(changed)
        return replace(true, sealed=changed).to_bytes(world.session)

    return lie


def swapped(found: dict[int, bytes]) -> None:
    found[2], found[5] = found[5], found[2]


def flipped(found: dict[int, bytes]) -> None:
    found[2] = bytes([found[2][0] ^ 1]) + found[2][1:]


def holders(*indices: int) -> Callable[[Any, bytes], bytes]:
    """A dealing for others than its neighbours."""

    def lie(world: Any, answer: bytes) -> bytes:
        true = messages.dealing_from(answer, world.session)
        row, text = true.commitments[2], true.sealed[2]
        return signed(
            world, Dealing(EVE, b"", dict.fromkeys(indices, row), {each: text for each in indices if each != EVE})
        )

    return lie


def forged(read: Callable[[bytes, bytes], Any]) -> Callable[[Any, bytes], bytes]:
    """The same message with a signature that is not its own."""
    return lambda world, answer: replace(read(answer, answer[5:37]), signature=bytes(64)).to_bytes(answer[5:37])


BEFORE: dict[str, tuple[str, Any, str]] = {
    "a mask key of low order": ("advertise", advertised(mask_key=bytes(32)), "low order"),
    "a sealing key of low order": ("advertise", advertised(sealing_key=(1).to_bytes(32, "little")), "low order"),
    "a key beyond the field": ("advertise", advertised(mask_key=b"\xff" * 32), "no reduced coordinate"),
    "another owner's mask key": ("advertise", advertised(mask_key=owner_2("mask_key")), "advertised before"),
    "another owner's sealing key as mask key": (
        "advertise", advertised(mask_key=owner_2("sealing_key")), "advertised before",
    ),
    "another owner's index": ("advertise", advertised(index=2), "speaks for owner 2"),
    "an index outside the cohort": ("advertise", advertised(index=99), "speaks for owner 99"),
    "an advertisement in another's hand": ("advertise", forged(messages.advertisement_from), "signature for 'advertise'"),
    "a dealing in another's hand": ("deal", forged(messages.dealing_from), "signature for 'deal'"),
    "a report in another's hand": ("check", forged(messages.report_from), "signature for 'report'"),
    "swapped ciphertexts": ("deal", sealed(swapped), "a bad share (sealed)|more than"),
    "a flipped ciphertext": ("deal", sealed(flipped), "dealt owner 2 a bad share (sealed)"),
    "a share outside the field": (
        "deal", dealt(only(2, lambda pair: (b"\xff" * 33, pair[1]))), "dealt owner 2 a bad share (share)",
    ),
    "a share that it did not commit to": (
        "deal", dealt(only(2, lambda pair: (bytes(33), pair[1])), lambda holder, true: true),
        "dealt owner 2 a bad share (commitment)",
    ),
    "the two kinds of share exchanged": (
        "deal", dealt(only(2, lambda pair: pair[::-1]), lambda holder, true: true), "a bad share (commitment)",
    ),
    "a dealing that leaves somebody out": ("deal", holders(2, 5, 8, 11, 14, EVE), "exactly the dealer's neighbours"),
    "a dealing for strangers": ("deal", holders(2, 5, 8, 11, 14, 17, EVE, 99), "exactly the dealer's neighbours"),
    "a dealing not for itself": ("deal", holders(*HONEST), "exactly the dealer's neighbours"),
    "complaints of two": (
        "check",
        lambda world, answer: reported(world, answer, {2: Reason.SEALED, 5: Reason.SEALED}),
        "complained of 2 dealers, more than 1",
    ),
    "a complaint of itself": ("check", lambda world, answer: reported(world, answer, {EVE: Reason.SEALED}), "other shares"),
    "a report on other shares": (
        "check", lambda world, answer: reported(world, answer, {}, column=bytes(32)), "other shares than were shown",
    ),
}  # fmt: skip


def reported(world: Any, answer: bytes, complaints: dict[int, Reason], **fields: Any) -> bytes:
    changed = replace(messages.report_from(answer, world.session), complaints=complaints, **fields)
    signature = keys.sign(MINE, "report", changed.signed(world.session))
    return replace(changed, signature=signature).to_bytes(world.session)


@pytest.mark.parametrize("what", BEFORE)
def test_what_is_wrong_before_masking_leaves_its_sender_out(world: Make, what: str) -> None:
    step, lie, words = BEFORE[what]
    at = world()
    at.play(Owners(step, lie))
    assert list(at.collector.faults) == [EVE]
    assert any(word in at.collector.faults[EVE] for word in words.split("|")), at.collector.faults
    assert np.array_equal(at.collector.total(), at.sum(HONEST))
    assert at.refusals.keys() <= {EVE}
    at.judge(HONEST)


def test_a_false_complaint_removes_one_owner_and_no_more(world: Make) -> None:
    """What a colluder can do to an honest dealer: the sum is one of fewer, and still of `least`. More are not heard."""

    def lie(found: Any, answer: bytes) -> bytes:
        found.owners[EVE]._complaints[2] = Reason.SEALED  # its program goes on as if it were so
        return reported(found, answer, {2: Reason.SEALED})

    at = world()
    at.play(Owners("check", lie))
    assert list(at.collector.faults) == [2]
    assert np.array_equal(at.collector.total(), at.sum(each for each in EVERYBODY if each != 2))
    assert all(not found for found in at.shares_of(2).values())  # of who was left out before masking nothing is shown
    at.judge(HONEST)


# --- vectors ---

VECTORS: dict[str, Callable[[Any], Any]] = {
    "too short": lambda true: true[:-1],
    "too long": lambda true: np.append(true, true[:1]),
    "two-dimensional": lambda true: true.reshape(2, -1),
    "of reals": lambda true: true.astype(np.float64),
    "of complex numbers": lambda true: true.astype(np.complex128),
    "of truth values": lambda true: true > 7,
    "negative": lambda true: true.astype(np.int64) - (1 << 20),
    "past the ring": lambda true: true.astype(np.int64) + (1 << 20),
    "past any ring": lambda true: np.full(len(true), 2**64 - 1, np.uint64),
}


@pytest.mark.parametrize("what", VECTORS)
def test_a_vector_that_is_none_is_not_in_the_sum(world: Make, what: str) -> None:
    at = world()
    at.play(Owners("mask", lambda found, true: VECTORS[what](true)))
    assert at.faults[EVE].code == "malformed"
    assert np.array_equal(at.collector.total(), at.sum(HONEST))
    assert at.shares_of(EVE)[Secret.MASK_KEY] == set(HONEST)
    at.judge(HONEST)


# --- agreements and openings ---


def agreement(index: int, key: Ed25519PrivateKey, view: bytes = b"") -> Callable[[Any, bytes], bytes]:
    def lie(world: Any, answer: bytes) -> bytes:
        payload = messages.Survivors(EVERYBODY).signed(view or world.collector._view)
        return messages.Agreement(index, keys.sign(key, "agree", payload)).to_bytes(world.session)

    return lie


def opened(change: Callable[[dict[int, tuple[Secret, bytes]]], None]) -> Callable[[Any, bytes], bytes]:
    def lie(world: Any, answer: bytes) -> bytes:
        shares = dict(messages.opening_from(answer, world.session).shares)
        change(shares)
        return Opening(EVE, shares).to_bytes(world.session)

    return lie


def _wrong(shares: dict[int, tuple[Secret, bytes]]) -> None:
    shares[2] = (Secret.SEED, shares[5][1])


def _kind(shares: dict[int, tuple[Secret, bytes]]) -> None:
    shares[2] = (Secret.MASK_KEY, shares[2][1])


def _field(shares: dict[int, tuple[Secret, bytes]]) -> None:
    shares[2] = (Secret.SEED, (shamir.PRIME + int.from_bytes(shares[2][1]) % 2**200).to_bytes(33))


def _fewer(shares: dict[int, tuple[Secret, bytes]]) -> None:
    del shares[2]


def _more(shares: dict[int, tuple[Secret, bytes]]) -> None:
    shares[99] = shares[2]


def _both(world: Any, answer: bytes) -> bytes:
    """Both kinds for one owner: a list names everybody once."""
    at = 37 + 8
    row = answer[at : at + 38]
    other = row[:4] + bytes([Secret.MASK_KEY]) + row[5:]
    return answer[: at - 4] + (8).to_bytes(4) + row + other + answer[at + 38 :]


LATE: dict[str, tuple[str, Any, str]] = {
    "an agreement for somebody else": ("agree", agreement(2, MINE), "malformed"),
    "an agreement of another's key": (
        "agree", agreement(EVE, Ed25519PrivateKey.from_private_bytes(bytes(32))), "proof",
    ),
    "an agreement on another view": ("agree", agreement(EVE, MINE, b"\1" * 32), "proof"),
    "a wrong share": ("unmask", opened(_wrong), "malformed"),
    "the other kind": ("unmask", opened(_kind), "malformed"),
    "both kinds": ("unmask", _both, "malformed"),
    "a share outside the field": ("unmask", opened(_field), "malformed"),
    "one share fewer": ("unmask", opened(_fewer), "malformed"),
    "a share of a stranger": ("unmask", opened(_more), "malformed"),
    "an opening for somebody else": (
        "unmask", lambda world, answer: answer[:37] + (2).to_bytes(4) + answer[41:], "malformed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", LATE)
def test_what_is_wrong_after_masking_costs_an_opening_and_the_sum_stays_exact(world: Make, what: str) -> None:
    step, lie, code = LATE[what]
    at = world()
    at.play(Owners(step, lie))
    assert at.faults[EVE].code == code
    assert np.array_equal(at.collector.total(), at.sum(EVERYBODY))
    at.judge(HONEST)


# --- dealers of another secret than they advertised ---


def _other_secret(place: int) -> Callable[[Any, int, Pair], Pair]:
    """Shares of other 32 bytes in place of one of its secrets, on a polynomial of the right degree."""
    shares: dict[int, bytes] = {}

    def change(world: Any, holder: int, true: Pair) -> Pair:
        if not shares:
            points = [each + 1 for each in EVERYBODY]
            shares.update(shamir.split(b"\5" * 32, 5, points, lambda count: b"\7" * count))
        pair = [*true]
        pair[place] = shares[holder + 1]
        return pair[0], pair[1]

    return change


INCONSISTENT: dict[str, Any] = {
    "shares of another seed": _other_secret(1),
    "one share off its polynomial": only(2, lambda pair: (pair[0], (int.from_bytes(pair[1]) ^ 1).to_bytes(33))),
    "the secret itself as a share, of index zero": lambda world, holder, true: (
        (true[0], world.owners[EVE]._secrets.seed.rjust(33, b"\0")) if holder == 2 else true
    ),
    "zero for everybody": lambda world, holder, true: (true[0], bytes(33)),
    "a secret of more than 32 bytes": lambda world, holder, true: (true[0], (2**256 + 5).to_bytes(33)),
}


@pytest.mark.parametrize("what", INCONSISTENT)
def test_a_dealer_of_something_else_is_named_and_the_next_attempt_is_without_it(world: Make, what: str) -> None:
    """Consistent with its own commitments, so that nobody can complain: found when shares are put together."""
    at = world()
    at.play(Owners("deal", dealt(INCONSISTENT[what])))
    assert at.abort is not None
    assert (at.abort.step, at.abort.dealers) == ("unmask", {EVE})
    assert EVE in at.abort.missing
    at.judge(HONEST)
    again = world(replace(at.parameters, n=6, colluders=0), attempt=2, without=at.abort.dealers)
    again.play()
    assert np.array_equal(again.collector.total(), again.sum(HONEST))


def test_a_dealer_of_another_mask_key_is_named_when_it_drops(world: Make) -> None:
    class Drops(Owners):
        def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
            return None if step == "mask" and index == EVE else request

    at = world()
    at.play(Drops("deal", dealt(_other_secret(0))))
    assert at.abort is not None
    assert at.abort.dealers == {EVE}
    assert "another key than it advertised" in at.abort.missing[EVE]
    at.judge(HONEST)


def test_a_key_that_the_dealer_knows_nothing_of_gives_it_nothing(world: Make) -> None:
    """A key of whose secret it is not the owner: what is dealt to it is sealed to that key, and it reads nothing."""
    foreign = AgreementKey.of(bytes(range(32))).public
    at = world()
    at.play(Owners("advertise", advertised(sealing_key=foreign)))
    assert EVE in at.refusals  # its own directory entry is not what its program sent
    assert np.array_equal(at.collector.total(), at.sum(HONEST))
    at.judge(HONEST)
