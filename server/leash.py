"""Leash: a program that becomes another one, which the kernel kills as soon as its supervisor dies.

Run as a file, before and without any package: `python -I -S leash.py SUPERVISOR PROGRAM ARGUMENT…`. Between fork and exec
the supervisor itself could not do this safely: it has threads. The kernel's promise (PR_SET_PDEATHSIG) holds for the
*thread* that started the child, survives exec, and is not inherited by the child's own children.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Put on the leash and exec; exit code 125 where the supervisor is gone already, 126 where it cannot be done."""
    supervisor, *argv = sys.argv[1:]
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(126)
    if os.getppid() != int(supervisor):  # it died before the promise was made
        sys.exit(125)
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold keys
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
        sys.exit(126)


if __name__ == "__main__":
    main()
