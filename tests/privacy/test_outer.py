"""Outer: the clipped sum of examples from factors is that of the formed gradients, and one example's part stays bounded."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy import outer
from tacit.privacy.local import GRID_BITS, LocalError, clipped
from tacit.privacy.outer import MOST_EXAMPLES, Outer, Part, Rows, clipped_sums, no_sums
from torch import Tensor

DIM = 20 + 4 + 12


def layers(owners: int, examples: int, seed: int = 0, scale: float = 1.0) -> list[Outer]:
    """5→4 with a bias, 4→3 without."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(owners, examples, *shape, generator=generator)

    return [
        Outer(slice(0, 20), slice(20, 24), random(5), scale * random(4)),
        Outer(slice(24, 36), None, random(4), scale * random(3)),
    ]


def sums(parts: Sequence[Part], norm: float = 0.7) -> Tensor:
    """Formed, int64 `[k, d]`."""
    found = clipped_sums(parts, DIM, norm)
    rows = torch.full((len(found), DIM), -1, dtype=torch.int64)
    for some, columns, block in found.blocks():
        rows[some, columns] = block.to(torch.int64)
        assert torch.equal(rows[some, columns].double(), block)
        block.fill_(torch.nan)  # whoever has it may do with it as it likes
    return rows


def part_formed(made: list[Outer]) -> list[Part]:
    """The same gradients, those of the first layer in numbers, in two places that are not in order."""
    first, second = made
    weight, bias = torch.einsum("kbo,kbi->kboi", first.errors, first.inputs).flatten(2), first.errors
    return [second, Rows((slice(20, 24), slice(0, 20)), torch.cat([bias, weight], dim=2))]


def chosen(made: list[Outer], examples: list[int]) -> list[Outer]:
    return [Outer(x.weight, x.bias, x.inputs[:, examples], x.errors[:, examples]) for x in made]


def gradients(made: list[Outer]) -> Tensor:
    """`[k, b, d]`, formed."""
    parts = []
    for layer in made:
        parts.append(torch.einsum("kbo,kbi->kboi", layer.errors, layer.inputs).flatten(2))
        if layer.bias is not None:
            parts.append(layer.errors)
    return torch.cat(parts, dim=2)


@given(st.integers(1, 3), st.integers(0, 9), st.integers(0, 999), st.sampled_from([1e-3, 0.1, 1.0, 1e3]))
@settings(max_examples=40, deadline=None)
def test_sums_are_those_of_formed_gradients(owners: int, examples: int, seed: int, scale: float) -> None:
    """To a step for each example and the float32 rounding of formed products, 2⁻²⁴, and of what is kept free for rounding."""
    made, norm = layers(owners, examples, seed, scale), 0.7
    for parts in (made, part_formed(made)):
        for row, rows in zip(sums(parts, norm), gradients(made), strict=True):
            expected = clipped(rows, norm).sum(dim=0)
            room = examples * (math.sqrt(DIM) * 3 + 2.0**GRID_BITS * 2.0**-22)
            assert float((row.double() - expected).norm()) <= room


@given(st.integers(1, 9), st.integers(0, 999), st.sampled_from([1e-3, 0.3, 1.0, 1e3, 1e15]))
@settings(max_examples=60, deadline=None)
def test_one_example_moves_the_sum_by_at_most_its_norm(examples: int, seed: int, scale: float) -> None:
    """With and without it, in exact integers: √Σ(a − b)² ≤ 2²⁸ steps, for the adversarial scales at which clipping binds."""
    made = layers(1, examples, seed, scale)
    whole, whole_formed = sums(made), sums(part_formed(made))
    for gone in range(examples):
        without = chosen(made, [i for i in range(examples) if i != gone])
        for moved in (whole - sums(without), whole_formed - sums(part_formed(without))):
            assert sum(each * each for each in moved[0].tolist()) <= (1 << GRID_BITS) ** 2


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
def test_an_example_that_is_not_finite_counts_as_zero(value: float) -> None:
    made = layers(2, 4)
    made[0].inputs[1, 2] = value
    for form in (list, part_formed):
        found = sums(form(made))
        if value == 1e30:  # finite, and clipped like any other
            assert float(found[1].double().norm()) > 0
            continue
        assert torch.equal(found[1], sums(form(chosen(made, [0, 1, 3])))[1])


def test_rows_without_errors_add_nothing() -> None:
    made = layers(2, 5)
    for layer in made:
        layer.errors[:, 3:] = 0
    assert int((sums(made) - sums(chosen(made, [0, 1, 2]))).abs().max()) <= 1


@pytest.mark.parametrize("block", [1, 7, 10, 22, 3 * DIM, 100 * DIM])
def test_sums_do_not_depend_on_how_much_is_formed_at_once(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    made = layers(7, 5)
    for parts in (made, part_formed(made)):
        monkeypatch.setattr(outer, "_BLOCK", 1 << 16)
        whole = sums(parts)
        monkeypatch.setattr(outer, "_BLOCK", block)
        assert int((sums(parts) - whole).abs().max()) <= 1


def test_what_no_part_has_is_zero() -> None:
    made = layers(3, 2)
    found = sums(made[1:])
    assert not found[:, :24].any()
    assert found[:, 24:].any()
    assert [block.tolist() for *_, block in no_sums(2, 3).blocks()] == [[[0.0] * 3] * 2]


def test_what_cannot_be_bounded_is_refused() -> None:
    with pytest.raises(LocalError, match=f"{MOST_EXAMPLES + 1} examples in one clipped sum"):
        clipped_sums(layers(1, MOST_EXAMPLES + 1), DIM, 1.0)
    with pytest.raises(LocalError, match="too long for a grid"):
        clipped_sums(layers(1, 2), 1 << 60, 1.0)
