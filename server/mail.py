"""Mail: tells held polls that there is something for them, within a process or from another one over a Unix socket."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Mail:
    """Wakes held polls when there is mail. `ring` is for the gateway's own event loop; others use `Bell`.

    It also knows who need not ask at all: a node that found nothing has heard every ring so far, one that found a letter
    has heard one more.
    """

    rings: int = 0
    _heard: dict[bytes, int] = field(default_factory=dict)
    _waiting: set[asyncio.Event] = field(default_factory=set)

    def ring(self) -> None:
        """Every held poll asks again."""
        self.rings += 1
        for event in self._waiting:
            event.set()

    def expected(self, node: bytes) -> bool:
        """Whether there may be mail for the node of this key."""
        return self._heard.get(node, -1) < self.rings

    def asked(self, node: bytes, rings: int, found: bool) -> None:
        """The node asked after `rings` rings, and there was a letter or not."""
        self._heard[node] = min(rings, self._heard.get(node, -1) + 1) if found else rings

    async def wait(self, seconds: float) -> None:
        """Until mail comes, or `seconds` have passed."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), seconds)
        finally:
            self._waiting.discard(event)


def listen(mail: Mail, path: Path) -> socket.socket:
    """Ring `mail` for every datagram at the Unix socket `path` (this user only); to be called inside the event loop."""
    path.unlink(missing_ok=True)
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    bell.bind(str(path))
    path.chmod(0o600)

    def rung() -> None:
        with suppress(BlockingIOError):
            while bell.recv(64):
                pass
        mail.ring()

    asyncio.get_running_loop().add_reader(bell.fileno(), rung)
    return bell


@dataclass(frozen=True, slots=True)
class Bell:
    """The other end of `listen`: tells a gateway in another process that nodes have mail."""

    path: Path

    def ring(self, nodes: Iterable[int]) -> None:
        """Wake the polls. Where no gateway listens the nodes find their mail at their next poll."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bell, suppress(OSError):
            bell.sendto(struct.pack("<I", len(list(nodes))), str(self.path))
