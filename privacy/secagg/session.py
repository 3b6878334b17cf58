"""Session: what one attempt's members share once everybody's keys are known, and how both ends derive its secrets' names.

The session's id is a hash of the context and of every signed advertisement, so that it names one list of keys for one attempt.
Who holds shares of whose secrets, and who masks with whom, is the same graph: everybody with everybody, or a k-regular graph
drawn from the id. A member always stands in its own neighbourhood (it holds a share of its own secrets) and never masks with
itself.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from . import keys
from .frame import u32
from .graph import neighbours
from .mask import Sign
from .messages import Directory, Report, Secret
from .parameters import Parameters


@dataclass(frozen=True, slots=True)
class Session:
    """The members that advertised, ascending, under the name that every later signature, key and commitment carries."""

    id: bytes
    members: tuple[int, ...]
    _near: Mapping[int, tuple[int, ...]] | None = field(repr=False)

    def near(self, index: int) -> tuple[int, ...]:
        """The members that `index` deals to, ascending and with `index` itself."""
        return self.members if self._near is None else self._near[index]


def session(directory: Directory, context: bytes, cohort: Iterable[int], parameters: Parameters) -> Session:
    """The session of a directory's members. The graph is that of the whole `cohort`, less who did not advertise."""
    id = directory.session(context)
    members = tuple(directory.digests())
    if parameters.degree is None:
        return Session(id, members, None)
    return Session(id, members, _sparse(id, members, tuple(sorted(cohort)), parameters.degree))


@functools.lru_cache(maxsize=2)  # a simulation of a thousand owners in one process would draw it a thousand times
def _sparse(id: bytes, members: tuple[int, ...], cohort: tuple[int, ...], degree: int) -> Mapping[int, tuple[int, ...]]:
    graph, present = neighbours(len(cohort), degree, id), set(members)
    near: dict[int, tuple[int, ...]] = {}
    for position, member in enumerate(cohort):
        if member in present:
            around = (cohort[each] for each in graph[position])
            near[member] = tuple(sorted((member, *(each for each in around if each in present))))
    return MappingProxyType(near)


def seed_commitment(context: bytes, index: int, seed: bytes) -> bytes:
    """What an advertisement says of the self-mask seed: hiding, because the seed is 32 uniform bytes, and binding."""
    return keys.digest("seed", context, u32(index), seed)


def share_commitment(session: bytes, dealer: int, holder: int, secret: Secret, share: bytes) -> bytes:
    """What a dealer commits to: one share, of one secret, for one holder, in one session."""
    return keys.digest("share", session, struct.pack(">IIB", dealer, holder, secret), share)


def self_mask(seed: bytes, view: bytes, index: int) -> bytes:
    """The seed of the mask that `index` adds for itself."""
    return keys.derive(seed, view, "self mask", u32(index))


def pair_mask(shared: bytes, view: bytes, one: int, other: int) -> bytes:
    """The seed of the mask that two members share; the same at both ends."""
    return keys.derive(shared, view, "pair mask", struct.pack(">II", min(one, other), max(one, other)))


def pair_sign(own: int, other: int) -> Sign:
    """+1 at the lower index of a pair, −1 at the higher one: their masks cancel in the sum."""
    return 1 if own < other else -1


def excluded(reports: Iterable[Report], colluders: int) -> dict[int, str]:
    """Who has to leave because of complaints, and why.

    At most `colluders` dealers are bad, so whoever complains of more is lying or cannot read its messages: it leaves itself
    and its complaints do not count. (One complaint is always heard: where nobody colludes, programs still fail.) Everybody
    else whom a report names leaves.
    """
    found: dict[int, str] = {}
    for report in reports:
        if len(report.complaints) > max(colluders, 1):
            found[report.index] = f"complained of {len(report.complaints)} dealers, more than {max(colluders, 1)}"
            continue
        for dealer, reason in report.complaints.items():
            found[dealer] = f"dealt owner {report.index} a bad share ({reason.name.lower()})"
    return found
