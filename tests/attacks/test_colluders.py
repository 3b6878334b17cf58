"""A coalition below the threshold learns the sum and nothing more: counted out where it can be, and shown byte by byte.

Exactly, over a tiny field: t − 1 shares of both secrets take all values equally often, whatever the secrets are. On the real
protocol: whatever other honest inputs of the same sum there were, there are masks of the honest pair, as likely as the true
ones, with which *every byte* that the server and its colluders ever see is the same. So what they see says nothing of which.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tacit.privacy.secagg import mask, messages, shamir
from tacit.privacy.secagg import session as sessions
from tacit.privacy.secagg.messages import Secret
from tacit.privacy.secagg.parameters import Parameters

Make = Callable[..., Any]
SEVEN = Parameters(n=7, least=5, colluders=2, threshold=5, bits=20, dim=6, adversary="malicious")
COLLUDERS = (17, 20)
ONE, OTHER = 2, 5  # of the honest members


def fixed(coefficients: tuple[int, ...], prime: int) -> Callable[[int], bytes]:
    """Randomness of which `split` reads these coefficients: the top bits of a byte each."""
    shift = 8 - prime.bit_length()
    return lambda count: bytes(c << shift for c in coefficients).ljust(count, b"\0")


@pytest.mark.parametrize(("prime", "threshold"), [(5, 3), (7, 2), (7, 3)])
def test_shares_of_a_coalition_below_the_threshold_are_the_same_for_all_secrets(prime: int, threshold: int) -> None:
    """Counted out: the joint law of t − 1 holders' shares, and of the t-th one's given theirs, which is the secret's."""
    points = range(1, prime)
    for coalition in itertools.combinations(points, threshold - 1):
        laws = []
        for secret in range(prime):
            seen: Counter[tuple[int, ...]] = Counter()
            for coefficients in itertools.product(range(prime), repeat=threshold - 1):
                shares = shamir.split(secret, threshold, points, fixed(coefficients, prime), prime=prime)
                seen[tuple(shares[x][0] for x in coalition)] += 1
            laws.append(seen)
        assert all(law == laws[0] for law in laws)
        assert set(laws[0].values()) == {1}
        outside = next(x for x in points if x not in coalition)
        law = {
            shamir.split(s, threshold, points, fixed(c, prime), prime=prime)[outside][0]
            for s in range(prime)
            for c in itertools.product(range(prime), repeat=threshold - 1)
        }
        assert law == set(range(prime))


@pytest.mark.parametrize("victim", [ONE, OTHER])
@pytest.mark.parametrize("kind", list(Secret))
def test_real_shares_of_a_coalition_fit_every_secret(world: Make, victim: int, kind: Secret) -> None:
    """In the field that is used: to t − 1 shares and any 32 bytes there is exactly one polynomial, so all are as likely."""
    at = world(SEVEN)
    at.until("mask")
    held = {each: at.owners[each]._secrets.held[victim][kind == Secret.SEED] for each in at.cohort}
    secrets = at.owners[victim]._secrets
    true = int.from_bytes(secrets.seed if kind == Secret.SEED else secrets.mask_key.secret)
    for coalition in itertools.combinations(at.cohort, SEVEN.threshold - 1):
        known = {each + 1: held[each] for each in coalition}
        for guess in (true, 0, 1, 2**256 - 1, true ^ 1):
            # the polynomial through (0, guess) and what the coalition has, at the point of everybody else
            others = [each for each in at.cohort if each not in coalition]
            for other in others:
                value = _at(other + 1, {0: guess, **{x: int.from_bytes(share) for x, share in known.items()}})
                whole = {**known, other + 1: value.to_bytes(33)}
                assert shamir.combine(whole, SEVEN.threshold) == guess
                assert (value == int.from_bytes(held[other])) == (guess == true)


def _at(x: int, values: dict[int, int]) -> int:
    """Lagrange at `x`."""
    total = 0
    for point, value in values.items():
        term = value
        for other in values:
            if other != point:
                term = term * (x - other) * pow(point - other, -1, shamir.PRIME) % shamir.PRIME
        total += term
    return total % shamir.PRIME


def test_a_coalition_lacks_a_share_of_every_secret_that_keeps_a_vector_hidden(world: Make) -> None:
    """All that a server and C colluders have after a round: t shares of one secret of each owner, C shares of the other."""
    at = world(SEVEN)
    at.play(_Drops())
    for victim in at.cohort:
        shown = at.shares_of(victim)
        known, hidden = (Secret.MASK_KEY, Secret.SEED) if victim == 8 else (Secret.SEED, Secret.MASK_KEY)
        assert len(shown[known]) >= SEVEN.threshold
        assert len(shown[hidden] | set(COLLUDERS)) == SEVEN.colluders < SEVEN.threshold


class _Drops:
    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        return None if step == "mask" and index == 8 else request  # so that a mask key is opened as well


def view_of(at: Any) -> tuple[Any, ...]:
    """Everything that a server and its colluders see: what owners sent, and what colluders drew, which opens the rest."""
    sent = tuple(
        (index, step, answer.tobytes() if isinstance(answer, np.ndarray) else answer) for index, step, answer in at.left
    )
    drawn = tuple(bytes(each) for index in COLLUDERS for each in at.streams[index].drawn)
    return sent, drawn, at.collector.total().tobytes(), at.collector.survivors


@pytest.mark.parametrize("seed", range(3))
def test_the_view_of_a_coalition_is_the_same_for_all_honest_inputs_of_one_sum(
    world: Make, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """x₁ + δ and x₂ − δ with m₁₂ − δ for m₁₂: a bijection of uniform masks, under which not one byte of the view changes."""

    def seen(delta: np.ndarray, remapped: np.ndarray) -> tuple[Any, ...]:
        at = world(SEVEN, seed=seed)
        at.until("mask")
        pair = sessions.pair_mask(at.owners[ONE]._secrets.masking[OTHER], at.collector._view, ONE, OTHER)
        assert pair not in {
            sessions.pair_mask(shared, at.collector._view, each, peer)
            for each in COLLUDERS
            for peer, shared in at.owners[each]._secrets.masking.items()
        }
        true = mask.add_masks

        def moved(vector: Any, masks: Any, bits: int) -> None:
            listed = list(masks)
            true(vector, listed, bits)
            for each, sign in listed:
                if each == pair:
                    vector -= (sign * remapped).astype(np.int64).astype(vector.dtype)

        at.vectors[ONE] = at.vectors[ONE] + delta
        at.vectors[OTHER] = at.vectors[OTHER] - delta
        with monkeypatch.context() as patch:
            patch.setattr(mask, "add_masks", moved)
            at.play(_Drops())
        return view_of(at)

    delta = np.random.default_rng(seed).integers(-(1 << 40), 1 << 40, SEVEN.dim)
    nothing = np.zeros(SEVEN.dim, np.int64)
    true = seen(nothing, nothing)
    assert seen(delta, delta) == true
    assert seen(delta, nothing) != true  # the masks do the work, and the comparison can fail
    assert seen(nothing, delta) != true


def test_inputs_of_another_sum_cannot_be_confused(world: Make) -> None:
    """The sum is what a coalition does learn: no masks make up for another one."""
    one, other = world(SEVEN), world(SEVEN)
    other.vectors[ONE] = other.vectors[ONE] + 1
    for at in (one, other):
        at.play(_Drops())
    assert not np.array_equal(one.collector.total(), other.collector.total())


@pytest.mark.parametrize("bits", [2, 3])
def test_masked_vectors_tell_the_sum_only_counted_out(bits: int) -> None:
    """Three owners, every value of every pair mask: one law for each sum, and no two sums share a vector."""
    ring = range(1 << bits)
    laws: dict[tuple[int, int, int], Counter[tuple[int, int, int]]] = {}
    for values in itertools.product(ring, repeat=3):
        seen: Counter[tuple[int, int, int]] = Counter()
        for pairs in itertools.product(ring, repeat=3):
            masks = dict(zip(itertools.combinations(range(3), 2), pairs, strict=True))
            masked = []
            for own, value in enumerate(values):
                total = value
                for (low, high), pair in masks.items():
                    if own in (low, high):
                        total += sessions.pair_sign(own, high if own == low else low) * pair
                masked.append(total % (1 << bits))
            seen[masked[0], masked[1], masked[2]] += 1
        laws[values[0], values[1], values[2]] = seen
    by_sum: dict[int, Counter[tuple[int, int, int]]] = {}
    for values, law in laws.items():
        assert by_sum.setdefault(sum(values) % (1 << bits), law) == law
    for one, other in itertools.combinations(by_sum.values(), 2):
        assert not one.keys() & other.keys()


def test_complaints_and_openings_of_an_honest_owner_do_not_depend_on_its_vector(world: Make) -> None:
    """All but the masked vector itself is the same for all vectors, also for such that fill or leave the ring."""
    views = []
    for value in (0, 1, (1 << 20) - 1, -(1 << 62), (1 << 62)):
        at = world(replace(SEVEN, dim=4))
        at.vectors[ONE] = np.full(4, value)
        at.play(_Drops())
        views.append([(index, step, answer) for index, step, answer in at.left if step != "mask"])
        assert all(messages.opening_from(sent, at.session) for _, step, sent in at.left if step == "unmask")
    assert all(view == views[0] for view in views)
