"""Unit: the systemd unit of one coordinator's folder, for `tacit server init` to leave there."""

from __future__ import annotations

import getpass
import shlex
import sys
from pathlib import Path


def unit(root: Path) -> str:
    """The text of a system unit that runs the coordinator in `root` as the user who made it, confined to that folder."""
    place = str(root).replace("%", "%%")  # systemd puts its own words where a % is
    words = (sys.executable, "-m", "tacit", "server", "start", "--dir", str(root))
    # Only in commands does a $ stand for a variable.
    program = " ".join(shlex.quote(word.replace("%", "%%").replace("$", "$$")) for word in words)
    return _UNIT.format(program=program, user=getpass.getuser(), folder=place, writable=shlex.quote(place))


_UNIT = """\
# Install: copy to /etc/systemd/system/, then `systemctl daemon-reload && systemctl enable --now tacit-server`.
[Unit]
Description=Tacit coordinator
Wants=network-online.target
After=network-online.target

StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart={program}
User={user}
WorkingDirectory={folder}
# SIGTERM goes to the supervisor alone, which ends its children in order.
KillMode=mixed
TimeoutStartSec=180
TimeoutStopSec=90
WatchdogSec=60
# 2: the settings are wrong; 3: a budget refused. Neither mends itself.
Restart=on-failure
RestartSec=2
RestartPreventExitStatus=2 3
UMask=0077
LimitCORE=0
LimitNOFILE=65536
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={writable}
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
LockPersonality=yes
CapabilityBoundingSet=

[Install]
WantedBy=multi-user.target
"""
