"""Heading: a question and its answer read back as they were written, and nobody speaks in another's name."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.ledger.notice import Notice
from tacit.strategies.admission import AdmissionError
from tacit.strategies.heading import ASSET, Heads, answer, call_in, heads_in, request

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([each]) * 32) for each in (1, 2))
NOTICES = st.none() | st.builds(
    lambda renewals, number: Notice(ASSET, renewals, number, "ab" * 32, 7).signed(KEY),
    st.integers(0, 9),
    st.integers(0, 99),
)


@given(NOTICES, st.integers(0, 2**33))
def test_a_call_is_its_owner_s_and_nobody_else_s(notice: Notice | None, now: int) -> None:
    call = call_in(request("ward-3", KEY, now, notice).encode())
    assert (call.name, call.time, call.notice) == ("ward-3", now, notice)
    assert call.made_by(KEY.public_key().public_bytes_raw())
    assert not call.made_by(OTHER.public_key().public_bytes_raw())


@given(NOTICES, NOTICES)
def test_an_answer_is_read_as_it_was_written_by_its_signer_only(newest: Notice | None, same: Notice | None) -> None:
    text = answer(Heads(newest, same)).encode()
    assert heads_in(text, KEY.public_key()) == Heads(newest, same)
    if newest is not None or same is not None:
        with pytest.raises(AdmissionError, match="has signed"):
            heads_in(text, OTHER.public_key())


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"\xff", b'{"newest":"x","same":""}', b'{"newest":"","same":"","more":""}']
)
def test_anything_else_is_no_answer_and_no_call(text: bytes) -> None:
    with pytest.raises(AdmissionError):
        heads_in(text, KEY.public_key())
    with pytest.raises(AdmissionError):
        call_in(text)
