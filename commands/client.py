"""`tacit client`: the verbs of an owner's agent, one file each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import typer

from .client_approve import command as approve
from .client_enroll import command as enroll
from .client_logs import command as logs
from .client_pause import command as pause
from .client_policy import app as policy
from .client_resume import command as resume
from .client_roster import app as roster
from .client_start import command as start
from .client_status import command as status
from .client_stop import command as stop
from .group import group

VERBS: Mapping[str, Callable[..., None]] = {
    "enroll": enroll,
    "start": start,
    "approve": approve,
    "status": status,
    "logs": logs,
    "pause": pause,
    "resume": resume,
    "stop": stop,
}
GROUPS: Mapping[str, typer.Typer] = {
    "policy": policy,
    "roster": roster,
}

app = group("client", "The owner's agent: enrol, check the others, run.")
for name, verb in VERBS.items():
    app.command(name)(verb)
for name, inner in GROUPS.items():
    app.add_typer(inner, name=name)
