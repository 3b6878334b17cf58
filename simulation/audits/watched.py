"""Watched: a ledger that shows what it opened to a guesser; nobody sees more of a run than this and what is public."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

from ...privacy.ledger.memory import Budget, Entry, MemoryLedger
from ...privacy.pipeline import Opened, Release


class Watched(MemoryLedger):
    """Charges and opens as any ledger, then tells `seen(round, sum)`: the decoded, noised sum `[d]` of that round."""

    def __init__(self, budget: Budget, seen: Callable[[int, Tensor], None], entries: Iterable[Entry] = ()) -> None:
        super().__init__(budget, entries)
        self._seen = seen

    def open(self, release: Release) -> Opened:
        opened = super().open(release)
        self._seen(release.round, opened.total)
        return opened
