"""Device: what this machine has, or a refusal."""

from __future__ import annotations

import pytest
import torch
from tacit.tasks.device import DeviceError, device_named


def test_auto_is_cuda_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_named() == torch.device("cuda")
    assert device_named("cuda:1") == torch.device("cuda:1")
    assert device_named("cpu") == torch.device("cpu")
    with pytest.raises(DeviceError, match="'cuda:2', but this machine shows 2"):
        device_named("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_named() == torch.device("cpu")
    with pytest.raises(DeviceError, match="'cuda', but this machine shows 0"):
        device_named("cuda")


@pytest.mark.parametrize("name", ["gpu", "", "mps", "meta"])
def test_other_devices_are_refused(name: str) -> None:
    with pytest.raises(DeviceError, match="give auto, cpu or cuda"):
        device_named(name)
