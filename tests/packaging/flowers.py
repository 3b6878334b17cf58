"""Installs the oldest and the newest flwr that `pyproject.toml` permits, each beside the others, and runs the contract tests.

Each lies without its dependencies in a folder of its own in the environment, which is asked for once and kept; `PYTHONPATH`
puts it before the installed one. With the word `soak`, the newest one is installed with its dependencies in an environment of
its own, that sees the rest in the usual one, and whole exchanges are run there, over real processes and over ray.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PLACE = Path(sys.prefix) / "flowers"
CONTRACTS = [f"tests/{room}/test_flower_names.py" for room in ("client", "server", "simulation")]
EXCHANGES = ["tests/deployment/test_stock.py", "tests/deployment/test_transport.py", "tests/simulation/test_flower.py"]


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


def pip(python: str, *arguments: str) -> None:
    """Run pip; ends this program where it fails."""
    line = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    if subprocess.run(line, cwd=ROOT, check=False).returncode != 0:
        raise SystemExit(f"pip could not install {arguments[-1]}; the contract with it was not tested")


def folder_of(requirement: str, name: str) -> Path:
    """Where what `requirement` asks for is kept: asked for anew where the requirement changes."""
    return PLACE / f"{name}-{hashlib.sha256(requirement.encode()).hexdigest()[:8]}"


def beside(requirement: str, name: str) -> Path:
    """The folder of a flwr without its dependencies."""
    folder = folder_of(requirement, name)
    if not (folder / ".whole").exists():
        pip(sys.executable, "--no-deps", "--upgrade", "--target", str(folder), requirement)
        (folder / ".whole").touch()
    return folder


def whole(requirement: str) -> Path:
    """The interpreter of an environment with the newest flwr, its dependencies, and everything else of this one."""
    folder = folder_of(requirement, "environment")
    python = folder / "bin" / "python"
    if not (folder / ".whole").exists():
        venv.create(folder, with_pip=True, clear=True)
        site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
        # addsitedir, because the editable install is itself a file of that kind.
        (site / "usual.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
        pip(str(python), "--upgrade", "--ignore-installed", requirement.replace("flwr", "flwr[simulation]", 1))
        (folder / ".whole").touch()
    return python


def tested(python: Path | str, files: list[str], **variables: str) -> int:
    """Run the tests in `files`; their exit code."""
    show = "import flwr; from importlib.metadata import version; print('flwr', version('flwr'), 'in', flwr.__path__[0])"
    line = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    env = {**os.environ, **variables}
    subprocess.run([str(python), "-c", show], env=env, check=True)
    return subprocess.run(line, cwd=ROOT, env=env, check=False).returncode


def main() -> int:
    if "soak" in sys.argv[1:]:
        return tested(whole(permitted()), EXCHANGES)
    folders = [beside(oldest(), "oldest"), beside(permitted(), "newest")]
    codes = [tested(sys.executable, CONTRACTS, PYTHONPATH=str(folder)) for folder in folders]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
