"""`tacit ledger`: what was spent, and the proof of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .group import group
from .ledger_allow import command as allow
from .ledger_anchor import command as anchor
from .ledger_export import command as export
from .ledger_show import command as show
from .ledger_verify import command as verify

VERBS: Mapping[str, Callable[..., None]] = {
    "show": show,
    "verify": verify,
    "export": export,
    "allow": allow,
    "anchor": anchor,
}

app = group("ledger", "What was spent, and the proof of it.")
for name, verb in VERBS.items():
    app.command(name)(verb)
