"""Refusal: why an owner does not take part in what was asked, for programs (a code) and for people (reason, remedy).

A refusal is told to the operator and depends on the request, the policy, the clock and what was spent, never on data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ..strategies.shown import shown

_LONGEST = 1000  # characters of a reason: it may quote what a server sent, and ends up in logs

Code: TypeAlias = Literal[
    "address",  # not for this owner, or of no round of its run
    "task",  # not on the list of the policy
    "code",  # another version of the task's code than the owner has
    "model",  # another size of model than the task's, or than is permitted
    "recipe",  # unknown names, or an order in which nothing sound can be said
    "stages",  # a stage that the policy requires is missing or stands elsewhere
    "clip",  # no clip, or a longer one than is permitted
    "noise",  # no noise, or less than is permitted
    "measure",  # the policy permits no evaluation on the data
    "mask",  # no secure aggregation where the policy requires it, or one that this owner does not take part in
    "roster",  # the owners are not those that this owner knows
    "unit",  # what is protected is not what the policy budgets for
    "relation",  # neighbours are not those that the policy budgets for
    "cohort",  # sums over fewer owners than is permitted
    "work",  # more local work than is permitted
    "rounds",  # more rounds or attempts than is permitted, or sooner
    "schedule",  # not what the run's earlier rounds were
    "claim",  # no sound claim exists
    "budget-run",  # one run may not cost so much
    "budget-server",  # one server may not cost so much
    "budget-life",  # the asset may not cost so much over its life
    "ledger",  # what was spent cannot be added to, or cannot be read
    "hours",  # outside the permitted hours
    "busy",  # as many runs as are permitted are under way
    "session",  # not the byte-identical request of this attempt
    "approval",  # waits for the owner's administrator
    "denied",  # the owner's administrator said no
    "paused",  # the agent is paused
    "policy",  # any other reason of the owner's
]


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason: `code`, what was found beside what is permitted, and what would help."""

    code: Code
    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.reason}; {self.remedy}" if self.remedy else self.reason

    def to_json(self) -> dict[str, str]:
        """The refusal as `--json` and logs show it."""
        return {"code": self.code, "reason": self.reason, "remedy": self.remedy}


class RefusedError(Exception):
    """This owner does not take part in what was asked; the text may be told to the operator."""

    def __init__(self, reason: str, code: Code = "policy", remedy: str = "") -> None:
        self.refusal = Refusal(code, shown(reason, _LONGEST), remedy)
        super().__init__(str(self.refusal))


def refused(refusal: Refusal) -> RefusedError:
    """The error that carries `refusal`."""
    return RefusedError(refusal.reason, refusal.code, refusal.remedy)
