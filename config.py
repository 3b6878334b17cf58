"""Frames of the configuration file: what a federation is, as plain validated values. Pure: it reads text, never data.

A frame holds what every federation has; what depends on a choice (`use = "dirichlet"`, `stage = "clip"`) is a row, checked
by the schema of the class that the row names when the federation is built. Unknown keys are refused everywhere.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)


class ConfigError(ValueError):
    """The configuration cannot be read or makes no sense; one line per fault: key, value found, remedy."""


Row = dict[str, Any]


def _seconds(value: object) -> object:
    """Seconds out of `60`, `"60s"`, `"5m"`, `"2h"`, `"250ms"`."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)\s*", value)
        if match is None:
            raise ValueError('write a duration such as "60s", "5m" or "250ms"')
        return float(match[1]) * {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}[match[2]]
    return value


Seconds = Annotated[float, BeforeValidator(_seconds), Field(gt=0)]


class Frame(BaseModel):
    """A table of the file; frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskFrame(Frame):
    """What is learned. Keys other than `use` go to the task's factory."""

    model_config = ConfigDict(extra="allow", frozen=True)

    use: str = Field(description='`digits`, `breast-cancer`, `topics`, or your own `"package.module:factory"`')

    @property
    def options(self) -> Row:
        """What the task's factory gets."""
        return dict(self.model_extra or {})


class PopulationFrame(Frame):
    """Who owns the data in plan, simulate, study, audit and up; a real server ignores it."""

    owners: int = Field(gt=0, description="number of data owners")
    partition: Row | None = Field(
        default=None, description="how the training data is dealt; the task's own way by default"
    )
    dropout: float = Field(default=0.0, ge=0, lt=1, description="probability that a sampled owner never answers")
    straggler: float = Field(
        default=0.0, ge=0, lt=1, description="probability that an owner answers after the deadline"
    )


class RoundsFrame(Frame):
    """How often, and with whom."""

    total: int = Field(gt=0, description="number of rounds")
    participation: Row = Field(default={"use": "everyone"}, description="who takes part in a round")
    quorum: float = Field(default=0.8, gt=0, le=1, description="fraction of the sampled owners that must answer")
    deadline: Seconds = Field(default=60.0, description="how long a round waits for its owners")
    attempts: int = Field(
        default=3, ge=1, le=100, description="how often a round below quorum is tried; once where owners add noise"
    )


class PrivacyFrame(Frame):
    """Which privacy is claimed and how it is made; the ε is derived, never typed in."""

    unit: Literal["example", "owner"] = Field(default="owner", description="whose presence is hidden")
    relation: Literal["add-remove", "zero-out", "replace-one"] = Field(
        default="add-remove", description="how neighbouring data sets differ"
    )
    delta: float | str = Field(default="N^-1.1", description="δ, a number or a power of the number of units N")
    pipeline: tuple[Row, ...] = Field(default=(), description="the stages of an update's journey, in order")

    def delta_for(self, units: int) -> float:
        """δ for `units` protected units; raises `ConfigError` at δ ≥ 1/N, where publishing one unit whole would pass."""
        if isinstance(self.delta, str):
            match = re.fullmatch(r"\s*N\s*\^\s*-\s*(\d+(?:\.\d+)?)\s*", self.delta)
            if match is None:
                raise ConfigError(f'privacy.delta = {self.delta!r}: write a number or a power such as "N^-1.1"')
            delta = math.pow(units, -float(match[1]))
        else:
            delta = float(self.delta)
        if not 0 < delta < 1:
            raise ConfigError(f"privacy.delta = {self.delta!r} gives {delta:g}; δ lies strictly between 0 and 1")
        if delta >= 1 / units:
            raise ConfigError(
                f"privacy.delta = {self.delta!r} gives δ = {delta:.3g} ≥ 1/N = {1 / units:.3g} for {units} units: at such a δ, "
                f'publishing one unit in full counts as private; take at most {units**-1.1:.2g} ("N^-1.1")'
            )
        return delta


class BudgetFrame(Frame):
    """What may be spent. `epsilon = inf` says in so many words that a run is not private."""

    observer: Literal["server", "analyst", "owners"] = Field(default="analyst", description="whom the budget is for")
    colluders: int = Field(default=0, ge=0, description="owners that may help the observer")
    epsilon: float = Field(gt=0, description="largest ε of the whole schedule; inf for a baseline without privacy")
    on_exhausted: Literal["stop", "refuse"] = Field(
        default="refuse", description="stop: run the rounds that fit; refuse: start only when all rounds fit"
    )


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


class EvaluationFrame(Frame):
    """How progress is measured. Public data is free; owners' data needs the stage `measure`, whose numbers are noised."""

    every: int = Field(default=5, gt=0, description="evaluate every so many rounds, and after the last")
    on: Annotated[tuple[Literal["public-test", "owners"], ...], BeforeValidator(_listed)] = Field(
        default=("public-test",), min_length=1, description="the data that metrics are computed on, one or both"
    )


class StudyFrame(Frame):
    """What `tacit study` tries; everything else ignores it, and it is no part of a run's configuration.

    In `vary`, a key of the configuration stands before its values (a list), or before a range:
    `{ from = 0.5, to = 8.0, steps = 5, scale = "log" }`.
    """

    search: Literal["grid", "random", "adaptive"] = Field(
        default="grid",
        description="`grid`: all combinations; `random`: some; `adaptive`: trials go where accuracy against ε still rises",
    )
    points: int = Field(
        default=40,
        gt=0,
        description="random: settings to try; adaptive: its trials are this times `seeds`; not for a grid",
    )
    seeds: int = Field(
        default=3, gt=0, le=1000, description="how often a setting is tried, each time under another seed"
    )
    vary: Row = Field(default={}, description="keys of the configuration, each with the values that it takes")


class ServerFrame(Frame):
    """Where a real server listens."""

    address: str = Field(default="0.0.0.0:8443", description="public address of the gateway, host:port")


class Config(Frame):
    """A whole federation."""

    name: str = Field(default="", description="name of the run; the file's name by default")
    task: TaskFrame
    population: PopulationFrame
    rounds: RoundsFrame
    local: Row = Field(default={"use": "sgd"}, description="what an owner does with its data in a round")
    strategy: Row = Field(default={"use": "fedavg"}, description="what the server does with the mean update")
    privacy: PrivacyFrame = PrivacyFrame()
    budget: BudgetFrame
    evaluation: EvaluationFrame = EvaluationFrame()
    server: ServerFrame = ServerFrame()
    study: StudyFrame = Field(default=StudyFrame(), exclude=True)  # left out of dumps, so of digests and resolved files

    @field_validator("local", "strategy", mode="before")
    @classmethod
    def _usual_unless_said(cls, value: Any, info: ValidationInfo) -> Any:
        """A row with parameters only means the usual solver or algorithm, as a row left out does."""
        if isinstance(value, Mapping) and "use" not in value and info.field_name is not None:
            return {**cls.model_fields[info.field_name].default, **value}
        return value

    @model_validator(mode="before")
    @classmethod
    def _budget_is_said(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and "budget" not in value:
            raise ValueError("[budget] is missing: give epsilon = 4.0, say, or epsilon = inf for a run without privacy")
        return value

    @property
    def private(self) -> bool:
        """Whether a finite ε is asked for."""
        return math.isfinite(self.budget.epsilon)

    def to_toml(self) -> str:
        """The resolved configuration as TOML, defaults included."""
        import tomli_w

        return tomli_w.dumps(_without_none(self.model_dump()), multiline_strings=True)

    def digest(self) -> str:
        """SHA-256 over the canonical JSON of the resolved configuration."""
        text = json.dumps(self.model_dump(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [_without_none(item) for item in value]
    return value


def parse(text: str, overrides: Mapping[str, Any] | None = None, name: str = "", where: str = "") -> Config:
    """The configuration that `text` (TOML) describes after `overrides` (`"rounds.total" → 80`).

    `where` is the file that the text comes from, for errors. Raises `ConfigError` with every fault, one per line.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where or name or 'configuration'}: not valid TOML: {error}; mend the line") from error
    for key, value in (overrides or {}).items():
        _put(data, key, value)
    data.setdefault("name", name)
    return from_mapping(data)


def from_mapping(data: Mapping[str, Any]) -> Config:
    """The configuration in a nested mapping; raises `ConfigError` with every fault, one per line."""
    return framed(Config, data)


F = TypeVar("F", bound=Frame)


def framed(frame: type[F], data: Mapping[str, Any]) -> F:
    """The frame that a nested mapping fills; raises `ConfigError` with every fault, one per line."""
    try:
        return frame.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(_fault(each, frame=frame) for each in error.errors())) from None


def load(path: str | Path, overrides: Mapping[str, Any] | None = None) -> Config:
    """The configuration in the file at `path`, after `overrides`."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: no such file; `tacit init {file.parent / 'federation'}` writes a commented one"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({error})") from error
    return parse(text, overrides, file.stem, str(file))


T = TypeVar("T")


def chosen(row: Mapping[str, Any], tag: str, table: Mapping[Any, type[T]], where: str) -> T:
    """The value that `row` describes: `row[tag]` names a class of `table`, the other keys are its fields.

    `where` is the row's key in the file, for errors. Raises `ConfigError` for an unknown name or field or a bad value.
    """
    name = row.get(tag)
    if not isinstance(name, str) or name not in table:
        close = difflib.get_close_matches(name, list(table), n=1) if isinstance(name, str) else []
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(table)}"
        raise ConfigError(f"{where}.{tag} = {name!r}: unknown; {hint}")
    kind = table[name]
    given = {key: value for key, value in row.items() if key != tag}
    known = [field.name for field in dataclasses.fields(kind) if field.init]  # type: ignore[arg-type]  # tables hold dataclasses
    unknown = [key for key in given if key not in known]
    if unknown:
        close = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"{name} takes {', '.join(known) or 'no keys'}"
        raise ConfigError(f"{where}.{unknown[0]} = {given[unknown[0]]!r}: unknown key; {hint}")
    try:
        adapter: TypeAdapter[T] = _adapter(kind)  # type: ignore[arg-type]  # a class is hashable
        # Through JSON, because only there pydantic is strict on numbers and yet takes a mapping for a dataclass.
        return adapter.validate_json(json.dumps(given), strict=True)
    except ValidationError as error:
        raise ConfigError("\n".join(_fault(each, where) for each in error.errors())) from None
    except (TypeError, ValueError) as error:  # raised by the class itself, already with value and remedy
        raise ConfigError(f"{where}: {error}") from error


def described(value: object, tag: str, table: Mapping[Any, type[Any]]) -> Row:
    """The row of a value of `table`: the inverse of `chosen`. Fields that are None are left out (TOML has no null)."""
    name = next(name for name, kind in table.items() if type(value) is kind)
    fields = [field.name for field in dataclasses.fields(value) if field.init]  # type: ignore[arg-type]  # a dataclass
    return {tag: name, **{field: getattr(value, field) for field in fields if getattr(value, field) is not None}}


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def override(setting: str) -> tuple[str, Any]:
    """Key and value of a `--set key=value`; the value is TOML, or text where it is not.

    >>> override("rounds.total=80"), override("strategy.use=fedadam"), override("rounds.participation={use='fixed', cohort=9}")
    (('rounds.total', 80), ('strategy.use', 'fedadam'), ('rounds.participation', {'use': 'fixed', 'cohort': 9}))
    """
    key, equals, value = setting.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {setting!r}: write key=value, for example --set rounds.total=80")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def _put(data: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key; a number in it is an index into a list (`privacy.pipeline.0.norm`)."""
    *path, last = key.split(".")
    here: Any = data
    for step in path:
        if isinstance(here, list):
            here = here[_index(here, step, key)]
        elif isinstance(here, dict):
            here = here.setdefault(step, {})
        else:
            raise ConfigError(f"{key}: {step!r} lies inside a plain value; check the path of the key")
    if isinstance(here, list):
        here[_index(here, last, key)] = value
    elif isinstance(here, dict):
        here[last] = value
    else:
        raise ConfigError(f"{key}: the key lies inside a plain value; check its path")


def _index(items: list[Any], step: str, key: str) -> int:
    if not step.isdigit() or int(step) >= len(items):
        raise ConfigError(f"{key}: {step!r} is no index into a list of {len(items)}")
    return int(step)


def _fault(error: Any, where: str = "", frame: type[Frame] = Config) -> str:
    """One line of a validation error: key, value found, remedy."""
    key = ".".join([*([where] if where else []), *(str(part) for part in error["loc"])]) or "configuration"
    if error["type"] == "extra_forbidden":
        return f"{key} = {error['input']!r}: unknown key; {_nearest(error['loc'], frame)}"
    if error["type"] == "missing":
        return f"{key}: missing; give it a value"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["loc"] == ():
        return f"{where}: {message}" if where else message
    return f"{key} = {error['input']!r}: {message[0].lower()}{message[1:]}"


def _nearest(loc: tuple[str | int, ...], root: type[Frame]) -> str:
    frame: Any = root
    for part in loc[:-1]:
        fields = getattr(frame, "model_fields", None)
        if fields is None:  # a list of frames, or frames by name
            frame = next((kind for kind in get_args(frame) if hasattr(kind, "model_fields")), None)
        else:
            frame = fields[part].annotation if part in fields else None
    known = list(getattr(frame, "model_fields", {}))
    if not known:
        return "remove it"
    close = difflib.get_close_matches(str(loc[-1]), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
