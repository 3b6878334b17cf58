"""Keystream: AES-256-CTR under one key (NIST SP 800-38A), as fast as the processor gives it.

GCM (SP 800-38D) encrypts as CTR does: its counter is the last 32 bits of a block, and under a nonce of 96 bits the first block
it uses has the counter 2. So from there on, for 2³² − 2 blocks, its ciphertext of zeros is the keystream. OpenSSL's code for it
is twice as fast as that for CTR where the processor has AES on wide registers, though it makes a tag that nobody asks for; on
others it is slower. Which it is here is found by trying.
"""

from __future__ import annotations

from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR, GCM

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import AEADEncryptionContext

KEY = 32  # bytes
_AES = 16  # bytes of a block
ROOM = _AES - 1  # update_into wants room for one block more
_BLOCK = 1 << 17  # bytes at once: memory speed, and the zeros that are read stay in the second-level cache
_ZEROS = memoryview(bytes(_BLOCK))
_COUNTER = 32  # bits of a block in which GCM counts
_SPAN = _AES << _COUNTER  # bytes until these return to zero
_EARLIER = 2 * _AES  # bytes of a span that GCM leaves out
_MOST = _SPAN  # bytes of a span that GCM may reach
_PAYS = 1 << 16  # bytes in one piece from which another cipher context is made up for


class Keystream:
    """AES-256-CTR under `key`, 32 bytes, read at one place after another; for one thread."""

    __slots__ = ("_ctr", "_ctr_place", "_gcm", "_gcm_end", "_gcm_place", "key")

    def __init__(self, key: bytes) -> None:
        self.key = key
        # Made at the first byte: many are asked for nothing but their key.
        self._ctr: CipherContext | None = None
        self._gcm: AEADEncryptionContext | None = None
        self._ctr_place = self._gcm_place = 0  # the byte that comes next
        self._gcm_end = 0  # how far the counter of this one goes

    def __repr__(self) -> str:
        return "Keystream()"

    def fill(self, view: memoryview, count: int, place: int = 0) -> None:
        """Write the keystream's `count` bytes from `place` on to the front of `view`, of bytes, which has `ROOM` more: these
        mean nothing.
        """
        if count >= _PAYS and place % _SPAN == 0 and wide():
            self._plain(view, _EARLIER, place)
            nonce = (place // _SPAN).to_bytes(_AES - _COUNTER // 8, "big")
            self._gcm = Cipher(AES256(self.key), GCM(nonce)).encryptor()
            self._gcm_place, self._gcm_end = place + _EARLIER, place + _MOST
            view, count, place = view[_EARLIER:], count - _EARLIER, self._gcm_place
        if self._gcm is not None and place == self._gcm_place and place + count <= self._gcm_end:
            _encrypt(self._gcm, view, count)
            self._gcm_place += count
        else:
            self._plain(view, count, place)

    def _plain(self, view: memoryview, count: int, place: int) -> None:
        if self._ctr is None:
            self._ctr, self._ctr_place = Cipher(AES256(self.key), CTR(bytes(_AES))).encryptor(), 0
        if place != self._ctr_place:
            block, within = divmod(place, _AES)
            self._ctr.reset_nonce(block.to_bytes(_AES, "big"))
            if within:
                self._ctr.update_into(_ZEROS[:within], bytearray(within + ROOM))
        self._ctr_place = place + count
        _encrypt(self._ctr, view, count)


def _encrypt(context: CipherContext, view: memoryview, count: int) -> None:
    """The ciphertext of `count` zeros."""
    if count <= _BLOCK:
        context.update_into(_ZEROS[:count], view)
        return
    for start in range(0, count, _BLOCK):
        size = min(_BLOCK, count - start)
        context.update_into(_ZEROS[:size], view[start : start + size + ROOM])


@lru_cache(maxsize=1)
def wide() -> bool:
    """Whether GCM is the faster one on this processor: both make 128 KiB five times."""
    out, key = memoryview(bytearray(_BLOCK + ROOM)), bytes(KEY)
    contexts = [Cipher(AES256(key), mode).encryptor() for mode in (CTR(bytes(_AES)), GCM(bytes(12)))]
    least = [float("inf")] * 2
    for _ in range(5):
        for which, context in enumerate(contexts):
            start = perf_counter()
            context.update_into(_ZEROS, out)
            least[which] = min(least[which], perf_counter() - start)
    return least[1] < least[0]
