"""`tacit compare`: runs side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from .flags import Json


def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, as `simulate` leaves them.")],
    as_json: Json = False,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page with the curves over one another.")] = None,
) -> None:
    """Put runs side by side: metrics, ε, time, and what was set differently.

    Example: `tacit compare runs/digits-* --html comparison.html`
    """
    from ..simulation.artefacts import RunFolder, saved_result, write_page
    from ..simulation.comparison import comparison
    from .screen import out, say, show_json, table

    results = [saved_result(RunFolder(path)) for path in runs]
    changed = differences([result["config"] for result in results])
    if html is not None:
        write_page(html, comparison(results))
    if as_json:
        rows = [row_of(path, result) for path, result in zip(runs, results, strict=True)]
        show_json({"runs": rows, "differences": changed, "html": None if html is None else str(html)})
        return
    letters = [chr(ord("A") + index % 26) * (1 + index // 26) for index in range(len(runs))]
    for letter, path in zip(letters, runs, strict=True):
        say(f"{letter}  {path}")
    out().print(table(["", *letters], measures(results)))
    if changed:
        settings = [[key, *(_text(value) for value in values)] for key, values in changed.items()]
        out().print(table(["set differently", *letters], settings))
    else:
        say("The configurations are the same; only the seeds may differ.")
    if html is not None:
        say(f"Page: {html}")


def row_of(path: Path, result: Mapping[str, Any]) -> dict[str, Any]:
    """One run in the JSON answer."""
    keys = ("epsilon", "epsilon_unamplified", "epsilon_at_1e-5", "delta", "unit", "observer", "relation")
    first = result["privacy"][0]
    return {
        "run": str(path),
        "name": result["config"].get("name"),
        "seed": result.get("seed"),
        "rounds": result["rounds"][-1]["round"],
        "final": result["final"],
        "privacy": {key: first[key] for key in keys},
        "seconds": result["timing"]["seconds"],
    }


def measures(results: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """The rows of the table: each metric that some run has, then privacy, then cost."""
    from ..simulation.numerals import epsilon_text, metric_name, metric_text, small_text

    names = list(dict.fromkeys(name for result in results for name in result["final"]))
    rows = [
        [metric_name(name), *(metric_text(name, r["final"][name]) if name in r["final"] else "–" for r in results)]
        for name in names
    ]
    claims = [result["privacy"][0] for result in results]
    rows.append(["ε", *(epsilon_text(claim["epsilon"]) for claim in claims)])
    rows.append(["ε, draw known", *(epsilon_text(claim["epsilon_unamplified"]) for claim in claims)])
    rows.append(["δ", *(small_text(claim["delta"]) for claim in claims)])
    rows.append(["protects one", *(str(claim["unit"]) for claim in claims)])
    rows.append(["from", *(str(claim["observer"]) for claim in claims)])
    rows.append(["seed", *(str(result.get("seed")) for result in results)])
    times = [result["timing"]["seconds"] for result in results]  # None where the draw of owners is a secret
    rows.append(["seconds", *("–" if time is None else f"{time:.1f}" for time in times)])
    return rows


def differences(configs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Dotted keys whose values are not the same in all configurations, with every run's value."""
    from ..simulation.artefacts import leaves

    flat = [leaves(config) for config in configs]
    keys = list(dict.fromkeys(key for each in flat for key in each))
    found = {key: [each.get(key) for each in flat] for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}


def _text(value: Any) -> str:
    return "–" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
