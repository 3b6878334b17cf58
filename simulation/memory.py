"""Memory: what a computer that has none left says, in its several ways; and what is freed, kept for the next round."""

from __future__ import annotations

import ctypes
import functools
import os
import re

import torch

_SAYS = ("not enough memory", "out of memory", "can't allocate memory", "cannot allocate memory", "bad allocation")
_SIZE = re.compile(r"allocate ([0-9.]+ ?(?:bytes|[KMGTP]i?B)?)", re.IGNORECASE)

_TRIM, _MAP = -1, -3  # glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD (mallopt(3))
_KEPT = 256 << 20  # bytes that may be free at the end of the heap
_MAPPED = 32 << 20  # bytes from which memory is mapped for itself: the most that glibc takes
_SET = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_", "GLIBC_TUNABLES")


def refused_memory(error: BaseException) -> str | None:
    """How much memory could not be had, in words ("8192 bytes", "some"), if that is what `error` is about; None if not."""
    said = str(error)
    short = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if not short and not (isinstance(error, RuntimeError) and any(words in said.lower() for words in _SAYS)):
        return None
    found = _SIZE.search(said)
    return found.group(1).strip() if found else "some"


@functools.cache
def keep_freed_memory() -> bool:
    """Have this process keep what it frees, up to 256 MiB, instead of giving it back and asking for it anew.

    Every round takes and frees the same few megabytes. Whether glibc gives them back to the system in between goes by what
    happens to lie behind them; where it does, a thousand pages a round are made anew, which takes a fifth of a round of a small
    model. False where there is no glibc, or somebody has set its thresholds.
    """
    if any(os.environ.get(name) for name in _SET):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all(
        mallopt(ctypes.c_int(which), ctypes.c_int(size)) == 1 for which, size in ((_TRIM, _KEPT), (_MAP, _MAPPED))
    )
