"""Crew: contenders of a comparison as processes of their own that take turns, all alive and all but one standing still.

Who waits is stopped by a signal, with all below it: what Ray does while it waits would slow whoever has its turn.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from processes import Process, go, kill, stop, whole
from works import WORKS

HERE = Path(__file__).resolve().parent
OWN, PEERS = HERE.parent / ".venv", HERE.parent / ".venv-peers"
SETTLE = 0.2  # seconds in which who stood still does what it should have done meanwhile, before its turn
READY, TURN, LEAVE = 180.0, 300.0, 30.0  # seconds for which a contender may start, take a turn, and end
SAID = 3000  # last characters of what a contender wrote before it failed
MOST = 500  # rounds of a turn
ALLOWED, LEAST = 240.0, 3  # seconds for the turns of all, after so many of them
TICK = 0.01  # seconds: processor time is counted in these


class CrewError(RuntimeError):
    """A contender that cannot start or did not finish its turn; says which, and its last words."""


@dataclass(frozen=True, slots=True)
class Contender:
    """Who trains what: the program under `contenders/`, its arguments (the work first), and the environment it runs in.

    Of contenders of one `family` only the fastest takes part; the others are tried once.
    """

    name: str
    program: str
    arguments: tuple[str, ...]
    environment: Path = PEERS
    family: str = ""

    @property
    def work(self) -> str:
        """The work's name."""
        return self.arguments[0]

    @property
    def key(self) -> str:
        """Names this contender in `--only` and in JSON."""
        return f"{self.work} {self.name}"


@dataclass(frozen=True, slots=True)
class Turn:
    """Clients trained, seconds, processor seconds of the contender, and of all others while they should have been idle."""

    clients: int
    seconds: float
    spent: float
    others: float


@dataclass(slots=True)
class Running:
    """A contender's process, which answers a line of JSON with a line of JSON; `rounds` are those of a turn of its."""

    contender: Contender
    process: subprocess.Popen[bytes]
    words: IO[bytes]
    about: dict[str, str] = field(default_factory=dict)
    rounds: int = 1
    _seen: set[Process] = field(default_factory=set)

    def ready(self) -> None:
        """Wait until it is loaded; then it stands still."""
        self.about = dict(self._heard(READY)["ready"])
        stop(self.process.pid)

    def warm(self, seconds: float) -> float:
        """Turns that do not count, then the rounds that fill about so many seconds; returns clients for a second of two
        processors, which says more than the clock on a machine that does other work too."""
        self.turn(1)
        rounds, before = 1, self.spent()
        took = self.turn(1)
        if took < seconds / 10:  # too short to tell
            rounds, before = 10, self.spent()
            took = self.turn(10) / 10
        self.rounds = max(1, min(MOST, round(seconds / took)))
        return 2 * rounds * WORKS[self.contender.work].cohort / max(TICK, self.spent() - before)

    def turn(self, rounds: int) -> float:
        """Seconds of so many rounds, by its own clock; it stands still before and after."""
        stdin = self.process.stdin
        assert stdin is not None
        go(self.process.pid)
        time.sleep(SETTLE)
        try:
            stdin.write(json.dumps({"rounds": rounds}).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise self.failed(f"it ended with {self.process.wait(LEAVE)}") from None
        seconds = float(self._heard(TURN)["seconds"])
        stop(self.process.pid)
        return seconds

    def spent(self) -> float:
        """Processor seconds of it and all processes below it so far."""
        now = whole(self.process.pid)
        self._seen |= now
        return sum(each.cpu for each in now)

    def let_go(self) -> None:
        """Tell it that there are no more turns."""
        self._seen |= whole(self.process.pid)
        go(self.process.pid)
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()

    def close(self) -> None:
        """Let it end by itself; what is left of it then is killed."""
        self.let_go()
        assert self.process.stdout is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(LEAVE)
        kill(self._seen)
        self.process.wait()
        self.process.stdout.close()
        self.words.close()

    def failed(self, why: str) -> CrewError:
        """Why, and its last words."""
        self.words.seek(0)
        said = self.words.read().decode("utf-8", "replace")[-SAID:]
        return CrewError(f"{self.contender.key}: {why}; its last words:\n{said}")

    def _heard(self, seconds: float) -> dict[str, Any]:
        out = self.process.stdout
        assert out is not None
        if not select.select([out], [], [], seconds)[0]:
            raise self.failed(f"no answer for {seconds:.0f} s")
        line = out.readline()
        if not line:
            raise self.failed(f"it ended with {self.process.wait(LEAVE)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def python_of(environment: Path) -> Path:
    """The environment's interpreter; `CrewError` where there is none."""
    program = environment / "bin" / "python"
    if not program.exists():
        raise CrewError(f"{environment} is no environment of Python; make it with `make {environment.name}`")
    return program


def _started(contender: Contender, home: Path) -> Running:
    words = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the contender
    command = [str(python_of(contender.environment)), str(HERE / "contenders" / contender.program)]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("FLWR_", "RAY_", "PFL_", "PYTHON"))}
    given = {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TMPDIR": str(home)}
    given |= {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "FLWR_HOME": str(home / "flower")}
    # Parts of Ray that stood still together are not to take one another for dead.
    given |= {"RAY_health_check_timeout_ms": "600000", "RAY_health_check_period_ms": "600000"}
    given |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TMPDIR": str(home), "RAY_DISABLE_IMPORT_WARNING": "1"}
    process = subprocess.Popen(
        [*command, *contender.arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words,
        env=kept | given, start_new_session=True,
    )  # fmt: skip
    return Running(contender, process, words)


@dataclass(slots=True)
class Crew:
    """Those who take part, in the order of their turns, and what each reached in each; `tried` is what `warm` found of every
    member of a family, `faults` the contenders that failed."""

    running: list[Running] = field(default_factory=list)
    turns: dict[str, list[Turn]] = field(default_factory=dict)
    tried: dict[str, dict[str, float]] = field(default_factory=dict)
    faults: list[CrewError] = field(default_factory=list)

    def take_turns(self, repeats: int) -> int:
        """Turns of everybody, as many as `repeats` or as fit into `ALLOWED` seconds; returns how many. Whoever fails is out."""
        began = time.perf_counter()
        for done in range(repeats):
            passed = time.perf_counter() - began
            if done >= LEAST and passed * (done + 1) / done > ALLOWED:
                return done
            for one in list(self.running):
                with self._noted(one):
                    before = {each.contender.key: each.spent() for each in self.running}
                    seconds = one.turn(one.rounds)
                    after = {each.contender.key: each.spent() - before[each.contender.key] for each in self.running}
                    own = after.pop(one.contender.key)
                    clients = one.rounds * WORKS[one.contender.work].cohort
                    self.turns.setdefault(one.contender.key, []).append(
                        Turn(clients, seconds, own, sum(after.values()))
                    )
        return repeats

    @contextlib.contextmanager
    def _noted(self, one: Running) -> Iterator[None]:
        try:
            yield
        except CrewError as fault:
            self.faults.append(fault)
            if one in self.running:
                self.running.remove(one)
            one.close()

    def join(self, contenders: Sequence[Contender], seconds: float, home: Path) -> None:
        """Start them all, families one after the other; a turn shall take about so many seconds."""
        alone = [each for each in contenders if not each.family]
        for each in alone:
            self.running.append(_started(each, home))
        begun = list(self.running)
        for one in begun:
            with self._noted(one):
                one.ready()
        for one in [one for one in begun if one in self.running]:
            with self._noted(one):
                one.warm(seconds)
        best: dict[str, tuple[float, Running]] = {}
        for each in (each for each in contenders if each.family):
            one = _started(each, home)
            self.running.append(one)
            with self._noted(one):
                one.ready()
                rate = one.warm(seconds)
                family = f"{each.work} {each.family}"
                self.tried.setdefault(family, {})[each.name] = rate
                held = best.get(family)
                if held is None or held[0] < rate:
                    best[family] = (rate, one)
                out = one if held is not None and held[0] >= rate else held[1] if held is not None else None
                if out is not None:
                    self.running.remove(out)
                    out.close()

    def close(self) -> None:
        """Let everybody go, at the same time."""
        for one in self.running:
            one.let_go()
        for one in self.running:
            one.close()
        self.running.clear()


@contextlib.contextmanager
def crew() -> Iterator[Crew]:
    """A crew without members, all of whom have ended afterwards."""
    found = Crew()
    try:
        yield found
    finally:
        found.close()
