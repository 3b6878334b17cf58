"""Certificate: the whole file checked offline: who signed, whether it fits together, and every ε worked out again.

| shown                                                                | by                                              |
|----------------------------------------------------------------------|-------------------------------------------------|
| nothing was changed since it was signed                              | signatures and digests                          |
| each ε follows from its events                                       | two computations (`privacy.recomputation`)      |
| owners and coordinator agreed to the same recipe                     | its digest in each statement                    |
| the charges were on an owner's ledger, and that came to its head     | the ledger's export, where one is given         |
| a model file holds the numbers that the run ended with               | their digest, where the file is given           |
| whose the keys are                                                   | a roster that was had from elsewhere, or people |
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ..privacy.ledger.account import Account
from ..privacy.ledger.certificate import (
    Binding,
    CertificateError,
    Cost,
    Statement,
    binding_in,
    certificate_in,
    charged,
    hidden,
    statement_in,
)
from ..privacy.ledger.entry import Reserved
from ..privacy.ledger.reader import Book
from ..privacy.recomputation import Recomputed, recompute
from .modelfile import Found
from .roster import Entry, Roster, RosterError, verify


@dataclass(frozen=True, slots=True)
class Finding:
    """A cost and what came of working it out again. `owner` is None for what the coordinator says."""

    owner: Entry | None
    cost: Cost
    again: Recomputed
    statement: Statement | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a certificate says and what of it does not hold (`faults`); `notes` are to be known and no faults.

    `ledgers` names the owners whose ledgers were held against it, `known` those whose keys a roster from elsewhere has too;
    `model` is whether a model file that was given is the run's.
    """

    binding: Binding
    roster: Roster
    claims: tuple[Finding, ...]
    owners: tuple[Finding, ...]
    faults: tuple[str, ...]
    notes: tuple[str, ...]
    ledgers: tuple[str, ...]
    known: tuple[str, ...]
    model: bool = False

    @property
    def holds(self) -> bool:
        """Whether everything that can be checked holds."""
        return not self.faults


def check(
    content: bytes, elsewhere: str | None = None, books: Sequence[Book] = (), model: Found | None = None
) -> Verdict:
    """The verdict on the certificate in `content`.

    `elsewhere` is a signed roster that the reader had from another place; `books` are ledgers of owners, `model` what a model
    file holds. Raises `CertificateError` for what is not what its signers signed.
    """
    found = certificate_in(content)
    binding = binding_in(found.binding)
    if hashlib.sha256(found.roster.encode()).hexdigest() != binding.roster:
        raise CertificateError("the roster in it is not the one that it names; ask the coordinator for the file again")
    roster = _roster(found.roster, binding.key)
    entries = {entry.number: entry for entry in roster.entries}
    if [each.digest for each in found.statements] != [digest for _, digest in binding.statements]:
        raise CertificateError(
            "the statements in it are not those that it names; ask the coordinator for the file again"
        )
    faults: list[str] = []
    notes: list[str] = []
    owners: list[Finding] = []
    for (number, _), signed in zip(binding.statements, found.statements, strict=True):
        entry = entries.get(number)
        if entry is None:
            raise CertificateError(f"owner number {number} signed, and is not in the roster; ask the coordinator why")
        try:
            statement = statement_in(signed, entry.key)
        except CertificateError as error:
            raise CertificateError(f"the statement of {entry.name}: {error}") from error
        faults += [f"{entry.name}: {each}" for each in _contradictions(statement, binding, number)]
        if statement.roster != roster.digest().hex():
            notes.append(f"{entry.name} signed while it kept another roster than this one; its key is the same in both")
        owners.append(Finding(entry, statement.cost, recompute(statement.cost), statement))
    claims = tuple(Finding(None, cost, recompute(cost)) for cost in binding.claims)
    for claim in claims:
        who = f"the claim against the {claim.cost.currency.observer}"
        faults += [f"{who}: {claim.again.fault}"] if claim.again.fault else []
    for each in owners:
        faults += [f"{each.owner.name}: {each.again.fault}"] if each.again.fault and each.owner is not None else []
    known: set[str] = set()
    if elsewhere is not None:
        signers = [each.owner for each in owners if each.owner is not None]
        known, others = _compared(roster, _roster(elsewhere, binding.key), signers)
        faults += others
        notes += [
            f"{entry.name} is not in the roster that you gave; compare its fingerprint over another channel"
            for entry in signers
            if entry.name not in known and not others
        ]
    held: list[str] = []
    for book in books:
        name, fault = _held(book, owners)
        held += [] if fault else [name]
        faults += [fault] if fault else []
    same = model is not None and model.digest == binding.model
    if model is not None and not same:
        faults.append("the model file: not the model that this run ended with")
    if model is not None and model.others:
        notes.append(f"of the model file the certificate says nothing of {', '.join(model.others[:5])}: not trained")
    return Verdict(
        binding, roster, claims, tuple(owners), tuple(faults), tuple(notes), tuple(held), tuple(sorted(known)), same
    )


def _roster(signed: str, key: str) -> Roster:
    """The roster that the Ed25519 `key` signed, of whatever federation; raises `CertificateError`."""
    try:
        authority = bytes.fromhex(json.loads(json.loads(signed)["roster"])["authority"])
        return verify(signed, Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)), authority)
    except RosterError as error:
        raise CertificateError(f"{error}; its key has to be the one that signed the certificate") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise CertificateError(
            f"not a signed roster ({type(error).__name__}); give `roster.json` of an owner"
        ) from error


def _contradictions(statement: Statement, binding: Binding, number: int) -> list[str]:
    """Where a statement is not one on this run, or not on what the coordinator says was run."""
    found = []
    if statement.run != binding.run:
        found.append(f"its statement is on run {statement.run}, not on {binding.run}")
    if statement.number != number:
        found.append(f"its statement is that of owner number {statement.number}, not {number}")
    if statement.recipes != (binding.recipe,):
        found.append(
            "it agreed to another recipe than the certificate names, or to more than one; ask both what was run"
        )
    if statement.codes != (binding.code,):
        found.append(f"it ran {', '.join(statement.codes)}, and the certificate says {binding.code}")
    return found


def _compared(roster: Roster, elsewhere: Roster, owners: list[Entry]) -> tuple[set[str], list[str]]:
    """Who of `owners` stands in a roster that the reader knows, and where that contradicts the certificate's."""
    if elsewhere.authority != roster.authority:
        return set(), ["the roster that you gave is that of another federation; compare with the operator"]
    taken = {value for each in elsewhere.entries for value in (each.name, each.number, each.key)}
    faults = [
        f"{entry.name}: not the owner that the roster that you gave has; do not rely on its statement"
        for entry in owners
        if entry not in elsewhere.entries and taken & {entry.name, entry.number, entry.key}
    ]
    return {entry.name for entry in owners if entry in elsewhere.entries}, faults


def _held(book: Book, owners: list[Finding]) -> tuple[str, str]:
    """The owner whose ledger `book` is, and what of it contradicts its statement."""
    heading, where = book.heading, str(book.path)
    for each in owners:
        statement = each.statement
        if each.owner is None or statement is None or statement.head.identity != heading.identity:
            continue
        name, head = each.owner.name, statement.head
        if heading.key != each.owner.key.hex() or hidden(heading.asset, heading.identity) != statement.asset:
            return name, f"{where}: not the ledger of {name} that its statement speaks of"
        digest = book.digest(head.number)
        if digest is None or digest.hex() != head.digest:
            return (
                name,
                f"{where}: an older or another ledger than the statement of {name} speaks of, at line {head.number}",
            )
        account = Account()
        for line in book.lines[: head.number + 1]:
            account.take(line.number, line.entry)
        charges = [line.number for line in book.lines[: head.number + 1] if _charges(line.entry, statement.run)]
        extra = account.delta_extra(statement.cost.currency, statement.run)
        same = charged(account, statement.cost.currency, statement.run) == statement.cost.events
        whole = account.currencies(statement.run) == {statement.cost.currency} and extra == statement.cost.delta_extra
        if not same or not whole or (charges[0], charges[-1]) != statement.lines:
            return name, f"{where}: charges something else for run {statement.run} than {name} stated"
        return name, ""
    return "", f"{where}: no owner of this certificate states anything of this ledger"


def _charges(entry: object, run: str) -> bool:
    return isinstance(entry, Reserved) and entry.address.run == run
