"""Daemon: a coordinator's folder at work: SuperLink, coordinator, gateway and enrolment, supervised as one."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..strategies.control import ControlError, Methods
from ..strategies.token import endpoint
from . import authority
from .child import Child, listening
from .control import COORDINATOR, COORDINATOR_METHODS, answers, forwarded, starting
from .home import HomeError, ServerHome, ServerSettings, settings
from .metrics import MetricsServer, Restarts
from .service import serve
from .superlink import Settings
from .supervisor import Observe

_PATIENCE = 120.0  # seconds that a child may take to come up on a busy machine
# Blocks from 1 MiB on are mapped and given back as soon as they are free: models come and go, and glibc's own threshold grows
# to 32 MiB with the first of them. Halves the coordinator's peak memory.
_GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}


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
    methods = forwarded(coordinator, COORDINATOR_METHODS, start=starting(home.root))
    try:
        with _scraped(home, found, methods) as observe:
            serve(home.root, children(home, found, link, seed), methods, observe=observe)
    finally:
        coordinator.unlink(missing_ok=True)  # of a child that was killed, as it may be at the end


@contextlib.contextmanager
def _scraped(home: ServerHome, found: ServerSettings, methods: Methods) -> Iterator[Observe | None]:
    """What counts the supervisor's restarts; they are served with the coordinator's numbers, where settings say so."""
    if found.metrics is None:
        yield None
        return
    restarts = Restarts()

    def observe(event: str, facts: Mapping[str, Any]) -> None:
        if event == "child-ended":
            restarts.restarted(str(facts["child"]))

    def text() -> bytes:
        with contextlib.suppress(ControlError):  # it is away: its numbers begin anew
            return restarts.text() + str(methods["metrics"]({})["text"]).encode()
        return restarts.text()

    with MetricsServer(text, *endpoint(found.metrics), home.metrics_token):
        yield observe


def children(home: ServerHome, found: ServerSettings, link: Settings, seed: int | None) -> tuple[Child, ...]:
    """The programs of a coordinator, in the order in which they start."""
    host, port = endpoint(found.address)
    seeded = () if seed is None else (str(seed),)
    superlink = Child(
        "superlink", link.command(), listening("127.0.0.1", link.port), link.environment(), link.folder, _PATIENCE
    )
    conductor = Child(
        "coordinator", _module("conductor", home, link, *seeded), answers(home.root / COORDINATOR),
        {**os.environ, **_GIVEN_BACK}, patience=_PATIENCE, grace=2.0,
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
