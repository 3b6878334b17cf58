"""Keys: key agreement, key derivation, sealing, signing and hashing, each bound to one purpose and one session.

Every use carries the tag `"tacit secagg v1 " ‖ purpose ‖ 0x00`. A purpose holds no zero byte, so no tag is the beginning of
another tag and a value made for one use is worthless in any other. A `session` is always 32 bytes; integers are
big-endian and unsigned.

    agreement   X25519 (RFC 7748), low-order points refused
    derive      HKDF-SHA256 (RFC 5869): salt = session, info = tag ‖ info
    seal        AES-256-GCM (NIST SP 800-38D), nonce 0¹², under a key of its own
    sign        Ed25519 (RFC 8032) over tag ‖ payload
    digest      SHA-256 over tag ‖ (u64 length ‖ part)*

Errors: `CryptoError` is the parent of `AgreementError` (no key can be agreed on), `SealError` (a sealed message does not
open) and `SignatureError` (a signature does not hold). None of their texts holds a secret.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY = 32  # bytes of a secret, a public key, a session and a digest
SIGNATURE = 64
OVERHEAD = 16  # bytes by which a sealed message is longer than its text

_DOMAIN = b"tacit secagg v1 "
_NONCE = bytes(12)
_COORDINATES = 2**255 - 19  # of the curve of X25519

Randomness = Callable[[int], bytes]
"""`randomness(count)` gives `count` fresh random bytes: `os.urandom`, or a seeded stream in a simulation."""


class CryptoError(ValueError):
    """Bytes that a primitive of secure aggregation refuses."""


class AgreementError(CryptoError):
    """A public key with which no secret can be agreed on."""


class SealError(CryptoError):
    """A sealed message that does not open: another key, session, sender, receiver, or changed bytes."""


class SignatureError(CryptoError):
    """A signature that is not the signer's on this purpose and payload."""


def tag(purpose: str) -> bytes:
    r"""The domain tag of one purpose, which begins everything that is hashed, signed or derived for it.

    >>> tag("advertise")
    b'tacit secagg v1 advertise\x00'
    """
    if not purpose or not purpose.isascii() or not purpose.isprintable():
        raise CryptoError(f"purpose {purpose!r}: give printable ASCII")
    return _DOMAIN + purpose.encode() + b"\0"


def digest(purpose: str, *parts: bytes) -> bytes:
    """SHA-256 over tag ‖ (u64 length ‖ part)*: different lists of parts are hashed differently.

    It commits to a part that is secret and has 256 bits of entropy (a seed, a share); it hides no shorter secret.
    """
    state = hashlib.sha256(tag(purpose))
    for part in parts:
        state.update(struct.pack(">Q", len(part)))
        state.update(part)
    return state.digest()


@dataclass(frozen=True, slots=True, eq=False)
class AgreementKey:
    """A fresh X25519 key pair (RFC 7748), used in one session only. Its secret is never shown by `repr`."""

    secret: bytes = field(repr=False)
    public: bytes
    _key: X25519PrivateKey = field(repr=False)

    @classmethod
    def fresh(cls, randomness: Randomness) -> AgreementKey:
        """A new pair from 32 random bytes."""
        return cls.of(randomness(KEY))

    @classmethod
    def of(cls, secret: bytes) -> AgreementKey:
        """The pair of these 32 bytes, kept as they are; X25519 clamps them when it multiplies (RFC 7748, section 5)."""
        if len(secret) != KEY:
            raise AgreementError(f"a secret key has {KEY} bytes; found {len(secret)}")
        key = X25519PrivateKey.from_private_bytes(secret)
        return cls(bytes(secret), key.public_key().public_bytes_raw(), key)

    def shared(self, peer: bytes) -> bytes:
        """X25519(secret, `peer`), 32 bytes: never a key by itself, always through `derive`.

        Raises `AgreementError` for what `check_public` refuses, and where the result is zero (RFC 7748, section 6.1): the
        points of low order give it whatever the secret, so whoever sent one would know every mask.
        """
        check_public(peer)
        try:
            return self._key.exchange(X25519PublicKey.from_public_bytes(peer))
        except ValueError as error:
            raise AgreementError(
                f"public key {peer.hex()} is a point of low order; leave its sender out of the session"
            ) from error


def check_public(public: bytes) -> None:
    """Raise `AgreementError` unless `public` is 32 bytes, a little-endian coordinate below 2²⁵⁵ − 19.

    RFC 7748 takes larger ones for what they are mod 2²⁵⁵ − 19, with the top bit ignored, which would give one key several
    spellings and let it pass for two where keys have to differ. No key pair has such a public key.
    """
    if len(public) != KEY:
        raise AgreementError(f"a public key has {KEY} bytes; found {len(public)}")
    if int.from_bytes(public, "little") >= _COORDINATES:
        raise AgreementError(f"public key {public.hex()} is no reduced coordinate; leave its sender out of the session")


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA256 (RFC 5869): extract with `salt`, expand with `info` to `length` bytes."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


def derive(secret: bytes, session: bytes, purpose: str, info: bytes = b"", length: int = KEY) -> bytes:
    """A key for one purpose in one session: HKDF-SHA256 of `secret`, salt = session, info = tag(purpose) ‖ `info`."""
    return hkdf(secret, _session(session), tag(purpose) + info, length)


def seal(shared: bytes, session: bytes, sender: int, receiver: int, plaintext: bytes) -> bytes:
    """`plaintext` for one receiver, encrypted and authenticated; 16 bytes longer. At most ONE per session and direction.

        key = derive(shared, session, "seal", u32 sender ‖ u32 receiver)
        out = AES-256-GCM(key, nonce = 0¹², data = tag("seal") ‖ session ‖ u32 sender ‖ u32 receiver, plaintext)

    The nonce of GCM has to be new for every message *of one key*. The key here belongs to one message: `shared` comes from
    fresh keys of both ends, and session, sender and receiver name the only message that the protocol sends in that
    direction. So the constant nonce is used once. Sealing the same text again gives the same bytes and shows nothing.
    """
    direction = _direction(session, sender, receiver)
    return AESGCM(derive(shared, session, "seal", direction)).encrypt(
        _NONCE, plaintext, _associated(session, direction)
    )


def open_sealed(shared: bytes, session: bytes, sender: int, receiver: int, sealed: bytes) -> bytes:
    """The text that `sender` sealed for `receiver` in this session. Raises `SealError` for any other bytes."""
    direction = _direction(session, sender, receiver)
    try:
        return AESGCM(derive(shared, session, "seal", direction)).decrypt(
            _NONCE, sealed, _associated(session, direction)
        )
    except InvalidTag as error:
        raise SealError(f"the message from {sender} to {receiver} does not open; complain about {sender}") from error


def sign(key: Ed25519PrivateKey, purpose: str, payload: bytes) -> bytes:
    """Ed25519(`key`, tag(purpose) ‖ payload), 64 bytes. The payload begins with the context or the session."""
    return key.sign(tag(purpose) + payload)


def verify(public: bytes, purpose: str, payload: bytes, signature: bytes) -> None:
    """Raise `SignatureError` unless `signature` is that of `public` (32 bytes) over this purpose and payload."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, tag(purpose) + payload)
    except (InvalidSignature, ValueError) as error:
        raise SignatureError(
            f"the signature for {purpose!r} is not that of the key {public.hex()}; leave its sender out"
        ) from error


def _session(session: bytes) -> bytes:
    if len(session) != KEY:
        raise CryptoError(f"a session has {KEY} bytes; found {len(session)}")
    return session


def _direction(session: bytes, sender: int, receiver: int) -> bytes:
    _session(session)
    if not (0 <= sender < 1 << 32 and 0 <= receiver < 1 << 32) or sender == receiver:
        raise CryptoError(f"from {sender} to {receiver}: give two different indices of 32 bits")
    return struct.pack(">II", sender, receiver)


def _associated(session: bytes, direction: bytes) -> bytes:
    return tag("seal") + session + direction
