"""Porter: the process of the public ports: the gateway for agents, and the enrolment office.

python -m tacit.server.porter FOLDER PORT      (PORT: of the SuperLink on loopback)
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
import sys
from pathlib import Path

from ..strategies.token import endpoint
from .door import Door
from .door import server as gateway_server
from .enrolment import Enrolment, office
from .enrolment import server as office_server
from .flower import forged
from .gateway import Gateway, Limits
from .home import ServerHome, settings
from .mail import Mail, listen
from .pieces import Pieces
from .registry import Registry

BELL = "bell"


def reachable(folder: Path, name: str) -> Path:
    """`folder`/`name` by the folder's descriptor, which stays open: a Unix socket's path may have only 107 bytes."""
    return Path(f"/proc/self/fd/{os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)}") / name


async def serve(home: ServerHome, port: int) -> None:
    """Serve both ports of `home` until SIGTERM; the SuperLink listens at `port` of loopback."""
    found = settings(home)
    tls = ssl.create_default_context(cafile=str(home.authority))
    mail = Mail()
    host, public = endpoint(found.address)
    door = Door(host, public, home.gateway_certificate, home.gateway_key, home.authority)
    with Registry(home.registry) as registry, listen(mail, reachable(home.flower, BELL)):
        limits, pieces = Limits(), Pieces(home.pieces)
        pieces.sweep()
        gateway = Gateway(f"127.0.0.1:{port}", tls, registry.admits, forged, mail, pieces, limits)
        enrolment = Enrolment(office(home, registry))
        # Each hands a signal on to the other when it has ended.
        await asyncio.gather(
            gateway_server(gateway, door, limits.connections).serve(), office_server(enrolment, home, found).serve()
        )


def main() -> None:
    """The process."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    folder, port = sys.argv[1:]
    asyncio.run(serve(ServerHome(Path(folder)).checked(), int(port)))


if __name__ == "__main__":
    main()
