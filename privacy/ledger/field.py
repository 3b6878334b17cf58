"""Field: what a value in a line of a ledger must be."""

from __future__ import annotations

import math
from typing import TypeGuard

_LONGEST = 256
_LARGEST = 1 << 62


class EntryError(ValueError):
    """A line that cannot be written, or bytes that are no line of this version."""


def need(holds: bool, field: str, found: object, want: str) -> None:
    """Raise `EntryError` unless `holds`."""
    if not holds:
        raise EntryError(f"{field} = {repr(found)[:80]}; it must be {want}")


def need_name(name: object, field: str) -> None:
    """A name is 1 to 256 printable characters."""
    holds = isinstance(name, str) and 0 < len(name) <= _LONGEST and name.isprintable()
    need(holds, field, name, f"1 to {_LONGEST} printable characters")


def need_time(time: object) -> None:
    """Time is whole seconds since 1970, of whatever clock; it may be negative."""
    need(isinstance(time, int) and not isinstance(time, bool) and abs(time) < _LARGEST, "time", time, "whole seconds")


def need_digest(digest: object, field: str) -> None:
    """A digest is 32 bytes in lower-case hexadecimal."""
    holds = isinstance(digest, str) and len(digest) == 64 and not set(digest) - set("0123456789abcdef")
    need(holds, field, digest, "64 hexadecimal digits")


def is_count(value: object) -> TypeGuard[int]:
    """Whether `value` is an integer of at least 0."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def is_real(value: object) -> TypeGuard[float]:
    """Whether `value` is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
