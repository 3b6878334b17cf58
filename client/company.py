"""Company: the cohort of a masked attempt as an enrolled owner knows it, by the roster that it keeps and its own approvals.

The request says by which roster its members are numbered. Another one than is kept here is fetched from the coordinator and
checked like any (signature, never older, never without us); what makes its entries count is still only that this owner's
administrator approved them (PRIVACY.md 17).
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from ..strategies.keyfile import KeyFileError
from ..strategies.messages import Cohort
from ..strategies.roster import Roster, RosterError
from .enrolment import EnrolmentError, newest_roster
from .identity import Identity
from .refusal import RefusedError
from .roster import ApprovalError, approvals, approved, current, take
from .turn import Circle

log = logging.getLogger(__name__)

# Seconds between two looks for a newer roster: a request alone must not make this owner call again and again.
_PAUSE = 5.0


class Company:
    """The circles of one owner (`turn.Circles`). `fetch` gives the coordinator's newest roster as it signed it.

    `clock` counts seconds from anywhere.
    """

    def __init__(
        self, identity: Identity, fetch: Callable[[Identity, float], str] = newest_roster,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._identity, self._fetch, self._clock = identity, fetch, clock
        self._looked = -math.inf

    def __call__(self, cohort: Cohort) -> Circle:
        """The cohort by this owner's own roster. Raises `RefusedError` for owners that it does not know."""
        try:
            roster = self._roster(cohort.roster)
            counting = approved(roster, approvals(self._identity), self._identity.entry)
        except (RosterError, ApprovalError, KeyFileError) as error:
            log.error("%s", error)  # it may name files of this machine
            raise RefusedError(
                "this owner's roster cannot be used", "roster", "its administrator finds the cause in its log"
            ) from error
        entries = {entry.number - 1: entry for entry in roster.entries}
        unknown = [index for index in cohort.members if index not in entries]
        if unknown:
            raise RefusedError(
                f"owners {str(unknown[:5])[1:-1]} of the cohort are not in the roster", "roster", "ask without them"
            )
        return Circle(
            self._identity.entry.number - 1,
            {index: entries[index].key for index in cohort.members},
            frozenset(entry.number - 1 for entry in counting) & frozenset(cohort.members),
            self._identity.keys.signing,
        )

    def _roster(self, digest: str) -> Roster:
        kept = current(self._identity)
        if kept.digest().hex() != digest and self._clock() >= self._looked + _PAUSE:
            self._looked = self._clock()
            try:
                kept = take(self._identity, self._fetch(self._identity, time.time()))
            except EnrolmentError as error:
                log.warning("the newest roster cannot be fetched: %s", error)
        if kept.digest().hex() != digest:
            raise RefusedError(
                f"the cohort is numbered by another roster than version {kept.version}, which is kept here", "roster",
                "ask again in a moment, by the newest roster",
            )  # fmt: skip
        return kept
