"""Errors of the protocol: bytes that are no message, an owner's refusal, a sender at fault, a session that ends.

    SecureAggregationError
    ├── MessageError   bytes that are no message of the kind that is due
    ├── RefusalError   an owner does not go on; its session is over and no further byte of it leaves
    ├── FaultError     what one owner sent is not taken; the collector goes on without that owner
    └── AbortError     the collector cannot go on; nothing but what was already sent is known to it

`code` is one short word for programs. No text holds a secret.
"""

from __future__ import annotations

from collections.abc import Mapping


class SecureAggregationError(RuntimeError):
    """Secure aggregation did not do what it was asked to."""


class MessageError(SecureAggregationError):
    """Bytes that are no message of the kind that is due."""


class RefusalError(SecureAggregationError):
    """An owner does not go on with a session. Every refusal but `repeat` ends it and forgets its secrets."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class FaultError(SecureAggregationError):
    """What `sender` sent is not taken. The collector counts it as silent from here on, unless it `stays`."""

    def __init__(self, code: str, sender: int, message: str, *, stays: bool = False) -> None:
        super().__init__(f"owner {sender}: {message}")
        self.code = code
        self.sender = sender
        self.stays = stays


class AbortError(SecureAggregationError):
    """The collector cannot go on: `step` it stood at, who is `missing` and why, and the `dealers` to leave out next time."""

    def __init__(
        self, step: str, message: str, missing: Mapping[int, str], dealers: frozenset[int] = frozenset()
    ) -> None:
        super().__init__(message)
        self.step = step
        self.missing = dict(missing)
        self.dealers = dealers
