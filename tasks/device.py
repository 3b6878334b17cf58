"""Device: where models and examples live."""

from __future__ import annotations

import torch


class DeviceError(ValueError):
    """A device that this machine does not have."""


def device_named(name: str = "auto") -> torch.device:
    """`auto` is CUDA where there is one, else the CPU; `cpu`, `cuda` or `cuda:1` is that or a `DeviceError`."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"device = {name!r} is unknown; give auto, cpu or cuda") from error
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= found:
        raise DeviceError(f"device = {name!r}, but this machine shows {found} CUDA devices; give auto or cpu")
    if device.type not in ("cpu", "cuda"):
        raise DeviceError(f"device = {name!r}; Tacit runs on cpu and cuda: give auto, cpu or cuda")
    return device
