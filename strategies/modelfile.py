"""Model file: the digest of a trained model, as certificates name it, and how to find it in a safetensors file.

    digest = SHA-256("tacit model 1\\0" | layout | "\\0" | numbers)

`layout` is canonical JSON, `[[name, [sizes …]], …]` for each trained parameter, and `numbers` are these parameters in that
order, row-major, as 32-bit little-endian floats. Names and shapes are in it, so that no number can be put elsewhere. What is
not trained (frozen parameters, buffers) is in no certificate: a round does not send it.

A file is u64 length (little-endian) | JSON header | numbers. Its `layout` metadata say which tensors are trained.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, TypeAlias

Layout: TypeAlias = Sequence[tuple[str, tuple[int, ...]]]

_TAG = b"tacit model 1\0"
_NUMBER = 4
_LARGEST = 1 << 27  # bytes of a header: of a file that anybody may have made


class ModelFileError(ValueError):
    """A file of which nobody can tell the model's digest; says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """The digest of a file's model, and the names of the tensors that it does not cover."""

    digest: str
    others: tuple[str, ...]


def digest_of(layout: Layout, numbers: bytes) -> str:
    """The digest, hexadecimal, of a model with these `numbers`; raises `ModelFileError` unless they fit `layout`."""
    wanted = _NUMBER * sum(prod(shape) for _, shape in layout)
    if len(numbers) != wanted:
        raise ModelFileError(f"{len(numbers)} bytes of numbers; a model of this layout has {wanted}")
    text = json.dumps([[name, list(shape)] for name, shape in layout], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(_TAG + text.encode() + b"\0" + numbers).hexdigest()


def found_in(path: Path) -> Found:
    """The model in the safetensors file at `path`. Raises `ModelFileError`, `OSError`."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if not 2 <= size <= _LARGEST:
            raise _fault(path, "it has no header")
        header, body = file.read(size), file.read()
    try:
        rows: dict[str, Any] = json.loads(header)
        layout = [
            (str(slot["name"]), tuple(map(int, slot["shape"]))) for slot in json.loads(rows["__metadata__"]["layout"])
        ]
        numbers = b"".join(_numbers(rows[name], shape, body) for name, shape in layout)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        why = (
            str(error)
            if isinstance(error, ModelFileError)
            else f"it does not say what was trained ({type(error).__name__})"
        )
        raise _fault(path, why) from error
    if len({name for name, _ in layout}) < len(layout):
        raise _fault(path, "its layout names a tensor twice")
    trained = {name for name, _ in layout}
    others = tuple(sorted(name for name in rows if name != "__metadata__" and name not in trained))
    return Found(digest_of(layout, numbers), others)


def _numbers(row: Any, shape: tuple[int, ...], body: bytes) -> bytes:
    start, stop = row["data_offsets"]
    if row["dtype"] != "F32":
        raise ModelFileError(f"its numbers are {row['dtype']}, rounded from the 32-bit floats that a certificate names")
    if tuple(row["shape"]) != shape or not 0 <= start <= stop <= len(body) or stop - start != _NUMBER * prod(shape):
        raise ModelFileError("its tensors are not those of its layout")
    return body[start:stop]


def _fault(path: Path, why: str) -> ModelFileError:
    return ModelFileError(
        f"{path}: no model that a certificate can speak of: {why}; give `model.safetensors` of the run"
    )
