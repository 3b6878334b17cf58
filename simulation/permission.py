"""Permission: the `agent.toml` of an owner that takes part in one federation and nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch

from ..client.assets import installed_codes
from ..client.guard import opinion
from ..client.life import largest_limit
from ..client.offer import Offer
from ..client.policy import PolicyFrame
from ..client.worker import agreed
from ..config import Config, ConfigError
from ..privacy.accounting.figures import account_within
from ..privacy.ledger.account import Account
from ..privacy.participation import repeated
from ..strategies.federation import Federation, learner_for
from ..strategies.messages import Request
from ..tasks.version import digest_of

_ASSET = "share"
_MOST = 1e6  # an ε that nobody means


def policy_text(federation: Federation, seeded: bool) -> str:
    """A `[policy]` that permits one run of `federation`, with room for attempts that are tried again.

    Raises `ConfigError` where no owner could permit them.
    """
    config, final = federation.config, federation.pipeline.final
    task: dict[str, Any] = {"use": config.task.use, "options": dict(config.task.options)}
    if ":" in config.task.use:
        task["sha256"] = digest_of(config.task.use)
    values: dict[str, Any] = {
        "tasks": [task], "unit": final.unit, "relation": config.privacy.relation,
        "observer": config.budget.observer, "colluders": config.budget.colluders,
        "smallest_cohort": federation.pipeline.source.least, "delta": federation.delta,
        "measure": final.measured > 0, "mask": final.masked is not None,
        "stages": [row["stage"] for row in config.privacy.pipeline],
    }  # fmt: skip
    if final.masked is not None:
        values["masking"] = {"adversary": final.masked.adversary, "threshold": 0.0}
    values["epsilon"] = math.inf if seeded else _needed(federation, values)
    lines = [f"{key} = {_toml(value)}" for key, value in values.items() if key != "tasks"]
    table = [f"{key} = {_toml(value)}" for key, value in task.items()]
    return "\n".join(["[policy]", *lines, "", "[[policy.tasks]]", *table, "", ""])


def _needed(federation: Federation, values: Mapping[str, Any]) -> float:
    """The ε that a policy of otherwise these `values` must have; ∞ where nothing is private from its observer.

    Raises `ConfigError` where no ε would do: the noise's samplers err, and above `largest_limit` that counts for too much.
    """
    learner = learner_for(federation.task, 0)
    broadcast = federation.algorithm.broadcast(federation.algorithm.initial(learner.dim))
    request = Request(
        "up", 1, 0, 0, federation.recipe(federation.pipeline), torch.zeros(learner.dim), torch.zeros(len(broadcast))
    )
    plan, limit, most = agreed(request, learner), math.inf, _MOST
    while True:
        policy = PolicyFrame.model_validate({**values, "epsilon": limit})
        heard = opinion(policy, _ASSET, installed_codes(policy), request, plan, Account())
        short = [refusal for refusal in heard.refusals if not refusal.code.startswith("budget-")]
        cost = math.inf if short or heard.offer is None else _cost(heard.offer)
        if not heard.refusals and (math.isfinite(limit) or math.isinf(cost)):
            return limit
        if short or heard.offer is None or most <= limit < math.inf:
            raise ConfigError("no owner could permit this: " + "; ".join(str(each) for each in heard.refusals))
        # An attempt that is tried again is charged again, and a filter over a life proves more than an accountant of one run.
        most = min(_MOST, largest_limit(heard.offer.delta, heard.offer.rounds * heard.offer.price.delta_extra))
        most = max(0.01, math.floor(100 * most) / 100 if most > 0 else 0.0)
        limit = min(most, max(0.01, math.ceil(200 * cost) / 100) if math.isinf(limit) else 2 * limit)


def _cost(offer: Offer) -> float:
    """ε of all releases of the run that is offered."""
    event, extra = repeated(offer.price.event, offer.rounds), offer.rounds * offer.price.delta_extra
    return account_within(event, offer.price.currency.relation, offer.delta, extra).epsilon


def _toml(value: Any) -> str:
    if isinstance(value, float):
        return "inf" if math.isinf(value) else repr(value)
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(each)}" for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def asset_text(config: Config, source: str) -> str:
    """The `[assets.…]` of one owner."""
    return f"[assets.{_ASSET}]\ntask = {_toml(config.task.use)}\nsource = {_toml(source)}\n"
