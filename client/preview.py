"""Preview: what an owner would answer to a federation file, before anybody asks. Reads no data but the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..config import Config
from ..privacy.ledger.account import Account
from ..privacy.ledger.store import Store
from ..strategies.federation import build, learner_for
from ..strategies.messages import Request
from ..tasks.catalogue import TASKS
from .assets import asset_name, installed_codes
from .checks import permitted
from .guard import Opinion, opinion
from .policy import PolicyFrame
from .refusal import Refusal, RefusedError
from .settings import Settings
from .vault import ledger_file
from .worker import agreed


@dataclass(frozen=True, slots=True)
class Preview:
    """An owner's opinion of a federation's first round. `ledger` is the one that was looked into; None where there is none."""

    policy: PolicyFrame
    asset: str | None
    opinion: Opinion
    ledger: Path | None

    @property
    def takes_part(self) -> bool:
        """Whether nothing speaks against it; approval and hours aside."""
        return not self.opinion.refusals

    def to_json(self) -> dict[str, Any]:
        """The preview as `--json` shows it."""
        offer = self.opinion.offer
        return {
            "takes_part": self.takes_part,
            "asset": self.asset,
            "ledger": None if self.ledger is None else str(self.ledger),
            "refusals": [refusal.to_json() for refusal in self.opinion.refusals],
            "offer": None if offer is None else offer.to_json(),
            "approve_first": self.policy.approve_first,
            "hours": list(self.policy.hours),
        }


def preview(config: Config, settings: Settings, ledgers: Path, server: str = "") -> Preview:
    """What the owner of `settings` would answer `server` to the first request of a run of `config`; ledgers lie in `ledgers`.

    Code is looked up among installed packages only, and only what the policy permits is run: the file comes from somebody
    else. Raises `ConfigError` for a file or settings that cannot be used, `LedgerError` for a ledger that cannot be relied on.
    """
    policy, row = settings.policy, {"use": config.task.use, **config.task.options}
    if permitted(policy, row) is None and config.task.use not in TASKS:
        listed = ", ".join(repr(task.use) for task in policy.tasks)
        stranger = Refusal("task", f"task {row!r} is not permitted; permitted are: {listed}")
        return Preview(policy, None, Opinion((stranger,), None), None)
    installed = installed_codes(policy)
    federation = build(config)
    learner = learner_for(federation.task, 0)
    width = federation.algorithm.broadcast(federation.algorithm.initial(learner.dim))
    request = Request(
        "preview", 1, 0, 0, federation.recipe(federation.pipeline), torch.zeros(learner.dim), torch.zeros(len(width))
    )
    asset = asset_name(settings, config.task.use)
    ledger = None if asset is None else ledger_file(ledgers, asset)
    ledger = ledger if ledger is not None and ledger.exists() else None
    try:
        plan = agreed(request, learner)
        heard = opinion(policy, asset or "", installed, request, plan, _spent(ledger, asset), server)
    except RefusedError as error:
        heard = Opinion((error.refusal,), None)
    return Preview(policy, asset, heard, ledger)


def _spent(ledger: Path | None, asset: str | None) -> Account:
    if ledger is None or asset is None:
        return Account()
    with Store(ledger, asset) as store:
        return store.spent()
