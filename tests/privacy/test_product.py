"""Product: rows times a matrix, whichever library multiplies, the same bits wherever it is done."""

from __future__ import annotations

import pytest
import torch
from tacit.privacy import product as module
from tacit.privacy.product import product
from torch import Tensor

SHAPES = [(3, 4, 5), (1, 300, 200), (500, 64, 200), (500, 200, 200), (200, 1000, 200), (1 << 10, 1 << 5, 1 << 5)]


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("biased", [True, False])
def test_it_is_the_product(shape: tuple[int, int, int], biased: bool) -> None:
    rows, inputs, outputs = shape
    left, right = random(rows, inputs), random(outputs, inputs, seed=1)
    bias = random(outputs, seed=2) if biased else None
    exact = left.double() @ right.double().t() + (0 if bias is None else bias.double())
    found = product(left, right, bias)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5 * inputs**0.5)
    transposed = product(left.t().contiguous().t(), right.t().contiguous().t(), bias)
    torch.testing.assert_close(transposed, found, rtol=1e-5, atol=1e-5 * inputs**0.5)
    several = product(left.view(1, *left.shape), right, bias)
    torch.testing.assert_close(several[0], found, rtol=1e-5, atol=1e-5 * inputs**0.5)


def test_its_bits_depend_on_the_numbers_alone_not_on_where_they_lie() -> None:
    left, right = random(500, 200), random(200, 200, seed=1)
    expected = product(left, right)
    for first in (0, 1, 3, 16):
        room = torch.empty(left.numel() + first)
        room[first:] = left.flatten()
        assert torch.equal(product(room[first:].view(500, 200), right), expected)


@pytest.mark.parametrize(
    ("maker", "capability", "detour"),
    [
        ("AuthenticAMD ", "AVX512", True), ("GenuineIntel ", "AVX512", False), ("", "AVX512", True),
        ("AuthenticAMD ", "AVX2", False),
    ],
)  # fmt: skip
def test_the_library_is_chosen_by_the_processor(
    maker: str, capability: str, detour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "processor", lambda: maker + capability)
    assert (module._wide.__wrapped__() is not None) == (detour and torch._C._has_mkldnn)


def test_the_processor_is_named() -> None:
    assert module.processor().endswith(torch.backends.cpu.get_cpu_capability())


def test_other_kinds_of_numbers_go_the_usual_way() -> None:
    left, right = random(500, 200).double(), random(200, 200).double()
    assert torch.equal(product(left, right), torch.nn.functional.linear(left, right))
    half = product(left.to(torch.bfloat16), right.to(torch.bfloat16))
    assert half.dtype == torch.bfloat16
