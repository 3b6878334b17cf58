"""Planning: what a configuration costs in privacy, or the noise that a target ε needs, before any data is touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..config import Config, ConfigError, Row, from_mapping
from ..privacy.accounting.figures import Figures, figures
from ..privacy.accounting.plan import Forecast, forecast
from ..privacy.claim import ClaimError
from ..privacy.event import Event
from ..privacy.stages.measure import forecast as forecast_measures
from ..strategies.federation import CALIBRATE, Federation, build
from ..strategies.masking import Outlook, outlook
from .run import Source, config_of


@dataclass(frozen=True, slots=True)
class Plan:
    """The forecast for the budget's observer, and the claims for every observer."""

    forecast: Forecast
    claims: tuple[Figures, ...]
    federation: Federation = field(repr=False)

    @property
    def noise_multiplier(self) -> float | None:
        """σ over the sensitivity, solved where it was to be; None where no single number says it."""
        return self.forecast.noise_multiplier

    @property
    def epsilon(self) -> float:
        """ε of the whole schedule for the budget's observer."""
        return self.forecast.epsilon

    @property
    def within_budget(self) -> bool:
        """Whether `simulate` would run all rounds."""
        return self.epsilon <= self.federation.config.budget.epsilon

    @property
    def measures(self) -> dict[str, Any]:
        """What measuring at the owners does: `noise_factor` on the noise of the model, and the standard `errors` it leaves."""
        schedule = self.federation.schedule
        factor, errors = forecast_measures(schedule.pipeline, schedule.participation.expected(schedule.population))
        return {"noise_factor": factor, "errors": errors}

    @property
    def masks(self) -> Outlook | None:
        """What masking the largest cohort takes and withstands."""
        schedule = self.federation.schedule
        return outlook(schedule.pipeline, schedule.participation.most(schedule.population))

    def to_json(self) -> dict[str, Any]:
        """What `tacit plan CONFIG --json` prints."""
        config, measures, masks = self.federation.config, self.measures, self.masks
        return {
            **self.forecast.to_json(),
            "observer": config.budget.observer,
            "budget": config.budget.epsilon,
            "within_budget": self.within_budget,
            "claims": [each.to_json() for each in self.claims],
            **({"measures": measures} if measures["errors"] else {}),
            **(
                {"masks": masks.to_json() | dict(zip(("withstands", "cost"), masks.words(), strict=True))}
                if masks
                else {}
            ),
        }


def plan(
    source: Source,
    *,
    set: Mapping[str, Any] | None = None,  # the keyword of `simulate`
    target_epsilon: float | None = None,
    noise_multiplier: float | None = None,
) -> Plan:
    """What the schedule of `source` costs; with `target_epsilon` the noise is solved for, with `noise_multiplier` it is that.

    `tacit.plan("digits.toml", target_epsilon=2.0).noise_multiplier`

    Raises `ConfigError` for what cannot be run or claimed soundly, and where there is no noise to change.
    """
    config, folder = config_of(source, set)
    if target_epsilon is not None and noise_multiplier is not None:
        raise ConfigError("target_epsilon and noise_multiplier: give one of them; each follows from the other")
    if target_epsilon is not None:
        config = _with_noise(config, CALIBRATE)
        config = from_mapping(
            {**config.model_dump(), "budget": {**config.budget.model_dump(), "epsilon": target_epsilon}}
        )
    elif noise_multiplier is not None:
        config = _with_noise(config, noise_multiplier)
    federation = build(config, folder)
    relation, schedule = config.privacy.relation, federation.schedule

    def event(kind: int) -> Callable[[int], Event]:
        def of(rounds: int) -> Event:
            try:
                return schedule.events(federation.observer, relation, rounds)[kind]
            except ClaimError as error:
                raise ConfigError(f"privacy: {error}") from error

        return of

    found = forecast(
        event(0), event(1), schedule.rounds, relation, federation.delta, config.privacy.unit, noise_of(federation)
    )
    return Plan(found, tuple(figures(claim, federation.delta) for claim in federation.claims()), federation)


def noise_of(federation: Federation) -> float | None:
    """The noise multiplier of the one part that adds noise; None where none or several do."""
    found = [getattr(part, "noise_multiplier", None) for part in (federation.solver, *federation.pipeline.stages)]
    numbers = [float(each) for each in found if isinstance(each, int | float)]
    return numbers[0] if len(numbers) == 1 else None


def _with_noise(config: Config, noise: float | str) -> Config:
    """`config` with this noise multiplier in the one row that has any."""
    data = config.model_dump()
    rows: list[Row] = [data["local"], *data["privacy"]["pipeline"]]
    noisy = [row for row in rows if "noise_multiplier" in row]
    if len(noisy) != 1:
        raise ConfigError(
            f"noise_multiplier: stands in {len(noisy)} places of the configuration; to plan with another noise it must stand "
            f"in exactly one stage of privacy.pipeline, or in [local]"
        )
    noisy[0]["noise_multiplier"] = noise
    return from_mapping(data)
