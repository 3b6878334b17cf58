"""Budget: what the policy's file permits, held against what the asset's ledger says was permitted.

The ledger's newest `Allowed` line, signed by the owner's key, is what counts. The first start writes it from the file; a
lower limit in the file is noted at the next start. A higher one is refused there: whoever can edit the file alone cannot raise
what may be spent. `tacit ledger allow` raises it, in the name of somebody.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from ..privacy.ledger.account import Account
from ..privacy.ledger.allowance import Allowed, Limit, raised
from ..privacy.ledger.creation import Clock
from ..privacy.ledger.errors import AllowanceError
from ..privacy.ledger.store import Store
from .policy import PolicyFrame

FILE = "agent.toml"


def allowed_by(policy: PolicyFrame, account: Account, by: str, now: float) -> Allowed:
    """The line that says what `policy` permits, instead of the one that stands.

    The life of an asset and what one server may cost are kept by filters, because runs, rounds and noise may react to what was
    released; one run by a quota, because each of its rounds is the event of the first (`client.offer`).
    """
    limits = [Limit("asset", policy.epsilon, "filter"), Limit("run", policy.run_limit, "quota")]
    if policy.epsilon_server is not None:
        limits.append(Limit("server", policy.epsilon_server, "filter"))
    standing = account.standing()
    return Allowed(
        policy.currency,
        policy.delta,
        tuple(limits),
        by,
        int(now),
        replaces=None if standing is None else standing.number,
    )


def settle(store: Store, policy: PolicyFrame, clock: Clock, folder: Path | None = None) -> None:
    """Note what the file permits, where it is less than what stood or nothing stood; `folder` is the agent's.

    Raises `AllowanceError` where it is more, and `LedgerError`.
    """

    def decide(account: Account) -> Allowed | None:
        wanted, standing = allowed_by(policy, account, FILE, clock()), account.standing()
        if standing is None:
            return wanted
        more = "; ".join(raised(standing.allowed, wanted))
        if more:
            asset, where = store.heading.asset, "" if folder is None else f" --dir {shlex.quote(str(folder))}"
            raise AllowanceError(
                f"{FILE} permits more than the ledger of {asset} says that somebody allowed ({more}). Restore the file, or "
                f"have it allowed: tacit ledger allow {asset}{where}"
            )
        return None if standing.allowed.same(wanted) else wanted

    store.allow(decide)


def more_than_allowed(store: Store, policy: PolicyFrame) -> tuple[str, ...]:
    """In words, what the file permits and the ledger does not. Raises `LedgerError`."""
    account = store.spent()
    standing = account.standing()
    return () if standing is None else tuple(raised(standing.allowed, allowed_by(policy, account, FILE, 0)))


def allow(store: Store, policy: PolicyFrame, by: str, clock: Clock) -> None:
    """Allow what the file permits, in the name of `by`. Raises `LedgerError`."""

    def decide(account: Account) -> Allowed | None:
        wanted, standing = allowed_by(policy, account, by, clock()), account.standing()
        return None if standing is not None and standing.allowed.same(wanted) else wanted

    store.allow(decide)
