"""Requests: what one attempt asks of all its owners, said once; an owner's own request is made when somebody looks at it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

from torch import Tensor

from .messages import Recipe, Request


@dataclass(frozen=True, slots=True)
class Requests(Sequence[Request]):
    """The requests to `owners`, in this order, that differ in nothing else."""

    run: str
    round: int
    attempt: int
    owners: tuple[int, ...]
    recipe: Recipe
    weights: Tensor
    broadcast: Tensor

    def __len__(self) -> int:
        return len(self.owners)

    def __iter__(self) -> Iterator[Request]:
        return map(self.to, self.owners)

    @overload
    def __getitem__(self, place: int) -> Request: ...

    @overload
    def __getitem__(self, place: slice) -> Requests: ...

    def __getitem__(self, place: int | slice) -> Request | Requests:
        if isinstance(place, slice):
            return replace(self, owners=self.owners[place])
        return self.to(self.owners[place])

    def to(self, owner: int) -> Request:
        """The request to one owner, whether it is among these or not."""
        return Request(self.run, self.round, self.attempt, owner, self.recipe, self.weights, self.broadcast)

    def those(self, owners: Iterable[int]) -> Requests:
        """The same to other owners."""
        return replace(self, owners=tuple(owners))

    def at(self, places: Iterable[int]) -> Requests:
        """Those of the requests that stand at these places."""
        return self.those(self.owners[place] for place in places)


def owners_in(requests: Sequence[Request]) -> tuple[int, ...]:
    """Whom these requests ask, in their order."""
    if isinstance(requests, Requests):
        return requests.owners
    return tuple(request.owner for request in requests)
