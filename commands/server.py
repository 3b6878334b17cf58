"""`tacit server`: the verbs of a coordinator, one file each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .group import group
from .server_enroll import command as enroll
from .server_init import command as init
from .server_logs import command as logs
from .server_owners import command as owners
from .server_revoke import command as revoke
from .server_run import command as run
from .server_runs import command as runs
from .server_start import command as start
from .server_status import command as status
from .server_stop import command as stop

VERBS: Mapping[str, Callable[..., None]] = {
    "init": init,
    "enroll": enroll,
    "owners": owners,
    "revoke": revoke,
    "start": start,
    "run": run,
    "runs": runs,
    "status": status,
    "logs": logs,
    "stop": stop,
}

app = group("server", "The coordinator: set up, invite owners, run.")
for name, verb in VERBS.items():
    app.command(name)(verb)
