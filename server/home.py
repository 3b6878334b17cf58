"""Home: the folder of a coordinator. Where everything in it lies, and its settings (`server.toml`).

| path                       | holds                                                             | must be kept |
|----------------------------|-------------------------------------------------------------------|--------------|
| `server.toml`              | the settings below, commented                                     | yes          |
| `authority/`               | the federation's certificate authority: key, certificate          | yes, secret  |
| `keys/`                    | the signing key; keys and certificates of gateway and SuperLink   | yes, secret  |
| `registry.sqlite`          | who is enrolled, who is invited (`server.registry`)               | yes          |
| `flower/`                  | the SuperLink's database, secret and home; `pieces/`, on their way | yes          |
| `runs/`, `ledger.sqlite`   | run folders with their checkpoints; what was released             | yes          |
| `anchors/`                 | how far the ledger came, unless `[ledger]` names another place    | yes          |
| `metrics.token`            | what a scraper of the metrics shows                               | no, secret   |
| `logs/`, `control.sock`    | what the daemon says; how it is talked to                         | no           |
| `tacit-server.service`     | a systemd unit for this folder                                    | no           |
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from ..config import ConfigError, Frame, framed
from ..strategies.token import AddressError, endpoint

LEDGER = "server"  # the asset that a coordinator's ledger is of


class HomeError(Exception):
    """A folder that is no coordinator's, or cannot become one."""


@dataclass(frozen=True, slots=True)
class ServerHome:
    """The folder at `root`."""

    root: Path

    @property
    def settings_file(self) -> Path:
        """`server.toml`."""
        return self.root / "server.toml"

    @property
    def authority_key(self) -> Path:
        """The key that signs certificates."""
        return self.root / "authority" / "authority.key"

    @property
    def authority(self) -> Path:
        """The certificate that owners pin."""
        return self.root / "authority" / "authority.pem"

    @property
    def signing_key(self) -> Path:
        """The Ed25519 key that signs rosters."""
        return self.root / "keys" / "signing.key"

    @property
    def gateway_key(self) -> Path:
        """The TLS key of the public ports."""
        return self.root / "keys" / "gateway.key"

    @property
    def gateway_certificate(self) -> Path:
        """The TLS certificate of the public ports."""
        return self.root / "keys" / "gateway.pem"

    @property
    def superlink_key(self) -> Path:
        """The TLS key of the SuperLink."""
        return self.root / "keys" / "superlink.key"

    @property
    def superlink_certificate(self) -> Path:
        """The TLS certificate of the SuperLink, for loopback only."""
        return self.root / "keys" / "superlink.pem"

    @property
    def registry(self) -> Path:
        """Owners and invitations."""
        return self.root / "registry.sqlite"

    @property
    def flower(self) -> Path:
        """The SuperLink's own folder."""
        return self.root / "flower"

    @property
    def pieces(self) -> Path:
        """The pieces of large requests and replies, while a round is under way."""
        return self.flower / "pieces"

    @property
    def runs(self) -> Path:
        """Run folders."""
        return self.root / "runs"

    @property
    def ledger(self) -> Path:
        """What was released."""
        return self.root / "ledger.sqlite"

    @property
    def anchors(self) -> Path:
        """The folder of the ledger's anchor, unless the settings name another one."""
        return self.root / "anchors"

    @property
    def shown(self) -> Path:
        """How far the ledger came, as owners show it who keep its anchor."""
        return self.anchors / "owners.anchor"

    @property
    def logs(self) -> Path:
        """Log files of the daemon and its children."""
        return self.root / "logs"

    @property
    def control(self) -> Path:
        """The control socket."""
        return self.root / "control.sock"

    @property
    def metrics_token(self) -> Path:
        """The token for scraping metrics."""
        return self.root / "metrics.token"

    @property
    def unit_file(self) -> Path:
        """A systemd unit."""
        return self.root / "tacit-server.service"

    def checked(self) -> ServerHome:
        """This home; raises `HomeError` where there is none."""
        if not self.settings_file.is_file():
            raise HomeError(f"{self.root}: no coordinator's folder; `tacit server init {self.root}` makes one")
        return self


def _address(value: str) -> str:
    try:
        endpoint(value)
    except AddressError as error:
        raise ValueError(str(error)) from None
    return value


def _host(value: str) -> str:
    _address(f"[{value}]:1" if ":" in value else f"{value}:1")
    return value


class ServerSettings(Frame):
    """The `[server]` table."""

    host: Annotated[str, AfterValidator(_host)] = Field(description="name or address that owners connect to")
    names: tuple[Annotated[str, AfterValidator(_host)], ...] = Field(default=(), description="further names of it")
    address: Annotated[str, AfterValidator(_address)] = Field(default="0.0.0.0:8443", description="of the gateway")
    enrolment: Annotated[str, AfterValidator(_address)] = Field(default="0.0.0.0:8444", description="of enrolment")
    metrics: Annotated[str, AfterValidator(_address)] | None = Field(
        default=None, description="of Prometheus metrics, on loopback; none if left out"
    )

    @property
    def gateway(self) -> str:
        """Where owners find the gateway."""
        return self._public(self.address)

    @property
    def enrolment_office(self) -> str:
        """Where owners enrol."""
        return self._public(self.enrolment)

    def _public(self, address: str) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{endpoint(address)[1]}"


class LedgerSettings(Frame):
    """The `[ledger]` table."""

    anchor: str | None = Field(
        default=None, min_length=1, description="folder of the ledger's anchor, best on another volume"
    )


class Settings(Frame):
    """The whole of `server.toml`."""

    server: ServerSettings
    ledger: LedgerSettings = LedgerSettings()


def settings(home: ServerHome) -> ServerSettings:
    """The settings of a home; raises `HomeError` or `ConfigError` with every fault."""
    return _whole(home).server


def anchor_file(home: ServerHome) -> Path:
    """Where the ledger of a home is anchored; raises `HomeError` or `ConfigError`."""
    folder = _whole(home).ledger.anchor
    return (home.anchors if folder is None else home.root / folder) / "server.anchor"


def _whole(home: ServerHome) -> Settings:
    path = home.checked().settings_file
    try:
        return _checked(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}; mend the line") from error


def as_settings(values: Mapping[str, Any], where: str) -> ServerSettings:
    """The settings in a mapping; raises `ConfigError` with every fault. `where` is the file, for errors."""
    return _checked(values, where).server


def _checked(values: Mapping[str, Any], where: str) -> Settings:
    try:
        return framed(Settings, values)
    except ConfigError as error:
        raise ConfigError("\n".join(f"{where}: {line}" for line in str(error).splitlines())) from None


TEMPLATE = """\
# The coordinator of a federation. Changes count from the next `tacit server start`.

[server]
# The name or address that owners connect to. It stands in tokens and in the server's certificate, which is made anew when
# this changes; owners that enrolled under another name have to be told the new one in their own agent's folder.
host = {host}
# Further names and addresses that the certificate is valid for.
names = []
# Where the gateway listens: the port that owners' agents use. Only clients with a certificate of this federation get in.
address = {address}
# Where enrolment listens: the port that `tacit client enroll` uses, once per owner, and agents for rosters, renewals of their
# certificates, and anchors of their ledgers.
enrolment = {enrolment}
# Where Prometheus may scrape metrics: loopback only, with the token in metrics.token (`credentials_file`).
# metrics = "127.0.0.1:9464"

# Where it is noted how far the ledger came, so that an older copy of it is refused: a folder on another volume.
# [ledger]
# anchor = "/other/volume/tacit"
"""
