"""Currency: what a charge is made in; charges in different ones never add up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from ..claim import Observer, Who
from ..signal import Relation, Unit
from .field import is_count, need


@dataclass(frozen=True, slots=True)
class Currency:
    """What an event is charged in; events of different currencies never add up (PRIVACY.md, Claims)."""

    unit: Unit
    relation: Relation
    observer: Observer

    def __post_init__(self) -> None:
        need(self.unit in get_args(Unit), "unit", self.unit, "one of " + ", ".join(get_args(Unit)))
        need(self.relation in get_args(Relation), "relation", self.relation, "one of " + ", ".join(get_args(Relation)))
        need(self.observer.who in get_args(Who), "observer", self.observer.who, "one of " + ", ".join(get_args(Who)))
        need(is_count(self.observer.colluders), "colluders", self.observer.colluders, "an integer of at least 0")

    def __str__(self) -> str:
        return f"{self.unit}, {self.relation}, {self.observer}"
