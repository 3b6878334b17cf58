"""Up: a whole federation as real processes on this machine's loopback: a coordinator, N owners' agents, TLS, enrolment.

Every agent takes the path of a real one: it enrols with a token, reads its share of the task's data by the source
`population:K/N`, checks each request against the policy in its own `agent.toml`, and charges its own ledger first. The
policies are written here and permit this very run and nothing more, so they show a policy rather than protect anybody.

With a seed, every process draws from it: the model is then, bit for bit, that of `simulate(engine="in-memory")` with the same
seed, and every claim is ε = ∞.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from ..client import control as agents
from ..config import Config, ConfigError, parse
from ..privacy.accounting.figures import account_within
from ..privacy.accounting.relation import AccountingError
from ..privacy.ledger.reader import read
from ..privacy.ledger.realised import realised
from ..server import control as coordinator
from ..server.checkpoint import load
from ..server.coordinator import restored
from ..server.home import ServerHome
from ..server.logfile import tail
from ..server.runs import AGAIN, UNDER_WAY, Runs
from ..server.supervisor import Supervisor
from ..strategies.control import ControlError, DeclinedError
from ..strategies.federation import Federation, build
from ..strategies.lock import FolderLock
from ..tasks.source import Population
from .numerals import epsilon_text, small_text
from .permission import asset_text, policy_text
from .population import dealt
from .result import RoundRow, Run, Timing
from .run import Source, config_of, epsilon_after, signal_rows
from .seeded import WHY, figures_under
from .site import Site, acquaint, agent_child, enrol_owner, environment_of, found_server, server_child

_TICK = 0.2  # seconds between two looks at the run
_AWAY = 90.0  # seconds that agents may take to come, and the coordinator to come back

Watch: TypeAlias = Callable[[Mapping[str, Any]], None]


class UpError(RuntimeError):
    """The federation did not come up, or its run did not end well."""


class StoppedByBudgetError(UpError):
    """A budget or a policy stopped the run."""


def up(
    source: Source, owners: int, root: Path, *, seed: int | None = None, set: Mapping[str, Any] | None = None,
    watch: Watch = lambda _: None,
) -> Run:  # fmt: skip
    """Run `source` over `owners` real agents below `root` (new or empty) and return what was found.

    `watch` is called some times a second with `phase`, and later with `agents` and `show` as the coordinator tells them.
    Every process has ended when this returns or raises. Raises `ConfigError`, `UpError` and what the parts raise.
    """
    config, tasks = config_of(source, {**(set or {}), "population.owners": owners})
    if root.exists() and any(root.iterdir()):
        raise ConfigError(f"{root}: is not empty; give a new folder")
    federation = build(config, tasks)
    dealt(federation, seed or 0)
    if config.privacy.unit == "example" and isinstance(config.privacy.delta, str):
        config = parse(config.to_toml(), {"privacy.delta": federation.delta})
    policy = policy_text(federation, seed is not None)
    site = Site(root)
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = environment_of(config, tasks)
    watch({"phase": "starting the coordinator"})
    found_server(site)
    with FolderLock(root), Supervisor(root, [server_child(site, seed, environment)]) as server:
        server.start()
        watch({"phase": "enrolling the owners"})
        for number in range(owners):
            share = Population(number, owners, seed or 0, federation.partition)
            enrol_owner(site, number, policy + asset_text(config, str(share)))
        if federation.pipeline.final.masked:
            acquaint(site, owners)
        watch({"phase": "starting the agents"})
        children = [agent_child(site, number, seed, environment) for number in range(owners)]
        with Supervisor(root / "owners", children) as supervisor:
            supervisor.start()
            following = _Following(site, supervisor, config, watch)
            supervisor.watch(following.look, _TICK)
            for number in range(owners):  # all at once: each may have a poll open that takes seconds to end
                with contextlib.suppress(ControlError):
                    agents.ask(site.owner(number).root, "stop")
    ended(following.shown)
    return result(site.server, following.run, tasks)


class _Following:
    """Asks for the run once every agent is there, and looks on until it has ended."""

    def __init__(self, site: Site, supervisor: Supervisor, config: Config, watch: Watch) -> None:
        self._root, self._supervisor, self._config, self._watch = site.server.root, supervisor, config, watch
        self._heard = time.monotonic()
        self.run = ""
        self.shown: Mapping[str, Any] = {}

    def look(self) -> None:
        """Look once; raises `UpError` where it is of no use to go on."""
        failing = next((each for each in self._supervisor.status() if each.restarts > 2), None)
        if failing is not None:
            raise UpError(f"{failing.name} ends again and again; the end of {failing.log}:\n{tail(Path(failing.log))}")
        try:
            there = coordinator.ask(self._root, "agents")["agents"]
            if not self.run and not all(agent["online"] for agent in there):
                self._watch({"phase": "waiting for the agents", "agents": there})
                self._patient("not every agent came")
                return
            if not self.run:
                self.run = ask_for(self._root, self._config)
            shown = coordinator.ask(self._root, "show", {"run": self.run})
        except ControlError as error:
            self._patient(str(error))
            return
        self._heard = time.monotonic()
        self._watch({"phase": "training", "agents": there, "show": shown})
        if shown["state"] not in UNDER_WAY:
            self.shown = shown
            self._supervisor.stop()

    def _patient(self, what: str) -> None:
        if time.monotonic() - self._heard > _AWAY:
            raise UpError(f"{what}, for {_AWAY:g} s; look into the logs under {self._root.parent}")


def ask_for(root: Path, config: Config) -> str:
    """Ask the coordinator of the folder `root` for a run; its name. Raises `UpError` where it declines, `ControlError`."""
    try:
        return str(coordinator.ask(root, "run", {"config": config.to_toml()})["run"])
    except DeclinedError as error:
        raise UpError(str(error)) from error


def follow(root: Path, name: str, watch: Watch) -> None:
    """Wait until a run has ended; one that failed or was refused is tried again first. Raises as `ended`, and `ControlError`
    without a daemon."""
    if coordinator.ask(root, "show", {"run": name})["state"] in AGAIN:
        coordinator.ask(root, "again", {"run": name})
    since = time.monotonic()
    while True:
        try:
            shown = coordinator.ask(root, "show", {"run": name})
            watch({"phase": "training", "agents": coordinator.ask(root, "agents")["agents"], "show": shown})
            since = time.monotonic()
        except ControlError:  # the coordinator may be on its way back
            if time.monotonic() - since > _AWAY:
                raise
        else:
            if shown["state"] not in UNDER_WAY:
                ended(shown)
                return
        time.sleep(_TICK)


def ended(shown: Mapping[str, Any]) -> None:
    """Raise `UpError` where a run, as the coordinator shows it, did not end well."""
    if shown["state"] == "refused":
        raise StoppedByBudgetError(shown["why"])
    if shown["state"] == "failed" or not shown["row"]:
        raise UpError(f"the run failed: {shown['why']}")


def _realised(federation: Federation, home: ServerHome, name: str) -> list[str]:
    """What the run's releases came to by the owners who really answered, where the coordinator's ledger says."""
    if not home.ledger.exists():
        return []
    became = realised(read(home.ledger).account.records(name))
    if not became.known:
        return []
    relation, releases = federation.config.privacy.relation, became.known + became.unknown
    try:
        extra = federation.schedule.pipeline.final.delta_extra * releases
        found = account_within(became.event, relation, federation.delta, extra).epsilon
    except AccountingError:
        return []
    return [
        f"Realised, no guarantee: ε = {epsilon_text(found)} at δ = {small_text(federation.delta)} against the "
        f"{federation.observer}, by who answered in {became.known} of {releases} releases; the claim is that of the fewest."
    ]


def result(home: ServerHome, name: str, tasks: Path | None = None) -> Run:
    """What the run called `name` found, read from the coordinator's folder; own tasks are looked up in `tasks` first."""
    run = Runs(home.runs).named(name)
    seed, lines = run.order().seed, run.rows()
    federation = build(run.config(), tasks)
    progress = restored(load(run.checkpoint, federation.config.digest()))
    # Times and counts tell how many owners were drawn; where that draw is a secret, they stay in the operator's files.
    hidden = seed is None and federation.schedule.participation.secret
    how, why, charges = run.ended() or ("running", "", 0)
    # Releases that a killed coordinator charged and lost were seen by it all the same: they count from the first row on. Of a
    # schedule that was paid as a whole, what was lost left nobody's memory, and the round was released once (`releases`).
    lost = 0 if federation.schedule.upfront else max(0, charges - progress.round)
    rows = []
    for line in lines:
        if line["metrics"] is not None:
            spent = math.inf if seed is not None else epsilon_after(federation, line["round"] + lost)
            passed = math.nan if hidden else line["seconds"]
            rows.append(RoundRow(line["round"], line["metrics"], spent, passed, line.get("measured", {})))
    if not rows:
        raise UpError(f"run {name} was stopped before its first evaluation; set evaluation.every = 1 and ask anew")
    notes = [why] if how == "stopped" else []
    notes += [f"{lost} releases were charged and lost when the coordinator was killed; ε counts them."] if lost else []
    notes += _realised(federation, home, name)
    notes += [] if seed is None else [f"Not private, ε = ∞: {WHY}."]
    seconds, trained = float(lines[-1]["seconds"]), sum(line["survived"] for line in lines)
    return Run(
        config=federation.config,
        seed=seed,
        engine="deployment",
        rounds=tuple(rows),
        claims=figures_under(federation, progress.round + lost, seed),
        timing=Timing(math.nan, math.nan) if hidden else Timing(seconds, trained / seconds if seconds else 0.0),
        weights=federation.algorithm.final(progress.weights, progress.algorithm),
        task=federation.task,
        notes=tuple(notes),
        signals=signal_rows(federation),
        certificate=run.certificate.read_bytes() if run.certificate.exists() else b"",
    )
