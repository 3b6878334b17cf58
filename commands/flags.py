"""Flags: options that mean the same in every verb."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, errors too.")]
Settings: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a key of the configuration, e.g. rounds.total=80; repeatable."
    ),
]
Configuration: TypeAlias = Annotated[Path, typer.Argument(metavar="CONFIG", help="The federation's TOML file.")]
RunPath: TypeAlias = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, as `simulate` leaves it.")]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress.")]
Device: TypeAlias = Annotated[str, typer.Option("--device", help="auto, cpu, or cuda.")]
ServerFolder: TypeAlias = Annotated[
    Path, typer.Option("--dir", envvar="TACIT_SERVER_DIR", help="The coordinator's folder, as `server init` makes it.")
]
ClientFolder: TypeAlias = Annotated[
    Path, typer.Option("--dir", envvar="TACIT_CLIENT_DIR", help="The owner's folder, as `client enroll` makes it.")
]
Seed: TypeAlias = Annotated[int, typer.Option("--seed", help="Seed of every draw: same seed, same bits.")]
InsecureSeed: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--insecure-seed", metavar="N", min=0, show_default=False,
        help="For tests on one machine: every draw follows from N, nothing is private (ε = ∞), loopback only.",
    ),
]  # fmt: skip

SERVER_FOLDER = Path("server")
CLIENT_FOLDER = Path("agent")


def overrides(settings: list[str] | None) -> dict[str, Any]:
    """The `--set` options as a mapping; raises `ConfigError` for one that is not key=value."""
    from ..config import override

    return dict(override(setting) for setting in settings or [])
