"""Site: where a federation on one machine lies, and what its processes are."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..client.enrolment import enrol, newest_roster
from ..client.home import ClientHome
from ..client.identity import load
from ..client.roster import approve, take
from ..config import Config
from ..server import control
from ..server.child import Child
from ..server.enrolment import office
from ..server.founding import found
from ..server.home import ServerHome
from ..server.registry import Registry
from ..strategies.control import SOCKET
from ..strategies.token import parse


@dataclass(frozen=True, slots=True)
class Site:
    """Where everything of a federation on this machine lies."""

    root: Path

    @property
    def server(self) -> ServerHome:
        """The coordinator's folder."""
        return ServerHome(self.root / "server")

    def owner(self, number: int) -> ClientHome:
        """The folder of an owner, from 0."""
        return ClientHome(self.root / "owners" / f"owner-{number}")


def found_server(site: Site) -> None:
    """Make the coordinator's folder, on free ports of loopback."""
    with _ports() as (gateway, enrolment):
        found(site.server.root, "127.0.0.1", f"127.0.0.1:{gateway}", f"127.0.0.1:{enrolment}", time.time())


@contextlib.contextmanager
def _ports() -> Iterator[tuple[int, int]]:
    """Two ports of loopback that nobody listens on."""
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        yield first.getsockname()[1], second.getsockname()[1]


def environment_of(config: Config, tasks: Path | None) -> Mapping[str, str] | None:
    """The children's environment: one's own task is looked up in the folder of its configuration, as in `simulate`."""
    if ":" not in config.task.use or tasks is None:
        return None
    path = os.pathsep.join([str(tasks), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path}


def server_child(site: Site, seed: int | None, environment: Mapping[str, str] | None) -> Child:
    """The coordinator's daemon."""
    root = site.server.root
    ready = control.answers(root / SOCKET)
    return Child("server", _verb("server", root, seed), ready, environment, patience=150.0, grace=30.0)


def agent_child(site: Site, number: int, seed: int | None, environment: Mapping[str, str] | None) -> Child:
    """The agent of an owner."""
    return Child(f"owner-{number}", _verb("client", site.owner(number).root, seed), environment=environment, grace=20.0)


def _verb(side: str, root: Path, seed: int | None) -> tuple[str, ...]:
    seeded = () if seed is None else ("--insecure-seed", str(seed))
    return sys.executable, "-P", "-m", "tacit", side, "start", "--dir", str(root.absolute()), *seeded


def acquaint(site: Site, owners: int) -> None:
    """Let every owner take the newest roster and approve all the others: here all of them are one person's."""
    for number in range(owners):
        identity = load(site.owner(number), time.time())
        roster = take(identity, newest_roster(identity, time.time()))
        for entry in roster.entries:
            if entry != identity.entry:
                approve(identity, entry.name, entry.fingerprint)


def enrol_owner(site: Site, number: int, settings: str) -> None:
    """Invite an owner, enrol it over the network, and leave `settings` as its `agent.toml`."""
    with Registry(site.server.registry) as registry:
        token = office(site.server, registry).invite(f"owner-{number}", 600.0)
    enrol(parse(token.text()), site.owner(number), time.time())
    site.owner(number).settings_file.write_text(settings, encoding="utf-8")
