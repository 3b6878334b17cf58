"""Circle: the roster of simulated owners. Each has a signing key of its own, and everybody has approved everybody."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ..client.turn import Circle
from ..privacy.entropy import Entropy
from ..server.masked import Directory
from ..strategies.messages import Cohort

_ROSTER = hashlib.sha256(b"tacit simulated roster").hexdigest()


@dataclass(slots=True)
class SimulatedRoster:
    """Signing keys by owner, made when they are first needed, so that a large population costs what its cohorts cost."""

    entropy: Entropy = field(repr=False)
    _keys: dict[int, Ed25519PrivateKey] = field(default_factory=dict, repr=False)

    def directory(self) -> Directory:
        """As the coordinator knows the owners."""
        return Directory(_ROSTER, lambda owner: owner, self._public)

    def circle(self, owner: int, cohort: Cohort) -> Circle:
        """A cohort as `owner` knows it."""
        keys = {index: self._public(index) for index in cohort.members}
        return Circle(owner, keys, frozenset(cohort.members), self._private(owner))

    def _public(self, owner: int) -> bytes:
        return self._private(owner).public_key().public_bytes_raw()

    def _private(self, owner: int) -> Ed25519PrivateKey:
        if owner not in self._keys:
            stream = self.entropy.stream("signing", owner=owner)
            self._keys[owner] = Ed25519PrivateKey.from_private_bytes(bytes(stream.bytes(32)))
        return self._keys[owner]
