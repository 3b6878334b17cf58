"""Builds the wheel from a clean copy and runs the tests marked `wheel` against it, away from the checkout.

A stale `build/` resurrects deleted files and a forgotten entry in `packages` works editable, so the copy holds only
what git knows, and the tests import the package from the unpacked wheel.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("commands", "privacy", "tasks", "strategies", "server", "client", "simulation")


def tracked() -> list[Path]:
    done = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode == 0 and done.stdout:
        return [Path(line) for line in done.stdout.splitlines()]
    folders = [p for room in ROOMS for p in (ROOT / room).rglob("*") if p.is_file() and "__pycache__" not in p.parts]
    return [p.relative_to(ROOT) for p in [*folders, *(p for p in ROOT.iterdir() if p.is_file())]]


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="tacit-wheel-") as folder:
        copy, site, tests = Path(folder, "checkout"), Path(folder, "site"), Path(folder, "tests")
        for path in tracked():
            if path.parts[0] != ".types" and (ROOT / path).is_file():
                (copy / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / path, copy / path)
        build = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            folder,
            ".",
        ]
        if subprocess.run(build, cwd=copy, check=False).returncode != 0:
            return 1
        (wheel,) = Path(folder).glob("tacit-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            tops = {name.split("/")[0] for name in archive.namelist()}
            inside = {name.split("/")[1] for name in archive.namelist() if name.startswith("tacit/")}
            archive.extractall(site)
        extra = {name for name in tops if not name.startswith("tacit")}
        stray = inside - {*ROOMS, "__init__.py", "__main__.py", "config.py", "py.typed"}
        if extra or stray:
            print(f"the wheel holds files that are none of the package's: {sorted(extra | stray)}")
            return 1
        shutil.copytree(ROOT / "tests", tests)
        shutil.copytree(ROOT / "deploy", Path(folder, "deploy"))  # read by tests when they are collected
        shutil.copy2(ROOT / "pyproject.toml", folder)
        env = {**os.environ, "PYTHONPATH": str(site), "TACIT_WHEEL": str(site)}
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "wheel", "--rootdir", folder, str(tests)],
            cwd=folder, env=env, check=False,
        ).returncode  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
