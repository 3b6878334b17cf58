"""Study: the privacy-budget simulation. Sweeps keys of a configuration and says which accuracy each ε buys."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ...config import Config, ConfigError, StudyFrame, framed, load, parse
from ...server.whole import write_whole
from ...strategies.lock import FolderLock
from ..artefacts import ArtefactError
from ..document import dumps
from .axis import with_more
from .crew import Crew, StudyError
from .findings import Point, findings, metric_of, score_of, to_csv
from .journal import Journal, StudyFolder, default_folder, digest_of, key_of, opened
from .search import Known, Plan, Trial, next_trials
from .space import Space, Values, name_of, space_of

if TYPE_CHECKING:
    import pandas as pd

_FORMAT = 2  # of a study's folder; another one is another study
_TOLD = 0.2  # seconds between two reports of progress
_CURVES = 6  # settings of the frontier whose ε is drawn over rounds

Source: TypeAlias = str | Path | Config


@dataclass(frozen=True, slots=True)
class Status:
    """How far a study is: trials `done` of `total`, `kept` of them from before; `seconds` since this session began."""

    done: int
    total: int
    kept: int
    seconds: float
    doing: str
    best: str = ""

    @property
    def left(self) -> float:
        """Seconds that the rest will take at the pace so far; NaN before the first trial."""
        new = self.done - self.kept
        return self.seconds / new * (self.total - self.done) if new else float("nan")


Watch: TypeAlias = Callable[[Status], None]


@dataclass(frozen=True, slots=True)
class Study:
    """A finished study: its folder, and `result`, the content of `frontier.json`."""

    folder: StudyFolder
    result: Mapping[str, Any] = field(repr=False)

    @property
    def points(self) -> Sequence[Mapping[str, Any]]:
        """Every setting that was trained."""
        found: Sequence[Mapping[str, Any]] = self.result["points"]
        return found

    @property
    def frontier(self) -> list[Mapping[str, Any]]:
        """The settings that no other one beats, by rising ε."""
        by_id = {point["id"]: point for point in self.points}
        return [by_id[each] for each in self.result["frontier"]]

    def table(self) -> pd.DataFrame:
        """All settings as a table. Needs pandas (`pip install tacit[notebook]`)."""
        import pandas as pd

        return pd.read_csv(self.folder.points)


@dataclass(slots=True)
class _Bench:
    """A study under way."""

    space: Space
    plan: Plan
    journal: Journal
    crew: Crew
    watch: Watch | None
    comparable: str
    seen: dict[str, Values] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    kept: int = 0
    total: int = 0
    done: int = 0
    told: float = float("-inf")

    def run(self) -> None:
        """Ask for trials until the search has no more; raises `ConfigError` where no setting can be run."""
        self.kept = self.done = sum(kind == "train" for kind, _ in self.journal.answers)
        self.total = self.plan.points * len(self.plan.seeds)
        if self.plan.search == "grid":
            self.total = len(self.space.grid()) * len(self.plan.seeds)
        self._tell("begin")
        try:
            while trials := next_trials(self.plan, self.space, self.known()):
                self._try(trials)
        finally:
            self._tell("end")

    def _try(self, trials: Sequence[Trial]) -> None:
        for values, _ in trials:
            self.seen.setdefault(name_of(values), values)
        settings = list(dict.fromkeys(name_of(values) for values, _ in trials))
        self._sketch(settings)
        self._price(settings)
        self._train(trials)
        if all(point.reason for point in self.points()):
            reasons = list(dict.fromkeys(point.reason for point in self.points()))
            raise ConfigError("\n".join(["study.vary: no setting can be run:", *(f"  {each}" for each in reasons)]))

    def points(self) -> list[Point]:
        """Every setting asked for so far, with what is known of it."""
        return [
            Point(number, dict(values), self.journal.found("sketch", name), self._priced(name), self._trained(values))
            for number, (name, values) in enumerate(self.seen.items())
        ]

    def known(self) -> list[Known]:
        """What the search sees."""
        points = self.points()
        metric = metric_of(points)
        return [
            Known(
                self.seen[name],
                float("nan") if point.reason else point.figure(self.comparable),
                {} if metric is None else {seed: score_of(metric, found) for seed, found in point.metrics.items()},
            )
            for name, point in zip(self.seen, points, strict=True)
        ]

    def _trained(self, values: Values) -> dict[int, dict[str, Any]]:
        found = {seed: self.journal.found("train", _trial_key(values, seed)) for seed in self.plan.seeds}
        return {seed: answer for seed, answer in found.items() if answer is not None}

    def _priced(self, name: str) -> dict[str, Any] | None:
        found = self.journal.found("sketch", name)
        if found is None or "reason" in found:
            return None
        return self.journal.found("price", key_of(found["mechanism"]))

    def _sketch(self, settings: Sequence[str]) -> None:
        rows = [(name, {"do": "sketch", "values": dict(self.seen[name])}) for name in settings]
        self._ask("sketch", rows)

    def _price(self, settings: Sequence[str]) -> None:
        found = [self.journal.answers["sketch", name] for name in settings]
        mechanisms = [each["mechanism"] for each in found if "reason" not in each]
        rows = {key_of(each): {"do": "price", "mechanism": each} for each in mechanisms}
        self._ask("price", list(rows.items()))

    def _train(self, trials: Sequence[Trial]) -> None:
        refused = {name for name, point in zip(self.seen, self.points(), strict=True) if point.reason}
        rows = []
        for values, seed in trials:
            if name_of(values) not in refused:
                found = self.journal.answers["sketch", name_of(values)]
                ask = {"do": "train", "values": dict(values), "seed": seed}
                rows.append((_trial_key(values, seed), {**ask, "noise": found["noise"], "scale": found["noise_scale"]}))
        self._ask("train", rows)

    def curves(self, result: Mapping[str, Any]) -> list[dict[str, Any]]:
        """ε over rounds of some settings on the frontier, spread evenly over it."""
        on = [int(each) for each in result["frontier"]]
        if len(on) > _CURVES:
            on = [on[round(step * (len(on) - 1) / (_CURVES - 1))] for step in range(_CURVES)]
        names = list(self.seen)
        asked = {}
        for number in on:
            found = self.journal.answers["sketch", names[number]]
            ask = {"do": "curve", "mechanism": found["mechanism"], "at": found["at"]}
            asked[number] = (key_of({"mechanism": found["mechanism"], "at": found["at"]}), ask)
        self._ask("curve", list(dict(asked.values()).items()))
        return [{"id": number, **self.journal.answers["curve", key]} for number, (key, _) in asked.items()]

    def _ask(self, kind: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Get the answers that are not known yet, each kept as it comes."""
        new = [(key, ask) for key, ask in rows if self.journal.found(kind, key) is None]
        for index, answer in self.crew.answers([ask for _, ask in new]):
            self.journal.add(kind, new[index][0], answer)
            self.done += kind == "train"
            if time.monotonic() - self.told > _TOLD:
                self._tell(kind)

    def _tell(self, doing: str) -> None:
        if self.watch is not None:
            self.told = time.monotonic()
            total = max(self.done, self.total)
            self.watch(Status(self.done, total, self.kept, self.told - self.started, doing, self._best()))

    def _best(self) -> str:
        points = [point for point in self.points() if point.metrics]
        metric = metric_of(points)
        if metric is None:
            return ""
        from ..numerals import epsilon_text, metric_name, metric_text

        best = max(points, key=lambda point: point.score(metric))
        epsilon = epsilon_text(best.figure(self.comparable))
        return f"best {metric_name(metric)} {metric_text(metric, best.mean(metric))} at ε {epsilon}"


def study(
    source: Source,
    *,
    vary: Mapping[str, Any] | None = None,
    search: str | None = None,
    points: int | None = None,
    seeds: int | None = None,
    seed: int = 0,
    set: Mapping[str, Any] | None = None,  # the keyword of `simulate`
    predict: int | None = None,
    target_epsilon: float | None = None,
    target_accuracy: float | None = None,
    out: Path | None = None,
    runs: Path = Path("runs"),
    workers: int | None = None,
    reproduce: str = "",
    watch: Watch | None = None,
) -> Study:
    """Try many settings of `source` under several seeds; the accuracy that each ε buys, in a folder and as a value.

    What is left out is taken from the file's `[study]`; `vary` adds to its keys. `predict` is the population that the
    simulated one stands for (see `extrapolation`). The same call goes on where an interrupted one stopped; a finished study
    is read back, so that targets can be asked of it at no cost.

    `tacit.study("digits.toml", vary={"rounds.total": [10, 20, 40]}, target_epsilon=2.0).frontier`

    Raises `ConfigError` for what cannot be studied, `ArtefactError` for a folder that cannot be used, `StudyError` where a
    worker ended.
    """
    config, folder = (source, None) if isinstance(source, Config) else _loaded(source, set)
    if isinstance(source, Config) and set:
        config = parse(source.to_toml(), set)
    said = config.study if not isinstance(source, Config) else source.study
    frame = framed(StudyFrame, {
        **said.model_dump(), "vary": with_more(said.vary, vary or {}),
        **{key: value for key, value in (("search", search), ("points", points), ("seeds", seeds)) if value is not None},
    })  # fmt: skip
    if points is not None and frame.search == "grid":
        raise ConfigError(f"--points {points}: a grid tries every combination; add --search adaptive or random")
    space = space_of(frame.vary)
    _check(config, space, predict, target_epsilon)
    plan = Plan(frame.search, frame.points, tuple(range(seed, seed + frame.seeds)), seed)
    header = {
        "format": _FORMAT, "config": config.model_dump(mode="json"), "code": _code(config, folder), "predict": predict,
        "axes": [axis.to_json() for axis in space.axes], "search": frame.search,
        "points": None if frame.search == "grid" else frame.points, "seeds": list(plan.seeds),
    }  # fmt: skip
    where = StudyFolder(out) if out is not None else default_folder(config.name, digest_of(header), runs)
    _made(where)
    with FolderLock(where.path):
        journal = opened(where, header)
        size = workers if workers is not None else len(os.sched_getaffinity(0))
        with Crew(config.model_dump(), None if folder is None else str(folder), predict, size) as crew:
            bench = _Bench(space, plan, journal, crew, watch, _comparable(config, space))
            bench.run()
            found = findings(bench.points(), header, bench.comparable, target_epsilon, target_accuracy)
            result = {**found, "curves": bench.curves(found), "reproduce": reproduce}
        _finish(where, result)
    return Study(where, result)


def _loaded(source: str | Path, overrides: Mapping[str, Any] | None) -> tuple[Config, Path]:
    return load(source, overrides), Path(source).resolve().parent


def _check(config: Config, space: Space, predict: int | None, target_epsilon: float | None) -> None:
    keys = [axis.key for axis in space.axes]
    for key in keys:
        inside = next((other for other in keys if other != key and other.startswith(f"{key}.")), None)
        if inside is not None:
            raise ConfigError(f"study.vary: {inside}: lies inside {key}, which is varied as a whole; vary one of them")
    if predict is not None:
        from .extrapolation import enlarged

        if "population.owners" in keys:
            raise ConfigError(
                f"--predict {predict}: the number of owners is varied already; take population.owners out of study.vary"
            )
        enlarged(config, predict)
    if target_epsilon is not None and not target_epsilon > 0:
        raise ConfigError(f"--target-epsilon {target_epsilon:g}: give a number above 0")
    calibrated = "calibrate" in [row.get("noise_multiplier") for row in (config.local, *config.privacy.pipeline)]
    if "budget.epsilon" in keys and not calibrated:
        raise ConfigError(
            "study.vary: budget.epsilon: changes nothing while the noise is given as a number; set noise_multiplier = "
            '"calibrate", which is solved from it, or vary the noise multiplier itself'
        )


def _comparable(config: Config, space: Space) -> str:
    """Which ε settings are held against one another by: the claim's, or that at δ = 1e-5 where their δ differ."""
    several = any(axis.key == "population.owners" for axis in space.axes) and isinstance(config.privacy.delta, str)
    return "epsilon_at_1e-5" if several and config.privacy.unit == "owner" else "epsilon"


def _code(config: Config, folder: Path | None) -> str | None:
    """SHA-256 of one's own task, so that trials of another version are never taken for this one's."""
    module, colon, _ = config.task.use.partition(":")
    file = None if folder is None else folder / f"{module.replace('.', '/')}.py"
    return hashlib.sha256(file.read_bytes()).hexdigest() if colon and file is not None and file.is_file() else None


def _made(folder: StudyFolder) -> None:
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ConfigError(f"--out {folder.path}: is a file; give a folder, which need not exist") from error
    except OSError as error:
        raise ArtefactError(
            f"{folder.path}: cannot be made ({error.strerror or error}); choose another --out"
        ) from error


def _finish(folder: StudyFolder, result: Mapping[str, Any]) -> None:
    """Write table, page and, last, the result."""
    import json

    from .report import report

    text = dumps(result)
    try:
        write_whole(folder.points, to_csv(result).encode())
        write_whole(folder.report, report(json.loads(text)).encode())
        write_whole(folder.result, (text + "\n").encode())
    except OSError as error:
        raise ArtefactError(
            f"{folder.path}: cannot be written ({error.strerror or error}); every trial is kept: make room, then give the same "
            f"command again"
        ) from error


def _trial_key(values: Values, seed: int) -> str:
    return f"{seed} {name_of(values)}"


__all__ = ["Status", "Study", "StudyError", "study"]
