"""Model file: what goes in comes out, and what is not this module's is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tacit.simulation.weights import WeightsError, load_into, metadata_of, to_bytes
from torch import nn


class Tied(nn.Module):
    """Two names for one memory, a buffer, and a frozen parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(3, 3), nn.Linear(3, 3)
        self.other.weight = self.one.weight
        self.register_buffer("seen", torch.arange(4))
        self.frozen = nn.Parameter(torch.ones(()), requires_grad=False)


@pytest.mark.parametrize(
    "make", [lambda: nn.Linear(4, 2), lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), Tied]
)
def test_round_trip(tmp_path: Path, make: type[nn.Module]) -> None:
    module, other = make(), make()
    path = tmp_path / "m.safetensors"
    path.write_bytes(to_bytes(module, {"task": {"use": "x"}, "epsilon": float("inf")}))
    load_into(other, path)
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])
    assert metadata_of(path) == {"task": {"use": "x"}, "epsilon": "inf"}


def test_equal_modules_give_equal_bytes_whatever_the_order_of_the_metadata() -> None:
    module = nn.Linear(5, 2)
    one = to_bytes(module, {"a": 1, "b": [2], "c": "é", "d": None})
    assert all(
        to_bytes(module, dict(reversed({"a": 1, "b": [2], "c": "é", "d": None}.items()))) == one for _ in range(20)
    )
    assert int.from_bytes(one[:8], "little") % 8 == 0  # tensors start aligned, as the format asks for


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x08" + bytes(7) + b"{}      "])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        load_into(nn.Linear(2, 2), path)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(to_bytes(nn.Linear(4, 2), {}))
    with pytest.raises(WeightsError, match="not the weights of this model"):
        load_into(nn.Linear(4, 3), path)
    with pytest.raises(WeightsError, match="cannot be read"):
        metadata_of(tmp_path / "none")
