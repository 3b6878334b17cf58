"""Options: the choices that a task offers by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from .task import TaskError

T = TypeVar("T")


def chosen(task: str, option: str, name: str, table: Mapping[str, T]) -> T:
    """`table[name]`, or a `TaskError` that lists what there is."""
    if name not in table:
        raise TaskError(f"task {task}: {option} = {name!r} is unknown; give one of {', '.join(table)}")
    return table[name]
