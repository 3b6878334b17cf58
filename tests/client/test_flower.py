"""The node's signature: it follows the coordinator's clock, and says so each time that this turns out to be another one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.supercore.protobuf.client import ProtobufRequestContext
from google.protobuf.message import Message
from tacit.client.flower import _Signed

HOUR = timedelta(hours=1)


class Coordinator:
    """Refuses whoever signs a time that is off its own clock by more than ten seconds."""

    def __init__(self) -> None:
        self.ahead, self.moves = timedelta(0), 0
        self.signed = _Signed(ec.generate_private_key(ec.SECP384R1()), 5.0, self._moved)

    def _moved(self) -> None:
        self.moves += 1

    def ask(self, date: str | None = None) -> int:
        request = httpx.Request("POST", "https://fl.example.org/v1/fleet/pull-messages")
        context = ProtobufRequestContext("/flwr.proto.Fleet/PullMessages", Message(), request)
        return self.signed.intercept(context, lambda given: self._answer(given, date)).status_code

    def _answer(self, context: ProtobufRequestContext, date: str | None) -> httpx.Response:
        now = datetime.now(UTC) + self.ahead
        off = abs(datetime.fromisoformat(context.request.headers[TIMESTAMP_HEADER]) - now)
        headers = {"date": format_datetime(now, usegmt=True) if date is None else date}
        return httpx.Response(401 if off > timedelta(seconds=10) else 200, headers=headers)


@pytest.mark.parametrize("ahead", [HOUR, -HOUR, 25 * HOUR, -25 * HOUR], ids=str)
def test_one_refusal_is_enough_to_follow_a_clock_that_jumped(ahead: timedelta) -> None:
    coordinator = Coordinator()
    assert (coordinator.ask(), coordinator.moves) == (200, 0)
    coordinator.ahead = ahead
    assert (coordinator.ask(), coordinator.moves) == (401, 1)
    assert (coordinator.ask(), coordinator.moves) == (200, 1)
    coordinator.ahead = timedelta(0)
    assert [coordinator.ask(), coordinator.ask(), coordinator.moves] == [401, 200, 2]


@pytest.mark.parametrize("date", ["", "yesterday", "Wed, 01 Jan 1800 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_a_date_that_is_none_moves_nothing(date: str) -> None:
    coordinator = Coordinator()
    coordinator.ahead = HOUR
    assert (coordinator.ask(date), coordinator.moves) == (401, 0)
