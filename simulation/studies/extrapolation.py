"""Extrapolation: a population too large to simulate, and the small one that stands for it.

What noise does to a model depends on noise relative to the cohort: the mean of m updates of norm C under noise of standard
deviation z·C on their sum carries noise z·C/m. A small federation with m' = m/k owners a round and noise z/k has the same,
so it is trained with that, while ε is accounted for the large one, with z, its own cohort and its own δ. Where every owner
noises its own message the sum's noise grows with √m, and the small one takes z/√k.

Noise that a lattice cannot draw, because it is far below one of its steps, is held at the least that can be drawn: more than
the large population has, so accuracy is estimated too low rather than too high.

This is an extrapolation, never a measurement: the small population has less data and fewer kinds of owners, whose
drawing moves the mean more. PRIVACY.md 24: whatever comes of it is called that.
"""

from __future__ import annotations

import math
from typing import Any

from ...config import Config, ConfigError, from_mapping
from ...strategies.federation import Federation

_COUNTS = ("cohort", "cap")  # of a participation: numbers of owners, which grow with the population


def enlarged(config: Config, population: int) -> Config:
    """`config` for `population` owners, drawn in the same proportion. Raises `ConfigError` where that is no extrapolation."""
    owners = config.population.owners
    if config.privacy.unit != "owner":
        raise ConfigError(
            f"--predict {population}: extrapolates the number of owners, and privacy.unit = {config.privacy.unit!r} protects "
            f"examples; leave it out"
        )
    if population <= owners:
        raise ConfigError(
            f"--predict {population}: {owners} owners are simulated; give a larger population, or leave --predict out"
        )
    ratio = population / owners
    row = {
        key: max(1, round(value * ratio)) if key in _COUNTS and isinstance(value, int) else value
        for key, value in config.rounds.participation.items()
    }
    data = config.model_dump()
    data["population"]["owners"] = population
    data["rounds"]["participation"] = row
    return from_mapping(data)


def noise_scale(large: Federation, small_cohort: float) -> float:
    """What the noise multiplier of the small federation is of the large one's; raises `ConfigError` without any noise."""
    ratio = large.schedule.participation.expected(large.population) / small_cohort
    noise = large.pipeline.final.noise
    if not noise:
        raise ConfigError("--predict: the pipeline adds no noise, so there is nothing to extrapolate; leave it out")
    return 1 / math.sqrt(ratio) if noise[0].place == "owner" else 1 / ratio


def told(config: Config, population: int, held: int) -> dict[str, Any]:
    """What a result says of its extrapolation, in which the noise of `held` settings was more than it should be."""
    how = (
        f"{config.population.owners:,} owners were trained with noise scaled so that noise over cohort is that of "
        f"{population:,} owners; ε is accounted at {population:,}. No such population was simulated."
    )
    if held:
        how += (
            f" In {held:,} {'setting' if held == 1 else 'settings'} that noise is too little to be drawn; the least that can "
            f"be was drawn, which is more, so accuracy there is a lower estimate."
        )
    return {"population": population, "simulated": config.population.owners, "noise_held": held, "how": how}
