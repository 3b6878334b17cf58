"""Outer: the clipped sum of examples from factors is that of the formed gradients, and one example's part stays bounded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.ball import Ball
from tacit.privacy.local import LocalError, clipped
from tacit.privacy.outer import MOST_EXAMPLES, Outer, Part, Rows, Sums, clipped_sums
from torch import Tensor

pytestmark = pytest.mark.usefixtures("either_way")

DIM = 20 + 4 + 12 + 6
GRIDS = (22, 24, 28)


def layers(owners: int, examples: int, seed: int = 0, scale: float = 1.0) -> list[Part]:
    """5→4 with a bias, 4→3 without, and six numbers that are no outer product, backwards."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(owners, examples, *shape, generator=generator)

    return [
        Outer(slice(0, 20), slice(20, 24), random(5), scale * random(4)),
        Outer(slice(24, 36), None, random(4), scale * random(3)),
        Rows(scale * random(6), backwards),
    ]


def backwards(sums: Tensor) -> Iterator[tuple[slice, Tensor]]:
    yield slice(36, 42), sums.flip(1)


def gradients(made: list[Part]) -> Tensor:
    """`[k, b, d]`, formed."""
    parts = []
    for layer in made:
        if isinstance(layer, Rows):
            parts.append(layer.values.flip(2))
            continue
        parts.append(torch.einsum("kbo,kbi->kboi", layer.errors, layer.inputs).flatten(2))
        if layer.bias is not None:
            parts.append(layer.errors)
    return torch.cat(parts, dim=2)


def chosen(made: list[Part], kept: Sequence[int]) -> list[Part]:
    """Some of the examples."""
    return [
        Rows(x.values[:, kept], x.placed)
        if isinstance(x, Rows)
        else Outer(x.weight, x.bias, x.inputs[:, kept], x.errors[:, kept])
        for x in made
    ]


def summed(made: list[Part], ball: Ball) -> Tensor:
    """All examples in one piece."""
    owners, examples = made[0].squares().shape
    return whole(clipped_sums([made], owners, examples, DIM, ball))


def whole(sums: Sums) -> Tensor:
    """`[k, d]`, put together from pieces."""
    places = slice(0, 10), slice(10, DIM)
    return torch.stack([torch.cat([sums.piece(k, place) for place in places]) for k in range(len(sums))])


@given(
    st.integers(1, 3),
    st.integers(0, 9),
    st.integers(0, 999),
    st.sampled_from([1e-3, 0.1, 1.0, 1e3]),
    st.sampled_from(GRIDS),
)
@settings(max_examples=60, deadline=None)
def test_sums_are_those_of_formed_gradients(owners: int, examples: int, seed: int, scale: float, bits: int) -> None:
    """To a step for each example and the float32 rounding of formed products and of sums."""
    made, ball = layers(owners, examples, seed, scale), Ball(0.7, bits)
    found = summed(made, ball)
    assert found.dtype == (torch.int32 if ball.narrow else torch.int64)
    for row, rows in zip(found, gradients(made), strict=True):
        expected = clipped(rows, ball).sum(dim=0)
        room = examples * (math.sqrt(DIM) * 3 + ball.radius * 2.0**-20)
        assert float((row.double() - expected).norm()) <= room


@given(st.integers(1, 44), st.integers(0, 999), st.sampled_from([1e-3, 0.3, 1.0, 1e3, 1e15]), st.sampled_from(GRIDS))
@settings(max_examples=60, deadline=None)
def test_one_example_moves_the_sum_by_at_most_its_norm(examples: int, seed: int, scale: float, bits: int) -> None:
    """With and without it, in exact integers: √Σ(a − b)² ≤ C in steps, for the adversarial scales at which clipping binds."""
    made, ball = layers(1, examples, seed, scale), Ball(0.7, bits)
    whole = summed(made, ball)
    for gone in range(0, examples, 5):
        without = summed(chosen(made, [i for i in range(examples) if i != gone]), ball)
        moved = (whole - without)[0].tolist()
        assert sum(each * each for each in moved) <= ball.radius**2


@pytest.mark.parametrize("bits", GRIDS)
def test_equal_examples_that_all_bind_move_it_by_at_most_their_norm(bits: int) -> None:
    """The worst that rounding can do: everything in one direction, in the largest sum that is taken in float32."""
    made, ball = chosen(layers(1, 1, 3, 1e6), [0] * 44), Ball(0.7, bits)
    moved = (summed(made, ball) - summed(chosen(made, range(43)), ball))[0].tolist()
    square = sum(each * each for each in moved)
    assert (0.99 * ball.radius) ** 2 <= square <= ball.radius**2


@pytest.mark.parametrize("bits", GRIDS)
def test_pieces_add_up(bits: int) -> None:
    made, ball = layers(2, 12), Ball(0.7, bits)
    pieces = [chosen(made, [0, 1, 2, 3, 4]), chosen(made, [5]), chosen(made, range(6, 12))]
    apart = whole(clipped_sums(pieces, 2, 12, DIM, ball)) - summed(made, ball)
    assert int(apart.abs().max()) <= (1 if bits > 24 else 64)


def test_many_examples_are_added_in_float64_on_any_grid() -> None:
    made, ball = layers(1, 45), Ball(0.7, 22)
    found = summed(made, ball)
    assert found.dtype == torch.int64
    exact = gradients(made)[0].double() * (ball.longest(DIM) / gradients(made)[0].double().norm(dim=1, keepdim=True))
    assert float((found[0].double() - exact.sum(dim=0)).abs().max()) < 16  # float32 of the formed products


@pytest.mark.parametrize("bits", GRIDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_an_example_that_is_not_finite_counts_as_zero(value: float, bits: int) -> None:
    ball = Ball(0.7, bits)
    for field in range(3):
        made = layers(2, 4)
        part = made[field]
        (part.values if isinstance(part, Rows) else part.inputs)[1, 2, 1] = value
        found = summed(made, ball)
        if value == 1e30:  # finite, and clipped like any other
            assert float(found[1].double().norm()) > 0
            continue
        assert torch.equal(found[1], summed(chosen(made, [0, 1, 3]), ball)[1])


def test_no_example_is_no_sum() -> None:
    assert summed(layers(3, 0), Ball(0.7)).tolist() == [[0] * DIM] * 3
    assert whole(clipped_sums([], 3, 0, DIM, Ball(0.7))).tolist() == [[0] * DIM] * 3


def test_rows_without_errors_add_nothing() -> None:
    made = layers(2, 5)
    for layer in made:
        (layer.values if isinstance(layer, Rows) else layer.errors)[:, 3:] = 0
    kept = chosen(made, [0, 1, 2])
    assert int((summed(made, Ball(0.7)) - summed(kept, Ball(0.7))).abs().max()) <= 1


@pytest.mark.parametrize("n", [1, 15, 4096, 4100, 9999])
def test_lengths_of_long_rows_are_short_by_less_than_what_is_kept_free(n: int) -> None:
    rows = torch.randn(2, 3, n, generator=torch.Generator().manual_seed(n)) * 1e3
    exact = rows.double().square().sum(dim=2)
    found = Rows(rows, backwards).squares()
    assert found.dtype == torch.float64
    assert bool(((found - exact).abs() <= 18 * 2.0**-24 * exact).all())
    rows[1, 2, 0] = 1e25  # whose square is more than float32 holds
    assert float(Rows(rows, backwards).squares()[1, 2]) == pytest.approx(1e50)


def test_what_cannot_be_bounded_is_refused() -> None:
    with pytest.raises(LocalError, match=f"{MOST_EXAMPLES + 1} examples in one clipped sum"):
        summed(layers(1, MOST_EXAMPLES + 1), Ball(1.0))
    with pytest.raises(LocalError, match="too long for a grid"):
        clipped_sums([layers(1, 2)], 1, 2, 1 << 60, Ball(1.0))
    with pytest.raises(LocalError, match=f"the layers have {DIM - 6} of a vector's {DIM} numbers"):
        clipped_sums([layers(1, 2)[:2]], 1, 2, DIM, Ball(1.0))
