"""`tacit certificate verify`: whether a certificate holds, and what it shows at all."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .faults import FAILED, FailedError
from .flags import Json

if TYPE_CHECKING:
    from ..privacy.ledger.certificate import Cost
    from ..strategies.certificate import Finding, Verdict

_ATTESTED = (
    "that clip and noise ran as the recipe has them, on the data that the assets hold",
    "that the code was the version that is named, unchanged, on a machine that nobody else controlled",
    "that what the ledgers say was charged is all that left, and that no older ledger was put back",
)
_UNPROTECTED = (
    "what many units have in common, or a group of them: ε is for one",
    "that an owner took part at all, and what traffic shows",
    "the model from owners that sent poison",
)
_WAYS = {
    "pld": "dp-accounting, by privacy loss distribution", "rdp": "RDP, which is looser",
    "bound": "dp-accounting's RDP, an upper bound", "none": "",
}  # fmt: skip


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="`certificate.json` of a run.", show_default=False)],
    roster: Annotated[
        Path | None,
        typer.Option("--roster", metavar="FILE", help="`roster.json` of an owner whom you trust.", show_default=False),
    ] = None,
    ledger: Annotated[
        list[Path] | None,
        typer.Option(
            "--ledger", metavar="FILE", help="An owner's ledger or its export; repeatable.", show_default=False
        ),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", metavar="FILE", help="`model.safetensors`: whether it is the run's.", show_default=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every signature, work out every ε again in two ways, and say what is shown by that and what is not. Offline.

    Leaves with 1 where anything does not hold. Without --roster, compare the fingerprints with the owners over another
    channel: the file alone cannot show whose the keys are.

    Example: `tacit certificate verify runs/ward-20261123/certificate.json`
    """
    from ..privacy.ledger.certificate import CertificateError
    from ..privacy.ledger.errors import LedgerError
    from ..privacy.ledger.reader import read
    from ..strategies.certificate import check
    from ..strategies.modelfile import ModelFileError, found_in
    from .screen import show_json

    content = file.read_bytes()
    try:
        elsewhere = None if roster is None else roster.read_text(encoding="utf-8")
        held = None if model is None else found_in(model)
        found = check(content, elsewhere, [read(path) for path in ledger or ()], held)
    except (CertificateError, LedgerError, ModelFileError, UnicodeDecodeError) as error:
        if not as_json:
            raise FailedError(f"{file}: does not hold: {error}") from error
        show_json({"holds": False, "faults": [str(error)]})
        raise typer.Exit(FAILED) from None
    if as_json:
        show_json(_row(found))
        if not found.holds:
            raise typer.Exit(FAILED)
        return
    _show(file, found)
    if not found.holds:
        raise FailedError(f"{file}: does not hold:\n" + "\n".join(f"  {fault}" for fault in found.faults))


def _show(file: Path, found: Verdict) -> None:
    from .screen import say

    binding = found.binding
    say(f"{file}: run {binding.run}, {binding.rounds} rounds, {binding.charges} releases charged")
    if binding.seeded:
        say("Every draw of this run follows from a seed: nothing is private, ε = ∞.")
    say()
    say("What the owners signed")
    for _, alike in groupby(found.owners, key=lambda each: (each.cost, each.again)):
        owners = list(alike)
        for each in owners:
            if each.owner is not None:
                say(f"  {each.owner.name}, fingerprint {each.owner.fingerprint}")
        _say_cost(owners[0], "each: " if len(owners) > 1 else "")
    for missing in binding.missing:
        name = next((entry.name for entry in found.roster.entries if entry.number == missing.number), "not enrolled")
        say(f"  owner number {missing.number} ({name}) signed nothing; of it ε = ∞ has to be assumed: {missing.reason}")
    if not found.owners and not binding.missing:
        say("  nothing: the run had no owners")
    say()
    say(f"What the coordinator signed, by the key {binding.key}")
    for each in found.claims:
        _say_cost(each)
    if not found.holds:
        return
    say()
    say("Verified")
    say("  all signatures, and that no byte was changed since")
    say("  each finite ε: it follows from the events, by two computations")
    if found.owners:
        say("  that coordinator and owners name the same recipe and code")
    say("  " + (f"the keys of {', '.join(found.known)}: the roster that you gave has them too" if found.known
                else "not whose the keys are: compare the fingerprints over another channel, or give --roster"))  # fmt: skip
    held = ", ".join(found.ledgers)
    say("  " + (f"the ledger of {held}: it has these charges, and came to the head that is named" if held
                else "not the ledgers: their heads are signed here; give their exports with --ledger"))  # fmt: skip
    say("  " + ("the model: the file that you gave holds the numbers that the run ended with" if found.model
                else "not the model: its digest is signed here; give the file with --model"))  # fmt: skip
    for words, lines in (
        ("Attested by who signed, and shown by nothing here", _ATTESTED),
        ("Not protected", _UNPROTECTED),
    ):
        say(words)
        for line in lines:
            say(f"  {line}")
    for note in found.notes:
        say(f"Note: {note}")
    say("What each of this means: docs/privacy.md")


def _say_cost(found: Finding, whose: str = "") -> None:
    from ..simulation.mechanism import mechanism
    from ..simulation.numerals import epsilon_text, small_text
    from .screen import say

    cost, again = found.cost, found.again
    say(f"    {whose}ε = {epsilon_text(cost.epsilon)} at δ = {small_text(cost.delta)} for one {cost.currency.unit}, "
        f"{cost.currency.relation}, against the {cost.currency.observer} ({_rests(cost)})")  # fmt: skip
    for event, count in cost.events:
        words = mechanism(_plain(event))
        say(f"      {count} times {words}" if words != "nothing" else f"      {count} more, which that pays for")
    if again.fault:
        say(f"      DOES NOT HOLD: {again.fault}")
    elif again.by != "none":
        say(f"      again: {again.epsilon:.6g}; by {_WAYS[again.by]}: {again.second:.6g}")


def _rests(cost: Cost) -> str:
    masks = ", as long as the masks' cryptography holds" if cost.basis == "computational" else ""
    return f"{cost.adversary} server{masks}"


def _plain(event: Any) -> Any:
    from ..privacy.event import to_json

    return to_json(event)


def _row(found: Verdict) -> dict[str, Any]:
    return {
        "holds": found.holds, "faults": list(found.faults), "notes": list(found.notes), "run": found.binding.run,
        "certificate": found.binding.to_json(), "owners": [_owner(each) for each in found.owners],
        "claims": [_again(each) for each in found.claims], "keys_known": list(found.known), "ledgers": list(found.ledgers),
        "model": found.model,
        "verified": ["signatures", "arithmetic", "agreement"] if found.holds else [], "attested": list(_ATTESTED),
        "not_protected": list(_UNPROTECTED),
    }  # fmt: skip


def _owner(found: Finding) -> dict[str, Any]:
    entry, statement = found.owner, found.statement
    if entry is None or statement is None:
        return {}
    return {"name": entry.name, "fingerprint": entry.fingerprint, "statement": statement.to_json(), **_again(found)}


def _again(found: Finding) -> dict[str, Any]:
    again = found.again
    return {
        "cost": found.cost.to_json(), "epsilon": again.epsilon, "epsilon_rdp": again.rdp, "second": again.second,
        "by": again.by, "fault": again.fault,
    }  # fmt: skip
