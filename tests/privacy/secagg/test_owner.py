"""An owner against a server that may do anything: every step once, in order, on one story; otherwise nothing more leaves."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.secagg import keys, messages
from tacit.privacy.secagg.errors import RefusalError
from tacit.privacy.secagg.keys import AgreementKey
from tacit.privacy.secagg.messages import Advertisement, Directory, Reason, Secret
from tacit.privacy.secagg.owner import STEPS, Owner
from tacit.privacy.secagg.parameters import Parameters

Begin = Callable[..., Any]
FIVE = Parameters(n=5, least=4, colluders=1, threshold=4, bits=20, dim=9, adversary="malicious")
SEVEN = Parameters(n=7, least=5, colluders=1, threshold=5, bits=20, dim=4, adversary="malicious")


def signer(index: int) -> Ed25519PrivateKey:
    """The key of a member that the test plays."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"signer %d" % index).digest())


def ask(attempt: Any, index: int, step: str, request: bytes) -> Any:
    """One owner's answer."""
    owner = attempt.owners[index]
    if step == "mask":
        return owner.mask(request, attempt.vectors[index])
    return owner.advertise() if step == "advertise" else getattr(owner, step)(request)


def refused(attempt: Any, index: int, step: str, request: bytes, code: str, says: str = "") -> None:
    """The owner refuses for this reason, and is silent for ever after."""
    with pytest.raises(RefusalError, match=says or None) as caught:
        ask(attempt, index, step, request)
    assert caught.value.code == code
    assert attempt.owners[index].ended
    for later in STEPS:
        with pytest.raises(RefusalError) as again:
            ask(attempt, index, later, request)
        assert again.value.code == "ended"


@pytest.mark.parametrize("step", STEPS)
def test_the_same_bytes_get_the_same_answer_and_other_bytes_none(begin: Begin, step: str) -> None:
    attempt = begin(FIVE)
    request = attempt.until(step)[8]
    first = ask(attempt, 8, step, request)
    drawn = len(attempt.streams[8].drawn)
    assert ask(attempt, 8, step, request) is first
    assert len(attempt.streams[8].drawn) == drawn
    if step != "advertise":
        refused(attempt, 8, step, request[:-1] + bytes([request[-1] ^ 1]), "changed")


@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize("asked", range(1, 6))
def test_a_step_out_of_order_ends_the_session(begin: Begin, at: int, asked: int) -> None:
    attempt = begin(FIVE)
    request = attempt.until(STEPS[at])[8]
    if asked > at:
        refused(attempt, 8, STEPS[asked], request, "order", f"before {STEPS[at]}")
    elif asked < at:
        refused(attempt, 8, STEPS[asked], request, "changed")


def test_earlier_answers_are_given_again_but_the_vector_is_not_kept(begin: Begin) -> None:
    attempt = begin(FIVE)
    dealt, verdict = attempt.until("deal")[8], attempt.until("mask")[8]
    attempt.until("unmask")
    assert messages.dealing_from(attempt.owners[8].deal(dealt), attempt.collector.session).index == 8
    with pytest.raises(RefusalError, match="no longer kept") as caught:
        attempt.owners[8].mask(verdict, attempt.vectors[8])
    assert caught.value.code == "repeat"
    assert not attempt.owners[8].ended
    assert attempt.owners[8].unmask(attempt.collector.requests()[8])


@pytest.mark.parametrize("step", STEPS[1:])
@pytest.mark.parametrize("change", ["empty", "cut", "longer", "kind", "another attempt's"])
def test_what_is_no_message_of_this_session_ends_it(begin: Begin, step: str, change: str) -> None:
    attempt = begin(FIVE)
    request = attempt.until(step)[8]
    spoiled = {
        "empty": b"",
        "cut": request[:-1],
        "longer": request + b"\0",
        "kind": request[:4] + b"\x63" + request[5:],
        "another attempt's": begin(FIVE, attempt=2).until(step)[8],
    }
    refused(attempt, 8, step, spoiled[change], "malformed", step)


# Exchange 2


def directory(attempt: Any, changes: Callable[[dict[int, Advertisement]], None]) -> bytes:
    """The true directory of an attempt, with changes."""
    true = messages.directory_from(attempt.until("deal")[8], attempt.context)
    listed = {each.index: each for each in true.full}
    changes(listed)
    full = tuple(listed[each] for each in sorted(listed))
    return Directory(messages.entries(full), full).to_bytes(attempt.context)


def resigned(attempt: Any, advertisement: Advertisement, **fields: bytes) -> Advertisement:
    """What a member that is in league with the server signs."""
    changed = replace(advertisement, **fields)
    signature = keys.sign(signer(changed.index), "advertise", changed.signed(attempt.context))
    return replace(changed, signature=signature)


FRESH = AgreementKey.of(bytes(range(32))).public
LOW = (1).to_bytes(32, "little")


def _own(attempt: Any, listed: dict[int, Advertisement]) -> None:
    listed[8] = replace(listed[8], sealing_key=FRESH)


def _absent(attempt: Any, listed: dict[int, Advertisement]) -> None:
    del listed[8]


def _substituted(attempt: Any, listed: dict[int, Advertisement]) -> None:
    listed[2] = replace(listed[2], mask_key=FRESH)


def _another_context(attempt: Any, listed: dict[int, Advertisement]) -> None:
    listed[2] = replace(listed[2], signature=keys.sign(signer(2), "advertise", listed[2].signed(bytes(32))))


def _another_purpose(attempt: Any, listed: dict[int, Advertisement]) -> None:
    listed[2] = replace(listed[2], signature=keys.sign(signer(2), "deal", listed[2].signed(attempt.context)))


def _another_signer(attempt: Any, listed: dict[int, Advertisement]) -> None:
    listed[2] = replace(listed[2], signature=keys.sign(signer(5), "advertise", listed[2].signed(attempt.context)))


def _stranger(attempt: Any, listed: dict[int, Advertisement]) -> None:
    listed[99] = resigned(attempt, replace(listed[2], index=99, mask_key=FRESH))


def _renumbered(attempt: Any, listed: dict[int, Advertisement]) -> None:
    listed[5] = replace(listed[2], index=5)


def _low_mask_key(attempt: Any, listed: dict[int, Advertisement]) -> None:
    listed[2] = resigned(attempt, listed[2], mask_key=LOW)


def _low_sealing_key(attempt: Any, listed: dict[int, Advertisement]) -> None:
    listed[2] = resigned(attempt, listed[2], sealing_key=bytes(32))


def _same_key_twice(attempt: Any, listed: dict[int, Advertisement]) -> None:
    listed[2] = resigned(attempt, listed[2], mask_key=listed[5].mask_key)


def _my_key(attempt: Any, listed: dict[int, Advertisement]) -> None:
    listed[2] = resigned(attempt, listed[2], mask_key=listed[8].mask_key)


def _one_key_for_both(attempt: Any, listed: dict[int, Advertisement]) -> None:
    listed[2] = resigned(attempt, listed[2], mask_key=listed[2].sealing_key)


def _same_commitment(attempt: Any, listed: dict[int, Advertisement]) -> None:
    listed[2] = resigned(attempt, listed[2], commitment=listed[5].commitment)


def _below_the_floor(attempt: Any, listed: dict[int, Advertisement]) -> None:
    del listed[2], listed[5]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        (_own, "own"),
        (_absent, "own"),
        (_substituted, "signature"),
        (_another_context, "signature"),
        (_another_purpose, "signature"),
        (_another_signer, "signature"),
        (_stranger, "members"),
        (_renumbered, "signature"),
        (_low_mask_key, "keys"),
        (_low_sealing_key, "keys"),
        (_same_key_twice, "keys"),
        (_my_key, "keys"),
        (_one_key_for_both, "keys"),
        (_same_commitment, "keys"),
        (_below_the_floor, "too-few"),
    ],
    ids=lambda value: value.__name__ if callable(value) else value,
)
def test_a_directory_that_lies_gets_no_shares(
    begin: Begin, changes: Callable[[Any, dict[int, Advertisement]], None], code: str
) -> None:
    attempt = begin(FIVE)
    refused(attempt, 8, "deal", directory(attempt, lambda listed: changes(attempt, listed)), code)


def test_a_directory_whose_digests_are_of_other_keys_gets_no_shares(begin: Begin) -> None:
    attempt = begin(FIVE)
    true = messages.directory_from(attempt.until("deal")[8], attempt.context)
    other = tuple(resigned(attempt, each, mask_key=FRESH) if each.index == 2 else each for each in true.full)
    lying = Directory(true.entries, other).to_bytes(attempt.context)
    refused(attempt, 8, "deal", lying, "members", "two advertisements of owner 2")
    hiding = Directory(true.entries, true.full[1:]).to_bytes(attempt.context)
    refused(attempt, 5, "deal", hiding, "members", "exactly")


# Exchange 3


def complaints(attempt: Any, index: int, changes: Callable[[dict[int, tuple[bytes, bytes, bytes]]], None]) -> Any:
    """What an owner reports on shares that were changed on their way."""
    request, session = attempt.until("check")[index], attempt.collector.session
    dealt = dict(messages.shares_from(request, session).dealt)
    changes(dealt)
    shares = messages.Shares({each: dealt[each] for each in sorted(dealt)})
    return messages.report_from(attempt.owners[index].check(shares.to_bytes(session)), session).complaints


def test_a_bad_share_is_complained_of_by_name_and_reason(begin: Begin) -> None:
    def flipped(dealt: dict[int, tuple[bytes, bytes, bytes]]) -> None:
        key, seed, sealed = dealt[2]
        dealt[2] = (key, seed, sealed[:-1] + bytes([sealed[-1] ^ 1]))

    def swapped(dealt: dict[int, tuple[bytes, bytes, bytes]]) -> None:
        dealt[2], dealt[5] = dealt[5], dealt[2]

    def uncommitted(dealt: dict[int, tuple[bytes, bytes, bytes]]) -> None:
        key, seed, sealed = dealt[2]
        dealt[2] = (seed, key, sealed)

    assert complaints(begin(FIVE), 8, lambda dealt: None) == {}
    assert complaints(begin(FIVE), 8, flipped) == {2: Reason.SEALED}
    assert complaints(begin(FIVE), 8, swapped) == {2: Reason.SEALED, 5: Reason.SEALED}
    assert complaints(begin(FIVE), 8, uncommitted) == {2: Reason.COMMITMENT}


def test_a_share_outside_the_field_is_complained_of(begin: Begin) -> None:
    attempt = begin(FIVE)
    attempt.until("check")
    shared = attempt.owners[8]._secrets.sealing[2]  # what owner 2 has as well
    session = attempt.collector.session
    pair = (b"\xff" * 33, b"\0" * 33)
    sealed = keys.seal(shared, session, 2, 8, b"".join(pair))
    assert complaints(attempt, 8, lambda dealt: dealt.update({2: (bytes(32), bytes(32), sealed)})) == {2: Reason.SHARE}


def test_a_ciphertext_of_its_own_is_not_taken_back(begin: Begin) -> None:
    attempt = begin(FIVE)
    attempt.until("check")
    reflected = attempt.collector._dealt[8]
    row = (*reflected.commitments[2], reflected.sealed[2])
    assert complaints(attempt, 8, lambda dealt: dealt.update({2: row})) == {2: Reason.SEALED}


@pytest.mark.parametrize(("changed", "code"), [("stranger", "members"), ("self", "members"), ("few", "too-few")])
def test_shares_of_the_wrong_dealers_end_the_session(begin: Begin, changed: str, code: str) -> None:
    attempt = begin(FIVE)
    request, session = attempt.until("check")[8], attempt.collector.session
    dealt = dict(messages.shares_from(request, session).dealt)
    if changed == "few":
        del dealt[2], dealt[5]
    else:
        dealt[8 if changed == "self" else 99] = dealt[2]
    shares = messages.Shares({each: dealt[each] for each in sorted(dealt)})
    refused(attempt, 8, "check", shares.to_bytes(session), code)


# Exchange 4


def verdict(attempt: Any, **fields: Any) -> bytes:
    """The true verdict of an attempt, with changes."""
    request, session = attempt.until("mask")[8], attempt.collector.session
    true = messages.verdict_from(request, session)
    return replace(true, **fields).to_bytes(session)


def complained(attempt: Any, reporter: int, dealer: int) -> None:
    """An attempt in step `mask` in which one owner complained of another."""
    attempt.until("check")
    dealing = attempt.collector._dealt[dealer]
    sealed = dict(dealing.sealed)
    sealed[reporter] = sealed[reporter][::-1]
    attempt.collector._dealt[dealer] = replace(dealing, sealed=sealed)
    attempt.collector._step = "deal"
    attempt.collector._close_deal()
    attempt.until("mask")


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ((2, 5, 8, 11, 14, 99), "members"),  # one that never advertised
        ((2, 5, 11, 14), "members"),  # without the owner itself
        ((5, 8, 11), "too-few"),
        ((8,), "too-few"),
    ],
)
def test_a_verdict_on_the_wrong_members_gets_no_vector(begin: Begin, members: tuple[int, ...], code: str) -> None:
    attempt = begin(FIVE)
    attempt.until("mask")
    refused(attempt, 8, "mask", verdict(attempt, members=members), code)


def test_who_was_complained_of_is_not_kept_and_no_complaint_is_hidden_or_made_up(begin: Begin) -> None:
    def case() -> Any:
        attempt = begin(SEVEN)
        complained(attempt, 8, 2)
        return attempt

    attempt = case()
    true = messages.verdict_from(attempt.collector.requests()[8], attempt.collector.session)
    assert 2 not in true.members
    assert [dict(each.complaints) for each in true.reports] == [{2: Reason.SEALED}]
    assert attempt.collector.faults[2] == "check: dealt owner 8 a bad share (sealed)"
    everyone = (2, *true.members)
    for index, changes, code in [
        (8, {"members": everyone}, "members"),
        (5, {"members": everyone}, "members"),
        (8, {"members": everyone, "reports": ()}, "own"),
        (8, {"reports": ()}, "own"),
        (5, {"reports": (replace(true.reports[0], complaints={5: Reason.SHARE}),)}, "signature"),
        (5, {"reports": (replace(true.reports[0], index=11),)}, "signature"),
        (5, {"reports": (replace(true.reports[0], index=99),)}, "members"),
    ]:
        attempt = case()
        refused(attempt, index, "mask", verdict(attempt, **changes), code)
    attempt = case()
    hidden = ask(attempt, 5, "mask", verdict(attempt, reports=()))  # that nobody else can see, but its masks are others
    assert not np.array_equal(hidden, ask(case(), 5, "mask", attempt.collector.requests()[5]))


def test_whoever_complains_of_more_dealers_than_there_are_colluders_leaves_itself(begin: Begin) -> None:
    attempt = begin(SEVEN)
    attempt.until("check")
    for dealer in (2, 5):
        sealed = dict(attempt.collector._dealt[dealer].sealed)
        sealed[8] = sealed[8][::-1]
        attempt.collector._dealt[dealer] = replace(attempt.collector._dealt[dealer], sealed=sealed)
    attempt.collector._step = "deal"
    attempt.collector._close_deal()
    assert set(attempt.until("mask")) == {2, 5, 11, 14, 17, 20}
    assert attempt.collector.faults == {8: "check: complained of 2 dealers, more than 1"}
    assert np.array_equal(attempt.run(), attempt.sum([2, 5, 11, 14, 17, 20]))


def test_nobody_masks_with_an_owner_of_whom_it_holds_no_shares(begin: Begin) -> None:
    attempt = begin(SEVEN)
    request, session = attempt.until("check")[8], attempt.collector.session
    dealt = dict(messages.shares_from(request, session).dealt)
    del dealt[2]
    attempt.owners[8].check(messages.Shares(dealt).to_bytes(session))
    kept = messages.Verdict(tuple(attempt.cohort), ()).to_bytes(session)
    refused(attempt, 8, "mask", kept, "members", "of whom this one has no shares")


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=9, max_size=9))
def test_whatever_the_vector_holds_its_masks_are_the_same(begin: Begin, values: list[int]) -> None:
    """No refusal, no message and no mask depends on the data: y − PRG is x mod 2^b."""
    zero, other = begin(FIVE), begin(FIVE)
    request = zero.until("mask")[8]
    assert other.until("mask")[8] == request
    masks = zero.owners[8].mask(request, np.zeros(9, dtype=np.int64)).astype(np.int64)
    masked = other.owners[8].mask(request, np.array(values, dtype=np.int64)).astype(np.int64)
    assert [int(each) for each in (masked - masks) % 2**20] == [each % 2**20 for each in values]
    assert int(masked.max()) < 2**20


def test_the_masked_vector_is_nobody_s_to_change(begin: Begin) -> None:
    attempt = begin(FIVE)
    request, vector = attempt.until("mask")[8], attempt.vectors[8].copy()
    masked = attempt.owners[8].mask(request, attempt.vectors[8])
    assert np.array_equal(vector, attempt.vectors[8])
    with pytest.raises(ValueError, match="read-only"):
        masked[0] = 1
    assert attempt.owners[8].mask(request, np.ones(9, dtype=np.int64)) is masked  # one vector a session


@pytest.mark.parametrize("vector", [np.zeros(8, np.int64), np.zeros(9), np.zeros((9, 1), np.int64)])
def test_a_vector_of_another_shape_or_kind_is_refused(begin: Begin, vector: Any) -> None:
    attempt = begin(FIVE)
    request = attempt.until("mask")[8]
    with pytest.raises(RefusalError) as caught:
        attempt.owners[8].mask(request, vector)
    assert caught.value.code == "vector"


# Exchanges 5 and 6


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ((2, 5, 11, 14), "survivors"),  # without the owner, which sent its vector
        ((2, 5, 8, 11, 14, 99), "survivors"),
        ((5, 8, 11), "too-few"),
    ],
)
def test_the_wrong_survivors_get_no_signature(begin: Begin, members: tuple[int, ...], code: str) -> None:
    attempt = begin(FIVE)
    attempt.until("agree")
    request = messages.Survivors(members).to_bytes(attempt.collector.session)
    refused(attempt, 8, "agree", request, code)


def test_two_sets_of_survivors_get_no_share(begin: Begin) -> None:
    """The attack on one owner's vector: some are told that it survived, others that it dropped."""
    attempt = begin(SEVEN)
    requests = attempt.until("agree")
    session = attempt.collector.session
    without = messages.Survivors((2, 5, 8, 11, 14)).to_bytes(session)
    answers = {each: ask(attempt, each, "agree", without if each < 14 else requests[each]) for each in requests}
    signatures = {each: messages.agreement_from(answer, session).signature for each, answer in answers.items()}
    fewer = messages.Agreements({each: signatures[each] for each in (2, 5, 8, 11)}).to_bytes(session)
    mixed = messages.Agreements({each: signatures[each] for each in (2, 5, 8, 11, 14)}).to_bytes(session)
    refused(attempt, 2, "unmask", fewer, "agreement", "4 agree on the survivors, and 5 have to")
    refused(attempt, 5, "unmask", mixed, "signature", "owner|key")
    whole = messages.Agreements({each: signatures[each] for each in sorted(signatures)}).to_bytes(session)
    for index in (14, 17, 20):
        refused(attempt, index, "unmask", whole, "signature")


def test_no_second_set_of_survivors_is_signed(begin: Begin) -> None:
    attempt = begin(SEVEN)
    request = attempt.until("agree")[8]
    assert attempt.owners[8].agree(request)
    refused(attempt, 8, "agree", messages.Survivors((2, 5, 8, 11, 14)).to_bytes(attempt.collector.session), "changed")


@pytest.mark.parametrize("case", ["own", "few", "dropped", "forged", "replayed"])
def test_agreements_that_prove_nothing_open_nothing(begin: Begin, case: str) -> None:
    attempt = begin(FIVE)
    request = attempt.until("unmask")[8]
    session = attempt.collector.session
    signed = dict(messages.agreements_from(request, session).signatures)
    if case == "own":
        del signed[8]
    elif case == "few":
        del signed[2], signed[5]
    elif case == "dropped":
        signed[99] = signed[2]
    elif case == "forged":
        signed[2] = keys.sign(signer(2), "report", attempt.collector._agreed_on)
    else:
        signed[2] = keys.sign(signer(2), "agree", bytes(64))
    code = {"forged": "signature", "replayed": "signature"}.get(case, "agreement")
    refused(attempt, 8, "unmask", messages.Agreements(signed).to_bytes(session), code)


def test_an_opening_holds_one_share_for_each_and_never_both(begin: Begin) -> None:
    attempt = begin(SEVEN)
    requests = attempt.until("mask")
    for index in [each for each in requests if each != 20]:
        attempt.collector.fold(index, ask(attempt, index, "mask", requests[index]))
    attempt.collector.close()
    request = attempt.until("unmask")[8]
    opening = messages.opening_from(attempt.owners[8].unmask(request), attempt.collector.session)
    kinds = {each: secret for each, (secret, _) in opening.shares.items()}
    assert kinds == {**dict.fromkeys((2, 5, 8, 11, 14, 17), Secret.SEED), 20: Secret.MASK_KEY}
    assert attempt.owners[8]._secrets is None
    assert not attempt.owners[8].ended


def test_randomness_that_repeats_itself_is_refused(begin: Begin) -> None:
    attempt = begin(FIVE)
    stuck = Owner(
        FIVE, attempt.context, 8, signer(8), attempt.cohort, frozenset(attempt.cohort), lambda count: bytes(count)
    )
    attempt.owners[8] = stuck
    attempt.collector._step = "advertise"
    own = messages.advertisement_from(stuck.advertise(), attempt.context)
    assert own.mask_key == own.sealing_key
    others = [attempt.owners[each].advertise() for each in (2, 5, 11)]
    listed = sorted(
        [own, *(messages.advertisement_from(each, attempt.context) for each in others)], key=lambda a: a.index
    )
    with pytest.raises(RefusalError, match="twice") as caught:
        stuck.deal(Directory(messages.entries(listed), tuple(listed)).to_bytes(attempt.context))
    assert caught.value.code == "keys"


def test_randomness_that_runs_dry_is_refused(begin: Begin) -> None:
    attempt = begin(FIVE)
    given = 0

    def dry(count: int) -> bytes:
        nonlocal given
        given += 1
        return bytes([given]) * (count if given <= 3 else 1)

    attempt.owners[8] = Owner(FIVE, attempt.context, 8, signer(8), attempt.cohort, frozenset(attempt.cohort), dry)
    refused(attempt, 8, "deal", attempt.until("deal")[8], "broken", "the randomness gave 1 of")


def test_a_context_is_32_bytes(begin: Begin) -> None:
    attempt = begin(FIVE)
    with pytest.raises(RefusalError, match="a context of 31 bytes") as caught:
        Owner(FIVE, bytes(31), 8, signer(8), attempt.cohort, frozenset(attempt.cohort), bytes)
    assert caught.value.code == "context"


@pytest.mark.parametrize("step", ["mask", "agree"])
def test_in_a_sparse_graph_enough_neighbours_have_to_stay(begin: Begin, step: str) -> None:
    parameters = Parameters(80, least=68, colluders=1, threshold=4, bits=20, dim=3, adversary="semi-honest", degree=14)
    attempt = begin(parameters)
    attempt.until(step)
    near = [each for each in attempt.collector._session.near(8) if each != 8]
    members = tuple(each for each in attempt.cohort if each not in near[2:])
    assert len(members) == parameters.least
    message = messages.Verdict(members, ()) if step == "mask" else messages.Survivors(members)
    request = message.to_bytes(attempt.collector.session)
    refused(attempt, 8, step, request, "too-few", "3 hold shares, and 4 open a secret")
    assert ask(attempt, near[0], step, request) is not None


def test_masking_takes_one_vector_of_memory_however_many_masks(begin: Begin) -> None:
    """In the narrowest type that holds the ring, beside the vector that is masked: 4 bytes an element at 20 bits."""
    dim = 300_000
    attempt = begin(replace(FIVE, dim=dim))
    request = attempt.until("mask")[2]
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        masked = attempt.owners[2].mask(request, attempt.vectors[2])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert masked.nbytes == 4 * dim
    assert 4 * dim <= peak - before < 1.5 * 4 * dim
