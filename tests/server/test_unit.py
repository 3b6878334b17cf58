"""The unit that `tacit server init` leaves, beside the one that is shipped: two forms of one service."""

from __future__ import annotations

from pathlib import Path

from tacit.server.unit import unit

SHIPPED = Path(__file__).parents[2] / "deploy" / "tacit-server.service"
PLACES = {
    "ExecStart",
    "User",
    "WorkingDirectory",
    "ProtectHome",
}  # whose, and where: what the two are there to differ in


def service(text: str) -> dict[str, str]:
    lines = text.partition("[Service]")[2].partition("[Install]")[0].splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_what_both_units_say_is_the_same(tmp_path: Path) -> None:
    made, shipped = service(unit(tmp_path)), service(SHIPPED.read_text())
    both = (made.keys() & shipped.keys()) - PLACES
    assert {key: made[key] for key in both} == {key: shipped[key] for key in both}
    life = {
        "Type",
        "KillMode",
        "WatchdogSec",
        "TimeoutStartSec",
        "TimeoutStopSec",
        "Restart",
        "RestartPreventExitStatus",
    }
    assert life <= both
