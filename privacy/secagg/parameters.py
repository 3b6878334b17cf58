"""Parameters: the numbers of one session, which every owner checks against its own policy before it takes part.

| adversary   | graph              | the server                                      | conditions                       |
|-------------|--------------------|-------------------------------------------------|----------------------------------|
| malicious   | full               | does anything, with C colluding owners          | n + C < 2t, t ≤ least            |
| semi-honest | full               | follows the protocol, sees what C owners see    | C < t ≤ least                    |
| semi-honest | Harary of degree k | the same; whoever drops does not know the order | (k, t) as `graph.check` has them |

Always t ≥ 2, least ≥ 2 and least − C ≥ 1. Where 2t > n + C, no server can tell t owners that an owner survived and t that it
dropped: the n − C honest ones give one kind of share for it each, the C others both, n + C in all (Bonawitz et al., CCS 2017,
section 6, in absolute numbers). In the full graph every owner keeps a share of its own secrets, so that `least` survivors can
put everything together; in a sparse one the threshold is counted without it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

from . import graph
from .keys import digest
from .mask import NARROWEST, WIDEST

Adversary = Literal["malicious", "semi-honest"]

FULL_UP_TO = 64  # owners: below, a sparse graph saves less than the noise of a network costs
MOST = 1 << 20  # owners; published searches end there too
_FORMAT = struct.Struct(">IIIIBQBI")
_ADVERSARIES: dict[Adversary, int] = {"malicious": 1, "semi-honest": 2}


class ParameterError(ValueError):
    """Parameters under which a session would protect less than it says, or could never end."""


@dataclass(frozen=True, slots=True)
class Parameters:
    """Public numbers of a session. One that violates a condition of the table cannot be made: `ParameterError`.

    n           owners of the cohort, whether or not they answer
    least       survivors below which nothing is unmasked
    colluders   C, owners that may work together with the server; the noise uses least − C
    threshold   t, shares that give a secret back
    bits, dim   the ring mod 2^bits and the length of the vectors
    degree      k of the sparse graph; None for the full one
    """

    n: int
    least: int
    colluders: int
    threshold: int
    bits: int
    dim: int
    adversary: Adversary
    degree: int | None = None

    def __post_init__(self) -> None:
        self.check()

    @property
    def malicious(self) -> bool:
        """Whether the server may do anything."""
        return self.adversary == "malicious"

    @property
    def drops(self) -> int:
        """How many owners may fail to survive."""
        return self.n - self.least

    @property
    def quorum(self) -> int:
        """Signatures on one set of survivors with which an owner unmasks, its own among them.

        Malicious: more than (n + C)/2, so two sets cannot both have that many (each honest owner signs one). Semi-honest: the
        threshold, which is how many answers are needed anyway; of neighbours and oneself.
        """
        return (self.n + self.colluders) // 2 + 1 if self.malicious else self.threshold

    def neighbours(self, seed: bytes) -> graph.Neighbours:
        """The neighbours of each position of the cohort; `seed` is 32 public bytes that nobody chose, such as the session."""
        return graph.complete(self.n) if self.degree is None else graph.neighbours(self.n, self.degree, seed)

    def canonical(self) -> bytes:
        """Canonical bytes, big-endian: u32 n, least, colluders, threshold; u8 bits; u64 dim; u8 adversary; u32 degree.

        Adversary: 1 malicious, 2 semi-honest. Degree 0: the full graph.
        """
        return _FORMAT.pack(
            self.n, self.least, self.colluders, self.threshold, self.bits, self.dim,
            _ADVERSARIES[self.adversary], self.degree or 0,
        )  # fmt: skip

    def digest(self) -> bytes:
        """What a context binds: digest("parameters", canonical bytes)."""
        return digest("parameters", self.canonical())

    def check(self) -> None:
        """Raise `ParameterError` for the first condition that does not hold."""
        for name, value in self._numbers().items():
            if type(value) is not int:
                raise ParameterError(f"{name} = {value!r}; give an integer")
        _require(self.adversary in _ADVERSARIES, f"adversary = {self.adversary!r}", "give malicious or semi-honest")
        _require(2 <= self.n <= MOST, f"n = {self.n}", f"give 2 to {MOST} owners")
        _require(NARROWEST <= self.bits <= WIDEST, f"bits = {self.bits}", f"give {NARROWEST} to {WIDEST}")
        _require(1 <= self.dim < 1 << 48, f"dim = {self.dim}", "give at least 1 and less than 2^48")
        _require(self.colluders >= 0, f"colluders = {self.colluders}", "give 0 or more")
        _require(self.least <= self.n, f"least = {self.least} of {self.n} owners", "no more can survive than take part")
        _require(
            self.least - self.colluders >= 1,
            f"least = {self.least} with {self.colluders} colluders",
            f"give least = {self.colluders + 1} or more, so that an honest owner is among the survivors",
        )
        _require(self.least >= 2, "least = 1", "give 2 or more: the sum of one owner is what it sent")
        _require(
            self.threshold >= 2,
            f"threshold = {self.threshold}",
            "give 2 or more: at 1 every share is the secret itself",
        )
        if self.degree is None:
            self._check_full()
        else:
            self._check_sparse(self.degree)

    def _numbers(self) -> dict[str, int]:
        found = {"n": self.n, "least": self.least, "colluders": self.colluders, "threshold": self.threshold}
        found |= {"bits": self.bits, "dim": self.dim}
        return found if self.degree is None else found | {"degree": self.degree}

    def _check_full(self) -> None:
        _require(
            self.threshold > self.colluders,
            f"threshold = {self.threshold} with {self.colluders} colluders",
            f"give {self.colluders + 1} or more, or the colluders alone can unmask an owner",
        )
        _require(
            self.threshold <= self.least,
            f"threshold = {self.threshold} above least = {self.least}",
            f"give threshold = {self.least} or less, or the fewest survivors could not unmask their sum",
        )
        _require(
            not self.malicious or 2 * self.threshold > self.n + self.colluders,
            f"threshold = {self.threshold} for {self.n} owners with {self.colluders} colluders",
            f"against a malicious server give {(self.n + self.colluders) // 2 + 1} or more (2t > n + C)",
        )

    def _check_sparse(self, degree: int) -> None:
        _require(
            not self.malicious,
            f"degree = {degree} against a malicious server",
            "use the full graph (degree = None): drops that are chosen after a sparse graph is known can split it",
        )
        try:
            graph.check(self.n, self.colluders, self.drops, degree, self.threshold)
        except graph.GraphError as error:
            raise ParameterError(str(error)) from error


def full(n: int, least: int, colluders: int, bits: int, dim: int, adversary: Adversary) -> Parameters:
    """Parameters of the full graph at the usual threshold, t = max(⌊(n + C)/2⌋ + 1, min(⌊2n/3⌋ + 1, least)).

    Against a semi-honest server t is at most `least`, for which C < least is enough.
    """
    threshold = max((n + colluders) // 2 + 1, min(2 * n // 3 + 1, least))
    if adversary == "semi-honest":
        threshold = min(threshold, least)
    elif threshold > least:
        raise ParameterError(
            f"least = {least} of {n} owners with {colluders} colluders: a malicious server takes a threshold of "
            f"{threshold}; give least = {threshold} or more, or fewer colluders"
        )
    return Parameters(n, least, colluders, threshold, bits, dim, adversary)


def sparse(n: int, least: int, colluders: int, bits: int, dim: int) -> Parameters | None:
    """Parameters of the sparsest graph that is sound against a semi-honest server; None where there is none."""
    found = graph.sparsest(n, colluders, n - least)
    return found and Parameters(n, least, colluders, found[1], bits, dim, "semi-honest", found[0])


def choose(n: int, least: int, colluders: int, bits: int, dim: int, adversary: Adversary) -> Parameters:
    """Those of the sparsest sound graph against a semi-honest server and beyond 64 owners, otherwise of the full one."""
    chosen = sparse(n, least, colluders, bits, dim) if adversary == "semi-honest" and n > FULL_UP_TO else None
    return chosen or full(n, least, colluders, bits, dim, adversary)


def _require(condition: bool, found: str, remedy: str) -> None:
    if not condition:
        raise ParameterError(f"{found}; {remedy}")
