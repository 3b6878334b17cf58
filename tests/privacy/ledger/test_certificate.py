"""Certificate: every byte is signed or has one value only; what is written reads back; a ledger's head covers its charges."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tacit.privacy.event import Gaussian
from tacit.privacy.ledger.certificate import (
    Certificate,
    CertificateError,
    Missing,
    Signed,
    binding_in,
    certificate_in,
    hidden,
    statement_in,
)
from tacit.privacy.ledger.field import EntryError


def opened(content: bytes, owners: Any) -> Any:
    """All that the signatures in a file vouch for; raises where one of them does not."""
    found = certificate_in(content)
    binding = binding_in(found.binding)
    numbers = [number for number, _ in binding.statements]
    return binding, [
        statement_in(each, owners[number].public_key().public_bytes_raw())
        for number, each in zip(numbers, found.statements, strict=True)
    ]


def test_what_is_written_reads_back(sealing: Any) -> None:
    content = sealing.file()
    assert certificate_in(content).to_bytes() == content
    binding, statements = opened(content, sealing.owners)
    assert statements == list(sealing.statements.values())
    assert replace(binding, statements=(), roster="f" * 64) == sealing.binding


@pytest.mark.parametrize(
    "change",
    [lambda text: text + " ", lambda text: text.replace(":", ": ", 1), lambda text: text.replace('"text"', '"Text"', 1),
     lambda text: text[:-1], lambda text: "[" + text + "]", lambda text: "", lambda text: "[" * 100_000],
    ids=["space", "spaced", "key", "cut", "list", "nothing", "deep"],
)  # fmt: skip
def test_a_file_has_one_form(sealing: Any, change: Any) -> None:
    with pytest.raises(CertificateError):
        certificate_in(change(sealing.file().decode()).encode())


def test_another_key_does_not_vouch_for_it(sealing: Any) -> None:
    with pytest.raises(CertificateError, match="not signed by the key"):
        statement_in(sealing.signed(1), sealing.owners[2].public_key().public_bytes_raw())


def test_a_signature_of_one_kind_is_none_of_the_other(sealing: Any) -> None:
    statement = sealing.signed(1)
    row = json.loads(statement.text) | {"key": sealing.owners[1].public_key().public_bytes_raw().hex()}
    with pytest.raises(CertificateError):
        binding_in(Signed(json.dumps(row), statement.signature))
    with pytest.raises(CertificateError):
        statement_in(certificate_in(sealing.file()).binding, sealing.coordinator.public_key().public_bytes_raw())


def test_a_text_that_is_signed_but_not_canonical_is_none(sealing: Any) -> None:
    key = sealing.owners[1]
    text = json.dumps(sealing.statements[1].to_json())
    signed = Signed(text, key.sign(b"tacit statement 1\0" + text.encode()).hex())
    with pytest.raises(CertificateError, match="canonical"):
        statement_in(signed, key.public_key().public_bytes_raw())


@pytest.mark.parametrize(
    "changes",
    [{"lines": (0, 6)}, {"lines": (6, 2)}, {"lines": (2, 3)}, {"lines": (2, 8)}, {"number": -1}, {"asset": "ward"}],
    ids=lambda changes: repr(changes),
)
def test_a_statement_that_contradicts_itself_cannot_be_made(sealing: Any, changes: dict[str, Any]) -> None:
    """Among them a head before the charges: that of an older ledger."""
    with pytest.raises(EntryError):
        replace(sealing.statements[1], **changes)


def test_a_head_older_than_the_charges_is_refused(sealing: Any) -> None:
    statement = sealing.statements[1]
    with pytest.raises(EntryError, match="head"):
        replace(statement, head=replace(statement.head, number=5))
    with pytest.raises(EntryError, match="head"):
        replace(statement, cost=replace(statement.cost, events=((Gaussian(9.0), 6),)))


def test_under_a_seed_no_claim_is_finite(sealing: Any) -> None:
    with pytest.raises(EntryError, match="seed"):
        replace(sealing.binding, seeded=True)
    endless = replace(sealing.binding.claims[0], epsilon=float("inf"))
    assert replace(sealing.binding, seeded=True, claims=(endless,)).seeded


def test_an_owner_signed_or_is_missing(sealing: Any) -> None:
    with pytest.raises(EntryError, match="twice"):
        replace(sealing.binding, statements=((3, "a" * 64),))
    with pytest.raises(EntryError, match="twice"):
        replace(sealing.binding, missing=(Missing(3, "", ""), Missing(3, "", "")))


def test_an_assets_name_is_hidden_and_can_be_shown_by_who_knows_the_ledger() -> None:
    assert hidden("ward", "id") == hidden("ward", "id")
    assert len({hidden("ward", "id"), hidden("ward", "other"), hidden("other", "id")}) == 3


def test_a_signature_has_one_way_to_be_written() -> None:
    with pytest.raises(EntryError):
        Signed("text", "AB" * 64)
    assert Certificate(Signed("a", "0" * 128), (), "").to_bytes().endswith(b"}\n")
