"""A fuzzer over every decoder that a stranger's bytes reach: the typed error or a value, in bounded time and memory.

Bytes are random, or those of valid messages changed in ways that know their structure: bits, counts, lengths, rows that are
doubled, swapped or cut. Every byte of every message of a small session is changed once on its way to and from an owner.
"""

from __future__ import annotations

import copy
import hashlib
import json
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.secagg import messages
from tacit.privacy.secagg.errors import AbortError, FaultError, MessageError, RefusalError
from tacit.privacy.secagg.owner import STEPS
from tacit.privacy.secagg.parameters import Parameters
from tacit.strategies import codec, parcel
from tacit.strategies.codec import CodecError
from tacit.strategies.messages import Cohort, Recipe, Reply, Request, reply_from, request_from
from tacit.strategies.steps import Step, asked_in
from tacit.strategies.terms import Terms, terms_from

Make = Callable[..., Any]
BINDING = hashlib.sha256(b"binding").digest()
LIMIT = 1 << 20  # what a decoder may take for the small messages of this file, beside a multiple of what came


def word(what: str, size: int = 32) -> bytes:
    """Bytes that a name decides."""
    return hashlib.shake_256(what.encode()).digest(size)


def protocol() -> dict[str, tuple[Callable[[bytes], Any], bytes]]:
    """A valid message of every kind of secure aggregation, and what reads it."""
    ads = tuple(
        messages.Advertisement(each, word(f"a{each}"), word(f"b{each}"), word(f"c{each}"), word(f"d{each}", 64))
        for each in (2, 5, 8)
    )
    rows = {each: (word(f"k{each}"), word(f"s{each}")) for each in (2, 5, 8)}
    sealed = {each: word(f"x{each}", messages.SEALED) for each in (5, 8)}
    report = messages.Report(5, word("column"), {2: messages.Reason.SEALED, 8: messages.Reason.SHARE}, word("r", 64))
    made: list[Any] = [
        ads[0],
        messages.Directory(messages.entries(ads), ads),
        messages.Dealing(2, word("d", 64), rows, sealed),
        messages.Shares({each: (*rows[each], word(f"x{each}", messages.SEALED)) for each in (5, 8)}),
        report,
        messages.Verdict((2, 5, 8), (report,)),
        messages.Survivors((2, 5, 8)),
        messages.Agreement(2, word("g", 64)),
        messages.Agreements({each: word(f"g{each}", 64) for each in (2, 5, 8)}),
        messages.Opening(2, {each: (messages.Secret.SEED, word(f"o{each}", 33)) for each in (2, 5, 8)}),
    ]
    readers: list[Callable[[bytes, bytes], Any]] = [
        messages.advertisement_from, messages.directory_from, messages.dealing_from, messages.shares_from,
        messages.report_from, messages.verdict_from, messages.survivors_from, messages.agreement_from,
        messages.agreements_from, messages.opening_from,
    ]  # fmt: skip
    return {
        type(value).__name__.lower(): (lambda found, read=read: read(found, BINDING), value.to_bytes(BINDING))
        for value, read in zip(made, readers, strict=True)
    }


TERMS = Terms({"use": "digits"}, "tacit 0.1.0", "zero-out", {"use": "everyone"}, 5, 20)
RECIPE = Recipe({"use": "sgd", "lr": 0.5}, {"use": "fedavg"}, ({"stage": "clip", "norm": 0.5},), 4, 5, TERMS)
REQUEST = Request("run", 1, 0, 7, RECIPE, torch.zeros(5), torch.zeros(2), Cohort((3, 4, 7), "0f" * 32))
VECTOR = Reply("run", 1, 0, (7,), "ok", torch.arange(9), 20, step=4)
REAL = Reply("run", 1, 0, (7,), "ok", torch.arange(9, dtype=torch.float32))
PAYLOAD = Reply("run", 1, 0, (7,), "ok", step=2, payload=b"payload")
LETTER = parcel.wrap(REQUEST.to_bytes(), 10).letter


def _terms(found: bytes) -> Terms:
    try:
        return terms_from(json.loads(found))
    except (ValueError, RecursionError) as error:
        raise CodecError("no JSON") from error


def travelling() -> dict[str, tuple[Callable[[bytes], Any], bytes]]:
    """A valid frame, letter of every kind that travels, and what reads it."""
    return {
        "frame": (codec.decode, REQUEST.to_bytes()),
        "request": (request_from, REQUEST.to_bytes()),
        "asked request": (asked_in, REQUEST.to_bytes()),
        "step": (asked_in, Step("run", 1, 0, 7, 3, b"payload").to_bytes()),
        "masked reply": (reply_from, VECTOR.to_bytes()),
        "plain reply": (reply_from, REAL.to_bytes()),
        "reply with a payload": (reply_from, PAYLOAD.to_bytes()),
        "letter": (lambda found: parcel.opened(found, 10_000), LETTER),
        "pieces of a letter": (parcel.pieces, LETTER),
        "terms": (_terms, json.dumps(TERMS.to_json()).encode()),
        "packed": (lambda found: codec.unpack(np.frombuffer(found, np.uint8), 20, 9), VECTOR.to_bytes()[-23:]),
    }


@dataclass(frozen=True)
class Subject:
    read: Callable[[bytes], Any]
    valid: bytes
    error: type[Exception]


SUBJECTS = {name: Subject(read, valid, MessageError) for name, (read, valid) in protocol().items()}
SUBJECTS |= {name: Subject(read, valid, CodecError) for name, (read, valid) in travelling().items()}
each_decoder = pytest.mark.parametrize("name", SUBJECTS)


def tried(subject: Subject, found: bytes) -> bool:
    """Whether bytes are read; nothing but the typed error, and memory within a small multiple of what came."""
    tracemalloc.start()
    try:
        subject.read(found)
    except subject.error:
        return False
    else:
        return True
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < LIMIT + 100 * len(found), peak


def test_every_kind_of_message_is_tried() -> None:
    assert len(protocol()) == len(messages.Kind)
    for name, subject in SUBJECTS.items():
        assert tried(subject, subject.valid), name


@st.composite
def mutated(draw: st.DrawFn, valid: bytes) -> bytes:
    """Valid bytes after a few changes that know what messages are made of."""
    found = bytearray(valid)
    for _ in range(draw(st.integers(1, 4))):
        at, size = draw(st.integers(0, len(found))), draw(st.integers(0, 80))
        match draw(st.integers(0, 7)):
            case 0 if at < len(found):
                found[at] ^= 1 << draw(st.integers(0, 7))
            case 1:
                number = draw(st.sampled_from([0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1]))
                found[at : at + 4] = struct.pack(draw(st.sampled_from("<>")) + "I", number)
            case 2:
                found[at : at + 8] = struct.pack(draw(st.sampled_from("<>")) + "Q", draw(st.integers(0, 2**64 - 1)))
            case 3:
                del found[at : at + size]
            case 4:
                found[at:at] = found[at : at + size]
            case 5:
                other = draw(st.integers(0, len(found)))
                one, two = found[at : at + size], found[other : other + size]
                if len(one) == len(two):
                    found[at : at + size], found[other : other + size] = two, one
            case 6:
                found[at:at] = draw(st.binary(max_size=40))
            case 7:
                hostile = [
                    b"1e999",
                    b"NaN",
                    b"[" * 500,
                    b"-1",
                    b'"\\ud800"',
                    b"9" * 5000,
                    b"null",
                    b"{}",
                    b"true",
                    b"0.5",
                ]
                found[at : at + size] = draw(st.sampled_from(hostile))
    return bytes(found)


@each_decoder
@settings(max_examples=120)
@given(data=st.data())
def test_changed_messages_are_read_or_refused(name: str, data: st.DataObject) -> None:
    subject = SUBJECTS[name]
    tried(subject, data.draw(mutated(subject.valid)))


@each_decoder
@settings(max_examples=60)
@given(data=st.data())
def test_any_bytes_after_a_true_beginning_are_read_or_refused(name: str, data: st.DataObject) -> None:
    subject = SUBJECTS[name]
    head = data.draw(st.sampled_from([0, 4, 5, 8, 12, 37, 41, len(subject.valid) // 2]))
    tried(subject, subject.valid[:head] + data.draw(st.binary(max_size=400)))


@each_decoder
def test_every_beginning_of_a_message_and_every_changed_byte_is_read_or_refused(name: str) -> None:
    """Messages of secure aggregation have no beginning that is one; one changed byte is refused or is another value."""
    subject = SUBJECTS[name]
    for size in range(len(subject.valid)):
        whole = tried(subject, subject.valid[:size])
        assert not (whole and subject.error is MessageError)
    for at in range(len(subject.valid)):
        for flip in (1, 0x80, 0xFF):
            changed = subject.valid[:at] + bytes([subject.valid[at] ^ flip]) + subject.valid[at + 1 :]
            read = tried(subject, changed)
            if subject.error is MessageError:
                assert not (read and at < 37)
                assert not read or subject.read(changed) != subject.read(subject.valid)


HEADERS = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)


@pytest.mark.parametrize("name", ["request", "step", "masked reply", "reply with a payload"])
@settings(max_examples=150)
@given(data=st.data())
def test_any_value_at_any_place_of_a_header_is_read_or_refused(name: str, data: st.DataObject) -> None:
    subject = SUBJECTS[name]
    (size,) = struct.unpack_from("<I", subject.valid, 8)
    header = json.loads(subject.valid[12 : 12 + size])
    places: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
            places.append((value, key))
            walk(value[key])

    walk(header)
    for where, key in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=2)):
        if (isinstance(where, dict) and key in where) or (isinstance(where, list) and key < len(where)):
            where[key] = data.draw(HEADERS)
    text = json.dumps(header).encode()
    tried(subject, subject.valid[:8] + struct.pack("<I", len(text)) + text + subject.valid[12 + size :])


@pytest.mark.parametrize(
    ("ring", "dim"), [(1, 2**61), (62, 2**61), (20, 2**40), (20, 2**62), (2**61, 1), (0, 9), (63, 9)]
)
def test_a_reply_that_announces_a_large_vector_takes_no_memory(ring: int, dim: int) -> None:
    header, arrays = codec.decode(VECTOR.to_bytes())
    frame = codec.encode({**header, "ring": ring, "dim": dim}, arrays)
    assert not tried(SUBJECTS["masked reply"], frame)


# --- every byte of a small session, once ---

THREE = Parameters(n=3, least=3, colluders=1, threshold=3, bits=20, dim=3, adversary="malicious")


@pytest.mark.parametrize("step", STEPS[1:])
def test_every_byte_that_the_server_changes_is_refused_or_complained_of(world: Make, step: str) -> None:
    """On the way to an owner. All three have to agree here, so that there is no signature too many, which nobody looks at."""
    at = world(THREE)
    asked: list[bytes] = []
    while at.collector.step != step:
        asked.append(at.collector.requests()[2])
        at.step()
    request = at.collector.requests()[2]
    for place in range(len(request)):
        owner = world(THREE).owners[2]
        for earlier, told in zip(STEPS, asked, strict=False):
            if earlier == "advertise":
                owner.advertise()
            elif earlier == "mask":
                owner.mask(told, at.vectors[2])
            else:
                getattr(owner, earlier)(told)
        changed = request[:place] + bytes([request[place] ^ (1 + place % 255)]) + request[place + 1 :]
        try:
            answer = owner.mask(changed, at.vectors[2]) if step == "mask" else getattr(owner, step)(changed)
        except RefusalError:
            assert owner.ended
            assert owner._secrets is None
        else:
            assert step == "check", place
            assert len(messages.report_from(answer, at.session).complaints) == 1


@pytest.mark.parametrize("step", [step for step in STEPS if step != "mask"])
def test_every_byte_that_an_owner_changes_is_its_fault(world: Make, step: str) -> None:
    """On the way to the collector; but ciphertexts, which their receiver complains of."""
    at = world(THREE)
    at.until(step)
    true = at.ask(2, step, at.collector.requests()[2])
    sealed = len(true) - 2 * messages.SEALED if step == "deal" else len(true)
    for place in range(len(true)):
        collector = copy.deepcopy(at.collector)
        changed = true[:place] + bytes([true[place] ^ (1 + place % 255)]) + true[place + 1 :]
        if place < sealed:
            with pytest.raises(FaultError) as caught:
                collector.take(2, changed)
            assert (caught.value.sender, caught.value.stays) == (2, False)
            with pytest.raises(AbortError):
                collector.close()
        else:
            collector.take(2, changed)
            assert not collector.faults
