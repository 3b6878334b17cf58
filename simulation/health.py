"""Health: whether this machine can run Tacit, and the command that mends what is wrong."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

Verdict: TypeAlias = Literal["ok", "note", "wrong"]

_ROOM = 1 << 30  # bytes: a run folder with a mid-sized model and its checkpoint, twice over
_MEMORY = 2 << 30

# The first draws of the sampler with σ = 100 under this seed: what every machine must reproduce to the bit.
KNOWN_SEED = 2
KNOWN_NOISE = (-49, -41, -198, -171, 112, -13)
# ε at δ = 1e-5, add-remove: σ = 1 from the formula of Balle and Wang 2018 (Theorem 8); σ = 1.1, rate 0.01, 1,000 rounds from
# dp_accounting's privacy loss distribution at a discretisation of 1e-4.
KNOWN_GAUSSIAN = 4.37718
KNOWN_POISSON = 1.51537


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: what was found and, where that is wrong, the command or act that mends it."""

    name: str
    verdict: Verdict
    found: str
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """The check as `tacit doctor --json` prints it."""
        return {"name": self.name, "verdict": self.verdict, "found": self.found, "remedy": self.remedy}


def checks(folder: Path) -> Iterator[Check]:
    """Every check, cheap ones first, each yielded as soon as it is done; `folder` is where runs would go."""
    yield python()
    yield from packages()
    yield processor()
    yield memory()
    yield writing(folder)
    yield space(folder)
    yield randomness()
    yield accelerator()
    yield loops()
    yield noise()
    yield accountant()


def python() -> Check:
    """The interpreter."""
    found = f"{platform.python_version()} in {sys.prefix}"
    if sys.version_info < (3, 11):  # noqa: UP036  # an installer can be told to ignore requires-python
        return Check("Python", "wrong", found, "make PYTHON=python3.11")
    return Check("Python", "ok", found)


def packages() -> Iterator[Check]:
    """Every dependency that the package declares: whether it is there, in a version within the declared range."""
    from packaging.requirements import Requirement

    try:
        declared = importlib.metadata.requires("tacit") or []
    except importlib.metadata.PackageNotFoundError:
        yield Check("tacit", "wrong", "not installed as a package", "pip install -c constraints.txt -e .")
        return
    wanted = [Requirement(text) for text in declared]
    for need in (each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})):
        try:
            version = importlib.metadata.version(need.name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(need.name, "wrong", "missing", f"pip install -c constraints.txt '{need}'")
            continue
        if need.specifier.contains(version, prereleases=True):
            yield Check(need.name, "ok", version)
        else:
            yield Check(
                need.name, "wrong", f"{version}, needs {need.specifier}", f"pip install -c constraints.txt '{need}'"
            )


def processor() -> Check:
    """Cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Check("processor", "ok", f"{platform.machine()}, {cores} core{'s' if cores != 1 else ''}")


def memory() -> Check:
    """Memory of the machine."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return Check("memory", "note", "unknown on this system")
    found = f"{total / 2**30:.1f} GiB"
    if total < _MEMORY:
        return Check("memory", "note", found, "take small models: --set task.model=softmax")
    return Check("memory", "ok", found)


def writing(folder: Path) -> Check:
    """Whether runs can be written in `folder`, or it can be made."""
    place = _there(folder)
    try:
        with tempfile.NamedTemporaryFile(dir=place):
            return Check("write access", "ok", str(place))
    except OSError as error:
        return Check("write access", "wrong", f"{place}: {error.strerror}", "cd to a folder of your own")


def _there(folder: Path) -> Path:
    """`folder`, or the nearest one above it that exists."""
    place = folder.resolve()
    while not place.exists():
        place = place.parent
    return place


def space(folder: Path) -> Check:
    """Free disk space in `folder`."""
    free = shutil.disk_usage(_there(folder)).free
    found = f"{free / 2**30:.1f} GiB free"
    if free < _ROOM:
        return Check("disk space", "note", found, "free some space, or give --out a folder on another disk")
    return Check("disk space", "ok", found)


def randomness() -> Check:
    """The operating system's source of entropy: that it answers without waiting, and not the same twice."""
    try:
        first, second = (os.getrandom(32, os.GRND_NONBLOCK) for _ in range(2))
    except AttributeError:  # not Linux: urandom is what there is, and never waits
        first, second = os.urandom(32), os.urandom(32)
    except BlockingIOError:
        return Check("entropy", "wrong", "the system's generator is not seeded yet", "wait, or install rng-tools")
    if first == second:
        return Check("entropy", "wrong", "the system's generator repeats itself", "do not use this machine")
    return Check("entropy", "ok", "the operating system's generator is seeded")


def accelerator() -> Check:
    """CUDA, which is used where there is one and never needed."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Check(
            "torch", "wrong", str(error).splitlines()[0], "pip install -c constraints.txt --force-reinstall torch"
        )
    if torch.cuda.is_available():
        return Check("CUDA", "ok", ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())))
    return Check("CUDA", "ok", f"none; the processor is used, {torch.get_num_threads()} threads")


def loops() -> Check:
    """Compiled loops, which make noise and clipping faster and are never needed."""
    from ..privacy.compiled import compiler

    found = compiler()
    if not found:
        return Check("compiled loops", "note", "none: NumPy takes their place", "pip install -c constraints.txt numba")
    return Check("compiled loops", "ok", f"Numba {found}")


def noise() -> Check:
    """Known answer: the discrete Gaussian sampler under a fixed key, value by value, and its spread."""
    from ..privacy.entropy import SeededEntropy
    from ..privacy.noise import discrete_gaussian

    drawn = discrete_gaussian(SeededEntropy(KNOWN_SEED).stream("doctor"), 100.0, 4096)
    found, spread = tuple(int(value) for value in drawn[:6]), float(drawn.std())
    if found != KNOWN_NOISE or not 95 < spread < 105:
        return Check(
            "noise", "wrong", f"the sampler gives {found}, spread {spread:.1f}; expected {KNOWN_NOISE}, spread 100",
            "pip install -c constraints.txt --force-reinstall numpy cryptography, then run the tests",
        )  # fmt: skip
    return Check("noise", "ok", f"known answer reproduced, spread {spread:.1f} for σ = 100")


def accountant() -> Check:
    """Known answer: ε of one Gaussian release (Balle and Wang 2018) and of 1,000 Poisson-sampled ones."""
    from ..privacy.accounting.accountant import account
    from ..privacy.event import Gaussian, Poisson, Repeated

    once = account(Gaussian(1.0), "add-remove", 1e-5).epsilon
    often = account(Repeated(Poisson(0.01, Gaussian(1.1)), 1000), "add-remove", 1e-5).epsilon
    if abs(once - KNOWN_GAUSSIAN) > 1e-3 or abs(often - KNOWN_POISSON) > 5e-3:
        return Check(
            "accountant", "wrong",
            f"ε = {once:.4f} and {often:.4f}; expected {KNOWN_GAUSSIAN} and {KNOWN_POISSON}",
            "pip install -c constraints.txt --force-reinstall scipy numpy dp-accounting, then run the tests",
        )  # fmt: skip
    return Check("accountant", "ok", f"known answers reproduced: ε = {once:.4f} and {often:.4f}")
