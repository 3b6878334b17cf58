"""Unit: the systemd unit of one coordinator's folder, for `tacit server init` to leave there."""

from __future__ import annotations

import getpass
import shlex
import sys
from pathlib import Path


def unit(root: Path) -> str:
    """The text of a system unit that runs the coordinator in `root` as the user who made it, confined to that folder."""
    program = f"{_quoted(sys.executable)} -m tacit server start --dir {_quoted(str(root))}"
    return _UNIT.format(program=program, user=getpass.getuser(), root=_quoted(str(root)))


def _quoted(text: str) -> str:
    """As systemd reads an argument: `%` and `$` doubled, quoted where the shell would."""
    return shlex.quote(text.replace("%", "%%").replace("$", "$$"))


_UNIT = """\
# Install: copy to /etc/systemd/system/, then `systemctl daemon-reload && systemctl enable --now tacit-server`.
[Unit]
Description=Tacit coordinator
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
ExecStart={program}
User={user}
WorkingDirectory={root}
Restart=on-failure
RestartSec=2
TimeoutStopSec=60
UMask=0077
LimitNOFILE=65536
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={root}
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
LockPersonality=yes
CapabilityBoundingSet=

[Install]
WantedBy=multi-user.target
"""
