"""Craft: the objects that a process trains with, on their way to another one.

They travel by themselves, because they may need code that the other process cannot find.
"""

from __future__ import annotations

import io
import pickle
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType
from typing import Any

from ..privacy.entropy import Entropy
from ..strategies.learner import Learner
from .engines.engine import Engine

# What code of one's own may raise; anything else ends the process with its last words.
FAULTS = (
    ArithmeticError, AttributeError, ImportError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Craft:
    """What trains whom it is given."""

    engine: Engine
    learner: Learner
    entropy: Entropy = field(repr=False)


@dataclass(frozen=True, slots=True)
class Packed:
    """A craft as bytes, and the folders that code of its own (nothing that was installed) lies in."""

    content: bytes = field(repr=False)
    folders: tuple[str, ...]


class CraftError(RuntimeError):
    """The task is made of something that no other process could have; says what, and what to do."""


def packed(craft: Craft) -> Packed:
    """`craft`, ready to travel; raises `CraftError` where its code cannot be found by its name."""
    modules: set[str] = set()

    class Noting(pickle.Pickler):
        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, type | FunctionType):
                modules.add(value.__module__)
            return NotImplemented

    out = io.BytesIO()
    try:
        Noting(out).dump(craft)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise CraftError(f"the task is not to be handed to another process ({error})") from error
    if "__main__" in modules:
        raise CraftError(
            "the task's code stands in the script or notebook itself; put it in a module for more processes"
        )
    tops = {module.partition(".")[0] for module in modules} - {__name__.partition(".")[0]}
    found = (_folder(name) for name in sorted(tops))
    installed = {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    return Packed(out.getvalue(), tuple(dict.fromkeys(each for each in found if each and each not in installed)))


def _folder(name: str) -> str | None:
    """Where a module of this name is looked for; None for one without a file."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:
        return None
    path = Path(file).resolve()
    return str(path.parent.parent if path.name == "__init__.py" else path.parent)
