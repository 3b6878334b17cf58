"""Installs the oldest and the newest flwr that `pyproject.toml` permits, each beside the others, and runs the contract tests.

Each lies in a folder of its own in the environment, which is asked for once and kept; `PYTHONPATH` puts it before the installed
one. Its dependencies are those of the environment: the versions that it declares itself may be others. With the word `soak`,
whole exchanges over real processes are run on the newest one.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = Path(sys.prefix) / "flowers"
CONTRACTS = [f"tests/{room}/test_flower_names.py" for room in ("client", "server", "simulation")]
EXCHANGES = ["tests/deployment/test_transport.py", "tests/deployment/test_stock.py", "tests/simulation/test_flower.py"]


def permitted() -> str:
    """The range of flwr, such as `flwr>=1.41,<1.43`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (found,) = [each for each in project["dependencies"] if re.match(r"flwr\b", each)]
    return str(found)


def oldest() -> str:
    """The lower end of the range as a requirement."""
    version = re.search(r">=\s*([\d.]+)", permitted())
    if version is None:
        raise SystemExit(f"{permitted()}: has no lower end; give one with >=")
    return f"flwr=={version[1]}"


def beside(requirement: str, name: str) -> Path:
    """The folder of what `requirement` asks for, without its dependencies: asked for anew where the requirement changes."""
    folder = PLACE / f"{name}-{hashlib.sha256(requirement.encode()).hexdigest()[:8]}"
    if not (folder / ".whole").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        line = [*pip, "--no-deps", "--upgrade"]
        if subprocess.run([*line, "--target", str(folder), requirement], cwd=ROOT, check=False).returncode != 0:
            raise SystemExit(f"pip could not install {requirement}; the contract with it was not tested")
        (folder / ".whole").touch()
    return folder


def tested(files: list[str], folder: Path) -> int:
    """Run the tests in `files` with the flwr in `folder`; their exit code."""
    env = {**os.environ, "PYTHONPATH": str(folder)}
    show = "import flwr; from importlib.metadata import version; print('flwr', version('flwr'), 'in', flwr.__path__[0])"
    subprocess.run([sys.executable, "-c", show], env=env, check=True)
    line = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    return subprocess.run(line, cwd=ROOT, env=env, check=False).returncode


def main() -> int:
    newest = beside(permitted(), "newest")
    if "soak" in sys.argv[1:]:
        return tested(EXCHANGES, newest)
    return max(tested(CONTRACTS, beside(oldest(), "oldest")), tested(CONTRACTS, newest))


if __name__ == "__main__":
    sys.exit(main())
