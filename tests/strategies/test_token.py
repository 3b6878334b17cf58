"""Tokens: they come back whole, or not at all, and never show themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tacit.strategies.token import AddressError, Token, TokenError, endpoint, hashed, invite, parse

PIN = bytes(range(32))
hosts = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,40}[a-z0-9])?", fullmatch=True) | st.just("[::1]")


@given(hosts, st.integers(1, 65535), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_a_token_comes_back(host: str, port: int, pin: bytes, secret: bytes) -> None:
    token = Token(f"{host}:{port}", pin, secret)
    assert parse(token.text()) == token
    assert parse(f"  {token.text()[:20]}\n {token.text()[20:]}\n") == token  # as a mail program may break it


@given(st.integers(0, 200), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"))
def test_a_token_with_another_letter_is_refused(at: int, letter: str) -> None:
    text = Token("fl.example.org:8444", PIN, bytes(32)).text()
    at %= len(text)
    changed = text[:at] + letter + text[at + 1 :]
    if changed[:-1] == text[:-1]:
        return  # the last letter has bits to spare
    if changed != text:
        with pytest.raises(TokenError):
            parse(changed)


@given(st.integers(0, 120))
def test_part_of_a_token_is_refused(length: int) -> None:
    text = Token("fl.example.org:8444", PIN, bytes(32)).text()
    with pytest.raises(TokenError):
        parse(text[: min(length, len(text) - 2)])


@given(st.text() | st.text().map(lambda text: "tacit1-" + text))
def test_any_text_is_a_token_or_refused(text: str) -> None:
    with pytest.raises(TokenError):
        parse(text)


def test_a_token_never_shows_its_secret() -> None:
    token = invite("fl.example.org:8444", PIN)
    assert token.secret.hex() not in repr(token)
    assert repr(token.secret) not in repr(token)
    with pytest.raises(TokenError) as found:
        parse(token.text()[:-9])
    assert token.text()[10:40] not in str(found.value)


def test_secrets_differ() -> None:
    first, second = invite("a:1", PIN), invite("a:1", PIN)
    assert first.secret != second.secret
    assert hashed(first.secret) != hashed(second.secret)


@pytest.mark.parametrize(
    ("address", "expected"),
    [("a:1", ("a", 1)), ("fl.example.org:8443", ("fl.example.org", 8443)), ("[::1]:65535", ("::1", 65535))],
)
def test_addresses(address: str, expected: tuple[str, int]) -> None:
    assert endpoint(address) == expected


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a",
        "a:",
        ":1",
        "a:0",
        "a:65536",
        "a:x",
        "a:1 ",
        "::1:80",
        "[a]:1",
        "a b:1",
        "u@a:1",
        "a/b:1",
        "é:1",
        "a:٣",
        "a:+1",
    ],
)
def test_no_addresses(address: str) -> None:
    with pytest.raises(AddressError, match="host:port"):
        endpoint(address)
