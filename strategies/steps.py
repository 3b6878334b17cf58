"""Steps: the exchanges of a masked attempt after its request. What they carry is made and read by `privacy.secagg` alone.

After the last round a `Certify` asks each owner for its signed statement of what the run cost; it touches no data.

| step | asks for                            | the answer holds                      |
|------|-------------------------------------|---------------------------------------|
| 1    | keys for this attempt (the request) | the owner's advertisement             |
| 2    | shares of its secrets               | a sealed share for every other member |
| 3    | a look at the shares it was dealt   | complaints, or none                   |
| 4    | its masked vector                   | the vector, in the ring               |
| 5    | agreement on who survived           | a signature                           |
| 6    | what takes the masks off the sum    | shares, one for each member           |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from .codec import CodecError, decode, encode
from .messages import Request, address_in, request_from

Asked: TypeAlias = "Request | Step | Certify"

LAST = 6
VECTOR = 4

_STEP = {"kind", "run", "round", "attempt", "owner", "step"}
_CERTIFY = {"kind", "run", "round", "attempt", "owner"}


@dataclass(frozen=True, slots=True)
class Step:
    """Ask one owner for step `number` (2 to 6) of the attempt that a `Request` began."""

    run: str
    round: int
    attempt: int
    owner: int
    number: int
    payload: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """The frame that travels."""
        header = {"kind": "step", "run": self.run, "round": self.round, "attempt": self.attempt, "owner": self.owner}
        return encode({**header, "step": self.number}, {"payload": np.frombuffer(self.payload, np.uint8)})


@dataclass(frozen=True, slots=True)
class Certify:
    """Ask one owner for its statement of what `run` cost; of no round, so of round 0."""

    run: str
    owner: int
    round: int = 0
    attempt: int = 0

    def to_bytes(self) -> bytes:
        """The frame that travels."""
        header = {"run": self.run, "round": self.round, "attempt": self.attempt, "owner": self.owner}
        return encode({"kind": "certify", **header}, {})


def asked_in(frame: bytes) -> Asked:
    """What is asked for in a frame. Raises `CodecError`; looks nothing up and runs nothing."""
    header, arrays = decode(frame)
    if header.get("kind") == "certify":
        run, round, attempt, owner = address_in(header)
        if set(header) != _CERTIFY or arrays or round or attempt:
            raise CodecError("not a request for a statement")
        return Certify(run, owner)
    if header.get("kind") != "step":
        return request_from(frame)
    if set(header) != _STEP or set(arrays) != {"payload"} or arrays["payload"].dtype != np.uint8:
        raise CodecError("not a step of a masked attempt")
    number = header["step"]
    if not isinstance(number, int) or isinstance(number, bool) or not 2 <= number <= LAST:
        raise CodecError(f"step {number!r} of a masked attempt; there are 2 to {LAST} after the request")
    return Step(*address_in(header), number, arrays["payload"].tobytes())


def number_of(asked: Asked) -> int:
    """Which step is asked for."""
    return asked.number if isinstance(asked, Step) else 1
