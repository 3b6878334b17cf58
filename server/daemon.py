"""Daemon: a coordinator's folder at work: SuperLink, coordinator, gateway and enrolment, supervised as one."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import time
from pathlib import Path

from ..strategies.token import endpoint
from . import authority
from .child import Child, listening
from .control import COORDINATOR, COORDINATOR_METHODS, answers, forwarded, starting
from .home import HomeError, ServerHome, ServerSettings, settings
from .service import serve
from .superlink import Settings

_PATIENCE = 120.0  # seconds that a child may take to come up on a busy machine


def run(root: Path, seed: int | None = None) -> None:
    """Run the coordinator of the folder `root` until SIGTERM, SIGINT or its method `stop`; for a main thread.

    `seed` is for tests: every draw then follows from it, nothing is private, and only loopback may be listened on. Raises
    `HomeError`, `ConfigError` and what `service.serve` raises.
    """
    home = ServerHome(root.absolute()).checked()
    found = settings(home)
    if seed is not None:
        _only_loopback(found)
    os.umask(0o077)
    authority.certify_servers(home, authority.load(home), found, time.time())
    link = Settings(home.flower, free_port(), home.superlink_certificate, home.superlink_key, home.authority)
    link.secret()
    coordinator = home.root / COORDINATOR
    serve(
        home.root,
        children(home, found, link, seed),
        forwarded(coordinator, COORDINATOR_METHODS, start=starting(home.root)),
    )


def children(home: ServerHome, found: ServerSettings, link: Settings, seed: int | None) -> tuple[Child, ...]:
    """The programs of a coordinator, in the order in which they start."""
    host, port = endpoint(found.address)
    seeded = () if seed is None else (str(seed),)
    superlink = Child(
        "superlink", link.command(), listening("127.0.0.1", link.port), link.environment(), link.folder, _PATIENCE
    )
    conductor = Child(
        "coordinator", _module("conductor", home, link, *seeded), answers(home.root / COORDINATOR), patience=_PATIENCE,
        grace=2.0,
    )  # fmt: skip
    gateway = Child("gateway", _module("porter", home, link), listening(host, port), patience=_PATIENCE, grace=5.0)
    return superlink, conductor, gateway


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _module(name: str, home: ServerHome, link: Settings, *further: str) -> tuple[str, ...]:
    return sys.executable, "-P", "-m", f"{__package__}.{name}", str(home.root), str(link.port), *further


def _only_loopback(found: ServerSettings) -> None:
    for address in (found.address, found.enrolment):
        host, _ = endpoint(address)
        try:
            loopback = ipaddress.ip_address(host).is_loopback
        except ValueError:
            loopback = host == "localhost"
        if not loopback:
            raise HomeError(
                f"--insecure-seed with address {address}: a seeded daemon protects nobody and listens on loopback only; "
                f"set both addresses in server.toml to 127.0.0.1, or leave the seed out"
            )
