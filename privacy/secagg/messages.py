"""Messages: what owners and the collector send each other, as values and as bytes. `docs/secure-aggregation.md` draws them.

Every message is `"TSA1" ‖ u8 kind ‖ binding[32] ‖ body`. The binding is the context in the first exchange and the session from
then on, so that a message of another run, round or attempt is recognised before anything else is looked at. Integers are
big-endian; lists of members ascend strictly by roster index, which makes every encoding canonical and every member unique.
A decoder reads exactly the bytes it is given, allocates no more than a small multiple of them, and raises `MessageError` alone.

    kind              direction   exchange   body
    1 advertisement   to server   1          one `Advertisement`
    2 directory       to owner    2          every member's digest, and the advertisements of the receiver's neighbours
    3 dealing         to server   2          commitments to all shares, and the sealed shares
    4 shares          to owner    3          what every neighbour dealt to the receiver
    5 report          to server   3          complaints, or none
    6 verdict         to owner    4          who goes on, and the reports that complain
    7 survivors       to owner    5          whose vectors arrived
    8 agreement       to server   5          a signature over them
    9 agreements      to owner    6          the signatures of the others
    10 opening        to server   6          one share for each neighbour
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from . import keys
from .frame import Reader, ascending, head, members, one_of, rows, u32
from .keys import KEY, SIGNATURE
from .parameters import Parameters
from .shamir import SHARE

SEALED = 2 * SHARE + keys.OVERHEAD

_ADVERTISEMENT = struct.Struct(f">I{KEY}s{KEY}s{KEY}s{SIGNATURE}s")
_ENTRY = struct.Struct(f">I{KEY}s")
_COMMITMENTS = struct.Struct(f">I{KEY}s{KEY}s")
_DEALT = struct.Struct(f">I{KEY}s{KEY}s{SEALED}s")
_COMPLAINT = struct.Struct(">IB")
_SIGNED = struct.Struct(f">I{SIGNATURE}s")
_OPENED = struct.Struct(f">IB{SHARE}s")


class Kind(IntEnum):
    """Which message it is."""

    ADVERTISEMENT = 1
    DIRECTORY = 2
    DEALING = 3
    SHARES = 4
    REPORT = 5
    VERDICT = 6
    SURVIVORS = 7
    AGREEMENT = 8
    AGREEMENTS = 9
    OPENING = 10


class Secret(IntEnum):
    """Which of an owner's two secrets a share is of."""

    MASK_KEY = 1
    SEED = 2


class Reason(IntEnum):
    """Why an owner complains of what was dealt to it."""

    SEALED = 1  # does not open
    SHARE = 2  # is no element of the field
    COMMITMENT = 3  # is not what the dealer committed to


def context(
    *,
    run: str,
    round: int,
    attempt: int,
    task: bytes,
    roster: bytes,
    cohort: Mapping[int, bytes],
    parameters: Parameters,
) -> bytes:
    """What an attempt is about, in 32 bytes: every signature of its first exchange covers it.

    `task` is a digest of everything that decides what is summed (model, pipeline, rotation seed, clip, version of the code),
    `roster` the digest of the roster that the cohort's indices speak of, `cohort` every member's index and signing key.
    """
    signers = b"".join(u32(index) + cohort[index] for index in sorted(cohort))
    where = (run.encode(), struct.pack(">QQ", round, attempt))
    return keys.digest("context", *where, task, roster, signers, parameters.canonical())


@dataclass(frozen=True, slots=True)
class Advertisement:
    """A member's public keys and the commitment to its self-mask seed; the signature covers them and the context."""

    index: int
    mask_key: bytes
    sealing_key: bytes
    commitment: bytes
    signature: bytes

    def signed(self, context: bytes) -> bytes:
        """What the signature is over."""
        return context + self.body()[:-SIGNATURE]

    def body(self) -> bytes:
        """164 bytes: index, mask key, sealing key, commitment, signature."""
        return _ADVERTISEMENT.pack(self.index, self.mask_key, self.sealing_key, self.commitment, self.signature)

    def digest(self) -> bytes:
        """What the session knows it by."""
        return keys.digest("advertisement", self.body())

    def to_bytes(self, context: bytes) -> bytes:
        """The message."""
        return head(Kind.ADVERTISEMENT, context) + self.body()


@dataclass(frozen=True, slots=True)
class Directory:
    """Who advertised: `entries`, the 36 bytes of each member (index, digest), and some advertisements in full."""

    entries: bytes
    full: tuple[Advertisement, ...]

    def digests(self) -> dict[int, bytes]:
        """The digest of every member's advertisement, ascending."""
        return dict(_ENTRY.iter_unpack(self.entries))

    def session(self, context: bytes) -> bytes:
        """The session's name: the context and every signed advertisement decide it."""
        return keys.digest("session", context, self.entries)

    def to_bytes(self, context: bytes) -> bytes:
        """The message."""
        whole = b"".join(each.body() for each in self.full)
        count = u32(len(self.entries) // _ENTRY.size)
        return head(Kind.DIRECTORY, context) + count + self.entries + u32(len(self.full)) + whole


def entries(advertisements: Iterable[Advertisement]) -> bytes:
    """What a directory says of every member, ascending."""
    return b"".join(_ENTRY.pack(each.index, each.digest()) for each in advertisements)


@dataclass(frozen=True, slots=True)
class Dealing:
    """What a dealer sends: commitments to both shares of every holder, itself included, and the others' shares, sealed."""

    index: int
    signature: bytes
    commitments: Mapping[int, tuple[bytes, bytes]]  # holder -> of the mask key's share, of the seed's
    sealed: Mapping[int, bytes] = field(repr=False)  # holder -> both shares

    def signed(self, session: bytes) -> bytes:
        """What the signature is over."""
        return session + u32(self.index) + rows(_COMMITMENTS, self.commitments)

    def to_bytes(self, session: bytes) -> bytes:
        """The message."""
        count = u32(len(self.commitments))
        committed = rows(_COMMITMENTS, self.commitments)
        sealed = b"".join(self.sealed[each] for each in self.commitments if each != self.index)
        return head(Kind.DEALING, session) + u32(self.index) + self.signature + count + committed + sealed


@dataclass(frozen=True, slots=True)
class Shares:
    """What was dealt to one holder: dealer -> commitments to its two shares, and both of them sealed."""

    dealt: Mapping[int, tuple[bytes, bytes, bytes]]

    def column(self, session: bytes, holder: int) -> bytes:
        """The digest of the commitments that the holder was shown, which it acknowledges in its report."""
        shown = b"".join(_COMMITMENTS.pack(each, key, seed) for each, (key, seed, _) in self.dealt.items())
        return keys.digest("column", session, u32(holder), shown)

    def to_bytes(self, session: bytes) -> bytes:
        """The message."""
        return head(Kind.SHARES, session) + u32(len(self.dealt)) + rows(_DEALT, self.dealt)


@dataclass(frozen=True, slots=True)
class Report:
    """A holder's signed word on what was dealt to it: the commitments it saw and the dealers it complains of."""

    index: int
    column: bytes
    complaints: Mapping[int, Reason]
    signature: bytes

    def signed(self, session: bytes) -> bytes:
        """What the signature is over."""
        return session + u32(self.index) + self.column + self._complaints()

    def body(self) -> bytes:
        """Index, column, signature and the complaints."""
        return u32(self.index) + self.column + self.signature + self._complaints()

    def to_bytes(self, session: bytes) -> bytes:
        """The message."""
        return head(Kind.REPORT, session) + self.body()

    def _complaints(self) -> bytes:
        return u32(len(self.complaints)) + b"".join(_COMPLAINT.pack(*each) for each in self.complaints.items())


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who goes on, and every report that complains."""

    members: tuple[int, ...]
    reports: tuple[Report, ...]

    def view(self, session: bytes) -> bytes:
        """The name of what the receiver was told, from which its masks are derived: masks of different views do not cancel."""
        return keys.digest("view", session, self._body())

    def to_bytes(self, session: bytes) -> bytes:
        """The message."""
        return head(Kind.VERDICT, session) + self._body()

    def _body(self) -> bytes:
        reports = b"".join(each.body() for each in self.reports)
        return members(self.members) + u32(len(self.reports)) + reports


@dataclass(frozen=True, slots=True)
class Survivors:
    """Whose vectors are in the sum."""

    members: tuple[int, ...]

    def signed(self, view: bytes) -> bytes:
        """What an agreement signs."""
        return view + keys.digest("survivors", members(self.members))

    def to_bytes(self, session: bytes) -> bytes:
        """The message."""
        return head(Kind.SURVIVORS, session) + members(self.members)


@dataclass(frozen=True, slots=True)
class Agreement:
    """One survivor's signature over the survivors."""

    index: int
    signature: bytes

    def to_bytes(self, session: bytes) -> bytes:
        """The message."""
        return head(Kind.AGREEMENT, session) + _SIGNED.pack(self.index, self.signature)


@dataclass(frozen=True, slots=True)
class Agreements:
    """Signatures over the survivors, by signer."""

    signatures: Mapping[int, bytes]

    def to_bytes(self, session: bytes) -> bytes:
        """The message."""
        signed = b"".join(_SIGNED.pack(*each) for each in self.signatures.items())
        return head(Kind.AGREEMENTS, session) + u32(len(self.signatures)) + signed


@dataclass(frozen=True, slots=True)
class Opening:
    """A survivor's shares: of the seeds of those that survived, of the mask keys of those that did not."""

    index: int
    shares: Mapping[int, tuple[Secret, bytes]] = field(repr=False)

    def to_bytes(self, session: bytes) -> bytes:
        """The message."""
        count = u32(len(self.shares))
        return head(Kind.OPENING, session) + u32(self.index) + count + rows(_OPENED, self.shares)


def advertisement_from(message: bytes, context: bytes) -> Advertisement:
    """The advertisement in a message of this context. Raises `MessageError`."""
    return Reader(message, Kind.ADVERTISEMENT, context).whole(_advertisement)


def directory_from(message: bytes, context: bytes) -> Directory:
    """The directory in a message of this context. Raises `MessageError`."""

    def body(reader: Reader) -> Directory:
        listed = reader.take(reader.count(_ENTRY.size) * _ENTRY.size)
        ascending([index for index, _ in _ENTRY.iter_unpack(listed)])
        found = tuple(_advertisement(reader) for _ in range(reader.count(_ADVERTISEMENT.size)))
        ascending([each.index for each in found])
        return Directory(listed, found)

    return Reader(message, Kind.DIRECTORY, context).whole(body)


def dealing_from(message: bytes, session: bytes) -> Dealing:
    """The dealing in a message of this session. Raises `MessageError`."""

    def body(reader: Reader) -> Dealing:
        index, signature = reader.u32(), reader.take(SIGNATURE)
        committed = {each: (key, seed) for each, key, seed in reader.rows(_COMMITMENTS)}
        sealed = {each: reader.take(SEALED) for each in committed if each != index}
        return Dealing(index, signature, committed, sealed)

    return Reader(message, Kind.DEALING, session).whole(body)


def shares_from(message: bytes, session: bytes) -> Shares:
    """The shares in a message of this session. Raises `MessageError`."""
    return Reader(message, Kind.SHARES, session).whole(
        lambda reader: Shares({each: (key, seed, sealed) for each, key, seed, sealed in reader.rows(_DEALT)})
    )


def report_from(message: bytes, session: bytes) -> Report:
    """The report in a message of this session. Raises `MessageError`."""
    return Reader(message, Kind.REPORT, session).whole(_report)


def verdict_from(message: bytes, session: bytes) -> Verdict:
    """The verdict in a message of this session. Raises `MessageError`."""

    def body(reader: Reader) -> Verdict:
        named = reader.members()
        reports = tuple(_report(reader) for _ in range(reader.count(8 + KEY + SIGNATURE)))
        ascending([each.index for each in reports])
        return Verdict(named, reports)

    return Reader(message, Kind.VERDICT, session).whole(body)


def survivors_from(message: bytes, session: bytes) -> Survivors:
    """The survivors in a message of this session. Raises `MessageError`."""
    return Reader(message, Kind.SURVIVORS, session).whole(lambda reader: Survivors(reader.members()))


def agreement_from(message: bytes, session: bytes) -> Agreement:
    """The agreement in a message of this session. Raises `MessageError`."""
    return Reader(message, Kind.AGREEMENT, session).whole(
        lambda reader: Agreement(reader.u32(), reader.take(SIGNATURE))
    )


def agreements_from(message: bytes, session: bytes) -> Agreements:
    """The agreements in a message of this session. Raises `MessageError`."""
    return Reader(message, Kind.AGREEMENTS, session).whole(lambda reader: Agreements(dict(reader.rows(_SIGNED))))


def opening_from(message: bytes, session: bytes) -> Opening:
    """The opening in a message of this session. Raises `MessageError`."""

    def body(reader: Reader) -> Opening:
        index = reader.u32()
        opened = {each: (one_of(Secret, kind), share) for each, kind, share in reader.rows(_OPENED)}
        return Opening(index, opened)

    return Reader(message, Kind.OPENING, session).whole(body)


def _advertisement(reader: Reader) -> Advertisement:
    return Advertisement(*_ADVERTISEMENT.unpack(reader.take(_ADVERTISEMENT.size)))


def _report(reader: Reader) -> Report:
    index, column, signature = reader.u32(), reader.take(KEY), reader.take(SIGNATURE)
    return Report(index, column, {each: one_of(Reason, why) for each, why in reader.rows(_COMPLAINT)}, signature)
