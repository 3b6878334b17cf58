"""Desk: what one asset of an owner is worked with: ledger, policy, session, and the worker of the newest run.

Whoever carries the requests to it, the same checks stand before the data: the agent's own process, or a node of Flower's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..privacy.entropy import Entropy, SeededEntropy, SystemEntropy
from ..strategies import keyfile
from ..strategies.federation import learner_for
from ..strategies.messages import Request
from ..tasks.device import device_named
from .approvals import Approvals
from .assets import Asset, Assets
from .attest import Attest, no_statement
from .budget import settle
from .guard import Guard, SeededGuard
from .home import ClientHome
from .recipes import Recipes
from .replies import Replies
from .running import Running
from .session import Session, unknown_outcome
from .turn import Circles, no_circle
from .vault import open_vault
from .worker import Worker


class Desk:
    """What the asset called `name` is worked with: its ledger, its session, and the worker of the newest run.

    `anchor` is the folder of anchors that the settings name; `roster()` the digest of the roster that is kept, without which
    no statement is signed. Raises `LedgerError`: also where there are replies, but the ledger
    that paid for them is gone, and where the policy permits more than the ledger; `KeyFileError`.
    """

    def __init__(
        self, home: ClientHome, assets: Assets, name: str, owner: int, seed: int | None, circles: Circles = no_circle,
        running: Running | None = None, anchor: str | None = None, roster: Callable[[], str] | None = None,
    ) -> None:  # fmt: skip
        policy = assets.policy
        self._assets, self._owner = assets, owner
        self._entropy: Entropy = SystemEntropy() if seed is None else SeededEntropy(seed)
        device = str(device_named())
        self._learners = [
            (asset, learner_for(asset.task, seed or 0, device)) for asset in assets.held if asset.name == name
        ]
        self._worker: tuple[str, Asset, Worker] | None = None
        keyfile.folder(home.replies)
        self.store = open_vault(home, anchor, name)
        try:
            settle(self.store, policy, time.time, home.root)
        except BaseException:
            self.store.close()
            raise
        running = Running() if running is None else running  # one for all assets of an agent: its policy counts runs
        guard = Guard(
            policy,
            name,
            assets.installed,
            Approvals(home.pending),
            under_way=running.now,
            permitted=running.permitted,
            server=self.store.server,
        )
        permits = guard if seed is None else SeededGuard(guard)
        recipes = Recipes(home.recipes / name)
        attest = no_statement if roster is None else Attest(
            owner + 1, self.store, recipes, policy.delta, roster, time.time, seed is not None,
            keyfile.ed25519_key(home.signing_key),
        )  # fmt: skip
        self.session = Session(
            self.worker, permits, self.store, Replies(home.replies / name), policy.work.attempts, circles=circles,
            note=recipes.note, attest=attest, realise=guard.realised if seed is None else unknown_outcome,
        )  # fmt: skip

    def worker(self, request: Request) -> Worker:
        """The owner's half of a run, with what it remembers of it.

        A run that goes on under other options of its task begins anew: they are another model on the same data.
        """
        asset = self._assets.find(request.recipe.terms.task)
        if self._worker is None or self._worker[0] != request.run or self._worker[1] is not asset:
            learner = next(learner for held, learner in self._learners if held is asset)
            self._worker = request.run, asset, Worker(self._owner, learner, asset.examples, self._entropy)
        return self._worker[2]
