"""Stock: an owner's half under a stock Flower node, where every message may meet a process of its own. Knows no Flower.

| node's configuration | the owner works with                                 | and checks                  |
|----------------------|------------------------------------------------------|-----------------------------|
| names no folder      | share K of N of the task's own data, as in a simulation | nothing: a simulated owner |
| names an agent's     | the assets of its `agent.toml`                       | policy, budgets, its ledger |

The second is the agent's own session (`client.desk`): charged on the disk before the data is touched. What the node's machine
runs is decided by whoever starts the run all the same (docs/flower.md), so the first may look its task up by the name that
arrives: that adds nothing to the code that came with the run, and there is no data but the task's own.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from ..privacy.entropy import Entropy, SeededEntropy, SystemEntropy
from ..strategies.federation import learner_for
from ..strategies.lock import FolderLock
from ..strategies.messages import request_from
from ..tasks.catalogue import lookup
from ..tasks.examples import DataError
from ..tasks.source import Population, parse_source
from .assets import open_assets
from .desk import Desk
from .home import ClientHome
from .refusal import RefusedError
from .settings import load_settings
from .worker import Worker, refusal_of


@dataclass(frozen=True, slots=True)
class Share:
    """A simulated owner: share `owner` of a population that the run deals."""

    owner: int

    def answer(self, frame: bytes, source: str, seed: int | None, memory: Tensor | None) -> tuple[bytes, Tensor | None]:
        """The reply frame to a request frame, and what the owner remembers (SCAFFOLD).

        `source` is the population (`population:0/N?seed=S&…`), whichever share it names. Raises `CodecError`, `DataError`,
        `TaskError`, `PartitionError`.
        """
        torch.set_num_threads(1)  # the bits must not depend on the machine
        whole = parse_source(source)
        if not isinstance(whole, Population):
            raise DataError(
                f"source {source!r}: a stock node without an agent's folder holds no data; give a population"
            )
        options = dict(request_from(frame).recipe.terms.task)
        task = lookup(str(options.pop("use", "")), **options)
        examples = task.load(str(Population(self.owner, whole.owners, whole.seed, whole.partition)))
        entropy: Entropy = SystemEntropy() if seed is None else SeededEntropy(seed)
        worker = Worker(self.owner, learner_for(task, seed or 0), examples, entropy, memory=memory)
        return worker.handle(frame), worker.memory


@dataclass(frozen=True, slots=True)
class Guarded:
    """Owner number `owner` with the data, policy and ledgers of the folder `root`; one message at a time."""

    owner: int
    root: Path = field(repr=False)

    def answer(self, frame: bytes, seed: int | None) -> bytes:
        """The reply frame to a request frame. A run with a seed is refused: this owner draws from none (PRIVACY.md 10).

        Raises `CodecError`, `ConfigError`, `LedgerError`, and `LockError` while another process works in the folder.
        """
        request = request_from(frame)
        home = ClientHome(self.root.absolute())
        with FolderLock(home.root):
            settings = load_settings(home.settings_file)
            assets = open_assets(settings, home.root)
            try:
                if seed is not None:
                    raise RefusedError(
                        "the run follows from a seed; this owner draws from none", "policy", "leave it out"
                    )
                asset = assets.find(request.recipe.terms.task)
            except RefusedError as refusal:
                return refusal_of(request, self.owner, refusal).to_bytes()
            desk = Desk(home, assets, asset.name, self.owner, None, anchor=settings.ledger.anchor)
            with contextlib.closing(desk.store):
                return desk.session.handle(frame)
