"""What is wrong with the options of `tacit plan`: option, value, remedy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def check_noise(noise_multiplier: float | None, target_epsilon: float | None, needed: bool) -> None:
    """Raise `ConfigError` unless exactly one of the two is given (at most one beside a configuration)."""
    from ..config import ConfigError

    if noise_multiplier is not None and target_epsilon is not None:
        raise ConfigError("--noise-multiplier and --target-epsilon: give one of them; each follows from the other")
    if noise_multiplier is None and target_epsilon is None and needed:
        raise ConfigError(
            "neither CONFIG nor noise: name a federation's file, or give --noise-multiplier or --target-epsilon with "
            "--rounds and --delta"
        )
    if noise_multiplier is not None and not 0 <= noise_multiplier < float("inf"):
        raise ConfigError(f"--noise-multiplier = {noise_multiplier}: give a finite number of at least 0")
    if target_epsilon is not None and not 0 < target_epsilon < float("inf"):
        raise ConfigError(f"--target-epsilon = {target_epsilon}: give a finite number above 0")


def faults_of(numbers: Mapping[str, Any]) -> list[str]:
    """What is wrong with the options, one line each: option, value, remedy."""
    sampling = str(numbers.get("sampling", "none"))
    rate, cohort, population = (numbers.get(key) for key in ("rate", "cohort", "population"))
    rounds, delta = numbers.get("rounds"), numbers.get("delta")
    needs_rate, needs_cohort = sampling == "poisson", sampling == "fixed"
    checks = (
        (rounds is None, "--rounds is missing: give the number of rounds, for example --rounds 1000"),
        (rounds is not None and rounds < 1, f"--rounds = {rounds}: give at least 1"),
        (
            delta is None,
            "--delta is missing: give a number below one over the number of units, for example --delta 1e-5",
        ),
        (delta is not None and not 0 < delta < 1, f"--delta = {delta}: give a number between 0 and 1, such as 1e-5"),
        (needs_rate and rate is None, "--sampling poisson: its rate is missing; add --rate 0.01, say"),
        (not needs_rate and rate is not None, f"--rate = {rate}: belongs to Poisson sampling; add --sampling poisson"),
        (rate is not None and not 0 < rate <= 1, f"--rate = {rate}: give a probability above 0 and up to 1"),
        (needs_cohort and cohort is None, "--sampling fixed: the cohort is missing; add --cohort 10, say"),
        (
            needs_cohort and population is None,
            "--sampling fixed: the population is missing; add --population 1000, say",
        ),
        (
            not needs_cohort and cohort is not None,
            f"--cohort = {cohort}: belongs to fixed cohorts; add --sampling fixed, or give Poisson sampling its --rate",
        ),
        (
            not needs_cohort and population is not None,
            f"--population = {population}: belongs to fixed cohorts; add --sampling fixed, or leave it out",
        ),
        (cohort is not None and cohort < 1, f"--cohort = {cohort}: give at least 1"),
        (
            cohort is not None and population is not None and cohort > population,
            f"--cohort = {cohort} of --population = {population}: give at most {population}",
        ),
        (
            needs_cohort and str(numbers.get("relation", "replace-one")) != "replace-one",
            f"--relation = {numbers.get('relation')}: a fixed cohort amplifies with proof under replace-one only; leave "
            f"--relation out, or take --sampling poisson, or --sampling none for no amplification",
        ),
        (
            delta is not None
            and population is not None
            and 0 < delta < 1
            and population > 0
            and delta * population >= 1,
            f"--delta = {delta} for {population} units: at such a δ publishing one unit in full counts as private; "
            f"give less than {1 / max(population or 1, 1):.2g}",
        ),
    )
    return [message for wrong, message in checks if wrong]
