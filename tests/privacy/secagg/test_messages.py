"""Laws of messages: each comes back from its bytes, has no other bytes, and no run of bytes raises anything but one error."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.secagg import frame, messages
from tacit.privacy.secagg.errors import MessageError
from tacit.privacy.secagg.messages import Kind, Reason, Secret
from tacit.privacy.secagg.parameters import Parameters

BINDING = bytes(range(32))
PARAMETERS = Parameters(n=3, least=3, colluders=0, threshold=2, bits=20, dim=9, adversary="malicious")

index = st.integers(0, 2**32 - 1)
word, signature, share, sealed = (st.binary(min_size=size, max_size=size) for size in (32, 64, 33, messages.SEALED))


def by_index(values: Any) -> Any:
    """Mappings from ascending indices."""
    return st.dictionaries(index, values, max_size=5).map(lambda found: {each: found[each] for each in sorted(found)})


def ascending(values: Any) -> Any:
    """Tuples of values with an index, ascending by it."""
    return st.lists(values, max_size=4, unique_by=lambda each: each.index).map(
        lambda found: tuple(sorted(found, key=lambda each: each.index))
    )


indices = st.sets(index, max_size=6).map(lambda found: tuple(sorted(found)))
advertisements = st.builds(messages.Advertisement, index, word, word, word, signature)
reports = st.builds(messages.Report, index, word, by_index(st.sampled_from(Reason)), signature)
entries = by_index(word).map(lambda found: b"".join(frame.u32(each) + found[each] for each in found))


@st.composite
def dealings(draw: st.DrawFn) -> messages.Dealing:
    dealer, committed = draw(index), draw(by_index(st.tuples(word, word)))
    return messages.Dealing(
        dealer, draw(signature), committed, {each: draw(sealed) for each in committed if each != dealer}
    )


Decode = Callable[[bytes, bytes], Any]
ALL: list[tuple[Kind, Any, Decode]] = [
    (Kind.ADVERTISEMENT, advertisements, messages.advertisement_from),
    (Kind.DIRECTORY, st.builds(messages.Directory, entries, ascending(advertisements)), messages.directory_from),
    (Kind.DEALING, dealings(), messages.dealing_from),
    (Kind.SHARES, st.builds(messages.Shares, by_index(st.tuples(word, word, sealed))), messages.shares_from),
    (Kind.REPORT, reports, messages.report_from),
    (Kind.VERDICT, st.builds(messages.Verdict, indices, ascending(reports)), messages.verdict_from),
    (Kind.SURVIVORS, st.builds(messages.Survivors, indices), messages.survivors_from),
    (Kind.AGREEMENT, st.builds(messages.Agreement, index, signature), messages.agreement_from),
    (Kind.AGREEMENTS, st.builds(messages.Agreements, by_index(signature)), messages.agreements_from),
    (
        Kind.OPENING,
        st.builds(messages.Opening, index, by_index(st.tuples(st.sampled_from(Secret), share))),
        messages.opening_from,
    ),
]
each_message = pytest.mark.parametrize(("kind", "values", "decode"), ALL, ids=[kind.name for kind, _, _ in ALL])


def test_every_kind_is_under_these_laws() -> None:
    assert {kind for kind, _, _ in ALL} == set(Kind)


@each_message
@given(data=st.data())
def test_a_message_comes_back_from_its_bytes(kind: Kind, values: Any, decode: Decode, data: st.DataObject) -> None:
    value = data.draw(values)
    message = value.to_bytes(BINDING)
    assert message[:37] == b"TSA1" + bytes([kind]) + BINDING
    assert decode(message, BINDING) == value
    for wrong in (message[:-1], message + b"\0", message[:4] + bytes([kind % 10 + 1]) + message[5:]):
        with pytest.raises(MessageError):
            decode(wrong, BINDING)
    with pytest.raises(MessageError, match="another run, round, attempt or session"):
        decode(message, bytes(32))


@each_message
@given(data=st.data())
def test_any_bytes_are_refused_or_are_the_one_encoding_of_a_value(
    kind: Kind, values: Any, decode: Decode, data: st.DataObject
) -> None:
    if data.draw(st.booleans()):
        body = data.draw(st.binary(max_size=300))
    else:  # near a real one
        body = bytearray(data.draw(values).to_bytes(BINDING)[37:])
        for _ in range(data.draw(st.integers(1, 3))):
            if body:
                body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    message = frame.head(kind, BINDING) + bytes(body)
    try:
        value = decode(message, BINDING)
    except MessageError:
        return
    assert value.to_bytes(BINDING) == message


@each_message
def test_a_count_of_four_billion_takes_no_memory(kind: Kind, values: Any, decode: Decode) -> None:
    for before in (0, 4, 68, 100):
        message = frame.head(kind, BINDING) + bytes(before) + b"\xff" * 4 + bytes(1000)
        tracemalloc.start()
        with pytest.raises(MessageError):
            decode(message, BINDING)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 100_000


def about(**changes: Any) -> bytes:
    """A context, with changes."""
    given: dict[str, Any] = {
        "run": "digits",
        "round": 3,
        "attempt": 1,
        "task": bytes(32),
        "roster": bytes(32),
        "cohort": {0: b"a" * 32, 1: b"b" * 32, 5: b"c" * 32},
        "parameters": PARAMETERS,
    }
    return messages.context(**{**given, **changes})


def test_everything_that_an_attempt_is_about_decides_its_context() -> None:
    different = [
        about(),
        about(run="digit"),
        about(run="digits "),
        about(round=1, attempt=3),
        about(round=4),
        about(attempt=2),
        about(task=bytes(31) + b"\1"),
        about(roster=bytes(31) + b"\1"),
        about(cohort={0: b"a" * 32, 1: b"b" * 32, 6: b"c" * 32}),
        about(cohort={0: b"a" * 32, 1: b"c" * 32, 5: b"b" * 32}),
        about(cohort={0: b"a" * 32, 1: b"b" * 32}),
        *(about(parameters=replace(PARAMETERS, **change)) for change in ({"dim": 10}, {"bits": 21}, {"threshold": 3})),
    ]
    assert len(set(different)) == len(different)
    assert about(cohort={5: b"c" * 32, 1: b"b" * 32, 0: b"a" * 32}) == about()  # a set has no order


def test_contexts_and_sessions_of_the_specification() -> None:
    """The test vector of docs/secure-aggregation.md."""
    context = about()
    assert context.hex() == "30ca06907e071acd89bb48905de51cdf8ac1a42db22eb14afa312d1c6e300a63"
    one = messages.Advertisement(0, b"1" * 32, b"2" * 32, b"3" * 32, b"4" * 64)
    directory = messages.Directory(messages.entries([one, replace(one, index=5)]), ())
    session = directory.session(context)
    assert session.hex() == "a38423206f5275f672528e0160be0ef3307007c49b727a4470879452c507da62"
    view = messages.Verdict((0, 5), ()).view(session)
    assert view.hex() == "4f99bd08492ee478a3efa593a9ae9f7c1f98814f3d002590851760d4e1a98a01"


@given(advertisements, advertisements)
def test_an_advertisement_signs_every_field(one: messages.Advertisement, other: messages.Advertisement) -> None:
    fields = ("index", "mask_key", "sealing_key", "commitment")
    same = all(getattr(one, field) == getattr(other, field) for field in fields)
    assert (one.signed(BINDING) == other.signed(BINDING)) == same
    assert (one.digest() == other.digest()) == (one == other)
