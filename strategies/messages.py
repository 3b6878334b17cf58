"""Messages between coordinator and owner: a request for one contribution, and its reply. Both are values and bytes.

A request carries the round's whole recipe as data (solver, algorithm, pipeline) and the terms of the run, so that the owner
traces it, derives the claim of all rounds itself and can refuse; weights are raw arrays. A reply holds the message that the
owner half of the pipeline made, or a refusal.

Under masks the request names the cohort and is the first of several steps of one attempt; the others are `steps.Step`. Their
replies hold a message of secure aggregation each (`payload`), one of them the masked vector (`total`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, TypeAlias, TypeGuard

import numpy as np
import torch
from torch import Tensor

from .codec import CodecError, decode, encode, pack, parts, unpack, unpack_narrow
from .shown import shown
from .terms import Terms, terms_from

Status: TypeAlias = Literal["ok", "refused", "failed"]

_REQUEST = {"kind", "run", "round", "attempt", "owner", "recipe", "cohort"}
_RECIPE = {"solver", "algorithm", "pipeline", "least", "most", "terms"}
_REPLY = {"kind", "run", "round", "attempt", "owner", "step", "status", "code", "reason", "ring", "dim"}
_COHORT = {"members", "roster"}
_LONGEST_RUN, _LONGEST_REASON = 1000, 2000  # characters: both end up in logs
MOST_NUMBERS = 1 << 40  # in a reply, where nobody says how many were asked for
_MOST_STAGES = 64  # each is work at the owner that no policy counts


@dataclass(frozen=True, slots=True)
class Recipe:
    """What one round asks of an owner, as data: rows of the explicit tables, the size of the cohort, the terms of the run."""

    solver: Mapping[str, Any]
    algorithm: Mapping[str, Any]
    pipeline: tuple[Mapping[str, Any], ...]
    least: int
    most: int
    terms: Terms

    def to_json(self) -> dict[str, Any]:
        """The value that travels."""
        return {
            "solver": dict(self.solver),
            "algorithm": dict(self.algorithm),
            "pipeline": [dict(row) for row in self.pipeline],
            "least": self.least,
            "most": self.most,
            "terms": self.terms.to_json(),
        }

    def digest(self) -> str:
        """SHA-256 of its canonical JSON, hexadecimal: two recipes that ask the same have the same."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Cohort:
    """Who takes part in a masked round: wire numbers, ascending, and the digest (hex) of the roster that they stand in."""

    members: tuple[int, ...]
    roster: str

    def to_json(self) -> dict[str, Any]:
        """The value that travels."""
        return {"members": list(self.members), "roster": self.roster}


@dataclass(frozen=True, slots=True)
class Request:
    """Ask one owner for its contribution to (run, round, attempt); with masks, in the company of a `cohort`."""

    run: str
    round: int
    attempt: int
    owner: int
    recipe: Recipe
    weights: Tensor
    broadcast: Tensor = field(default_factory=lambda: torch.zeros(0))
    cohort: Cohort | None = None

    def to_bytes(self) -> bytes:
        """The frame that travels."""
        return b"".join(self.parts())

    def parts(self) -> list[bytes | memoryview]:
        """The frame's head and its arrays, as views on the tensors where those are 32-bit floats in main memory."""
        header = {"kind": "train", **_address(self), "recipe": self.recipe.to_json()}
        header["cohort"] = None if self.cohort is None else self.cohort.to_json()
        return parts(header, {"weights": _floats(self.weights), "broadcast": _floats(self.broadcast)})


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the sum of the messages of `owners` (one owner, or a batch summed by an engine).

    A refusal says why: `code` for programs (see the owner's `refusal`), `reason` for people. `step` is that which is answered,
    1 for the request itself; `payload` a message of secure aggregation, where the step is one.
    """

    run: str
    round: int
    attempt: int
    owners: tuple[int, ...]
    status: Status
    total: Tensor | None = None
    ring: int | None = None
    reason: str = ""
    code: str = ""
    step: int = 1
    payload: bytes | None = field(default=None, repr=False)

    def to_bytes(self) -> bytes:
        """The frame that travels; integers go packed to the ring's bits."""
        if len(self.owners) != 1:
            raise CodecError(f"a reply on the wire speaks for one owner, not {len(self.owners)}")
        header = {
            "kind": "reply",
            "run": self.run,
            "round": self.round,
            "attempt": self.attempt,
            "owner": self.owners[0],
            "step": self.step,
        }
        header |= {"status": self.status, "code": self.code, "reason": shown(self.reason, _LONGEST_REASON)}
        header |= {"ring": self.ring, "dim": 0}
        arrays: dict[str, np.ndarray[Any, Any]] = {}
        if self.payload is not None:
            arrays["payload"] = np.frombuffer(self.payload, np.uint8)
        if self.total is not None:
            header["dim"] = len(self.total)
            arrays["total"] = self.total.numpy() if self.ring is None else pack(self.total.numpy(), self.ring)
        return encode(header, arrays)


def request_from(frame: bytes) -> Request:
    """The request in a frame. Raises `CodecError`; looks nothing up and runs nothing."""
    header, arrays = decode(frame)
    recipe = header.get("recipe")
    if header.get("kind") != "train" or set(header) != _REQUEST or set(arrays) != {"weights", "broadcast"}:
        raise CodecError("not a training request")
    if not isinstance(recipe, dict) or set(recipe) != _RECIPE:
        # What is asked for in words that this version does not know cannot be priced by it.
        raise CodecError(f"a recipe is {', '.join(sorted(_RECIPE))}, all of them and nothing else")
    run, round, attempt, owner = address_in(header)
    rows = recipe.get("pipeline")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise CodecError("the request's pipeline is not a list of rows")
    if len(rows) > _MOST_STAGES:
        raise CodecError(f"a pipeline of {len(rows)} stages; at most {_MOST_STAGES}")
    if not isinstance(recipe.get("solver"), dict) or not isinstance(recipe.get("algorithm"), dict):
        raise CodecError("the request names no solver or no algorithm")
    least, most = recipe.get("least"), recipe.get("most")
    if not _count(least) or not _count(most):
        raise CodecError(f"the request's cohort is {least!r} to {most!r}")
    terms = terms_from(recipe["terms"])
    found = Recipe(recipe["solver"], recipe["algorithm"], tuple(rows), least, most, terms)
    weights, broadcast = _tensor(arrays["weights"]), _tensor(arrays["broadcast"])
    return Request(run, round, attempt, owner, found, weights, broadcast, _cohort(header["cohort"]))


def reply_from(frame: bytes | memoryview, numbers: int = MOST_NUMBERS) -> Reply:
    """The reply in a frame, which is read in place where it is writable. Raises `CodecError`.

    A message of more than so many `numbers` is refused before it is unpacked: packed to one bit each they take a 64th of
    the memory that they take unpacked.
    """
    header, arrays = decode(frame)
    run, round, attempt, owner = address_in(header)
    status, ring, dim, reason, code = (header.get(key) for key in ("status", "ring", "dim", "reason", "code"))
    step = header.get("step")
    if header.get("kind") != "reply" or set(header) != _REPLY or status not in ("ok", "refused", "failed"):
        raise CodecError("not a reply")
    if not isinstance(reason, str) or len(reason) > _LONGEST_REASON or not reason.isprintable():
        raise CodecError(f"a reply whose reason is no line of up to {_LONGEST_REASON} printable characters")
    if not isinstance(code, str) or re.fullmatch(r"[a-z-]{0,30}", code) is None:
        raise CodecError("a reply whose code is no short word")
    if not _count(step) or not _count(dim) or (ring is not None and not _count(ring)):
        raise CodecError(f"a reply to step {step!r} of dimension {dim!r} in a ring of {ring!r} bits")
    if dim > numbers:
        raise CodecError(f"a reply of {dim} numbers; at most {numbers} were asked for")
    if not set(arrays) <= {"total", "payload"}:
        raise CodecError("a reply holds a message, a payload, and nothing else")
    payload: bytes | None = None
    if "payload" in arrays:
        if arrays["payload"].dtype != np.uint8:
            raise CodecError("a payload comes as bytes")
        payload = arrays["payload"].tobytes()
    total: Tensor | None = None
    if "total" in arrays:
        packed = arrays["total"]
        if ring is not None:
            if packed.dtype != np.uint8:
                raise CodecError("ring elements come packed")
            total = torch.from_numpy(unpack(packed, ring, dim) if step == 1 else unpack_narrow(packed, ring, dim))
        else:
            total = torch.from_numpy(_owned(packed))
        if len(total) != dim:
            raise CodecError(f"a reply of {len(total)} numbers that says {dim}")
    elif status == "ok" and payload is None:
        raise CodecError("a reply without its message")
    return Reply(run, round, attempt, (owner,), status, total, ring, reason, code, step, payload)


def _cohort(row: object) -> Cohort | None:
    if row is None:
        return None
    if not isinstance(row, dict) or set(row) != _COHORT:
        raise CodecError("a cohort is its members and the digest of their roster, and nothing else")
    members, roster = row["members"], row["roster"]
    if not isinstance(members, list) or not all(_count(each) and each < 1 << 31 for each in members):
        raise CodecError("a cohort lists its members by number")
    if any(one >= other for one, other in pairwise(members)):
        raise CodecError("a cohort lists each of its members once, in order")
    if not isinstance(roster, str) or re.fullmatch("[0-9a-f]{64}", roster) is None:
        raise CodecError("a cohort's roster goes by its SHA-256, in hexadecimal")
    return Cohort(tuple(members), roster)


def _address(request: Request) -> dict[str, Any]:
    return {"run": request.run, "round": request.round, "attempt": request.attempt, "owner": request.owner}


def address_in(header: Mapping[str, Any]) -> tuple[str, int, int, int]:
    """Run, round, attempt and owner in a header. Raises `CodecError`."""
    run, round, attempt, owner = (header.get(key) for key in ("run", "round", "attempt", "owner"))
    if not isinstance(run, str) or not (_count(round) and _count(attempt) and _count(owner)):
        raise CodecError("the message does not say whose round it is of")
    if not 0 < len(run) <= _LONGEST_RUN or not run.isprintable():
        raise CodecError(f"the name of the run has {len(run)} characters, not 1 to {_LONGEST_RUN} that print")
    return run, round, attempt, owner


def _count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62


def _floats(tensor: Tensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    return tensor.detach().to(torch.float32).cpu().numpy()


def _tensor(array: np.ndarray[Any, Any]) -> Tensor:
    if array.dtype != np.float32:
        raise CodecError(f"weights come as 32-bit floats, not {array.dtype}")
    return torch.from_numpy(_owned(array))


def _owned(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array itself, where the frame that it is a view on is writable and so the reader's own; otherwise a copy."""
    return array if array.flags.writeable and array.flags.aligned else array.copy()
