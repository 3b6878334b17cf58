"""`tacit client policy`: what this owner permits, held against a federation's file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .faults import REFUSED
from .flags import Configuration, Json, Settings, overrides
from .group import group

if TYPE_CHECKING:
    from ..client.preview import Preview

app = group("policy", "What this owner permits, held against a federation's file.")


@app.command("check")
def check(
    configuration: Configuration,
    policy: Annotated[
        Path, typer.Option("--policy", help="The owner's settings; the ledgers are looked for in `ledgers/` beside it.")
    ] = Path("agent.toml"),
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Say whether this owner would take part, every reason why not, what the run claims at the smallest cohort, what is spent.

    The claim is derived from the federation's file for the observer that the policy budgets for. No data is read but the
    ledger. Leaves with 3 if this owner would refuse.

    Example: `tacit client policy check federation.toml --policy agent/agent.toml`
    """
    from ..config import load

    config = load(configuration, overrides(settings))  # a mistake in a file is told before torch is loaded
    from ..client.settings import load_settings

    owner = load_settings(policy)
    from ..client.home import ClientHome
    from ..client.identity import recorded
    from ..client.preview import preview

    home = ClientHome(policy.absolute().parent)
    server = recorded(home).key if home.coordinator.exists() else ""
    found = preview(config, owner, home.ledgers, server)
    if as_json:
        from .screen import show_json

        show_json(found.to_json())
        if not found.takes_part:
            raise typer.Exit(REFUSED)
        return
    _show(found)


def _show(found: Preview) -> None:
    from .screen import out, say, table

    offer = found.opinion.offer
    if offer is not None:
        currency = offer.price.currency
        rows = [
            ("this run", f"ε = {_epsilon(offer.epsilon)}", f"ε = {_epsilon(offer.run_limit)}"),
            ("asset so far", f"{offer.used:.1%}", f"of ε = {_epsilon(offer.life_limit)}"),
            ("asset after it", f"{offer.after:.1%}", f"of ε = {_epsilon(offer.life_limit)}"),
        ]
        what = "the whole schedule" if offer.upfront else f"{offer.rounds} rounds"
        title = f"{what} at δ = {offer.delta:g}, per {currency.unit}, {currency.relation}, "
        title += f"against the {currency.observer}"
        out().print(table(("what", "costs", "at most"), rows, left=1, title=title))
    if found.asset is not None and found.ledger is None:
        say(f"Asset {found.asset} has no ledger yet: nothing was spent")
    if found.policy.approve_first:
        say("A person approves every run before its first round: tacit client approve RUN")
    if found.policy.hours:
        say(f"Permitted hours: {', '.join(found.policy.hours)}")
    if found.takes_part:
        say("This owner would take part")
        return
    for refusal in found.opinion.refusals:
        say(f"Against it ({refusal.code}): {refusal}")
    from ..client.refusal import RefusedError

    count = len(found.opinion.refusals)
    raise RefusedError(
        f"this owner would not take part, for {count} reason{'s' if count > 1 else ''}; change the federation or the policy"
    )


def _epsilon(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:.4g}"
