"""`tacit client`: the verbs of an owner's agent, one file each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import typer

from .client_enroll import command as enroll
from .client_roster import app as roster
from .group import group

VERBS: Mapping[str, Callable[..., None]] = {
    "enroll": enroll,
}
GROUPS: Mapping[str, typer.Typer] = {
    "roster": roster,
}

app = group("client", "The owner's agent: enrol, check the others, run.")
for name, verb in VERBS.items():
    app.command(name)(verb)
for name, inner in GROUPS.items():
    app.add_typer(inner, name=name)
