"""Compiled: the loops of `loops.py` as machine code, where Numba is installed (`tacit[fast]`); elsewhere there are none.

What Numba makes is kept beside the source, or where it may write, so it is made once (two seconds) and loaded after that (a
third of one). `NUMBA_DISABLE_JIT=1` leaves it out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any

from . import loops as source

log = logging.getLogger(__name__)

_PAYS = 1 << 25  # numbers that take as long without loops as it takes to load them
_ANY_ORDER = {"reassoc", "contract", "nsz"}  # sums may be taken side by side; what is not finite stays so

_SUMS = {"squares", "crossed", "lengths"}

_TYPES: dict[str, tuple[str, ...]] = {
    "coarse": ("int64(uint32[::1], uint32[::1], int64, int64, int32[::1], int64[::1])",),
    "below": (
        "int64(int32[::1], uint32[::1], int64, int64, int64[::1], int64[::1])",
        "int64(int32[::1], uint64[::1], int64, uint64, int64[::1], int64[::1])",
    ),
    "added": (
        "void(int32[:,::1], uint32[:,::1], int64, int32[:,::1])",
        "void(int32[:,::1], uint32[:,::1], int64, int64[:,::1])",
        "void(int32[:,::1], uint64[:,::1], int64, int64[:,::1])",
    ),
    "refused": ("int64(int64[::1], int64[::1], uint64[::1], int64, float64, float64, int64[::1])",),
    "stepped": (
        "void(float32[::1], int32[::1], uint32[::1], int64, float64, int64, float32[::1], float32[::1], float32[::1])",
    ),
    "squares": ("void(float32[:,:,::1], float32[:,:,::1], float64, float64[::1], float64[::1], float64[::1])",),
    "crossed": ("void(float32[:,:,::1], float32[:,:,::1], float64[::1], float64[::1], float64[::1])",),
    "lengths": ("void(float32[:,::1], float64[::1])",),
    "rectified": ("void(float32[:,:,::1], float32[:,::1])",),
    "halved": ("void(float32[:,:,:,::1], float32[:,:,:,::1], uint8[:,:,:,::1])",),
    "doubled": ("void(float32[:,:,:,::1], uint8[:,:,:,::1], float32[:,:,:,::1])",),
    "onto": ("void(float32[::1], float64, int64[::1])",),
    "real": ("void(int64[::1], float64, float32[::1])",),
}


@dataclass(frozen=True, slots=True)
class Loops:
    """The functions of `loops.py`, compiled for contiguous arrays of the kinds that they name."""

    coarse: Callable[..., int]
    below: Callable[..., int]
    added: Callable[..., None]
    refused: Callable[..., int]
    stepped: Callable[..., None]
    squares: Callable[..., None]
    crossed: Callable[..., None]
    lengths: Callable[..., None]
    rectified: Callable[..., None]
    halved: Callable[..., None]
    doubled: Callable[..., None]
    onto: Callable[..., None]
    real: Callable[..., None]


class _Asked:
    """How many numbers this process had to compute without loops."""

    numbers = 0


@lru_cache(maxsize=1)
def loops() -> Loops | None:
    """The compiled loops, loaded now if they were not before; None where there are none."""
    _Asked.numbers = _PAYS
    if find_spec("numba") is None:
        return None
    try:
        import numba
        from numba.core import config
        from numba.core.errors import NumbaError
    except (ImportError, AttributeError, OSError, RuntimeError, TypeError, ValueError) as error:
        _tell(error)
        return None
    if config.DISABLE_JIT:
        return None
    try:
        return Loops(**{name: _compiled(numba, name, types) for name, types in _TYPES.items()})
    except (NumbaError, AttributeError, EOFError, ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        _tell(error)
        return None


def compiler() -> str:
    """The version of Numba that compiles the loops; empty where there are none. Loads them."""
    return version("numba") if loops() is not None else ""


def _tell(error: Exception) -> None:
    """Nothing depends on loops but time: an installation that is broken must not stop a run."""
    log.warning("compiled loops cannot be had (%s: %s); NumPy takes their place", type(error).__name__, error)


def loops_for(numbers: int) -> Loops | None:
    """The loops for something that they change no bit of, once so much was asked for that loading them pays."""
    if _Asked.numbers < _PAYS:
        _Asked.numbers += numbers
        return None
    return loops()


def _compiled(numba: Any, name: str, types: tuple[str, ...]) -> Callable[..., Any]:
    function = getattr(source, name)
    options = {"nogil": True, "fastmath": _ANY_ORDER if name in _SUMS else False}
    try:
        made: Callable[..., Any] = numba.njit(list(types), cache=True, **options)(function)
    except RuntimeError:  # nowhere to keep it
        made = numba.njit(list(types), **options)(function)
    return made
