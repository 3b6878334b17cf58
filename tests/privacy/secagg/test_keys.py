"""Keys: a value made for one purpose, session or direction is worthless in any other."""

from __future__ import annotations

import hashlib
import hmac
import os
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st
from tacit.privacy.secagg.keys import (
    OVERHEAD,
    SIGNATURE,
    AgreementError,
    AgreementKey,
    CryptoError,
    SealError,
    SignatureError,
    check_public,
    derive,
    digest,
    hkdf,
    open_sealed,
    seal,
    sign,
    tag,
    verify,
)

SHARED, SESSION = bytes(range(32)), bytes(range(32, 64))
INDICES = st.integers(0, 2**32 - 1)
PURPOSES = st.text("abcdefghij -", min_size=1, max_size=12)


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_both_ends_agree(one: bytes, other: bytes) -> None:
    a, b = AgreementKey.of(one), AgreementKey.of(other)
    assert a.shared(b.public) == b.shared(a.public)
    assert a.secret == one  # as given, so that the pair that is put together from shares is this one
    assert AgreementKey.of(a.secret).public == a.public


# RFC 7748, section 6.1
ALICE, BOB = (
    unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"),
    unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"),
)
ALICE_PUBLIC = unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
BOB_PUBLIC = unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
THEIRS = unhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")


def test_x25519_of_rfc_7748() -> None:
    alice, bob = AgreementKey.of(ALICE), AgreementKey.of(BOB)
    assert (alice.public, bob.public) == (ALICE_PUBLIC, BOB_PUBLIC)
    assert alice.shared(BOB_PUBLIC) == bob.shared(ALICE_PUBLIC) == THEIRS
    scalar = unhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")  # section 5.2
    point = unhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    found = AgreementKey.of(scalar).shared(point)
    assert found == unhex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552")


def test_x25519_a_thousand_times_of_rfc_7748() -> None:
    scalar = point = bytes([9]) + bytes(31)
    for _ in range(1000):
        scalar, point = AgreementKey.of(scalar).shared(point), scalar
    assert scalar == unhex("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51")


def test_a_public_key_has_one_spelling() -> None:
    # The second vector of RFC 7748, section 5.2, has the top bit set, which X25519 ignores: here it is no public key.
    scalar = unhex("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d")
    point = unhex("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493")
    taken = X25519PrivateKey.from_private_bytes(scalar).exchange(X25519PublicKey.from_public_bytes(point))
    assert taken == unhex("95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957")
    with pytest.raises(AgreementError, match="no reduced coordinate"):
        AgreementKey.of(scalar).shared(point)
    masked = point[:31] + bytes([point[31] & 0x7F])
    assert AgreementKey.of(scalar).shared(masked) == taken
    largest = 2**255 - 20
    check_public(largest.to_bytes(32, "little"))
    for beyond in (largest + 1, largest + 2, 2**255 - 1, 2**255 + 9, 2**256 - 1):
        with pytest.raises(AgreementError, match="no reduced coordinate"):
            check_public(beyond.to_bytes(32, "little"))


LOW_ORDER = [  # every point of order 1, 2, 4 and 8 on the curve and its twist that has a reduced coordinate
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize("point", LOW_ORDER)
def test_points_of_low_order_are_refused(point: str) -> None:
    with pytest.raises(AgreementError, match="low order"):
        AgreementKey.of(ALICE).shared(unhex(point))
    spelled_otherwise = (int.from_bytes(unhex(point), "little") + 2**255).to_bytes(32, "little")
    with pytest.raises(AgreementError):
        AgreementKey.of(ALICE).shared(spelled_otherwise)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_keys_of_another_length_are_refused(length: int) -> None:
    with pytest.raises(AgreementError, match=f"32 bytes; found {length}"):
        AgreementKey.of(bytes(length))
    with pytest.raises(AgreementError, match=f"32 bytes; found {length}"):
        AgreementKey.of(ALICE).shared(bytes(length))
    with pytest.raises(AgreementError, match=f"found {length}"):
        AgreementKey.fresh(lambda count: bytes(length))


def test_fresh_keys_are_the_randomness() -> None:
    assert AgreementKey.fresh(lambda count: ALICE[:count]).public == ALICE_PUBLIC
    assert AgreementKey.fresh(os.urandom).public != AgreementKey.fresh(os.urandom).public


def test_no_secret_is_shown() -> None:
    key = AgreementKey.of(ALICE)
    for shown in (repr(key), str(key), f"{key}"):
        assert ALICE.hex() not in shown
        assert repr(ALICE) not in shown
        assert "secret" not in shown


@pytest.mark.parametrize(
    ("secret", "salt", "info", "length", "okm"),
    [  # RFC 5869, appendices A.1 to A.3
        (b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42,
         "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"),
        (bytes(range(0x50)), bytes(range(0x60, 0xB0)), bytes(range(0xB0, 0x100)), 82,
         "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
         "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87"),
        (b"\x0b" * 22, b"", b"", 42,
         "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"),
    ],
    ids=["A.1", "A.2", "A.3"],
)  # fmt: skip
def test_hkdf_of_rfc_5869(secret: bytes, salt: bytes, info: bytes, length: int, okm: str) -> None:
    assert hkdf(secret, salt, info, length) == unhex(okm)


@given(st.binary(max_size=40), st.binary(max_size=20), PURPOSES)
def test_derive_is_written_out(secret: bytes, info: bytes, purpose: str) -> None:
    extracted = hmac.digest(SESSION, secret, "sha256")
    expanded = hmac.digest(extracted, b"tacit secagg v1 " + purpose.encode() + b"\0" + info + b"\x01", "sha256")
    assert derive(secret, SESSION, purpose, info) == expanded


def test_derived_keys_differ_in_whatever_they_are_derived_from() -> None:
    other = bytes(32)
    found = [
        derive(SHARED, SESSION, "mask", b"ab"),
        derive(other, SESSION, "mask", b"ab"),
        derive(SHARED, other, "mask", b"ab"),
        derive(SHARED, SESSION, "mas", b"kab"),
        derive(SHARED, SESSION, "mask", b"a"),
        derive(SHARED, SESSION, "mask"),
    ]
    assert len(set(found)) == len(found)
    assert len(derive(SHARED, SESSION, "mask", length=48)) == 48


@given(PURPOSES, PURPOSES)
def test_no_tag_begins_another(one: str, other: str) -> None:
    assert one == other or not tag(one).startswith(tag(other))


@pytest.mark.parametrize("purpose", ["", "a\0b", "ü", "a\nb"])
def test_purposes_are_printable(purpose: str) -> None:
    with pytest.raises(CryptoError, match="printable ASCII"):
        tag(purpose)


@given(st.lists(st.binary(max_size=9), max_size=4), st.lists(st.binary(max_size=9), max_size=4))
def test_digests_tell_lists_apart(one: list[bytes], other: list[bytes]) -> None:
    assert (digest("x", *one) == digest("x", *other)) == (one == other)
    assert digest("x", *one) != digest("y", *one)


def test_a_digest_is_written_out() -> None:
    text = (
        b"tacit secagg v1 session\0" + struct.pack(">Q", 2) + b"ab" + struct.pack(">Q", 0) + struct.pack(">Q", 1) + b"c"
    )
    assert digest("session", b"ab", b"", b"c") == hashlib.sha256(text).digest()


@given(st.binary(max_size=200), INDICES, INDICES)
def test_what_is_sealed_opens_for_its_receiver(text: bytes, sender: int, receiver: int) -> None:
    if sender == receiver:
        with pytest.raises(CryptoError, match="two different indices"):
            seal(SHARED, SESSION, sender, receiver, text)
        return
    sealed = seal(SHARED, SESSION, sender, receiver, text)
    assert len(sealed) == len(text) + OVERHEAD
    assert open_sealed(SHARED, SESSION, sender, receiver, sealed) == text


@given(st.integers(0, 8 * (66 + 16) - 1))
def test_a_sealed_message_with_one_other_bit_does_not_open(bit: int) -> None:
    sealed = bytearray(seal(SHARED, SESSION, 1, 2, bytes(66)))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealError, match="complain about 1"):
        open_sealed(SHARED, SESSION, 1, 2, bytes(sealed))


@pytest.mark.parametrize(
    ("shared", "session", "sender", "receiver"),
    [(bytes(32), SESSION, 1, 2), (SHARED, bytes(32), 1, 2), (SHARED, SESSION, 2, 1), (SHARED, SESSION, 3, 2),
     (SHARED, SESSION, 1, 3)],
    ids=["key", "session", "reflected", "sender", "receiver"],
)  # fmt: skip
def test_a_sealed_message_opens_nowhere_else(shared: bytes, session: bytes, sender: int, receiver: int) -> None:
    sealed = seal(SHARED, SESSION, 1, 2, b"share")
    with pytest.raises(SealError):
        open_sealed(shared, session, sender, receiver, sealed)


@pytest.mark.parametrize("cut", [0, 1, 15, 16, 20])
def test_a_truncated_message_does_not_open(cut: int) -> None:
    with pytest.raises(SealError):
        open_sealed(SHARED, SESSION, 1, 2, seal(SHARED, SESSION, 1, 2, b"share")[:cut])


def test_the_two_directions_have_keys_of_their_own() -> None:
    there, back = seal(SHARED, SESSION, 1, 2, bytes(64)), seal(SHARED, SESSION, 2, 1, bytes(64))
    assert there[:64] != back[:64]  # the keystreams, as the text is zero: one nonce, two keys


def test_a_seal_is_written_out() -> None:
    direction = struct.pack(">II", 7, 9)
    key = derive(SHARED, SESSION, "seal", direction)
    expected = AESGCM(key).encrypt(bytes(12), b"text", b"tacit secagg v1 seal\0" + SESSION + direction)
    assert seal(SHARED, SESSION, 7, 9, b"text") == expected


@pytest.mark.parametrize(
    ("key", "nonce", "text", "data", "sealed"),
    [  # McGrew and Viega, The Galois/Counter Mode of operation, test cases 13, 14 and 16 (AES-256)
        ("00" * 32, "00" * 12, "", "", "530f8afbc74536b9a963b4f1c4cb738b"),
        ("00" * 32, "00" * 12, "00" * 16, "", "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"),
        ("feffe9928665731c6d6a8f9467308308" * 2, "cafebabefacedbaddecaf888",
         "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
         "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
         "feedfacedeadbeeffeedfacedeadbeefabaddad2",
         "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
         "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"),
    ],
    ids=["13", "14", "16"],
)  # fmt: skip
def test_aes_256_gcm_of_its_authors(key: str, nonce: str, text: str, data: str, sealed: str) -> None:
    assert AESGCM(unhex(key)).encrypt(unhex(nonce), unhex(text), unhex(data)) == unhex(sealed)


@pytest.mark.parametrize("session", [b"", bytes(31), bytes(33)])
def test_a_session_has_32_bytes(session: bytes) -> None:
    for use in (
        lambda: derive(SHARED, session, "mask"),
        lambda: seal(SHARED, session, 1, 2, b""),
        lambda: open_sealed(SHARED, session, 1, 2, bytes(16)),
    ):
        with pytest.raises(CryptoError, match="a session has 32 bytes"):
            use()


@pytest.mark.parametrize(("sender", "receiver"), [(-1, 2), (1, 2**32), (2**32, 1)])
def test_indices_have_32_bits(sender: int, receiver: int) -> None:
    with pytest.raises(CryptoError, match="32 bits"):
        seal(SHARED, SESSION, sender, receiver, b"")


@pytest.mark.parametrize(
    ("secret", "public", "message", "signature"),
    [  # RFC 8032, section 7.1, tests 1 to 3
        ("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
         "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
         "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b"
         "d25bf5f0595bbe24655141438e7a100b"),
        ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
         "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
         "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c"
         "387b2eaeb4302aeeb00d291612bb0c00"),
        ("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
         "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
         "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc659"
         "4a7c15e9716ed28dc027beceea1ec40a"),
    ],
    ids=["1", "2", "3"],
)  # fmt: skip
def test_ed25519_of_rfc_8032(secret: str, public: str, message: str, signature: str) -> None:
    key = Ed25519PrivateKey.from_private_bytes(unhex(secret))
    assert key.public_key().public_bytes_raw() == unhex(public)
    assert key.sign(unhex(message)) == unhex(signature)


KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw()


@given(st.binary(max_size=80), PURPOSES)
def test_signatures_hold_for_their_purpose_and_payload(payload: bytes, purpose: str) -> None:
    signature = sign(KEY, purpose, payload)
    assert signature == KEY.sign(b"tacit secagg v1 " + purpose.encode() + b"\0" + payload)
    assert len(signature) == SIGNATURE
    verify(PUBLIC, purpose, payload, signature)
    for other_purpose, other_payload in ((purpose + "x", payload), (purpose, payload + b"x")):
        with pytest.raises(SignatureError, match="leave its sender out"):
            verify(PUBLIC, other_purpose, other_payload, signature)


@pytest.mark.parametrize("public", [bytes(range(32)), bytes(31), b"", b"\xff" * 32])
def test_signatures_hold_for_their_key(public: bytes) -> None:
    with pytest.raises(SignatureError):
        verify(public, "x", b"payload", sign(KEY, "x", b"payload"))


@given(st.integers(0, 511))
def test_a_signature_with_one_other_bit_does_not_hold(bit: int) -> None:
    signature = bytearray(sign(KEY, "x", b"payload"))
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError):
        verify(PUBLIC, "x", b"payload", bytes(signature))


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_signature_has_64_bytes(length: int) -> None:
    with pytest.raises(SignatureError):
        verify(PUBLIC, "x", b"payload", (sign(KEY, "x", b"payload") + b"\0")[:length])
