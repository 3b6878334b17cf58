"""Transport: how requests reach owners and replies come back. The coordinator does not know which one it has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from .messages import Reply
from .steps import Asked


class Transport(Protocol):
    """One exchange with a set of owners."""

    def gather(self, requests: Sequence[Asked], deadline: float) -> Iterable[Reply]:
        """Send all `requests`; the replies that arrive within `deadline` seconds, for one pass over them.

        A round closes at its deadline or when every owner answered, never at the k-th reply (PRIVACY.md 13). An owner
        that did not answer has no reply. A reply may speak for several owners when an engine has summed them already.
        """
        ...
