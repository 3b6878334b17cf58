"""Metrics: on loopback, for who bears the token."""

from __future__ import annotations

import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tacit.server.metrics import Metrics, MetricsError, MetricsServer, Restarts, bearer


@pytest.fixture
def token(tmp_path: Path) -> Path:
    return tmp_path / "metrics.token"


@pytest.fixture
def served(token: Path) -> Iterator[tuple[Metrics, MetricsServer]]:
    metrics = Metrics()
    with MetricsServer(metrics.text, "127.0.0.1", 0, token) as server:
        yield metrics, server


def scrape(server: MetricsServer, credentials: str | None) -> str:
    headers = {} if credentials is None else {"Authorization": f"Bearer {credentials}"}
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/metrics", headers=headers)
    with urllib.request.urlopen(request, timeout=10.0) as answer:
        return str(answer.read().decode())


def test_what_happened_is_what_is_scraped(served: tuple[Metrics, MetricsServer], token: Path) -> None:
    metrics, server = served
    metrics.round_ended("opened", 7)
    metrics.round_ended("failed", 2)
    metrics.refused("budget")
    metrics.phase_took("plain", 0.3)
    metrics.carried("sent", 1000)
    metrics.carried("received", 10)
    metrics.agents(3)
    metrics.replied("ok")
    metrics.spending("run-1", lambda: 1.25)
    text = scrape(server, bearer(token))
    for line in (
        'tacit_rounds_total{outcome="opened"} 1.0',
        'tacit_rounds_total{outcome="failed"} 1.0',
        "tacit_survivors 2.0",
        'tacit_refusals_total{code="budget"} 1.0',
        'tacit_phase_seconds_bucket{le="0.5",phase="plain"} 1.0',
        'tacit_bytes_total{direction="sent"} 1000.0',
        'tacit_bytes_total{direction="received"} 10.0',
        "tacit_agents_connected 3.0",
        'tacit_replies_total{status="ok"} 1.0',
        'tacit_ledger_epsilon{run="run-1"} 1.25',
    ):
        assert line in text.splitlines()


@pytest.mark.parametrize("credentials", [None, "", "guessed"])
def test_who_lacks_the_token_learns_nothing(served: tuple[Metrics, MetricsServer], credentials: str | None) -> None:
    served[0].spending("run-1", lambda: 1.25)
    with pytest.raises(urllib.error.HTTPError) as refused:
        scrape(served[1], credentials)
    with refused.value as answer:
        assert answer.code == 401
        assert b"tacit" not in answer.read()


def test_the_token_is_made_once_and_is_its_users_only(token: Path) -> None:
    first = bearer(token)
    assert len(first) >= 32
    assert bearer(token) == first
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    token.write_text("")
    with pytest.raises(MetricsError, match="remove the file"):
        bearer(token)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_other_addresses_than_loopback_are_refused(token: Path, host: str) -> None:
    with pytest.raises(MetricsError, match="not on loopback"):
        MetricsServer(Metrics().text, host, 0, token)
    assert not token.exists()


def test_two_processes_worth_of_metrics_do_not_mix() -> None:
    first, second = Metrics(), Metrics()
    first.refused("budget")
    assert second.registry.get_sample_value("tacit_refusals_total", {"code": "budget"}) is None


def test_the_supervisors_and_the_coordinators_numbers_stand_beside_one_another() -> None:
    restarts, metrics = Restarts(), Metrics()
    restarts.restarted("superlink")
    metrics.refused("clip")
    text = (restarts.text() + metrics.text()).decode()
    assert 'tacit_restarts_total{child="superlink"} 1.0' in text.splitlines()
    families = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(families) == len(set(families))
