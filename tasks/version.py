"""Version: which code a task is, as a text that two machines can compare."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from .. import __version__
from .catalogue import TASKS
from .task import TaskError


def code_of(name: str) -> str:
    """`tacit 0.1.0` for a task that Tacit brings; `tacit 0.1.0 sha256:…` of the module's file for one's own.

    The digest covers the one file that `package.module` names, not what that file imports. The task must have been looked up
    before; raises `TaskError` where its module is not loaded or has no file.
    """
    if name in TASKS:
        return f"tacit {__version__}"
    return f"tacit {__version__} sha256:{digest_of(name)}"


def digest_of(name: str) -> str:
    """SHA-256, in hexadecimal, of the file of the loaded module of `package.module:factory`."""
    module_name = name.partition(":")[0]
    origin = getattr(sys.modules.get(module_name), "__file__", None)
    if origin is None:
        raise TaskError(f"task {name!r}: its module {module_name} has no file that a version could be told by")
    try:
        return hashlib.sha256(Path(origin).read_bytes()).hexdigest()
    except OSError as error:
        raise TaskError(
            f"task {name!r}: {origin} cannot be read ({error.strerror}); install its module anew"
        ) from error
