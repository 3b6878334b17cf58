"""A malicious server lies about keys: what is dealt and masked under them is refused, so nobody sits in the middle.

Seven members, of whom owner 20 helps the server (its keys are the server's).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tacit.privacy.secagg import keys, messages
from tacit.privacy.secagg.keys import AgreementKey
from tacit.privacy.secagg.messages import Advertisement, Directory, Shares

Make = Callable[..., Any]
EVE, HONEST = 20, (2, 5, 8, 11, 14, 17)
EVERYBODY = (*HONEST, EVE)

FRESH = AgreementKey.of(bytes(range(32)))
LOW = (1).to_bytes(32, "little")


class Directories:
    """Everybody is shown a directory in which `change` changed the advertisements."""

    hit = HONEST

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        raise NotImplementedError

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step != "deal":
            return request
        listed = {each.index: each for each in messages.directory_from(request, world.context).full}
        self.change(world, listed)
        full = tuple(listed[each] for each in sorted(listed))
        return Directory(messages.entries(full), full).to_bytes(world.context)


def signed(world: Any, advertisement: Advertisement) -> Advertisement:
    """With the helper's own signature."""
    signature = keys.sign(world.signing[EVE], "advertise", advertisement.signed(world.context))
    return replace(advertisement, signature=signature)


class SubstitutesAMaskKey(Directories):
    """The server in the middle of owner 2's masks; owner 2 itself sees that its own entry was changed."""

    code, hit = "signature", (5, 8, 11, 14, 17)

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[2] = replace(listed[2], mask_key=FRESH.public)


class ChangesAnOwnersOwnEntry(SubstitutesAMaskKey):
    """The same, for the one whose key it is."""

    code, hit = "own", (2,)


class ShowsTwoKeysOfOneMember:
    """Its helper signed two advertisements; the session is that of the first, and half are shown the second."""

    code, hit = "members", (2, 5, 8)

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step != "deal" or index not in self.hit:
            return request
        true = messages.directory_from(request, world.context)
        other = signed(world, replace(true.full[-1], mask_key=FRESH.public))
        return Directory(true.entries, (*true.full[:-1], other)).to_bytes(world.context)


class SubstitutesASealingKey(SubstitutesAMaskKey):
    """The server reads what is dealt to owner 2."""

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[2] = replace(listed[2], sealing_key=FRESH.public)


class SwapsTheKeysOfTwoOwners(Directories):
    """Owner 2's keys under owner 5's name."""

    code, hit = "signature", (8, 11, 14, 17)

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[2], listed[5] = replace(listed[5], index=2), replace(listed[2], index=5)


class ReplaysAnAdvertisementOfAnotherAttempt(Directories):
    """A key of owner 2 whose secret leaked since."""

    code, hit = "signature", (5, 8, 11, 14, 17)
    earlier: Advertisement

    def prepare(self, make: Make) -> None:
        other = make(attempt=0)
        self.earlier = messages.advertisement_from(other.owners[2].advertise(), other.context)

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[2] = self.earlier


class RegistersAStranger(Directories):
    """A member of the roster's making that is not in the cohort, properly signed with a key of its own."""

    code = "members"

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[99] = signed(world, replace(listed[EVE], index=99, mask_key=FRESH.public))


class AdvertisesALowOrderMaskKey(Directories):
    """With which every pair mask of owner 20 is known to whoever looks."""

    code = "keys"

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[EVE] = signed(world, replace(listed[EVE], mask_key=LOW))


class AdvertisesALowOrderSealingKey(Directories):
    """With which everything dealt to owner 20 is readable."""

    code = "keys"

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[EVE] = signed(world, replace(listed[EVE], sealing_key=bytes(32)))


class AdvertisesAKeyThatIsNotReduced(Directories):
    """Another spelling of owner 2's key, which passes for a different one."""

    code = "keys"

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        top = bytearray(listed[2].mask_key)
        top[31] |= 0x80
        listed[EVE] = signed(world, replace(listed[EVE], mask_key=bytes(top)))


class AdvertisesAnotherOwnersKey(Directories):
    """Owner 2's mask key as its own: the masks of everybody with 2 and with 20 would come from one secret."""

    code = "keys"

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[EVE] = signed(world, replace(listed[EVE], mask_key=listed[2].mask_key))


class AdvertisesAnotherOwnersCommitment(Directories):
    """Owner 2's commitment as its own."""

    code = "keys"

    def change(self, world: Any, listed: dict[int, Advertisement]) -> None:
        listed[EVE] = signed(world, replace(listed[EVE], commitment=listed[2].commitment))


class ShowsTwoDirectories:
    """Two sessions of one attempt, each with enough members on paper: nobody is in both."""

    code, hit = "too-few", HONEST

    def tell(self, world: Any, step: str, index: int, request: bytes) -> bytes | None:
        if step == "check":  # what the others of its own session dealt
            return Shares(self._dealt(world, index)).to_bytes(world.owners[index]._session.id)
        if step != "deal":
            return request
        shown = messages.directory_from(request, world.context)
        kept = tuple(
            each for each in shown.full if each.index in ((2, 5, 8, 11, 20) if index < 10 else (5, 8, 11, 14, 17, 20))
        )
        return Directory(messages.entries(kept), kept).to_bytes(world.context)

    def say(self, world: Any, step: str, index: int, answer: Any) -> Any:
        if step != "deal":
            return answer
        self._said = {**getattr(self, "_said", {}), index: messages.dealing_from(answer, answer[5:37])}
        if index != EVERYBODY[-1]:
            return None
        for (
            each
        ) in HONEST:  # the collector would find no session in which these are messages: the server goes on by itself
            world.ask(each, "check", self.tell(world, "check", each, b""))
        return None

    def _dealt(self, world: Any, holder: int) -> dict[int, tuple[bytes, bytes, bytes]]:
        session = world.owners[holder]._session.id
        return {
            dealer: (*dealing.commitments[holder], dealing.sealed[holder])
            for dealer, dealing in self._said.items()
            if dealer != holder and holder in dealing.sealed and world.owners[dealer]._session.id == session
        }


ATTACKS = [
    SubstitutesAMaskKey,
    ChangesAnOwnersOwnEntry,
    ShowsTwoKeysOfOneMember,
    SubstitutesASealingKey,
    SwapsTheKeysOfTwoOwners,
    ReplaysAnAdvertisementOfAnotherAttempt,
    RegistersAStranger,
    AdvertisesALowOrderMaskKey,
    AdvertisesALowOrderSealingKey,
    AdvertisesAKeyThatIsNotReduced,
    AdvertisesAnotherOwnersKey,
    AdvertisesAnotherOwnersCommitment,
    ShowsTwoDirectories,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_directory_that_lies_gets_no_shares(world: Make, defeated: Callable[..., None], attack: type) -> None:
    defeated(world(), attack())
