"""Shamir: a secret in shares, of which any `threshold` give it back and any fewer say nothing at all.

Shamir 1979 over the prime field of p = 2²⁵⁶ + 297, the smallest prime above 2²⁵⁶, so that every secret of 32 bytes is an
element. f(X) = secret + c₁X + … + c_{t−1}X^{t−1} mod p with uniform coefficients; the share of x is f(x), 33 bytes
big-endian. x is never 0 (f(0) is the secret). `prime` is an argument only so that the law can be counted out in small fields.

Shares are not authenticated: who accepts one checks it against its dealer's commitment, and the value put together against
what its owner advertised.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .keys import Randomness

PRIME = 2**256 + 297
SHARE = 33  # bytes
SECRET = 32  # bytes
_TRIES = 64  # of drawing what is still missing; with honest randomness half of the draws do, so 2⁻⁶⁴ to fail


class ShareError(ValueError):
    """Shares or arguments of which no secret can be made."""


def split(
    secret: int | bytes, threshold: int, xs: Iterable[int], randomness: Randomness, *, prime: int = PRIME
) -> dict[int, bytes]:
    """The share of every x in `xs`: f(x) for a fresh polynomial of degree below `threshold` with f(0) = `secret`.

    `secret`: an element of the field or 32 bytes. Raises `ShareError` where x is 0 or comes twice, or where fewer than
    `threshold` shares would exist.
    """
    points = _points(xs, prime)
    if not 1 <= threshold <= len(points):
        raise ShareError(f"threshold {threshold} with {len(points)} shares; give at least 1 and at most the shares")
    constant = secret if isinstance(secret, int) else _element_of_secret(secret)
    if not 0 <= constant < prime:
        raise ShareError("the secret is no element of the field; give 32 bytes")
    rising = [constant, *_uniform(threshold - 1, randomness, prime)]
    falling = rising[::-1]
    size = _size(prime)
    shares: dict[int, bytes] = {}
    for x in points:
        value = 0
        for coefficient in falling:  # Horner
            value = (value * x + coefficient) % prime
        shares[x] = value.to_bytes(size)
    return shares


def weights(xs: Iterable[int], *, prime: int = PRIME) -> dict[int, int]:
    """Lagrange's coefficients at 0: f(0) = Σ λ_x f(x) for every f of degree below the number of `xs`.

    λ_x = Π_{m≠x} m / (m − x) mod p. Computed once for a set of senders, they serve every secret that these hold shares of.
    """
    points = _points(xs, prime)
    if not points:
        raise ShareError("no shares; give at least the threshold")
    found: dict[int, int] = {}
    for x in points:
        above = below = 1
        for other in points:
            if other != x:
                above = above * other % prime
                below = below * (other - x) % prime
        found[x] = above * pow(below, -1, prime) % prime
    return found


def interpolate(shares: Mapping[int, bytes], coefficients: Mapping[int, int], *, prime: int = PRIME) -> int:
    """f(0) of the shares at exactly the points of `coefficients`, which `weights` made for them; others are not looked at."""
    total = 0
    for x, coefficient in coefficients.items():
        if x not in shares:
            raise ShareError(f"the share of x = {x} is missing; make weights for the shares at hand")
        total += coefficient * _element(x, shares[x], prime)
    return total % prime


def combine(shares: Mapping[int, bytes], threshold: int, *, prime: int = PRIME) -> int:
    """The secret of at least `threshold` shares (those of the smallest x are used; all have to be well formed)."""
    if threshold < 1 or len(shares) < threshold:
        raise ShareError(f"{len(shares)} shares at threshold {threshold}; the secret stays hidden below it")
    for x, share in shares.items():
        _element(x, share, prime)
    return interpolate(shares, weights(_points(shares, prime)[:threshold], prime=prime), prime=prime)


def secret_bytes(value: int) -> bytes:
    """The 32 bytes that were split; `ShareError` for an element that no 32 bytes are, which only a bad dealer makes."""
    if not 0 <= value < 1 << (8 * SECRET):
        raise ShareError("the shares give no secret of 32 bytes; their dealer did not follow the protocol")
    return value.to_bytes(SECRET)


def check_share(x: int, share: bytes) -> None:
    """Raise `ShareError` unless `share` is 33 bytes below p, and `x` a point that a share can have."""
    _points([x], PRIME)
    _element(x, share, PRIME)


def _size(prime: int) -> int:
    return (prime.bit_length() + 7) // 8


def _points(xs: Iterable[int], prime: int) -> list[int]:
    points = sorted(xs)
    for x in points:
        if not 1 <= x < prime:
            raise ShareError(f"x = {x}; the point of a share is 1 or more (0 is the secret's own) and below the prime")
    if len(set(points)) != len(points):
        raise ShareError("a point comes twice; give every holder a share of its own")
    return points


def _element(x: int, share: bytes, prime: int) -> int:
    if len(share) != _size(prime):
        raise ShareError(f"the share of x = {x} has {len(share)} bytes; a share has {_size(prime)}")
    value = int.from_bytes(share)
    if value >= prime:
        raise ShareError(f"the share of x = {x} is no element of the field; its dealer did not follow the protocol")
    return value


def _element_of_secret(secret: bytes) -> int:
    if len(secret) != SECRET:
        raise ShareError(f"a secret has {SECRET} bytes; found {len(secret)}")
    return int.from_bytes(secret)


def _uniform(count: int, randomness: Randomness, prime: int) -> list[int]:
    """`count` uniform elements. Draws at or above p are thrown away: reducing them would favour small elements."""
    size, excess = _size(prime), -prime.bit_length() % 8
    found: list[int] = []
    for _ in range(_TRIES):
        if len(found) == count:
            return found
        missing = 2 * (count - len(found)) + 8  # p is just above a power of two: about every second draw is below it
        drawn = randomness(size * missing)
        if len(drawn) != size * missing:
            raise ShareError(f"the randomness gave {len(drawn)} of {size * missing} bytes")
        for start in range(0, len(drawn), size):
            value = int.from_bytes(drawn[start : start + size]) >> excess
            if value < prime and len(found) < count:
                found.append(value)
    if len(found) == count:
        return found
    raise ShareError("the randomness gives no element of the field; it is broken")
