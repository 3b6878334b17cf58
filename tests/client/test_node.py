"""Node: what it makes of a coordinator's refusals, one after the other, without a network."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tacit.client import node as module
from tacit.client.flower import Ticket
from tacit.client.node import Node, NotEnrolledError

TICKET = Ticket("message", 1, 0.0, 60.0)


class Refusing:
    """A wire that answers pushes with these statuses in turn; 200 is no refusal."""

    statuses: Iterator[int]
    pushes: int = 0

    def __init__(self, *_: Any) -> None:
        type(self).pushes = 0

    def beat(self, node: int, heartbeat: float) -> bool:
        return True

    def push(self, *_: Any) -> None:
        type(self).pushes += 1
        status = next(self.statuses)
        if status != 200:
            request = httpx.Request("POST", "https://coordinator")
            raise httpx.HTTPStatusError("refused", request=request, response=httpx.Response(status, request=request))

    def deactivate(self, node: int) -> None:
        return

    def close(self) -> None:
        return


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[bool, int]]:
    def of(*statuses: int) -> tuple[bool, int]:
        monkeypatch.setattr(module, "Wire", Refusing)
        monkeypatch.setattr(Refusing, "statuses", iter(statuses), raising=False)
        state = tmp_path / "node.json"
        state.write_text(json.dumps({"node": 7}))
        key = ec.generate_private_key(ec.SECP384R1())
        with Node("coordinator:1", ssl.create_default_context(), key, state, patience=10.0) as node:
            return node.send(TICKET, b"reply"), Refusing.pushes

    return of


@pytest.mark.parametrize(
    ("statuses", "arrives"),
    [
        ((200,), True),
        ((403,), False),  # the run is over
        ((401, 200), True),  # the clock's, which the connection corrects
        ((401, 403), False),  # the clock's, and meanwhile the run is over
        ((503, 200), True),
        ((401, 503, 401, 403), False),
    ],
)
def test_a_reply_arrives_or_is_dropped(statuses: tuple[int, ...], arrives: bool, sent: Any) -> None:
    assert sent(*statuses) == (arrives, len(statuses))


def test_a_key_that_is_refused_again_and_again_is_not_enrolled(sent: Any) -> None:
    with pytest.raises(NotEnrolledError, match="HTTP 401"):
        sent(*[401] * 20)
