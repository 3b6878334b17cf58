"""Anchoring: nobody calls in another owner's name or shows a notice that is not its own, and no answer of another counts."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.privacy.ledger.notice import Notice
from tacit.strategies import admission
from tacit.strategies.admission import AdmissionError
from tacit.strategies.anchoring import answer, call_in, kept_in, request

KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([each]) * 32) for each in (1, 2))
ASSET, ELSE = "ab" * 32, "cd" * 32
NOTICE = Notice(ASSET, 0, 3, "0" * 64, 7)
SIGNED = NOTICE.signed(KEY)


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


@pytest.mark.parametrize("notice", [SIGNED, None])
def test_a_call_is_its_maker_s(notice: Notice | None) -> None:
    text = request("ward-3", KEY, 9.5, ASSET, notice)
    call = call_in(text.encode())
    assert (call.name, call.time, call.asset, call.notice) == ("ward-3", 9, ASSET, notice)
    assert call.made_by(public(KEY))
    assert not call.made_by(public(OTHER))
    for old, new in (("ward-3", "ward-4"), ('"time":9', '"time":8'), (f'"asset":"{ASSET}"', f'"asset":"{ELSE}"')):
        assert old in text
        if notice is None or new != f'"asset":"{ELSE}"':
            assert not call_in(text.replace(old, new).encode()).made_by(public(KEY))
    assert len(text) < admission.LARGEST


def test_a_notice_in_a_call_is_its_maker_s_and_of_its_ledger() -> None:
    assert not call_in(request("a", KEY, 9, ASSET, NOTICE.signed(OTHER)).encode()).made_by(public(KEY))
    assert not call_in(request("a", KEY, 9, ASSET, NOTICE).encode()).made_by(public(KEY))
    with pytest.raises(AdmissionError, match="another ledger"):
        call_in(request("a", KEY, 9, ELSE, SIGNED).encode())
    with_none = request("a", KEY, 9, ASSET, None)
    quoted = SIGNED.text().replace('"', '\\"')
    assert not call_in(with_none.replace('"notice":""', f'"notice":"{quoted}"').encode()).made_by(public(KEY))


@pytest.mark.parametrize("text", [b"", b"{}", b"\xff", b'{"notice":"x"}', b'{"notice":null}', b"[]"])
def test_what_is_no_call_and_no_answer_is_refused(text: bytes) -> None:
    with pytest.raises(AdmissionError):
        call_in(text)
    with pytest.raises(AdmissionError):
        kept_in(text, ASSET, KEY.public_key())


def test_an_answer_counts_only_where_the_owner_signed_it_for_this_ledger() -> None:
    key = KEY.public_key()
    assert kept_in(answer(SIGNED).encode(), ASSET, key) == SIGNED
    assert kept_in(answer(None).encode(), ASSET, key) is None
    for found, asset in ((NOTICE, ASSET), (NOTICE.signed(OTHER), ASSET), (SIGNED, ELSE)):
        with pytest.raises(AdmissionError, match="no anchor that this owner made"):
            kept_in(answer(found).encode(), asset, key)
