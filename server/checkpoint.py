"""Checkpoint: everything a run needs to go on bit-identically, in one file that is whole or absent.

    "TACITCKP" | SHA-256 of the rest | u32 header length | header (JSON) | tensors (safetensors)

Written to a temporary file beside it, synced, then renamed over the old one, so that a crash or a full disk leaves the
previous checkpoint in place. Loading checks the digest first and runs no code.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from .whole import write_whole as write_whole

FORMAT = 1
_MAGIC = b"TACITCKP"


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written, or one that was found cannot be gone on from."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state after `round` rounds. `facts` is JSON: attempt, pipeline state, ledger entries, rounds so far, seed."""

    config: str
    round: int
    facts: Mapping[str, Any]
    tensors: Mapping[str, Tensor] = field(repr=False)


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint`; raises `CheckpointError` (disk full, no permission) with the old one still in place."""
    header = {"format": FORMAT, "config": checkpoint.config, "round": checkpoint.round, "facts": dict(checkpoint.facts)}
    text = json.dumps(header, separators=(",", ":")).encode()
    tensors = save_tensors({name: tensor.detach().cpu().contiguous() for name, tensor in checkpoint.tensors.items()})
    body = struct.pack("<I", len(text)) + text + tensors
    try:
        write_whole(path, _MAGIC + hashlib.sha256(body).digest() + body)
    except OSError as error:
        raise CheckpointError(
            f"{path}: the checkpoint of round {checkpoint.round} cannot be written ({error.strerror or error}); "
            f"the previous one, if any, is still whole; free some space or choose another --out, then --resume"
        ) from error


def load(path: Path, config: str) -> Checkpoint:
    """The checkpoint at `path`, if it is whole and of the configuration with digest `config`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error.strerror or error}); start again without --resume"
        ) from error
    start = len(_MAGIC) + 32
    body = content[start:]
    if content[: len(_MAGIC)] != _MAGIC or hashlib.sha256(body).digest() != content[len(_MAGIC) : start]:
        raise CheckpointError(
            f"{path}: damaged ({len(content)} bytes whose digest does not match); start again without --resume"
        )
    try:
        (size,) = struct.unpack_from("<I", body)
        header = json.loads(body[4 : 4 + size])
        tensors = load_tensors(body[4 + size :])
        version, found = header["format"], header["config"]
        checkpoint = Checkpoint(found, int(header["round"]), header["facts"], tensors)
    except (struct.error, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not a checkpoint of this program; start again without --resume") from error
    if version != FORMAT:
        raise CheckpointError(
            f"{path}: format {version}, this version reads {FORMAT}; go on with the version that wrote it, or start again"
        )
    if found != config:
        raise CheckpointError(
            f"{path}: made by another configuration (digest {found[:12]}…, now {config[:12]}…); a resumed run must be the "
            f"same run: restore the configuration, or choose another --out"
        )
    return checkpoint
