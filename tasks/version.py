"""Version: which code a task is, as a text that two machines can compare."""

from __future__ import annotations

import hashlib
import sys
from importlib.util import find_spec
from pathlib import Path

from .. import __version__
from .catalogue import TASKS
from .task import TaskError


def code_of(name: str) -> str:
    """`tacit 0.1.0` for a task that Tacit brings; `tacit 0.1.0 sha256:…` of the module's file for one's own.

    The digest covers the one file that `package.module` names, not what that file imports. Raises `TaskError` where there is
    no such file.
    """
    if name in TASKS:
        return f"tacit {__version__}"
    return f"tacit {__version__} sha256:{digest_of(name)}"


def digest_of(name: str) -> str:
    """SHA-256, in hexadecimal, of the file of the module of `package.module:factory`.

    That is the loaded module or else the installed one, which is not run by this (its parent packages are).
    """
    origin = _origin(name)
    if origin is None:
        raise TaskError(f"task {name!r}: there is no module with a file of that name; install it, or mend the name")
    try:
        return hashlib.sha256(Path(origin).read_bytes()).hexdigest()
    except OSError as error:
        raise TaskError(
            f"task {name!r}: {origin} cannot be read ({error.strerror}); install its module anew"
        ) from error


def _origin(name: str) -> str | None:
    module_name = name.partition(":")[0]
    if module_name in sys.modules:
        return getattr(sys.modules[module_name], "__file__", None)
    try:
        spec = find_spec(module_name)
    except (ImportError, ValueError):
        return None
    return spec.origin if spec is not None and spec.has_location else None
