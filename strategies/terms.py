"""Terms: what holds for every round of a run, as data. With them an owner prices the whole run before its first round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .codec import CodecError

_KEYS = {"task", "code", "relation", "participation", "population", "rounds"}
_LONGEST = 300  # characters of a text: names and digests are short, and end up in an owner's log


@dataclass(frozen=True, slots=True)
class Terms:
    """What is learned, by which code, who takes part, and how often.

    `task`           `{"use": name, option: value, …}`; a name that the owner looks up in its own policy, never imports
    `code`           version of the code that learns it (`tasks.version`)
    `relation`       the neighbouring relation of the server's claims
    `participation`  row of the table of participations
    `population`     number of owners that it draws from
    `rounds`         number of rounds
    """

    task: Mapping[str, Any]
    code: str
    relation: str
    participation: Mapping[str, Any]
    population: int
    rounds: int

    def to_json(self) -> dict[str, Any]:
        """The value that travels."""
        return {
            "task": dict(self.task),
            "code": self.code,
            "relation": self.relation,
            "participation": dict(self.participation),
            "population": self.population,
            "rounds": self.rounds,
        }


def terms_from(row: object) -> Terms:
    """The terms that `to_json` wrote; raises `CodecError` for whatever has another shape. Looks nothing up."""
    if not isinstance(row, dict) or set(row) != _KEYS:
        raise CodecError(f"the terms of a run are {', '.join(sorted(_KEYS))}, all of them and nothing else")
    task, participation = row["task"], row["participation"]
    if not isinstance(task, dict) or not isinstance(task.get("use"), str) or len(task["use"]) > _LONGEST:
        raise CodecError("the terms name no task")
    if not isinstance(participation, dict):
        raise CodecError("the terms do not say who takes part")
    for key in ("code", "relation"):
        if not isinstance(row[key], str) or len(row[key]) > _LONGEST:
            raise CodecError(f"the terms' {key} is no short text")
    for key in ("population", "rounds"):
        number = row[key]
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number < 1 << 53:
            raise CodecError(f"the terms' {key} is no whole number from 1")
    return Terms(task, row["code"], row["relation"], participation, row["population"], row["rounds"])
