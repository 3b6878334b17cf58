"""Memory: what a computer that has none left says, in its several ways."""

from __future__ import annotations

import re

import torch

_SAYS = ("not enough memory", "out of memory", "can't allocate memory", "cannot allocate memory", "bad allocation")
_SIZE = re.compile(r"allocate ([0-9.]+ ?(?:bytes|[KMGTP]i?B)?)", re.IGNORECASE)


def refused_memory(error: BaseException) -> str | None:
    """How much memory could not be had, in words ("8192 bytes", "some"), if that is what `error` is about; None if not."""
    said = str(error)
    short = isinstance(error, MemoryError | torch.OutOfMemoryError)
    if not short and not (isinstance(error, RuntimeError) and any(words in said.lower() for words in _SAYS)):
        return None
    found = _SIZE.search(said)
    return found.group(1).strip() if found else "some"
