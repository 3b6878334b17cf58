"""Conductor: the process that runs the rounds. It works off what it is asked for, one run at a time, and survives its death.

    python -m tacit.server.conductor FOLDER PORT [SEED]      (PORT: of the SuperLink on loopback)

It has nothing to tidy up when it is stopped: whatever counts is on the disk. A round that was under way goes on with the same
requests, to which the owners have the same replies.

| method on its socket | answers                                                                      |
|----------------------|------------------------------------------------------------------------------|
| run                  | takes `config` (TOML) on and answers the `run`'s name; declines what it can tell to be wrong |
| runs                 | `runs`: `run`, `state`, `why`, `round`, `rounds` of every run                  |
| show                 | the same of one `run`, and its last `row`                                      |
| again                | lets a `run` that failed, or that was refused, go on from its last whole round |
| agents               | `agents`: `number`, `name`, `online` of every enrolled owner; `seeded`         |
| metrics              | `text`: its numbers, as Prometheus reads them                                  |
"""

from __future__ import annotations

import contextlib
import logging
import ssl
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..config import ConfigError, parse
from ..privacy.ledger.creation import create
from ..privacy.ledger.errors import LedgerError
from ..privacy.ledger.store import Store
from ..strategies import keyfile
from ..strategies.control import ControlServer, DeclinedError, Methods
from ..strategies.keyfile import KeyFileError
from .answer import SuperLinkError
from .authority import pin_of
from .certifying import Notary
from .control import COORDINATOR
from .flower import Address
from .heads import confirm
from .home import LEDGER, ServerHome, anchor_file
from .members import Members
from .metrics import Metrics
from .performance import perform
from .porter import BELL, reachable
from .registry import Registry, RegistryError
from .runs import Runs, RunsError, ServedRun

log = logging.getLogger(__name__)

_IDLE = 0.2  # seconds between two looks for work
_AGAIN = 2.0  # seconds until a run that the SuperLink failed is gone on with


class Conductor:
    """Works off the runs of `home`. `seed` is that of a daemon for tests: its runs draw from it and claim nothing."""

    def __init__(self, home: ServerHome, address: Address, seed: int | None) -> None:
        self._home, self._address, self._seed = home, address, seed
        self._registry = Registry(home.registry)
        self._members = Members(self._registry, address, pin_of(home.authority.read_bytes()))
        self._runs = Runs(home.runs)
        self._metrics = Metrics()
        self._adding = threading.Lock()

    def methods(self) -> Methods:
        """What its socket answers."""
        return {
            "run": self._take, "runs": self._list, "show": self._show, "again": self._again, "agents": self._agents,
            "metrics": self._measures,
        }  # fmt: skip

    def work(self) -> None:
        """Work off what is asked for; never returns. What it cannot help ends the process, which is then started again."""
        bell = reachable(self._home.flower, BELL)
        notary = Notary(keyfile.ed25519_key(self._home.signing_key), self._members.roster, time.time)
        with self._ledger() as store:
            while True:
                run = self._runs.next()
                if run is None:
                    time.sleep(_IDLE)
                    continue
                confirm(store, self._home.shown, notary.key.public_key())  # owners keep its anchor too
                try:
                    perform(run, self._members, self._address, bell, store, self._seed, self._metrics, notary)
                    store.fold()  # this process ends by a signal, and whoever then copies the file alone has all of it
                except SuperLinkError as error:
                    log.warning("run %s: %s; going on soon", run.name, error)
                    time.sleep(_AGAIN)

    def _ledger(self) -> Store:
        """The ledger of what was released; made only where nothing was ever run. Raises `LedgerError`, `KeyFileError`."""
        key, anchor = keyfile.ed25519_key(self._home.signing_key), anchor_file(self._home)
        if not self._home.ledger.exists() and not self._runs.all():
            create(self._home.ledger, LEDGER, key=key, anchor=anchor)
        return Store(self._home.ledger, LEDGER, key=key, anchor=anchor)

    def _take(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            owners = self._members.owners()
            if not owners:
                raise DeclinedError("nobody is enrolled; `tacit server enroll NAME` invites an owner")
            config = parse(str(asked.get("config", "")), {"population.owners": len(owners)})
        except (ConfigError, RegistryError) as error:
            raise DeclinedError(str(error)) from error
        if config.privacy.unit == "example" and isinstance(config.privacy.delta, str):
            raise DeclinedError(
                f"privacy.delta = {config.privacy.delta!r}: the number of owners' examples is not known here; give a number "
                f"far below one over it"
            )
        with self._adding:
            run = self._runs.add(config, [owner.number for owner in owners], self._seed, time.time())
        return {"run": run.name}

    def _list(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            return {"runs": [_state(run) for run in self._runs.all()]}
        except (RunsError, ConfigError) as error:
            raise DeclinedError(str(error)) from error

    def _show(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            run = self._runs.named(str(asked.get("run", "")))
            rows = run.rows()
            return {**_state(run), "row": rows[-1] if rows else None}
        except (RunsError, ConfigError) as error:
            raise DeclinedError(str(error)) from error

    def _again(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            self._runs.named(str(asked.get("run", ""))).again()
        except (RunsError, ConfigError) as error:
            raise DeclinedError(str(error)) from error
        return {}

    def _agents(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            online = self._members.online()
            owners = self._members.owners()
        except (SuperLinkError, RegistryError) as error:
            raise DeclinedError(str(error)) from error
        rows = [{"number": o.number, "name": o.name, "online": online.get(o.number, False)} for o in owners]
        return {"agents": rows, "seeded": self._seed is not None}

    def _measures(self, _: Mapping[str, Any]) -> Mapping[str, Any]:
        with contextlib.suppress(SuperLinkError, RegistryError):  # the last number stands
            self._metrics.agents(sum(self._members.online().values()))
        return {"text": self._metrics.text().decode()}


def _state(run: ServedRun) -> dict[str, Any]:
    rows = run.rows()
    how, why, _ = run.ended() or ("running" if rows else "waiting", "", 0)
    return {
        "run": run.name, "state": how, "why": why, "round": rows[-1]["round"] if rows else 0,
        "rounds": run.config().rounds.total,
    }  # fmt: skip


def main() -> None:
    """The process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    home = ServerHome(Path(sys.argv[1])).checked()
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else None
    tls = ssl.create_default_context(cafile=str(home.authority))
    secret = (home.flower / "executor.secret").read_bytes()
    conductor = Conductor(home, Address(f"127.0.0.1:{int(sys.argv[2])}", tls, secret), seed)
    try:
        with ControlServer(home.root / COORDINATOR, conductor.methods()) as control:
            control.serving(True)
            conductor.work()
    except (LedgerError, RunsError, RegistryError, KeyFileError) as error:
        sys.exit(f"stopped: {error}")  # the end of this log is what the supervisor shows


if __name__ == "__main__":
    main()
