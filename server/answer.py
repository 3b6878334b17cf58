"""Answer: what the SuperLink says to a call, waited for while it restarts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import httpx

_RETRY = frozenset({408, 429, 500, 502, 503, 504})
_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class SuperLinkError(RuntimeError):
    """The SuperLink does not answer, or not as it should."""


class ChannelLostError(SuperLinkError):
    """The run of a channel is over or its token expired; open a new one and send again."""


class UnansweredError(SuperLinkError):
    """The SuperLink did not answer in time, or with a fault of its own each time."""


def answer(call: Callable[[_Request], _Response], request: _Request, within: float) -> _Response:
    """The answer of `call` to `request`, tried for `within` seconds. Raises `SuperLinkError`, `UnansweredError`.

    Every call that is made through this may be made twice: an answer that was lost on the way is asked for again.
    """
    until, pause = time.monotonic() + within, 0.05
    while True:
        try:
            return call(request)
        except (httpx.TransportError, ValueError) as error:
            problem: Exception = error
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            if status in (401, 403):
                raise ChannelLostError("the SuperLink no longer accepts this run's token") from error
            if status not in _RETRY:
                raise SuperLinkError(
                    f"the SuperLink refuses {error.request.url.path}: HTTP {status} {error.response.text[:200]}; "
                    f"see its log"
                ) from error
            problem = error
        if time.monotonic() + pause > until:
            raise UnansweredError(
                f"the SuperLink did not answer within {within:.1f} s ({problem or type(problem).__name__}); see its "
                f"log, or restart it"
            ) from problem
        time.sleep(pause)
        pause = min(2 * pause, 1.0)
