"""What secure aggregation buys 13 institutions: `python benchmarks/shared_noise.py [--plot docs/shared-noise.svg]`.

Digits at example level, δ = 1e-4, against the server. Either every institution adds its own full noise, or all of them share
one noise under masks, with nobody (C = 0) or three of them (C = 3) helping the server. Mean of 5 seeds on the task's usual
split, and with split k under seed k. Norm, rate and rounds were tuned for each ε and kind on these data sets, uncharged.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tacit.config import load
from tacit.simulation.canvas import SERIES, canvas, direct_labels, name_axes, standalone
from tacit.simulation.run import simulate

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
OWN, SHARED = EXAMPLES / "digits-institutions.toml", EXAMPLES / "digits-institutions-shared.toml"


@dataclass(frozen=True)
class Setting:
    """What was tuned: the norm of an example's gradient, rounds, server rate, and the tail that is averaged."""

    norm: float
    rounds: int
    rate: float
    tail: float = 0.5

    def changes(self) -> dict[str, Any]:
        """As `set` of a simulation."""
        return {
            "local.norm": self.norm, "rounds.total": self.rounds, "strategy.server_lr": self.rate,
            "strategy.tail_average": self.tail,
        }  # fmt: skip


SETTINGS: dict[str, dict[float, Setting]] = {
    "own": {1.0: Setting(0.1, 6, 350.0), 3.0: Setting(0.3, 14, 120.0), 8.0: Setting(0.15, 40, 150.0)},
    "shared": {1.0: Setting(0.1, 60, 120.0), 3.0: Setting(0.1, 150, 220.0, 0.4), 8.0: Setting(0.15, 250, 170.0)},
}
KINDS = {
    "each its own": (OWN, "own", 0),
    "one shared, C = 0": (SHARED, "shared", 0),
    "one shared, C = 3": (SHARED, "shared", 3),
}


def accuracy(kind: str, epsilon: float, seeds: int) -> tuple[list[float], list[float], float]:
    """Test accuracy in percent on the usual split and on split = seed, by seed; and the claim's ε."""
    path, tuned, colluders = KINDS[kind]
    changes = SETTINGS[tuned][epsilon].changes() | {
        "budget.epsilon": epsilon, "budget.colluders": colluders, "evaluation.every": 10**6,
    }  # fmt: skip
    usual, varied, claimed = [], [], 0.0
    for seed in range(seeds):
        runs = [simulate(load(path, changes | {"task.split": split}), seed=seed) for split in sorted({0, seed})]
        usual.append(100 * runs[0].final.accuracy)
        varied.append(100 * runs[-1].final.accuracy)
        claimed = runs[0].claims[0].epsilon
    return usual, varied, claimed


def plot(found: dict[str, dict[float, list[float]]]) -> bytes:
    """Accuracy against ε, a line for each kind, as an SVG file."""
    figure, axes = canvas(5.6, 3.2, right=0.72)
    labels = []
    for (kind, by_epsilon), colour in zip(found.items(), SERIES, strict=False):
        places = list(by_epsilon)
        means = [statistics.mean(values) for values in by_epsilon.values()]
        axes.plot(places, means, color=colour, marker="o", markersize=4, linewidth=1.8)
        axes.fill_between(
            places,
            [min(v) for v in by_epsilon.values()],
            [max(v) for v in by_epsilon.values()],
            color=colour,
            alpha=0.12,
            lw=0,
        )
        labels.append((places[-1], means[-1], kind, colour))
    axes.set_xscale("log")
    axes.set_xticks(list(SETTINGS["own"]), [f"{each:g}" for each in SETTINGS["own"]])
    axes.minorticks_off()
    name_axes(axes, "ε of one example, against the server (δ = 10⁻⁴)", "right, % (mean and range of 5 seeds)")
    direct_labels(axes, labels)
    return standalone(
        figure, "Accuracy against ε: one noise shared under masks, and each of 13 institutions adding its own"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'noise':20} {'ε':>6} {'usual split':>16} {'split = seed':>16}", flush=True)
    found: dict[str, dict[float, list[float]]] = {kind: {} for kind in KINDS}
    for kind in KINDS:
        for epsilon in SETTINGS["own"]:
            usual, varied, claimed = accuracy(kind, epsilon, options.seeds)
            found[kind][epsilon] = usual
            cells = [f"{statistics.mean(v):.2f} ± {statistics.pstdev(v):.2f}" for v in (usual, varied)]
            print(f"{kind:20} {claimed:6.3f} {cells[0]:>16} {cells[1]:>16}", flush=True)
    if options.plot is not None:
        options.plot.write_bytes(plot(found))


if __name__ == "__main__":
    main()
