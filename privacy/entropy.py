"""Entropy: where every random draw of Tacit comes from, as an argument.

`SystemEntropy` keys each stream from the operating system. `SeededEntropy(seed)` keys it with
SHA-256(seed, purpose, round, attempt, owner), so a draw depends on neither order, worker count nor engine; it exists for
simulation only, and results made with it say so. Both expand their key with AES-256-CTR (NIST SP 800-38A).

Streams of many owners for one purpose (`streams`) stand under one key, owner k's from counter block k·2⁶⁴ on, so that nobody's
bytes meet another's: keying a cipher takes longer than a thousand draws.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .keystream import KEY, ROOM, Keystream

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

_APART = 1 << 68  # bytes between the streams of neighbours under one key
_DOMAIN = b"tacit entropy 1\0"
_SEED = b"tacit shuffle 1\0"


class EntropyError(RuntimeError):
    """A stream was used where its bytes would repeat (after a fork)."""


class Stream:
    """Keystream of AES-256-CTR under one key, zero IV, read from front to back.

    It refuses to be read in another process than the one that made it: a forked copy would repeat its bytes.
    """

    __slots__ = ("_alone", "_keystream", "_place", "_process")

    def __init__(self, key: bytes) -> None:
        self._start(_keystream(key), 0, os.getpid(), alone=True)

    def _start(self, keystream: Keystream, place: int, process: int, *, alone: bool) -> None:
        self._keystream, self._place, self._process, self._alone = keystream, place, process, alone

    @staticmethod
    def beside(key: bytes, owners: Sequence[int]) -> list[Stream]:
        """A stream for each of these owners, numbers from 0 to 2⁶⁴ − 1, all under one key; for one thread."""
        if len(set(owners)) != len(owners) or not all(0 <= owner < 1 << 64 for owner in owners):
            raise EntropyError("streams side by side belong to different owners, numbered from 0 to 2^64 - 1")
        keystream, process = _keystream(key), os.getpid()
        made = [Stream.__new__(Stream) for _ in owners]
        for stream, owner in zip(made, owners, strict=True):
            stream._start(keystream, _APART * owner, process, alone=False)
        return made

    def __repr__(self) -> str:
        return "Stream()"

    def bytes(self, count: int) -> bytearray:
        """The next `count` bytes."""
        out = bytearray(count + ROOM)
        with memoryview(out) as view:
            self.fill(view, count)
        del out[count:]
        return out

    def words(self, count: int) -> NDArray[np.uint64]:
        """`count` uniform 64-bit words (little-endian), in an array of their own."""
        out = np.empty(count + 2, dtype="<u8")
        self.fill(out.data.cast("B"), 8 * count)
        return out[:count]

    def fill(self, view: memoryview, count: int) -> None:
        """Write the next `count` bytes to the front of `view`, of bytes, which has room for `ROOM` more: these mean nothing."""
        if os.getpid() != self._process:
            self._refuse_fork()
        self._keystream.fill(view, count, self._place)
        self._place += count

    def uniform(self, count: int) -> NDArray[np.float64]:
        """`count` uniform multiples of 2⁻⁵³ in [0, 1)."""
        return (self.words(count) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def seed(self) -> int:
        """64 bits that belong to this stream's key and tell nothing of its bytes: for shuffles, never for noise or masks.

        SHA-256(domain, key), cut: a tenth of the time of the first keystream block. Always the same, wherever the stream is.
        """
        self._refuse_fork()
        if not self._alone:
            raise EntropyError("streams side by side share a key, so its seed would be everybody's; ask for seeds()")
        return int.from_bytes(hashlib.sha256(_SEED + self._keystream.key).digest()[:8], "little")

    def generator(self) -> np.random.Generator:
        """A NumPy generator keyed from this stream: for partitions and simulated faults, never for noise or masks."""
        return np.random.Generator(np.random.Philox(key=int.from_bytes(self.bytes(16), "little")))

    def torch_generator(self, device: str = "cpu") -> torch.Generator:
        """A torch generator keyed from this stream: for initial weights and shuffles, never for noise or masks."""
        import torch

        return torch.Generator(device).manual_seed(int.from_bytes(self.bytes(8), "little") >> 1)

    def _refuse_fork(self) -> None:
        if os.getpid() != self._process:
            raise EntropyError("a random stream crossed a fork; make streams in the process that reads them")


def _keystream(key: bytes) -> Keystream:
    if len(key) != KEY:
        raise EntropyError(f"a stream's key has {len(key)} bytes; AES-256 takes {KEY}")
    return Keystream(key)


class Entropy(Protocol):
    """A source of independent streams, one for each (purpose, round, attempt, owner)."""

    @property
    def seeded(self) -> bool:
        """True where someone who knows a seed could repeat the draws: every claim is then ε = ∞ on a daemon."""
        ...

    def stream(self, purpose: str, round: int = 0, *, owner: int = -1, attempt: int = 0) -> Stream:
        """The stream for one use; `owner = -1` is the coordinator's own."""
        ...

    def streams(self, purpose: str, round: int, *, owners: Sequence[int], attempt: int = 0) -> list[Stream]:
        """A stream for each of these owners, whoever else is among them; others than `stream` gives. For one thread."""
        ...

    def seeds(self, purpose: str, round: int, *, owners: Sequence[int], attempt: int = 0) -> NDArray[np.uint64]:
        """`stream(…).seed()` of each of these owners, all at once `[k]`."""
        ...


@dataclass(frozen=True, slots=True)
class SystemEntropy:
    """Cryptographic entropy: a fresh key from the operating system for every stream."""

    @property
    def seeded(self) -> bool:
        return False

    def stream(self, purpose: str, round: int = 0, *, owner: int = -1, attempt: int = 0) -> Stream:
        return Stream(os.urandom(KEY))

    def streams(self, purpose: str, round: int, *, owners: Sequence[int], attempt: int = 0) -> list[Stream]:
        return Stream.beside(os.urandom(KEY), owners)

    def seeds(self, purpose: str, round: int, *, owners: Sequence[int], attempt: int = 0) -> NDArray[np.uint64]:
        return np.frombuffer(os.urandom(8 * len(owners)), dtype="<u8")


@dataclass(frozen=True, slots=True)
class SeededEntropy:
    """Repeatable entropy for simulation: the same arguments give the same bytes."""

    seed: int

    @property
    def seeded(self) -> bool:
        return True

    def stream(self, purpose: str, round: int = 0, *, owner: int = -1, attempt: int = 0) -> Stream:
        return Stream(hashlib.sha256(self._address(purpose, round, attempt) + b"%d" % owner).digest())

    def streams(self, purpose: str, round: int, *, owners: Sequence[int], attempt: int = 0) -> list[Stream]:
        return Stream.beside(hashlib.sha256(self._address(purpose, round, attempt) + b"owners").digest(), owners)

    def seeds(self, purpose: str, round: int, *, owners: Sequence[int], attempt: int = 0) -> NDArray[np.uint64]:
        before = hashlib.sha256(self._address(purpose, round, attempt))
        found = bytearray()
        for owner in owners:
            key = before.copy()
            key.update(b"%d" % owner)
            found += hashlib.sha256(_SEED + key.digest()).digest()[:8]
        return np.frombuffer(found, dtype="<u8")

    def _address(self, purpose: str, round: int, attempt: int) -> bytes:
        return _DOMAIN + f"{self.seed}\0{purpose}\0{round}\0{attempt}\0".encode()
