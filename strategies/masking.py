"""Masking: what both sides of a masked round derive from its request, so that they can only mean the same.

The context of secure aggregation binds everything that decides what is summed: run, round and attempt, the recipe with its
task and the version of its code, the model that is trained, the cohort and the keys of its members (PRIVACY.md 16).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..privacy.pipeline import Pipeline
from ..privacy.secagg.messages import context
from ..privacy.secagg.parameters import ParameterError, Parameters, choose
from .messages import Request
from .steps import LAST

_TASK = b"tacit masked task 1\0"


def parameters_of(line: Pipeline, members: int) -> Parameters:
    """The numbers of secure aggregation for a round of `line` with so many members.

    Raises `ParameterError` where none are sound: too few members or survivors, too many colluders, or no mask at all.
    """
    final = line.final
    if final.masked is None or final.ring is None:
        raise ParameterError("the pipeline has no mask; put mask last")
    masks = final.masked
    return choose(members, final.least, masks.colluders, final.ring, final.dim, masks.adversary)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What masking a round of a whole cohort takes and withstands."""

    parameters: Parameters

    @property
    def vector(self) -> int:
        """Bytes of an owner's masked vector."""
        return -(-self.parameters.bits * self.parameters.dim // 8)

    @property
    def peers(self) -> int:
        """How many others an owner shares masks with."""
        return self.parameters.degree or self.parameters.n - 1

    @property
    def overhead(self) -> int:
        """Bytes that an owner sends besides where nobody complains: 188 of shares for each peer, 707 of everything else."""
        return 707 + 188 * self.peers

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        one = self.parameters
        return {
            "owners": one.n, "least": one.least, "threshold": one.threshold, "drops": one.drops, "colluders": one.colluders,
            "adversary": one.adversary, "peers": self.peers, "bits": one.bits, "vector_bytes": self.vector,
            "overhead_bytes": self.overhead, "exchanges": LAST,
        }  # fmt: skip

    def words(self) -> tuple[str, str]:
        """What the masks withstand, and what they cost, in a line each."""
        one = self.parameters
        helpers = f"{one.colluders} owner" + ("" if one.colluders == 1 else "s")
        withstands = (
            f"a {one.adversary} server with {helpers} on its side; up to {one.drops} of {one.n} owners may drop; "
            f"{one.threshold} take the masks off, of the sum only"
        )
        cost = (
            f"{LAST} exchanges a round; an owner sends {_size(self.vector)} of {one.bits}-bit numbers and "
            f"{_size(self.overhead)} of keys and shares, and draws {self.peers + 1} masks"
        )
        return withstands, cost


def outlook(line: Pipeline, members: int) -> Outlook | None:
    """The outlook of rounds of `line` with so many members; None without masks. Raises `ParameterError`."""
    return None if line.final.masked is None else Outlook(parameters_of(line, members))


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB" if count >= 1e3 else f"{count} bytes"


def context_of(request: Request, keys: Mapping[int, bytes], parameters: Parameters) -> bytes:
    """The context of a request's attempt, 32 bytes; `keys` are the signing keys of its cohort, by wire number.

    Raises `ParameterError` for a request without a cohort.
    """
    if request.cohort is None:
        raise ParameterError("the request names no cohort, and the pipeline has a mask; ask with one")
    return context(
        run=request.run, round=request.round, attempt=request.attempt, task=_task(request),
        roster=bytes.fromhex(request.cohort.roster), cohort=keys, parameters=parameters,
    )  # fmt: skip


def _task(request: Request) -> bytes:
    """SHA-256 over everything in a request that decides what an owner computes."""
    parts = (bytes.fromhex(request.recipe.digest()), _digest(request.weights), _digest(request.broadcast))
    return hashlib.sha256(_TASK + b"".join(parts)).digest()


def _digest(tensor: Tensor) -> bytes:
    return hashlib.sha256(tensor.detach().contiguous().cpu().numpy().tobytes()).digest()
