"""Policy: the `[policy]` table of `agent.toml`, in which an owner says what it permits. Pure: it reads text, never data.

Whatever decides privacy has to be said; nothing of it has a default. What the numbers are held against stands in `checks`
(is this permitted?) and `offer` (what does it cost?); `guard` puts the two together.
"""

from __future__ import annotations

import json
import math
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from ..config import Frame, Row
from ..privacy.claim import Observer, Who
from ..privacy.ledger.entry import Currency
from ..privacy.signal import Deviation, Relation, Unit
from .hours import HoursError, Window, window

StageName = Literal[
    "clip",
    "adaptive-clip",
    "measure",
    "rotate",
    "central-gaussian",
    "correlated-gaussian",
    "own-gaussian",
    "encode",
    "discrete-gaussian",
    "skellam",
    "mask",
]


class PermittedTask(Frame):
    """A task that the owner's data may be used for, with exactly these options."""

    use: str = Field(description='`digits`, `breast-cancer`, `topics`, or an installed `"package.module:factory"`')
    options: Row = Field(default={}, description="the task's options, exactly as a request must have them")
    sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="digest of the module's file; needed for a task that does not come with Tacit",
    )

    @field_validator("options")
    @classmethod
    def _options_travel(cls, value: Row) -> Row:
        if "use" in value:
            raise ValueError("an option cannot be called `use`; rename it in the task")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{error}; options are texts, numbers, true, false, lists and tables") from error
        return value

    @model_validator(mode="after")
    def _own_code_is_pinned(self) -> PermittedTask:
        if ":" in self.use and self.sha256 is None:
            raise ValueError(
                f"{self.use}: code that does not come with Tacit needs sha256, the digest of its module's file "
                f"(`sha256sum` prints it)"
            )
        if ":" not in self.use and self.sha256 is not None:
            raise ValueError(f"{self.use}: comes with Tacit, whose version says which code it is; leave sha256 out")
        return self

    @property
    def row(self) -> Row:
        """The task as a request names it."""
        return {"use": self.use, **self.options}


class WorkFrame(Frame):
    """Most local work that a request may ask for."""

    numbers: int = Field(default=20_000_000, gt=0, description="largest model, in numbers that train and travel")
    epochs: int = Field(default=20, gt=0, description="most passes over the data in a round")
    steps: int = Field(default=2000, gt=0, description="most steps in a round, where a request counts steps")
    batch: int | None = Field(default=None, gt=0, description="largest batch; without it, all examples at once too")
    rounds: int = Field(default=10_000, gt=0, lt=1 << 53, description="most rounds of one run")
    attempts: int = Field(default=3, gt=0, le=100, description="most attempts of one round; each is charged")


class MaskingFrame(Frame):
    """What secure aggregation must withstand wherever it is used."""

    adversary: Deviation = Field(
        default="malicious", description="the server that masks must withstand; `semi-honest` follows the protocol"
    )
    threshold: float = Field(
        default=0.5, ge=0, le=1, description="fraction of a cohort that must at least be needed to take masks off a sum"
    )
    bits: int = Field(default=2, ge=2, le=62, description="narrowest ring that messages are masked in")


class PolicyFrame(Frame):
    """What an owner permits with each of its assets, against whom, and at what cost."""

    tasks: tuple[PermittedTask, ...] = Field(min_length=1, description="what the data may be used for")
    unit: Unit = Field(description="whose presence is hidden: `example` or `owner`")
    relation: Relation = Field(description="how neighbouring data sets differ")
    observer: Who = Field(default="server", description="whom the budget is for; `analyst` trusts the server")
    colluders: int = Field(ge=0, description="owners of the roster that may help the observer")
    smallest_cohort: int = Field(ge=1, description="fewest contributions that one readable sum may hold")
    epsilon: float = Field(gt=0, description="largest ε of one asset over its life; inf for no privacy")
    epsilon_run: float | None = Field(
        default=None, gt=0, description="largest ε of one run; that of the life if left out"
    )
    epsilon_server: float | None = Field(
        default=None,
        gt=0,
        description="largest ε of one asset for one server, over all its runs; that of the life if left out",
    )
    delta: float = Field(gt=0, lt=1, description="δ of all; far below one over the number of protected units")
    clip: float | None = Field(default=None, gt=0, description="longest clipping norm; a clip is then required")
    noise_multiplier: float | None = Field(
        default=None, gt=0, description="least noise over the sensitivity, counted at the smallest cohort"
    )
    measure: bool = Field(
        default=False,
        description="whether models may be measured on the data, in the update's vector and under its noise",
    )
    mask: bool = Field(default=False, description="whether only securely aggregated sums may leave")
    masking: MaskingFrame = MaskingFrame()
    stages: tuple[StageName, ...] = Field(default=(), description="stages that must be there, in this order")
    work: WorkFrame = WorkFrame()
    hours: tuple[str, ...] = Field(default=(), description='permitted hours, local time: "Mon-Fri 22:00-06:00"')
    concurrency: int | None = Field(
        default=None, ge=1, description="most runs that may be under way at once; without it, as many as are affordable"
    )
    approve_first: bool = Field(default=False, description="whether a person approves every run before its first round")

    @field_validator("hours")
    @classmethod
    def _hours_are_hours(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            window(text)  # `HoursError` is a `ValueError`, which becomes this field's fault
        return value

    @field_validator("epsilon", "epsilon_run", "epsilon_server", "delta", "clip", "noise_multiplier", mode="before")
    @classmethod
    def _numbers_are_numbers(cls, value: Any) -> Any:
        if value is not None and (isinstance(value, bool | str) or math.isnan(value)):
            raise ValueError("give a number")
        return value

    @model_validator(mode="after")
    def _somebody_is_honest(self) -> PolicyFrame:
        if self.smallest_cohort - self.colluders < 1:
            raise ValueError(
                f"smallest_cohort = {self.smallest_cohort} with colluders = {self.colluders} leaves nobody honest in a sum; "
                f"raise the one or lower the other"
            )
        for key, value in (("epsilon_run", self.epsilon_run), ("epsilon_server", self.epsilon_server)):
            if value is not None and value > self.epsilon:
                raise ValueError(f"{key} = {value:g} is above epsilon = {self.epsilon:g} of the asset's life; lower it")
        uses = [task.row for task in self.tasks]
        twice = next((row["use"] for index, row in enumerate(uses) if row in uses[:index]), None)
        if twice is not None:
            raise ValueError(f"tasks lists {twice!r} twice with the same options; remove one")
        return self

    @property
    def currency(self) -> Currency:
        """What every charge is made in; charges in another one never add up with these."""
        return Currency(self.unit, self.relation, Observer(self.observer, self.colluders))

    @property
    def run_limit(self) -> float:
        """Largest ε of one run."""
        return self.epsilon if self.epsilon_run is None else self.epsilon_run

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """The permitted hours."""
        return tuple(window(text) for text in self.hours)


__all__ = ["HoursError", "MaskingFrame", "PermittedTask", "PolicyFrame", "StageName", "WorkFrame"]
