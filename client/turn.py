"""Turn: an owner's part in one masked attempt, from its fresh keys to the shares that take the masks off the sum.

What it may take part in was decided before: by the policy, the roster and its approvals. From here on secure aggregation
decides, and what it refuses depends on messages, never on data. All secrets are in memory only: a restarted agent does not
know the attempt any more (PRIVACY.md 16).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from torch import Tensor

from ..privacy.entropy import Entropy
from ..privacy.secagg.errors import RefusalError
from ..privacy.secagg.owner import Owner
from ..privacy.secagg.parameters import ParameterError
from ..strategies.masking import context_of, parameters_of
from ..strategies.messages import Cohort, Reply, Request
from ..strategies.steps import LAST, Asked, Step, number_of
from .refusal import RefusedError
from .worker import Plan


@dataclass(frozen=True, slots=True)
class Circle:
    """A cohort as one of its members knows it: `keys` that they sign with, and who of them is `approved`, by wire number."""

    index: int
    keys: Mapping[int, bytes]
    approved: frozenset[int]
    signing_key: Ed25519PrivateKey = field(repr=False)


Circles: TypeAlias = Callable[[Cohort], Circle]


def no_circle(cohort: Cohort) -> Circle:
    """The circles of an owner that takes part in no masked round; raises `RefusedError`."""
    raise RefusedError(
        "this owner has no roster, so nobody to mask with", "mask", "enrol it, and approve the other owners"
    )


class Turn:
    """One owner in one masked attempt. `vector()` is its message `[d']` in the ring, asked for once, when all is checked.

    Raises `RefusedError` for a cohort that this owner does not mask with; methods raise it for a step that it does not take.
    """

    def __init__(
        self, request: Request, plan: Plan, circle: Circle, entropy: Entropy, vector: Callable[[], Tensor]
    ) -> None:
        self._request, self._vector, self._over, self._unmasked = request, vector, False, False
        self._ring = plan.pipeline.final.ring
        stream = entropy.stream("secagg", request.round, owner=request.owner, attempt=request.attempt)
        try:
            parameters = parameters_of(plan.pipeline, len(circle.keys))
            self._owner = Owner(
                parameters, context_of(request, circle.keys, parameters), circle.index, circle.signing_key, circle.keys,
                circle.approved, lambda count: bytes(stream.bytes(count)),
            )  # fmt: skip
        except (ParameterError, RefusalError) as error:
            raise RefusedError(str(error), "mask", "ask a cohort that this owner can mask with") from error

    def begin(self) -> Reply:
        """The answer to the request: fresh keys."""
        return self._taken(self._request, self._owner.advertise)

    def take(self, step: Step) -> Reply:
        """The answer to a later step; the last one ends the turn."""
        if self._over:
            raise RefusedError("this attempt failed here", "session", "begin another attempt")
        match step.number:
            case 2:
                return self._taken(step, lambda: self._owner.deal(step.payload))
            case 3:
                return self._taken(step, lambda: self._owner.check(step.payload))
            case 4:
                return self._masked(step)
            case 5:
                return self._taken(step, lambda: self._owner.agree(step.payload))
            case _:
                reply = self._taken(step, lambda: self._owner.unmask(step.payload))
                self._unmasked = True
                return reply

    @property
    def survivors(self) -> int:
        """How many owners are in the sum, as this one signed it and enough others did; 0 before."""
        return self._owner.survivors if self._unmasked else 0

    def end(self) -> None:
        """Answer nothing more: what went wrong here must not be tried again with the same secrets."""
        self._over = True

    def _taken(self, asked: Asked, make: Callable[[], bytes]) -> Reply:
        try:
            return self._reply(asked, payload=make())
        except RefusalError as error:
            raise _refused(asked, error) from error

    def _masked(self, step: Step) -> Reply:
        try:
            masked = self._owner.mask_made(step.payload, lambda: self._vector().numpy())
        except RefusalError as error:
            raise _refused(step, error) from error
        return self._reply(step, total=torch.from_numpy(masked.copy()))  # a tensor is writable, what was sent is not

    def _reply(self, asked: Asked, payload: bytes | None = None, total: Tensor | None = None) -> Reply:
        where = (asked.run, asked.round, asked.attempt, (asked.owner,))
        ring = None if total is None else self._ring
        return Reply(*where, "ok", total, ring, step=number_of(asked), payload=payload)


def _refused(asked: Asked, error: RefusalError) -> RefusedError:
    return RefusedError(f"step {number_of(asked)} of {LAST}: {error}", "mask", "begin another attempt")
