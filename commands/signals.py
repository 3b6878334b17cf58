"""Signals: Ctrl-C and SIGTERM stop the program alike, but never in the middle of an import.

Some extension modules end the whole process with a C++ error where a `KeyboardInterrupt` rises through their
initialisation; a stop that falls there waits for the import to end.
"""

from __future__ import annotations

import signal
from types import FrameType

_IMPORT = "<frozen importlib._bootstrap>"
_AGAIN = 0.05  # seconds until a waiting stop looks again


def install() -> None:
    """Take over both signals. A service manager's SIGTERM is to leave a checkpoint just as Ctrl-C does."""
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGALRM, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    if importing(frame):
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
        return
    signal.setitimer(signal.ITIMER_REAL, 0)
    raise KeyboardInterrupt


def importing(frame: FrameType | None) -> bool:
    """Whether an import is under way at `frame`."""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False
