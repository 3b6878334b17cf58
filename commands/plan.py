"""`tacit plan`: what a schedule costs in privacy, or the noise that a target ε needs, before any data is touched."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .flags import Json, Settings, overrides
from .plan_options import check_noise, faults_of

_WIDE = 1.01  # from this ratio on the ends of the interval are told apart; below it they differ by arithmetic only


class Sampling(StrEnum):
    """How the units of a round are drawn."""

    none = "none"
    poisson = "poisson"
    fixed = "fixed"


class Correlation(StrEnum):
    """How the noise of one round depends on that of others."""

    tree = "tree"
    banded = "banded"
    blt = "blt"


class Relation(StrEnum):
    """How neighbouring data sets differ."""

    add_remove = "add-remove"
    zero_out = "zero-out"
    replace_one = "replace-one"


class Unit(StrEnum):
    """Whose presence is hidden."""

    example = "example"
    owner = "owner"


def command(
    configuration: Annotated[
        Path | None, typer.Argument(metavar="CONFIG", help="A federation's TOML file, or none and the options below.")
    ] = None,
    settings: Settings = None,
    noise_multiplier: Annotated[
        float | None, typer.Option(help="Standard deviation of the noise over the clipping norm.")
    ] = None,
    target_epsilon: Annotated[float | None, typer.Option(help="Solve for the noise that meets this ε.")] = None,
    sampling: Annotated[Sampling | None, typer.Option(help="How units are drawn, in secret. Default: none.")] = None,
    rate: Annotated[float | None, typer.Option(help="Poisson: the probability of being drawn in a round.")] = None,
    cohort: Annotated[int | None, typer.Option(help="Fixed: how many are drawn each round.")] = None,
    population: Annotated[int | None, typer.Option(help="Fixed: out of how many.")] = None,
    rounds: Annotated[int | None, typer.Option(help="Number of rounds (or steps).")] = None,
    delta: Annotated[float | None, typer.Option(help="δ, below one over the number of units.")] = None,
    relation: Annotated[
        Relation | None, typer.Option(help="Default: add-remove; replace-one for fixed cohorts.")
    ] = None,
    unit: Annotated[Unit | None, typer.Option(help="What the numbers are about. Default: owner.")] = None,
    correlated: Annotated[
        Correlation | None, typer.Option(help="Noise correlated over rounds, charged as a whole. Default: none.")
    ] = None,
    separation: Annotated[
        int | None, typer.Option(help="Correlated: a unit is drawn again after so many rounds at the earliest.")
    ] = None,
    participations: Annotated[
        int | None, typer.Option(help="Correlated: most rounds of one unit. Default: what the separation allows.")
    ] = None,
    bands: Annotated[int | None, typer.Option(help="Banded: number of bands. Default: the separation.")] = None,
    decay: Annotated[list[float] | None, typer.Option(help="BLT: a buffer's decay; once per buffer.")] = None,
    scale: Annotated[list[float] | None, typer.Option(help="BLT: a buffer's scale; once per buffer.")] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Write ε over rounds to this .svg or .png. Default: plan.svg.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a schedule costs in privacy, or find the noise that a target ε needs, before any data is touched.

    From a configuration, or from options alone. Where only an interval is known, ε is its upper end.

    Example: `tacit plan federation.toml --target-epsilon 2`

    Example: `tacit plan --noise-multiplier 1.1 --sampling poisson --rate 0.01 --rounds 1000 --delta 1e-5`

    Example: `tacit plan --correlated banded --bands 8 --separation 64 --rounds 512 --delta 1e-5 --target-epsilon 2`
    """
    given: dict[str, Any] = {
        "sampling": sampling, "rate": rate, "cohort": cohort, "population": population, "rounds": rounds,
        "delta": delta, "relation": relation, "unit": unit,
    }  # fmt: skip
    numbers = {key: value for key, value in given.items() if value is not None}
    buffers = {"decay": tuple(decay or ()), "scale": tuple(scale or ())}
    shape = {"separation": separation, "participations": participations, "bands": bands, **buffers}
    shape = {key: value for key, value in shape.items() if value not in (None, ())}
    check_noise(noise_multiplier, target_epsilon, needed=configuration is None)
    if correlated is not None or shape:
        result = _of_correlated(configuration, correlated, numbers, shape, noise_multiplier, target_epsilon)
    elif configuration is not None:
        result = _of_configuration(configuration, settings, numbers, noise_multiplier, target_epsilon)
    else:
        result = _of_numbers(settings, numbers, noise_multiplier, target_epsilon)
    drawn = None
    if plot is not None or not as_json:
        drawn = _plotted(result, plot or Path("plan.svg"), wanted=plot is not None)
    if as_json:
        from .screen import show_json

        show_json(result)
    else:
        _show(result, drawn)


def _of_configuration(
    configuration: Path,
    settings: list[str] | None,
    numbers: Mapping[str, Any],
    noise_multiplier: float | None,
    target_epsilon: float | None,
) -> dict[str, Any]:
    from ..config import ConfigError, load

    if numbers:
        key = next(iter(numbers))
        raise ConfigError(
            f"--{key} = {numbers[key]}: the configuration says this already; change it there or with --set, for example "
            f"--set {_KEYS[key]}"
        )
    changes = overrides(settings)
    load(configuration, changes)  # a mistake in the file is told before torch is loaded
    from ..simulation.planning import plan

    return plan(configuration, set=changes, noise_multiplier=noise_multiplier, target_epsilon=target_epsilon).to_json()


_KEYS: Mapping[str, str] = {
    "sampling": 'rounds.participation.use="poisson"',
    "rate": "rounds.participation.rate=0.1",
    "cohort": "rounds.participation.cohort=10",
    "population": "population.owners=1000",
    "rounds": "rounds.total=80",
    "delta": "privacy.delta=1e-5",
    "relation": "privacy.relation=zero-out",
    "unit": "privacy.unit=owner",
}


def _of_numbers(
    settings: list[str] | None, numbers: dict[str, Any], noise_multiplier: float | None, target_epsilon: float | None
) -> dict[str, Any]:
    from ..config import ConfigError

    if settings:
        raise ConfigError("--set: changes a configuration, and none was given; name its file, or leave --set out")
    faults = faults_of(numbers)
    if faults:
        raise ConfigError("\n".join(faults))
    from ..privacy.accounting.plan import plan

    plain: dict[str, Any] = {
        key: value.value if isinstance(value, StrEnum) else value for key, value in numbers.items()
    }
    return plan(noise_multiplier=noise_multiplier, target_epsilon=target_epsilon, **plain).to_json()


def _of_correlated(
    configuration: Path | None,
    correlated: Correlation | None,
    numbers: dict[str, Any],
    shape: dict[str, Any],
    noise_multiplier: float | None,
    target_epsilon: float | None,
) -> dict[str, Any]:
    from ..config import ConfigError

    if correlated is None:
        key, value = next(iter(shape.items()))
        raise ConfigError(f"--{key} = {value}: belongs to correlated noise; add --correlated tree, banded or blt")
    if configuration is not None:
        raise ConfigError(f"--correlated {correlated.value}: is planned from options alone; leave {configuration} out")
    drawn = [key for key in ("rate", "cohort", "population") if key in numbers]
    if drawn or str(numbers.get("sampling", "none")) != "none":
        raise ConfigError(
            "--sampling: correlated noise is not amplified by draws; give --separation and --participations instead"
        )
    faults = faults_of(numbers)
    if faults:
        raise ConfigError("\n".join(faults))
    from ..privacy.accounting.correlated import plan_correlated
    from ..privacy.accounting.relation import AccountingError

    plain: dict[str, Any] = {
        key: value.value if isinstance(value, StrEnum) else value for key, value in numbers.items()
    }
    plain.pop("sampling", None)
    try:
        return plan_correlated(
            correlated.value, noise_multiplier=noise_multiplier, target_epsilon=target_epsilon, **plain, **shape
        ).to_json()
    except AccountingError as error:
        raise ConfigError(f"--correlated {correlated.value}: {error}") from error


def _plotted(result: Mapping[str, Any], path: Path, wanted: bool) -> Path | None:
    """The file that holds ε over rounds; None where ε is infinite and no picture was asked for by name."""
    from ..config import ConfigError

    if path.suffix not in (".svg", ".png"):
        raise ConfigError(f"--plot = {path}: give a name that ends in .svg or .png")
    if result["epsilon"] == "inf":
        if wanted:
            raise ConfigError(f"--plot = {path}: ε is infinite, there is nothing to draw; add noise")
        return None
    from ..server.whole import write_whole
    from ..simulation.plan_plot import plan_plot, plan_png

    write_whole(path, plan_png(result) if path.suffix == ".png" else plan_plot(result))
    return path


def _measures(result: Mapping[str, Any]) -> list[list[str]]:
    """What owners' measuring costs the model in noise, and how exactly each round will tell."""
    from ..simulation.numerals import metric_text

    if "measures" not in result:
        return []
    errors = ", ".join(f"{name} ± {metric_text(name, error)}" for name, error in result["measures"]["errors"].items())
    factor = result["measures"]["noise_factor"]
    return [
        ["owners measure, each round", errors],
        ["  which widens the model's noise", f"by {100 * (factor - 1):.2g} %"],
    ]


def _show(result: Mapping[str, Any], drawn: Path | None) -> None:
    from ..simulation.numerals import epsilon_text, lower_text, number, small_text
    from .screen import out, say, table

    risk = result["risk"]
    rows = [["ε", epsilon_text(result["epsilon"])]]
    # A lower end of 0 says that none is known, not that the truth may be 0.
    if number(result["epsilon_upper"]) > _WIDE * number(result["epsilon_lower"]) > 0:
        rows.append(
            [
                "  the truth lies between",
                f"{lower_text(result['epsilon_lower'])} and {epsilon_text(result['epsilon_upper'])}",
            ]
        )
    rows += [
        ["  by Rényi accounting", epsilon_text(result["epsilon_rdp"])],
        ["  for whoever knows the draws", epsilon_text(result["epsilon_unamplified"])],
        ["δ", small_text(result["delta"])],
        ["noise multiplier", "–" if result["noise_multiplier"] is None else f"{result['noise_multiplier']:.4g}"],
        *_measures(result),
        *(
            [["masks withstand", result["masks"]["withstands"]], ["  and cost", result["masks"]["cost"]]]
            if "masks" in result
            else []
        ),
        ["protects one", f"{result['unit']}, {result['relation']}"],
        ["rounds", f"{result['rounds']:,}"],
        ["accountant", str(result["accountant"])],
        ["best attacker's advantage", f"{100 * risk['membership_advantage']:.2g} %"],
        ["  found at 1 % false alarms", f"{100 * risk['tpr_at_1_percent_fpr']:.2g} %"],
    ]
    out().print(table(["plan", ""], rows))
    curve = result["curve"]
    picked = [curve[index] for index in sorted({round(i * (len(curve) - 1) / 5) for i in range(6)})] if curve else []
    out().print(
        table(
            ["after rounds", *(f"{row['rounds']:,}" for row in picked)],
            [["ε", *(epsilon_text(row["epsilon"]) for row in picked)]],
        )
    )
    if "claims" in result:
        from .summary import claims_table

        out().print(claims_table(result["claims"]))
        verdict = "fits" if result["within_budget"] else "does not fit"
        budget = result["budget"]
        say(
            "budget.epsilon = inf: this federation is not private, whatever its pipeline adds"
            if budget in ("inf", float("inf"))
            else f"ε = {epsilon_text(result['epsilon'])} {verdict} budget.epsilon = {budget:g} for the {result['observer']}"
        )
    if drawn is not None:
        say(f"Plot: {drawn}")
