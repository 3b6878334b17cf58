"""Home: the folder of an owner's agent. Where everything in it lies.

| path                          | holds                                                            | must be kept      |
|-------------------------------|------------------------------------------------------------------|-------------------|
| `agent.toml`                  | assets and policy                                                | yes               |
| `keys/`                       | the owner's three private keys; they never leave this folder     | yes, secret       |
| `certificate.pem`             | the certificate of the TLS key                                   | yes               |
| `authority.pem`               | the federation's authority: the only one that is trusted         | yes               |
| `coordinator.json`            | name and number of this owner, addresses and key of the coordinator | yes            |
| `roster.json`                 | the newest roster, signed by the coordinator                     | yes               |
| `approvals.json`              | which entries were checked, signed by this owner                 | yes               |
| `ledgers/`                    | one ledger per asset: what was spent                             | yes, above all    |
| `anchors/`                    | how far each ledger came, unless `[ledger] anchor` names another place | yes         |
| `coordinator.anchor`          | how far the coordinator's ledger came, as it showed                    | yes         |
| `replies/`, `pending/`        | replies not yet acknowledged; runs that wait for approval        | yes               |
| `recipes/`                    | what was agreed to in each run, for certificates                 | yes               |
| `node.json`                   | the node's number at the coordinator                             | no                |
| `control.sock`, `logs/`       | how the agent is talked to; what it says                         | no                |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class HomeError(Exception):
    """A folder that is no owner's, or cannot become one."""


@dataclass(frozen=True, slots=True)
class ClientHome:
    """The folder at `root`."""

    root: Path

    @property
    def settings_file(self) -> Path:
        """`agent.toml`."""
        return self.root / "agent.toml"

    @property
    def keys(self) -> Path:
        """The folder of private keys."""
        return self.root / "keys"

    @property
    def tls_key(self) -> Path:
        """The P-256 key that connections are made with."""
        return self.keys / "tls.key"

    @property
    def node_key(self) -> Path:
        """The P-384 key that Flower knows the node by."""
        return self.keys / "node.key"

    @property
    def signing_key(self) -> Path:
        """The Ed25519 key that other owners know this one by."""
        return self.keys / "signing.key"

    @property
    def certificate(self) -> Path:
        """The certificate of the TLS key."""
        return self.root / "certificate.pem"

    @property
    def authority(self) -> Path:
        """The federation's authority."""
        return self.root / "authority.pem"

    @property
    def coordinator(self) -> Path:
        """Who the coordinator is and who this owner is to it. Written last: with it, enrolment is complete."""
        return self.root / "coordinator.json"

    @property
    def roster(self) -> Path:
        """The newest roster."""
        return self.root / "roster.json"

    @property
    def approvals(self) -> Path:
        """Which entries of the roster were checked."""
        return self.root / "approvals.json"

    @property
    def node(self) -> Path:
        """The node's number."""
        return self.root / "node.json"

    @property
    def ledgers(self) -> Path:
        """The folder of ledgers."""
        return self.root / "ledgers"

    @property
    def coordinator_anchor(self) -> Path:
        """How far the coordinator's ledger came."""
        return self.root / "coordinator.anchor"

    @property
    def anchors(self) -> Path:
        """The folder of anchors, unless the settings name another one."""
        return self.root / "anchors"

    @property
    def replies(self) -> Path:
        """The folder of replies."""
        return self.root / "replies"

    @property
    def recipes(self) -> Path:
        """The folder of what was agreed to in each run."""
        return self.root / "recipes"

    @property
    def pending(self) -> Path:
        """The folder of runs that wait for approval."""
        return self.root / "pending"

    @property
    def logs(self) -> Path:
        """Log files."""
        return self.root / "logs"

    @property
    def control(self) -> Path:
        """The control socket."""
        return self.root / "control.sock"

    def checked(self) -> ClientHome:
        """This home; raises `HomeError` where nobody enrolled."""
        if not self.coordinator.is_file():
            raise HomeError(f"{self.root}: nobody enrolled here; `tacit client enroll TOKEN --dir {self.root}` does")
        return self
