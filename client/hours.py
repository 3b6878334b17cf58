"""Hours: the times of the week at which an owner lets its data be used."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60
_FORM = re.compile(r"(?:(?P<days>[a-z,-]+)\s+)?(?P<from>\d\d:\d\d)-(?P<to>\d\d:\d\d)", re.IGNORECASE | re.ASCII)


class HoursError(ValueError):
    """A text that names no hours; says how to write them."""


@dataclass(frozen=True, slots=True)
class Window:
    """The minutes `start` to `stop` (exclusive) after midnight of each of `days` (Monday is 0), in local time.

    A window whose stop is not after its start ends on the following day.
    """

    days: frozenset[int]
    start: int
    stop: int

    def holds(self, moment: datetime) -> bool:
        """Whether `moment`, read as local wall-clock time, lies inside."""
        minute, today = moment.hour * 60 + moment.minute, moment.weekday()
        if self.start < self.stop:
            return today in self.days and self.start <= minute < self.stop
        began_yesterday = (today - 1) % 7 in self.days and minute < self.stop
        return began_yesterday or (today in self.days and minute >= self.start)


def window(text: str) -> Window:
    """The window of `"22:00-06:00"`, `"Sat,Sun 00:00-24:00"` or `"Mon-Fri 18:00-24:00"`; raises `HoursError`.

    >>> window("Mon-Wed 22:00-06:00")
    Window(days=frozenset({0, 1, 2}), start=1320, stop=360)
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise HoursError(f'{text!r} names no hours; write "22:00-06:00" or "Mon-Fri 18:00-24:00"')
    start, stop = _minute(text, match["from"]), _minute(text, match["to"])
    if start in (stop, _DAY):
        raise HoursError(f'{text!r} is no stretch of time; for a whole day write "00:00-24:00"')
    return Window(_days(text, match["days"]), start, stop)


def within(windows: Iterable[Window], moment: datetime) -> bool:
    """Whether `moment` lies in one of `windows`; without any, all hours are permitted."""
    found = list(windows)
    return not found or any(each.holds(moment) for each in found)


def _minute(text: str, clock: str) -> int:
    hour, minute = (int(part) for part in clock.split(":"))
    if minute > 59 or hour * 60 + minute > _DAY:
        raise HoursError(f"{text!r}: {clock} is no time of day; give 00:00 to 24:00")
    return hour * 60 + minute


def _days(text: str, names: str | None) -> frozenset[int]:
    if names is None:
        return frozenset(range(7))
    found: set[int] = set()
    for part in names.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise HoursError(f"{text!r}: {part!r} names no day; write Mon, Tue, Wed, Thu, Fri, Sat, Sun, or Mon-Fri")
        begin = _DAYS.index(first)
        length = (_DAYS.index(last) - begin) % 7 if dash else 0
        found.update((begin + day) % 7 for day in range(length + 1))
    return frozenset(found)
