"""Weights: a trained module as one safetensors file, with what is needed to know what it is.

The tensors are the module's `state_dict`, by name, so that any program that has the module loads them:
`module.load_state_dict(safetensors.torch.load_file(path))`. The file's metadata are JSON texts: `task` (name and options),
`layout` (name and shape of every trained parameter, in the order of the flat vector), `claims` (rows as in result.json).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as save_tensors
from torch import nn

from .document import dumps


class WeightsError(RuntimeError):
    """A model file that cannot be read, or that is not of this module."""


def to_bytes(module: nn.Module, metadata: Mapping[str, Any]) -> bytes:
    """`module` as safetensors; every value of `metadata` becomes a JSON text. Equal modules give equal bytes."""
    # Cloned, because safetensors refuses two names for one memory (tied layers); both names are then in the file.
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in module.state_dict().items()}
    texts = {key: json.dumps(json.loads(dumps(value)), sort_keys=True) for key, value in sorted(metadata.items())}
    return _sorted_header(save_tensors(tensors, texts))


def _sorted_header(content: bytes) -> bytes:
    """The same file with its JSON header in sorted order: the library writes metadata in the order of a hash table."""
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    padded = header + b" " * (-len(header) % 8)
    return len(padded).to_bytes(8, "little") + padded + content[8 + size :]


def load_into(module: nn.Module, path: Path) -> None:
    """Write the tensors of `path` into `module`; raises `WeightsError` where they are not its own."""
    try:
        module.load_state_dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}); run `tacit simulate` again") from error
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise WeightsError(f"{path}: not the weights of this model ({reason}); was the task changed?") from error


def metadata_of(path: Path) -> dict[str, Any]:
    """The metadata of a model file, decoded."""
    try:
        with safe_open(path, "pt") as file:
            return {key: json.loads(text) for key, text in (file.metadata() or {}).items()}
    except (OSError, SafetensorError, ValueError) as error:
        raise WeightsError(f"{path}: cannot be read ({error}); run `tacit simulate` again") from error
