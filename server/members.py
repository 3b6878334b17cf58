"""Members: keeps the nodes that the SuperLink lets in equal to the owners that the registry knows."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing

from ..strategies.roster import Roster
from .answer import SuperLinkError
from .flower import Address, Nodes
from .masked import Directory
from .registry import Owner, Registry, RegistryError
from .seating import wire_number

log = logging.getLogger(__name__)

_PAUSE = 0.5  # seconds between two looks at the registry


class Members:
    """The enrolled owners as nodes of the SuperLink; a thread admits who enrols and removes who is revoked."""

    def __init__(self, registry: Registry, address: Address, pin: bytes) -> None:
        """`pin` is the hash of the authority's certificate, which the roster carries."""
        self._registry, self._address, self._pin = registry, address, pin
        self._version = -1
        self._nodes: Mapping[int, int] = {}
        self._changed = threading.Lock()
        threading.Thread(target=self._watch, name="tacit-members", daemon=True).start()

    def owners(self) -> tuple[Owner, ...]:
        """Those who are enrolled now, by number."""
        return tuple(owner for owner in self._registry.owners() if owner.revoked is None)

    def nodes(self) -> Mapping[int, int]:
        """The node of every enrolled owner, by its number. Raises `SuperLinkError`, `RegistryError`."""
        self._admit()
        return self._nodes

    def online(self) -> dict[int, bool]:
        """Whether the agent of each enrolled owner gave a sign of life lately. Raises `SuperLinkError`, `RegistryError`."""
        nodes = self.nodes()
        with closing(Nodes(self._address)) as link:
            there = link.online()
        return {number: there.get(node, False) for number, node in nodes.items()}

    def directory(self, seats: Sequence[int]) -> Directory:
        """Who those that sit on a run's `seats` (numbers, in order) are to one another. Raises `RegistryError`."""
        roster = self.roster()
        keys = {wire_number(entry.number): entry.key for entry in roster.entries}

        def index(seat: int) -> int | None:
            found = wire_number(seats[seat])
            return found if found in keys else None

        return Directory(roster.digest().hex(), index, keys.__getitem__)

    def roster(self) -> Roster:
        """The enrolled owners, as the roster has them. Raises `RegistryError`."""
        return self._registry.roster(self._pin)

    def name(self, number: int) -> str:
        """What the operator calls the owner `number`, enrolled or revoked. Raises `RegistryError`."""
        found = next((owner.name for owner in self._registry.owners() if owner.number == number), None)
        return f"owner number {number}" if found is None else f"{found}, owner number {number}"

    def _admit(self) -> None:
        with self._changed:
            version = self._registry.version()
            if version == self._version:
                return
            with closing(Nodes(self._address)) as link:
                nodes = {owner.number: link.admit(owner.node_key) for owner in self.owners()}
                for node in link.online().keys() - nodes.values():
                    link.remove(node)
            self._nodes, self._version = nodes, version

    def _watch(self) -> None:
        pause = threading.Event()
        while not pause.wait(_PAUSE):
            with contextlib.suppress(SuperLinkError):  # it is being started again; asked once more in a moment
                try:
                    self._admit()
                except RegistryError as error:
                    log.error("%s", error)
