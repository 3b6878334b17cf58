"""A collector among owners that fail, lie, answer late or twice: it names them, and nobody else pays."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.privacy.secagg import keys, messages
from tacit.privacy.secagg.collector import Collector
from tacit.privacy.secagg.errors import AbortError, FaultError
from tacit.privacy.secagg.keys import AgreementKey
from tacit.privacy.secagg.messages import Reason
from tacit.privacy.secagg.owner import STEPS
from tacit.privacy.secagg.parameters import Parameters

Begin = Callable[..., Any]
FIVE = Parameters(n=5, least=4, colluders=1, threshold=4, bits=20, dim=9, adversary="malicious")


def signer(index: int) -> Ed25519PrivateKey:
    """The key of a member that the test plays."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"signer %d" % index).digest())


def answer(attempt: Any, index: int) -> Any:
    """What an owner answers in the step at hand."""
    step, request = attempt.collector.step, attempt.collector.requests()[index]
    if step == "mask":
        return attempt.owners[index].mask(request, attempt.vectors[index])
    return attempt.owners[index].advertise() if step == "advertise" else getattr(attempt.owners[index], step)(request)


def faulty(attempt: Any, sender: int, message: bytes, code: str, says: str = "") -> None:
    """The message is a fault of its sender's, which is out from then on; the others are not."""
    others = attempt.collector.awaited - {sender}
    with pytest.raises(FaultError, match=says or None) as caught:
        attempt.collector.take(sender, message)
    assert (caught.value.code, caught.value.sender, caught.value.stays) == (code, sender, False)
    assert str(sender) in str(caught.value)
    assert list(attempt.collector.faults) == [sender]
    assert attempt.collector.awaited == others
    with pytest.raises(FaultError) as again:
        attempt.collector.take(sender, message)
    assert (again.value.code, again.value.stays) == ("unasked", True)


@pytest.mark.parametrize("step", [step for step in STEPS if step != "mask"])
@pytest.mark.parametrize("change", ["empty", "cut", "longer", "another attempt's", "another's"])
def test_what_is_no_message_costs_its_sender_its_place(begin: Begin, step: str, change: str) -> None:
    attempt, other = begin(FIVE), begin(FIVE, attempt=2)
    attempt.until(step)
    other.until(step)
    message = answer(attempt, 8)
    spoiled = {
        "empty": b"",
        "cut": message[:-1],
        "longer": message + b"\0",
        "another attempt's": answer(other, 8),
        "another's": answer(attempt, 5),
    }
    faulty(attempt, 8, spoiled[change], "malformed", step)
    assert np.array_equal(attempt.run(), attempt.sum(attempt.collector.survivors))
    assert (8 in attempt.collector.survivors) == (step in ("agree", "unmask"))


@pytest.mark.parametrize("step", STEPS)
def test_the_first_answer_counts_the_same_again_is_nothing_and_another_one_is_refused(begin: Begin, step: str) -> None:
    attempt = begin(FIVE)
    attempt.until(step)
    message = answer(attempt, 8)
    give = attempt.collector.fold if step == "mask" else attempt.collector.take
    give(8, message)
    give(8, message)
    assert 8 not in attempt.collector.awaited
    if step != "mask":
        with pytest.raises(FaultError, match="the first counts") as caught:
            give(8, message[:-1] + b"\0\1")
        assert caught.value.stays
        assert not attempt.collector.faults
    assert np.array_equal(attempt.run(), attempt.sum(attempt.cohort))


def test_who_was_not_asked_or_comes_late_changes_nothing(begin: Begin) -> None:
    attempt = begin(FIVE)
    attempt.until("mask")
    late = answer(attempt, 8)
    with pytest.raises(FaultError, match="not asked") as caught:
        attempt.collector.fold(99, late)
    assert caught.value.stays
    for index in (2, 5, 11, 14):
        attempt.collector.fold(index, answer(attempt, index))
    assert attempt.collector.awaited == {8}
    attempt.collector.close()
    with pytest.raises(FaultError, match="a vector in step agree") as caught:
        attempt.collector.fold(8, late)
    assert (caught.value.code, caught.value.stays) == ("late", True)
    assert attempt.collector.survivors == (2, 5, 11, 14)
    assert np.array_equal(attempt.run(), attempt.sum((2, 5, 11, 14)))
    with pytest.raises(FaultError, match="step done"):
        attempt.collector.take(8, b"")
    assert np.array_equal(attempt.collector.total(), attempt.sum((2, 5, 11, 14)))


@pytest.mark.parametrize(
    "vector",
    [
        np.zeros(8, np.int64),
        np.zeros((9, 1), np.int64),
        np.zeros(9),
        np.full(9, -1),
        np.full(9, 1 << 20),
        np.full(9, 2**64 - 1, dtype=np.uint64),
    ],
    ids=["short", "two-dimensional", "real", "negative", "past the ring", "past any ring"],
)
def test_a_vector_that_is_none_costs_its_sender_its_place(begin: Begin, vector: Any) -> None:
    attempt = begin(FIVE)
    attempt.until("mask")
    with pytest.raises(FaultError, match="owner 8: mask: a vector"):
        attempt.collector.fold(8, vector)
    with pytest.raises(FaultError, match="takes none"):
        attempt.collector.take(5, b"")
    assert np.array_equal(attempt.run(), attempt.sum((2, 5, 11, 14)))


def sent(attempt: Any, **fields: Any) -> bytes:
    """What member 8 advertises when it does not follow the protocol, properly signed."""
    true = replace(messages.advertisement_from(attempt.owners[8].advertise(), attempt.context), **fields)
    return replace(true, signature=keys.sign(signer(8), "advertise", true.signed(attempt.context))).to_bytes(
        attempt.context
    )


def test_keys_with_which_no_secret_can_be_agreed_on_are_found_before_an_owner_meets_them(begin: Begin) -> None:
    attempt = begin(FIVE)
    faulty(attempt, 8, sent(attempt, mask_key=bytes(32)), "proof", "low order")
    attempt = begin(FIVE)
    faulty(attempt, 8, sent(attempt, sealing_key=(1).to_bytes(32, "little")), "proof", "low order")
    attempt = begin(FIVE)
    faulty(attempt, 8, sent(attempt, sealing_key=b"\xff" * 32), "proof", "coordinate")
    attempt = begin(FIVE)
    own = messages.advertisement_from(attempt.owners[8].advertise(), attempt.context)
    faulty(attempt, 8, sent(attempt, sealing_key=own.mask_key), "malformed", "advertised before")
    attempt = begin(FIVE)
    attempt.collector.take(2, attempt.owners[2].advertise())
    copied = messages.advertisement_from(attempt.owners[2].advertise(), attempt.context).mask_key
    faulty(attempt, 8, sent(attempt, sealing_key=copied), "malformed", "advertised before")
    attempt = begin(FIVE)
    unsigned = messages.advertisement_from(attempt.owners[8].advertise(), attempt.context)
    forged = replace(unsigned, signature=keys.sign(signer(2), "advertise", unsigned.signed(attempt.context)))
    faulty(attempt, 8, forged.to_bytes(attempt.context), "proof", "signature")


@pytest.mark.parametrize("case", ["one fewer", "one more", "unsigned"])
def test_a_dealing_is_for_exactly_the_neighbours_and_signed(begin: Begin, case: str) -> None:
    attempt = begin(FIVE)
    attempt.until("deal")
    true = messages.dealing_from(answer(attempt, 8), attempt.collector.session)
    committed, sealed = dict(true.commitments), dict(true.sealed)
    if case == "one fewer":
        del committed[14], sealed[14]
    elif case == "one more":
        committed[99], sealed[99] = committed[14], sealed[14]
    changed = messages.Dealing(8, b"", committed, sealed)
    purpose = "report" if case == "unsigned" else "deal"
    signature = keys.sign(signer(8), purpose, changed.signed(attempt.collector.session))
    message = replace(changed, signature=signature).to_bytes(attempt.collector.session)
    faulty(attempt, 8, message, "proof" if case == "unsigned" else "malformed")


@pytest.mark.parametrize("case", ["column", "stranger", "unsigned"])
def test_a_report_is_on_what_was_shown(begin: Begin, case: str) -> None:
    attempt = begin(FIVE)
    attempt.until("check")
    true = messages.report_from(answer(attempt, 8), attempt.collector.session)
    changed = {
        "column": replace(true, column=bytes(32)),
        "stranger": replace(true, complaints={99: Reason.SHARE}),
        "unsigned": replace(true, complaints={2: Reason.SHARE}),
    }[case]
    key = signer(2 if case == "unsigned" else 8)
    signed = replace(changed, signature=keys.sign(key, "report", changed.signed(attempt.collector.session)))
    message = signed.to_bytes(attempt.collector.session)
    faulty(attempt, 8, message, "proof" if case == "unsigned" else "malformed")


@pytest.mark.parametrize("case", ["wrong share", "other kind", "one fewer"])
def test_an_opening_shows_what_was_dealt(begin: Begin, case: str) -> None:
    attempt = begin(FIVE)
    attempt.until("unmask")
    opened = dict(messages.opening_from(answer(attempt, 8), attempt.collector.session).shares)
    if case == "wrong share":
        opened[2] = (opened[2][0], opened[5][1])
    elif case == "other kind":
        opened[2] = (messages.Secret.MASK_KEY, opened[2][1])
    else:
        del opened[2]
    faulty(attempt, 8, messages.Opening(8, opened).to_bytes(attempt.collector.session), "malformed")
    assert np.array_equal(attempt.run(), attempt.sum(attempt.cohort))  # four shares are enough


@pytest.mark.parametrize("secret", ["seed", "mask_key"])
def test_a_dealer_of_another_secret_than_it_advertised_is_named(begin: Begin, secret: str) -> None:
    attempt = begin(FIVE)
    attempt.until("deal")
    other = bytes(range(32)) if secret == "seed" else AgreementKey.of(bytes(range(32)))
    true = getattr(attempt.owners[8]._secrets, secret)
    setattr(attempt.owners[8]._secrets, secret, other)
    attempt.until("check")
    setattr(attempt.owners[8]._secrets, secret, true)  # it masks as it should
    requests = attempt.until("mask")
    for index in [each for each in requests if secret == "seed" or each != 8]:
        attempt.collector.fold(index, answer(attempt, index))
    attempt.collector.close()
    with pytest.raises(AbortError, match="8 dealt shares of no secret of theirs; leave them out") as caught:
        attempt.run()
    assert caught.value.dealers == {8}
    assert caught.value.missing == {8: attempt.collector.faults[8]}
    assert attempt.collector.step == "aborted"


def test_a_dealer_whose_shares_lie_on_no_polynomial_is_named(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    from tacit.privacy.secagg import shamir

    attempt = begin(FIVE)
    attempt.until("deal")
    true = shamir.split

    def crooked(secret: Any, threshold: int, xs: Any, randomness: Any) -> dict[int, bytes]:
        points = list(xs)
        return {
            x: (int.from_bytes(share) // (1 + (x == 3))).to_bytes(33)
            for x, share in true(secret, threshold, points, randomness).items()
        }

    for index, request in attempt.collector.requests().items():
        with monkeypatch.context() as patch:
            if index == 8:
                patch.setattr(shamir, "split", crooked)
            attempt.collector.take(index, attempt.owners[index].deal(request))
    attempt.collector.close()
    with pytest.raises(AbortError) as caught:
        attempt.run()
    assert caught.value.dealers == {8}


def test_an_abort_says_where_who_and_why(begin: Begin) -> None:
    attempt = begin(FIVE)
    attempt.until("deal")
    with pytest.raises(FaultError):
        attempt.collector.take(8, b"nonsense")
    for index in (2, 5):
        attempt.collector.take(index, answer(attempt, index))
    with pytest.raises(AbortError, match="2 owners are left after deal, and 4 are needed; ask the missing") as caught:
        attempt.collector.close()
    assert caught.value.step == "deal"
    assert caught.value.missing[11] == caught.value.missing[14] == "silent"
    assert caught.value.missing[8].startswith("deal: 8 bytes that are no message")
    assert caught.value.dealers == frozenset()
    assert attempt.collector.requests() == {}
    for closed in (attempt.collector.close, attempt.collector.total):
        with pytest.raises(AbortError, match="aborted"):
            closed()
    with pytest.raises(FaultError, match="aborted"):
        attempt.collector.take(2, b"")


def test_the_sum_is_not_there_before_the_end(begin: Begin) -> None:
    for step in STEPS:
        attempt = begin(FIVE)
        attempt.until(step)
        with pytest.raises(AbortError, match=f"still masked in step {step}"):
            attempt.collector.total()


def test_it_holds_one_vector_whatever_the_number_of_owners(begin: Begin) -> None:
    parameters = replace(FIVE, dim=200_000, bits=32)
    attempt = begin(parameters)
    attempt.until("mask")
    collector = attempt.collector
    vector = np.ones(parameters.dim, dtype=np.int64)
    tracemalloc.start()
    for index in attempt.cohort:
        collector.fold(index, vector)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 4 * parameters.dim  # the working copy of one message; the sum was there before


def test_a_collector_needs_no_order_of_its_cohort(begin: Begin) -> None:
    attempt = begin(FIVE)
    cohort = dict(reversed(attempt.cohort.items()))
    attempt.collector = Collector(FIVE, attempt.context, cohort)
    assert np.array_equal(attempt.run(), attempt.sum(attempt.cohort))
