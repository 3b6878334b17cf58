"""A second owner, written from docs/secure-aggregation.md alone, sums with owners of this package.

It uses no code of `privacy/secagg`: only the standard library, an Ed25519/X25519/AES/HKDF provider, and what the page says.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from tacit.privacy.secagg.parameters import Parameters

Begin = Callable[..., Any]
PRIME = 2**256 + 297
WIDTH = {16: "<u2", 20: "<u4", 33: "<u8"}


def tag(what: str) -> bytes:
    return b"tacit secagg v1 " + what.encode() + b"\0"


def h(what: str, *parts: bytes) -> bytes:
    return hashlib.sha256(tag(what) + b"".join(struct.pack(">Q", len(each)) + each for each in parts)).digest()


def kdf(secret: bytes, salt: bytes, what: str, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=tag(what) + info).derive(secret)


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


class Second:
    """The six exchanges of one owner in the full graph; it checks nothing, it only has to be understood."""

    def __init__(self, index: int, key: Ed25519PrivateKey, context: bytes, parameters: Parameters) -> None:
        self.index, self.key, self.context = index, key, context
        self.t, self.b, self.d = parameters.threshold, parameters.bits, parameters.dim
        self.secret, self.sealing, self.seed = (hashlib.sha256(b"%d" % each).digest() for each in range(3))

    def sign(self, what: str, payload: bytes) -> bytes:
        return self.key.sign(tag(what) + payload)

    def message(self, kind: int, binding: bytes, body: bytes) -> bytes:
        return b"TSA1" + bytes([kind]) + binding + body

    def dh(self, secret: bytes, public: bytes) -> bytes:
        return X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(public))

    def advertise(self) -> bytes:
        public = [X25519PrivateKey.from_private_bytes(each).public_key() for each in (self.secret, self.sealing)]
        fields = u32(self.index) + b"".join(each.public_bytes_raw() for each in public)
        fields += h("seed", self.context, u32(self.index), self.seed)
        return self.message(1, self.context, fields + self.sign("advertise", self.context + fields))

    def deal(self, directory: bytes) -> bytes:
        n = int.from_bytes(directory[37:41])
        entries, full = directory[41 : 41 + 36 * n], directory[45 + 36 * n :]
        self.session = h("session", self.context, entries)
        rows = [full[at : at + 164] for at in range(0, len(full), 164)]
        self.peers = {int.from_bytes(row[:4]): (row[4:36], row[36:68]) for row in rows}
        polynomials = []
        for secret in (self.secret, self.seed):
            rest = [int.from_bytes(hashlib.sha256(secret + b"%d" % each).digest()) for each in range(self.t - 1)]
            polynomials.append([int.from_bytes(secret), *rest])
        shares = {
            each: [sum(c * (each + 1) ** k for k, c in enumerate(f)) % PRIME for f in polynomials]
            for each in self.peers
        }
        self.held = {self.index: b"".join(value.to_bytes(33) for value in shares[self.index])}
        committed = sealed = b""
        for each, values in shares.items():
            text = [value.to_bytes(33) for value in values]
            where = u32(self.index) + u32(each)
            committed += u32(each)
            committed += b"".join(
                h("share", self.session, where + bytes([k + 1]), share) for k, share in enumerate(text)
            )
            if each != self.index:
                sealing = kdf(self.dh(self.sealing, self.peers[each][1]), self.session, "seal", where)
                sealed += AESGCM(sealing).encrypt(bytes(12), b"".join(text), tag("seal") + self.session + where)
        signature = self.sign("deal", self.session + u32(self.index) + committed)
        body = u32(self.index) + signature + u32(len(shares)) + committed + sealed
        return self.message(3, self.session, body)

    def check(self, shares: bytes) -> bytes:
        column = b""
        for at in range(41, len(shares), 150):
            dealer, sealed = int.from_bytes(shares[at : at + 4]), shares[at + 68 : at + 150]
            where = u32(dealer) + u32(self.index)
            sealing = kdf(self.dh(self.sealing, self.peers[dealer][1]), self.session, "seal", where)
            self.held[dealer] = AESGCM(sealing).decrypt(bytes(12), sealed, tag("seal") + self.session + where)
            column += shares[at : at + 68]
        seen = h("column", self.session, u32(self.index), column)
        signature = self.sign("report", self.session + u32(self.index) + seen + u32(0))
        return self.message(5, self.session, u32(self.index) + seen + signature + u32(0))

    def prg(self, seed: bytes) -> Any:
        kind = np.dtype(WIDTH[self.b])
        stream = Cipher(AES256(seed), CTR(bytes(16))).encryptor().update(bytes(self.d * kind.itemsize))
        return np.frombuffer(stream, dtype=kind).astype(object)

    def mask(self, verdict: bytes, vector: Any) -> Any:
        n = int.from_bytes(verdict[37:41])
        self.going = struct.unpack(f">{n}I", verdict[41 : 41 + 4 * n])
        self.view = h("view", self.session, verdict[37:])
        total = vector.astype(object) + self.prg(kdf(self.seed, self.view, "self mask", u32(self.index)))
        for each in self.going:
            if each != self.index:
                pair = u32(min(self.index, each)) + u32(max(self.index, each))
                mask = self.prg(kdf(self.dh(self.secret, self.peers[each][0]), self.view, "pair mask", pair))
                total = total + mask if self.index < each else total - mask
        return (total % 2**self.b).astype(np.int64)

    def agree(self, survivors: bytes) -> bytes:
        self.alive = struct.unpack(f">{int.from_bytes(survivors[37:41])}I", survivors[41:])
        signature = self.sign("agree", self.view + h("survivors", survivors[37:]))
        return self.message(8, self.session, u32(self.index) + signature)

    def unmask(self, agreements: bytes) -> bytes:
        body = u32(self.index) + u32(len(self.going))
        for each in self.going:
            held = self.held[each]
            body += u32(each) + (b"\2" + held[33:] if each in self.alive else b"\1" + held[:33])
        return self.message(10, self.session, body)


@pytest.mark.parametrize("bits", WIDTH)
def test_an_owner_written_from_the_page_sums_with_ours(begin: Begin, bits: int) -> None:
    parameters = Parameters(n=5, least=4, colluders=1, threshold=4, bits=bits, dim=11, adversary="malicious")
    attempt = begin(parameters)
    key = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"signer 8").digest())
    attempt.owners[8] = Second(8, key, attempt.context, parameters)
    total = attempt.run(lambda step, owner, request: None if (step, owner) == ("mask", 14) else request)
    assert attempt.collector.survivors == (2, 5, 8, 11)
    assert attempt.collector.faults == {}
    assert np.array_equal(total, attempt.sum((2, 5, 8, 11)))
    assert not any(attempt.owners[each].ended for each in (2, 5, 11))
