"""Transport: how requests reach owners and replies come back. The coordinator does not know which one it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .messages import Reply, Request


class Transport(Protocol):
    """One exchange with a set of owners."""

    def gather(self, requests: Sequence[Request], deadline: float) -> list[Reply]:
        """Send all `requests`; return the replies that arrived within `deadline` seconds.

        A round closes at its deadline or when every owner answered, never at the k-th reply (PRIVACY.md 13). An owner
        that did not answer has no reply. A reply may speak for several owners when an engine has summed them already.
        """
        ...
