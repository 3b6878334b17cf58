"""SuperLink: how Flower's server program is started, so that it is closed on every side but the gateway's.

On loopback only, with TLS, node authentication, process isolation with a secret (it never executes anything), its database in a
file, telemetry off, its own home folder. Every file of it lies in one folder. A supervisor keeps it running.
"""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """What one SuperLink is started with. `certificate` is for 127.0.0.1, issued by `authority` (PEM files)."""

    folder: Path
    port: int
    certificate: Path
    key: Path = field(repr=False)
    authority: Path

    @property
    def where(self) -> str:
        """Its address."""
        return f"127.0.0.1:{self.port}"

    @property
    def secret_file(self) -> Path:
        """The file of the executor secret, which lets the coordinator alone acquire tasks."""
        return self.folder / "executor.secret"

    def secret(self) -> bytes:
        """The executor secret, made on first use; readable by this user only."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            handle = os.open(self.secret_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return self.secret_file.read_bytes()
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(32))
        return self.secret_file.read_bytes()

    def command(self) -> tuple[str, ...]:
        """The command line; holds no secret."""
        return (
            str(Path(sys.executable).with_name("flower-superlink")),
            "--host", "127.0.0.1", "--port", str(self.port),
            "--ssl-certfile", str(self.certificate), "--ssl-keyfile", str(self.key),
            "--ssl-ca-certfile", str(self.authority),
            "--enable-supernode-auth",
            "--isolation", "process", "--superexec-auth-secret-file", str(self.secret_file),
            "--disable-runtime-dependency-installation",
            "--database", str(self.folder / "superlink.sqlite"),
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        """The environment: this process's own, without any of Flower's variables but these."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("FLWR_")}
        home = str(self.folder / "home")
        return kept | {"FLWR_HOME": home, "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
