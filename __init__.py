"""Tacit: federated learning with derived privacy.

The root is lazy: `import tacit` loads neither torch nor dp_accounting; a name loads its room on first use.

    run = tacit.simulate("federation.toml", seed=7, set={"rounds.total": 80})
    run.final.accuracy, run.claims, run.model(), run.table()
    tacit.plan("federation.toml", target_epsilon=2.0).noise_multiplier
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME: dict[str, str] = {
    "Config": ".config",
    "ConfigError": ".config",
    "load": ".config",
    "parse": ".config",
    "simulate": ".simulation.run",
    "rounds": ".simulation.run",
    "simulate_into": ".simulation.kept",
    "folder_for": ".simulation.kept",
    "saved_run": ".simulation.saved",
    "plan": ".simulation.planning",
    "study": ".simulation.studies.study",
    "Task": ".tasks.task",
    "Examples": ".tasks.examples",
    "IID": ".tasks.partition",
    "Dirichlet": ".tasks.partition",
    "Shards": ".tasks.partition",
    "QuantitySkew": ".tasks.partition",
    "Natural": ".tasks.partition",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
