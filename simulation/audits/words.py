"""Words: what a verdict means, and what no canary sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..numerals import epsilon_text, lower_text, number

BLIND = (
    "Canaries see what one unit can do to a released sum: a missing or partial clip, noise that is too weak, missing, or the "
    "same twice (twice at owner level only: examples do not change between rounds).",
    "They do not see whether the order of batches was drawn as it was accounted (shuffled or Poisson), nor whether sizes, "
    "counts or timings leave an owner. Tacit refuses these by construction: draws are made by the participation that is "
    "accounted, and denominators are public.",
    "They do not see what a deployment does that the simulation does not run: masks, transport, keys, ledgers of real owners.",
    "An audit that does not fail proves no claim. It bounds ε from below only.",
)

ANEW = (
    "The configuration was trained anew, in simulation, with canaries in it: a run that was made without them has nothing to "
    "guess, and its own model was not looked at."
)


def verdict_sentence(found: Mapping[str, Any]) -> str:
    """The verdict of one view or of a whole audit in a sentence; `found` holds `verdict`, `claim`, `bound` and `reach`."""
    claim, bound, reach = epsilon_text(found["claim"]), lower_text(found["bound"]), lower_text(found["reach"])
    if found["verdict"] == "fail":
        return f"The claim ε = {claim} does not hold: the guesses show more than ε = {bound}."
    if found["verdict"] == "pass":
        return (
            f"Nothing speaks against the claim ε = {claim}: ε ≥ {bound} was shown, where up to {reach} could have been."
        )
    return (
        f"No power: ε ≥ {bound} was shown, and no more than {reach} could have been, which is below the claim ε = {claim}. "
        "This neither supports nor refutes it; give more canaries, or fewer rounds."
    )


def overall(audit: Mapping[str, Any]) -> dict[str, Any]:
    """The view that decides: the one that fails, else the one that shows most with power."""
    rank = {"fail": 2, "pass": 1, "no power": 0}
    views = list(audit["views"].values())
    best: dict[str, Any] = max(views, key=lambda found: (rank[found["verdict"]], number(found["bound"])))
    return {**best, "verdict": audit["verdict"]}
