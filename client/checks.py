"""Checks: what a policy permits of a request, fault by fault, cheapest first. Nothing here looks at data.

Each function yields the refusals of one kind; a request without any is permitted, if its cost is (see `offer`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Set
from datetime import datetime
from typing import Any

from ..privacy.event import Nothing
from ..privacy.ledger.account import Account
from ..privacy.participation import Cyclic
from ..privacy.secagg.parameters import ParameterError
from ..privacy.stages.adaptive import AdaptiveClip
from ..privacy.stages.clip import Clip
from ..privacy.stages.measure import measure_in
from ..strategies.gradients import ClippedGradient, DpSgd
from ..strategies.masking import parameters_of
from ..strategies.messages import Recipe, Request
from ..strategies.solvers import Adam, Prox, Sgd
from .hours import within
from .life import largest_limit
from .offer import Offer, participation_of
from .policy import PermittedTask, PolicyFrame
from .refusal import Code, Refusal, RefusedError
from .worker import Plan


def permitted(policy: PolicyFrame, task: Mapping[str, Any]) -> PermittedTask | None:
    """The line of the policy's list that permits a request's task (`{"use": …, option: …}`), options and all."""
    wanted = _canonical(task)
    return next((task for task in policy.tasks if _canonical(task.row) == wanted), None)


def _canonical(row: Mapping[str, Any]) -> str:
    """JSON tells true from 1, which Python takes for the same."""
    return json.dumps(row, sort_keys=True)


def task_faults(policy: PolicyFrame, request: Request, installed: Mapping[str, str]) -> Iterator[Refusal]:
    """Whether the task is on the list, and is the code that is `installed` (by name) here."""
    terms = request.recipe.terms
    use = terms.task["use"]
    if permitted(policy, terms.task) is None:
        same = [task.row for task in policy.tasks if task.use == use]
        found = f"task {repr(dict(terms.task))[:200]} is not permitted"
        if same:
            yield Refusal("task", f"{found}; of {use!r} these are: {', '.join(map(repr, same))}")
        else:
            yield Refusal("task", f"{found}; permitted are: {', '.join(repr(task.use) for task in policy.tasks)}")
        return
    code = installed.get(use)
    if code is None:
        yield Refusal("code", f"task {use!r} is permitted, but its code is not installed here", "install it")
    elif terms.code != code:
        yield Refusal("code", f"code {terms.code!r} was asked for; here is {code!r}", "install the same on both sides")


def protection_faults(policy: PolicyFrame, request: Request, plan: Plan) -> Iterator[Refusal]:
    """Whether what is protected, from whom and among how many, is what the policy budgets for."""
    recipe, final = request.recipe, plan.pipeline.final
    if final.unit != policy.unit:
        yield Refusal(
            "unit", f"the recipe bounds what one {final.unit} contributes; this policy protects {policy.unit}s"
        )
    if recipe.terms.relation != policy.relation:
        yield Refusal("relation", f"claims for {recipe.terms.relation!r}; this policy budgets for {policy.relation!r}")
    if recipe.least < policy.smallest_cohort:
        yield Refusal(
            "cohort", f"sums of as few as {recipe.least} contributions; at least {policy.smallest_cohort} are required",
            "raise rounds.quorum or the cohort",
        )  # fmt: skip


def stage_faults(policy: PolicyFrame, plan: Plan, recipe: Recipe) -> Iterator[Refusal]:
    """Whether the required stages are there, in order, and within their bounds."""
    names = [row["stage"] for row in recipe.pipeline]
    rest = iter(names)
    missing = next(
        (name for name in policy.stages if name not in rest), None
    )  # `in` reads `rest` on to where it finds it
    if missing is not None:
        yield Refusal(
            "stages", f"the pipeline is {' → '.join(names) or 'empty'}; {' → '.join(policy.stages)} must be in it, in this "
            f"order, and {missing} is not there",
        )  # fmt: skip
    yield from _clip_faults(policy, plan)
    if policy.noise_multiplier is not None:
        found = noise_at_floor(policy, plan)
        if found is None or not found >= policy.noise_multiplier * (1 - 1e-9):  # √ and ² in turn lose the last digits
            yield Refusal(
                "noise",
                "no noise is added" if found is None else f"noise of {found:.4g} times the sensitivity over the smallest "
                f"cohort of {policy.smallest_cohort}" + (f" less {policy.colluders} colluders" if policy.colluders else ""),
                f"at least {policy.noise_multiplier:g} times is required",
            )  # fmt: skip
    if not policy.measure and measure_in(plan.pipeline) is not None:
        yield Refusal(
            "measure", "models are not measured on the data here, not even under noise",
            "take the stage measure out, or the owner sets measure = true",
        )  # fmt: skip
    if policy.mask and not plan.pipeline.final.masked:
        yield Refusal(
            "mask", "messages would be readable one by one; only securely aggregated sums may leave", "add mask"
        )


def mask_faults(policy: PolicyFrame, request: Request, plan: Plan) -> Iterator[Refusal]:
    """Whether masks, where there are any, withstand whom this owner wants them to withstand."""
    final, wanted = plan.pipeline.final, policy.masking
    if final.masked is None:
        return
    if wanted.adversary == "malicious" and final.masked.adversary != "malicious":
        yield Refusal("mask", f"masks against a {final.masked.adversary} server", "malicious is required")
    if final.masked.colluders < policy.colluders:
        yield Refusal(
            "mask", f"masks that withstand {final.masked.colluders} owners who help the server",
            f"colluders = {policy.colluders} is required",
        )  # fmt: skip
    if final.ring is not None and final.ring < wanted.bits:
        yield Refusal("mask", f"masks in a ring of {final.ring} bits", f"at least {wanted.bits} are required")
    if request.cohort is None:
        return  # asked before there is one; an attempt without it is refused
    members = len(request.cohort.members)
    try:
        threshold = parameters_of(plan.pipeline, members).threshold
    except ParameterError as error:
        yield Refusal("mask", str(error), "ask a cohort that can be masked")
        return
    if threshold < wanted.threshold * members:
        yield Refusal(
            "mask", f"{threshold} of {members} owners could take the masks off",
            f"at least {wanted.threshold:g} of them are required",
        )  # fmt: skip


def _clip_faults(policy: PolicyFrame, plan: Plan) -> Iterator[Refusal]:
    if policy.clip is None:
        return
    solver = plan.solver
    if isinstance(solver, ClippedGradient | DpSgd):  # every example's own gradient is clipped
        norms = [solver.norm]
    else:
        norms = [stage.norm for stage in plan.pipeline.stages if isinstance(stage, Clip | AdaptiveClip)]
    if not norms:
        yield Refusal("clip", "nothing is clipped", f"a norm of at most {policy.clip:g} is required")
    elif min(norms) > policy.clip:
        yield Refusal("clip", f"clipped to a norm of {min(norms):g}", f"at most {policy.clip:g} is permitted")


def noise_at_floor(policy: PolicyFrame, plan: Plan) -> float | None:
    """Standard deviation of the noise over the sensitivity of one unit, at the policy's smallest cohort; None without noise."""
    solver, final = plan.solver, plan.pipeline.final
    if isinstance(solver, DpSgd):
        return None if isinstance(solver.noise_multiplier, str) else float(solver.noise_multiplier)
    if not final.noise:
        return None
    shares = min(final.least, policy.smallest_cohort) - policy.colluders if final.noise[0].place == "shared" else 1
    return math.sqrt(sum(noise.variance for noise in final.noise) * max(shares, 0)) / final.sensitivity


def work_faults(policy: PolicyFrame, request: Request, plan: Plan) -> Iterator[Refusal]:
    """Whether the local work stays within its bounds, whatever the data is."""
    work, solver = policy.work, plan.solver
    if len(request.weights) > work.numbers:
        yield _much("model", "a model of {} numbers", len(request.weights), work.numbers)
    match solver:
        case (
            Sgd(epochs=epochs, steps=steps, batch=batch)
            | Prox(epochs=epochs, steps=steps, batch=batch)
            | Adam(epochs=epochs, steps=steps, batch=batch)
        ):
            if epochs > work.epochs:
                yield _much("work", "{} epochs a round", epochs, work.epochs)
            if steps is not None and steps > work.steps:
                yield _much("work", "{} steps a round", steps, work.steps)
            if work.batch is not None and (batch is None or batch > work.batch):
                yield _much("work", "batches of {} examples", "all" if batch is None else batch, work.batch)
        case DpSgd(steps=steps):
            if steps > work.steps:
                yield _much("work", "{} steps a round", steps, work.steps)
        case ClippedGradient():
            pass  # one pass over the data
        case _:
            yield Refusal("work", f"nobody says how much work {type(solver).__name__} is; this version bounds it not")


def _much(code: Code, what: str, found: object, most: int) -> Refusal:
    return Refusal(code, what.format(found), f"at most {most} are permitted")


def round_faults(policy: PolicyFrame, request: Request, account: Account) -> Iterator[Refusal]:
    """Whether the round belongs to the schedule, and this owner may be in it."""
    terms, work = request.recipe.terms, policy.work
    if not 1 <= request.round <= terms.rounds:
        yield Refusal("address", f"round {request.round} of a run of {terms.rounds}")
    if terms.rounds > work.rounds:
        yield _much("rounds", "{} rounds", terms.rounds, work.rounds)
    if request.attempt >= work.attempts:
        yield _much("rounds", "attempt {} (counted from 0)", request.attempt, work.attempts)
    try:
        participation = participation_of(request.recipe)
    except RefusedError as error:
        yield error.refusal
        return
    others = {record.reserved.address.round for record in account.records(request.run)} - {request.round}
    if len(others) >= participation.times(terms.rounds):
        yield Refusal(
            "rounds",
            f"the schedule has this owner in {participation.times(terms.rounds)} rounds at most; it was in {len(others)}",
        )
    near = [
        other
        for other in others
        if isinstance(participation, Cyclic) and abs(other - request.round) < participation.separation
    ]
    if near and isinstance(participation, Cyclic):
        yield Refusal(
            "rounds",
            f"round {request.round} is less than {participation.separation} rounds from round {min(near)}, which it was in",
        )


def timing_faults(policy: PolicyFrame, request: Request, moment: datetime, under_way: Set[str]) -> Iterator[Refusal]:
    """Whether now is a good time: the hours, and the runs that are under way."""
    if not within(policy.windows, moment):
        yield Refusal("hours", f"it is {moment:%a %H:%M} here; permitted are {', '.join(policy.hours)}", "ask then")
    others = under_way - {request.run}
    if policy.concurrency is not None and len(others) >= policy.concurrency:
        yield Refusal(
            "busy", f"{len(others)} other runs are under way; at most {policy.concurrency} may be at once",
            "wait until they have ended, or have not asked for two minutes",
        )  # fmt: skip


def cost_faults(offer: Offer, account: Account) -> Iterator[Refusal]:
    """Whether the run is what it was in its first round, and is within the budgets."""
    price, charged = offer.price, account.currencies()
    foreign = sorted(f"{each.unit}, {each.relation}, {each.observer}" for each in charged if each != price.currency)
    if foreign:
        yield Refusal(
            "ledger", f"the asset's ledger holds charges for {'; '.join(foreign)}, which do not add up with this policy's",
            "the owner restores the policy's unit, relation, observer and colluders",
        )  # fmt: skip
    same = {price.event, Nothing()} if offer.upfront else {price.event}
    if any(event not in same for event in account.events(price.currency, offer.run)):
        yield Refusal(
            "schedule", "a round costs something else than the earlier rounds of this run did",
            "start a new run for another schedule",
        )  # fmt: skip
    against = f"for one {price.currency.unit}, against the {price.currency.observer}, at δ = {offer.delta:g}"
    if not offer.fits_life and offer.after <= 1:
        extra = account.delta_extra(price.currency) + (offer.rounds - offer.charged) * price.delta_extra
        most = largest_limit(offer.delta, extra)
        yield Refusal(
            "budget-life",
            f"what the noise's samplers err by counts e^ε times, which at ε = {offer.life_limit:g} is more than the share of "
            f"δ = {offer.delta:g} that is kept for it",
            f"the owner lowers epsilon to {math.floor(10 * most) / 10:g} or less, or raises delta"
            if most >= 0.1
            else "the owner raises delta",
        )
    elif not offer.fits_life:
        yield Refusal(
            "budget-life",
            f"with {_rest(offer)} the asset would have used {offer.after:.1%} of its life's budget "
            f"ε = {offer.life_limit:g} (so far {offer.used:.1%}), {against}",
            "add noise or run fewer rounds",
        )
    elif not offer.fits_server:
        yield Refusal(
            "budget-server",
            f"with {_rest(offer)} this server would have cost the asset more than "
            f"ε = {offer.server_limit:g}, which is what one server may cost, {against}",
            "add noise or run fewer rounds",
        )
    elif not offer.fits_run:
        yield Refusal(
            "budget-run",
            f"{_all(offer)} more than ε = {offer.run_limit:g}, which is what one run may cost, {against}",
            "add noise or run fewer rounds",
        )


def _all(offer: Offer) -> str:
    return "the schedule costs" if offer.upfront else f"{offer.rounds} rounds cost"


def _rest(offer: Offer) -> str:
    """What of a run is still to be paid."""
    return "the schedule" if offer.upfront else f"{offer.rounds - offer.charged} more rounds"
