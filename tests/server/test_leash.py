"""The leash: the child is the program itself, bounded, and never without its supervisor."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tacit.server import leash

LOOK = (
    "import ctypes, os, resource; held = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(held))\n"
    "print(os.getpid(), held.value, resource.getrlimit(resource.RLIMIT_CORE), oct(os.umask(0)))"
)


def leashed(supervisor: int, *argv: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-I", "-S", leash.__file__, str(supervisor), *argv]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_the_program_takes_the_place_of_the_leash() -> None:
    with leashed(os.getpid(), sys.executable, "-c", LOOK) as process:
        said, _ = process.communicate()
    assert said == f"{process.pid} 9 (0, 0) 0o77\n"  # 9: SIGKILL when the supervisor dies


@pytest.mark.parametrize(
    ("supervisor", "program", "code"),
    [(os.getpid(), "/nowhere/at/all", 126), (2**22 + 1, sys.executable, 125)],
    ids=["no such program", "no such supervisor"],  # a process id in a test's name differs between workers
)
def test_a_program_that_is_not_there_or_a_supervisor_that_is_gone_ends_it(
    supervisor: int, program: str, code: int
) -> None:
    with leashed(supervisor, program, "-c", "print('never')") as process:
        said, _ = process.communicate()
    assert process.returncode == code
    assert "never" not in said
