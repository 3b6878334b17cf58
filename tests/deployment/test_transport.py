"""The transport over Flower, with real processes: SuperLink, gateway with mutual TLS, agents; and what is killed meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tacit.client.node import Delivery, Node
from tacit.strategies.messages import Recipe, Reply, Request, request_from
from tacit.strategies.terms import Terms

if TYPE_CHECKING:
    from conftest import Site

TERMS = Terms({"use": "digits"}, "1", "add-remove", {"use": "everyone"}, 2, 2)
RECIPE = Recipe({"use": "sgd"}, {"use": "fedavg"}, (), 1, 2, TERMS)


def requests_of(run: str, weights: torch.Tensor, round: int = 1) -> list[Request]:
    return [Request(run, round, 0, owner, RECIPE, weights) for owner in (0, 1)]


def echoed(frame: bytes) -> bytes:
    request = request_from(frame)
    return Reply(request.run, request.round, request.attempt, (request.owner,), "ok", request.weights).to_bytes()


def echo(node: Node, delivery: Delivery) -> None:
    assert node.send(delivery.ticket, echoed(delivery.frame))


@pytest.mark.parametrize("numbers", [250, 5_000_000], ids=["1KB", "20MB"])
def test_what_is_sent_comes_back_to_the_bit(site: Site, numbers: int) -> None:
    weights = torch.randn(numbers)
    exchange = site.exchange(f"echo-{numbers}")
    try:
        with site.agents(echo):
            for round in (1, 2):
                replies = exchange.gather(requests_of("echo", weights, round), 50.0)
                assert sorted(reply.owners for reply in replies) == [(0,), (1,)]
                assert all(reply.total is not None and torch.equal(reply.total, weights) for reply in replies)
                assert {reply.round for reply in replies} == {round}
    finally:
        exchange.finish()


def test_a_killed_superlink_loses_no_round(site: Site) -> None:
    """kill -9 while both agents hold a request; after the restart the same run takes their replies."""
    received, go, held = threading.Barrier(3), threading.Event(), set[int]()

    def slow(node: Node, delivery: Delivery) -> None:
        if node.id not in held:  # a request that is sent again finds nobody else to wait for
            held.add(node.id)
            received.wait(20)
            go.wait(40)
        echo(node, delivery)

    exchange = site.exchange("superlink-killed")
    try:
        with ThreadPoolExecutor(1) as pool, site.agents(slow):
            future = pool.submit(exchange.gather, requests_of("killed", torch.ones(100)), 50.0)
            received.wait(20)
            token = (site.folder / "superlink-killed" / "channel.json").read_text()
            site.superlink.kill()
            go.set()
            time.sleep(0.5)
            site.superlink.start()
            assert len(future.result(60)) == 2
            assert (site.folder / "superlink-killed" / "channel.json").read_text() == token
    finally:
        exchange.finish()


AGENT = """
import sys, time, ssl, pathlib
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from tacit.client.node import Node
gateway, authority, certificate, secret, key, state, marker = sys.argv[1:]
tls = ssl.create_default_context(cafile=authority)
tls.load_cert_chain(certificate, secret)
node = Node(gateway, tls, load_pem_private_key(pathlib.Path(key).read_bytes(), None), pathlib.Path(state))
while True:
    if node.receive(5.0) is not None:
        pathlib.Path(marker).write_text("received")
        time.sleep(600)
"""


def test_a_killed_agent_is_asked_again(site: Site, tmp_path: Path) -> None:
    """kill -9 between receive and reply: the message is gone, the next agent of this owner gets it anew."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    owner, marker, key = site.owners[1], tmp_path / "marker", tmp_path / "key.pem"
    key.write_bytes(owner.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    files = (owner.authority, owner.certificate, owner.secret, key, owner.state, marker)
    exchange = site.exchange("agent-killed", resend=3.0)
    agent = subprocess.Popen([sys.executable, "-c", AGENT, site.gateway, *map(str, files)])
    try:
        with ThreadPoolExecutor(1) as pool, site.agents(echo, (0,)):
            future = pool.submit(exchange.gather, requests_of("agent", torch.ones(100)), 50.0)
            until = time.monotonic() + 40
            while not marker.exists():
                assert agent.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
            agent.kill()
            agent.wait()
            with site.agents(echo, (1,)):
                assert sorted(reply.owners for reply in future.result(60)) == [(0,), (1,)]
    finally:
        agent.kill()
        agent.wait()
        exchange.finish()


COORDINATOR = """
import sys, ssl, pathlib, torch
from tacit.server.exchange import Exchange
from tacit.server.flower import Address
from tacit.server.pieces import Pieces
from tacit.strategies.messages import Recipe, Request
from tacit.strategies.terms import Terms
where, authority, secret, folder, one, two = sys.argv[1:]
tls = ssl.create_default_context(cafile=authority)
address = Address(where, tls, pathlib.Path(secret).read_bytes())
exchange = Exchange(address, pathlib.Path(folder), {0: int(one), 1: int(two)}, Pieces(pathlib.Path(folder).parent / "pieces"))
terms = Terms({"use": "digits"}, "1", "add-remove", {"use": "everyone"}, 2, 2)
recipe = Recipe({"use": "sgd"}, {"use": "fedavg"}, (), 1, 2, terms)
exchange.gather([Request("restart", 1, 0, owner, recipe, torch.ones(50_000)) for owner in (0, 1)], 60.0)
"""


def test_a_restarted_coordinator_takes_the_waiting_replies(site: Site) -> None:
    """kill -9 of the coordinator in a round: the second process finds the letters of the first and asks nobody twice."""
    asked, go = Counter[int](), threading.Event()

    def counted(node: Node, delivery: Delivery) -> None:
        asked[request_from(delivery.frame).owner] += 1
        go.wait(40)
        echo(node, delivery)

    folder = site.folder / "restart"
    settings = site.superlink.settings
    arguments = (site.address.where, site.authority.path, settings.secret_file, folder, *site.nodes.values())
    first = subprocess.Popen([sys.executable, "-c", COORDINATOR, *map(str, arguments)])
    second = site.exchange("restart")
    try:
        with site.agents(counted):
            until = time.monotonic() + 40
            while sum(asked.values()) < 2:
                assert first.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
            first.kill()
            first.wait()
            token = (folder / "channel.json").read_text()
            go.set()
            replies = second.gather(requests_of("restart", torch.ones(50_000)), 30.0)
        assert sorted(reply.owners for reply in replies) == [(0,), (1,)]
        assert asked == {0: 1, 1: 1}
        assert (folder / "channel.json").read_text() == token
    finally:
        first.kill()
        first.wait()
        second.finish()


def test_a_lost_channel_is_replaced(site: Site) -> None:
    """A token that the SuperLink no longer knows costs a new run, not the round."""
    folder = site.folder / "lost"
    folder.mkdir()
    (folder / "channel.json").write_text(json.dumps({"run": 7, "token": "no longer known"}))
    exchange = site.exchange("lost")
    try:
        with site.agents(echo):
            assert len(exchange.gather(requests_of("lost", torch.ones(10)), 30.0)) == 2
            found = json.loads((folder / "channel.json").read_text())
            assert found["run"] != 7
    finally:
        exchange.finish()
    assert not (folder / "channel.json").exists()


def test_a_round_closes_at_its_deadline(site: Site) -> None:
    """The one who answers counts; what the other sends too late, or twice, changes nothing in the next round."""
    late: list[tuple[Node, Delivery]] = []

    def sometimes(node: Node, delivery: Delivery) -> None:
        request = request_from(delivery.frame)
        if request.owner == 1 and request.round == 1:
            late.append((node, delivery))
            return
        echo(node, delivery)
        echo(node, delivery)
        for other, missed in late:
            if other is node:
                echo(node, missed)

    exchange = site.exchange("late")
    try:
        with site.agents(sometimes):
            replies = exchange.gather(requests_of("late", torch.ones(10), 1), 2.0)
            assert [reply.owners for reply in replies] == [(0,)]
            assert len(late) == 1
            replies = exchange.gather(requests_of("late", torch.ones(10), 2), 30.0)
            assert sorted((reply.owners, reply.round) for reply in replies) == [((0,), 2), ((1,), 2)]
    finally:
        exchange.finish()


def test_an_answer_in_another_name_is_no_answer(site: Site) -> None:
    """An owner that answers as another, or for another round, has not answered."""

    def wrong(node: Node, delivery: Delivery) -> None:
        request = request_from(delivery.frame)
        if request.owner == 0:
            echo(node, delivery)
            return
        forged = Reply(request.run, request.round, request.attempt, (0,), "ok", request.weights + 1)
        node.send(delivery.ticket, forged.to_bytes())

    exchange = site.exchange("names")
    try:
        with site.agents(wrong):
            replies = exchange.gather(requests_of("names", torch.ones(10)), 2.0)
        assert [reply.owners for reply in replies] == [(0,)]
        assert torch.equal(replies[0].total, torch.ones(10))  # type: ignore[arg-type]  # an echo has a total
    finally:
        exchange.finish()


def test_a_large_model_has_the_time_that_it_takes(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow line is no lost message: while the pieces of a request or a reply travel, nobody is asked again."""
    from tacit.client import flower

    asked, upload = Counter[int](), flower.Wire.upload

    def slow(wire: flower.Wire, *arguments: Any) -> None:
        time.sleep(0.7)
        upload(wire, *arguments)

    def moved(node: Node, delivery: Delivery) -> None:
        request = request_from(delivery.frame)
        asked[request.owner] += 1
        reply = Reply(request.run, request.round, 0, (request.owner,), "ok", request.weights + 1 + request.owner)
        assert node.send(delivery.ticket, reply.to_bytes())

    monkeypatch.setattr(flower.Wire, "upload", slow)
    exchange = site.exchange("slow", resend=0.5)
    try:
        with site.agents(moved):
            assert len(exchange.gather(requests_of("slow", torch.randn(4_000_000)), 50.0)) == 2
        assert asked == {0: 1, 1: 1}
    finally:
        exchange.finish()


def test_an_owner_that_comes_late_still_takes_part(site: Site) -> None:
    """Nobody listens when the round begins; an agent that starts within the deadline gets the request."""
    exchange = site.exchange("absent")
    try:
        with ThreadPoolExecutor(1) as pool, site.agents(echo, (0,)):
            future = pool.submit(exchange.gather, requests_of("absent", torch.ones(10)), 40.0)
            time.sleep(1.0)
            with site.agents(echo, (1,)):
                assert len(future.result(60)) == 2
    finally:
        exchange.finish()


def test_a_wrong_clock_is_worked_around(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour ahead, Flower's node authentication refuses every call; the node follows the coordinator's clock."""
    from tacit.client import flower

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # as datetime's own
            return datetime.now(tz) + timedelta(hours=1)

    monkeypatch.setattr(flower, "datetime", Ahead)
    exchange = site.exchange("clock")
    try:
        with site.agents(echo):
            assert len(exchange.gather(requests_of("clock", torch.ones(10)), 30.0)) == 2
    finally:
        exchange.finish()
