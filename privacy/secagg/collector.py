"""Collector: the coordinator's half of one attempt. It relays, counts, and opens nothing but the sum of the survivors.

    advertise → deal → check → mask → agree → unmask → done

    while collector.step != "done":
        requests = collector.requests()              # what each owner is to be sent
        collector.take(sender, message)              # for each answer; `fold(sender, vector)` in the step `mask`
        collector.close()                            # at the deadline, or when nobody is awaited any more
    collector.total()

What one owner sends wrong raises `FaultError`, names it, and leaves it out; too few owners, or a dealer that cannot be put
right any more, raise `AbortError` and end the attempt. It holds one vector, whatever the number of owners.

Nothing here protects an owner: an owner trusts no collector. What is checked is checked so that a bad owner is found early.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from . import keys, mask, messages, shamir
from . import session as sessions
from .errors import AbortError, FaultError, MessageError
from .keys import AgreementKey, CryptoError
from .mask import Vector
from .messages import Advertisement, Agreements, Dealing, Directory, Report, Secret, Shares, Survivors, Verdict
from .parameters import Parameters
from .session import Session
from .shamir import ShareError

Step = Literal["advertise", "deal", "check", "mask", "agree", "unmask", "done", "aborted"]

_PROBE = AgreementKey.of(
    bytes(range(keys.KEY))
)  # a public key of low order shows itself to any secret, also to a known one


class Collector:
    """The server of one attempt: `context` and `cohort` (index to Ed25519 key) as every owner has them."""

    def __init__(self, parameters: Parameters, context: bytes, cohort: Mapping[int, bytes]) -> None:
        self._parameters = parameters
        self._context = context
        self._cohort = {index: cohort[index] for index in sorted(cohort)}
        self._step: Step = "advertise"
        self._asked: dict[int, bytes] = dict.fromkeys(self._cohort, b"")
        self._answered: dict[int, bytes] = {}
        self._faults: dict[int, str] = {}
        self._session = Session(b"", (), None)
        self._advertised: dict[int, Advertisement] = {}
        self._public: set[bytes] = set()
        self._dealt: dict[int, Dealing] = {}
        self._shown: dict[int, Shares] = {}
        self._reports: dict[int, Report] = {}
        self._masking: frozenset[int] = frozenset()  # who was asked for a masked vector
        self._view = b""
        self._alive: frozenset[int] = frozenset()  # whose vector is in the sum
        self._agreed_on = b""
        self._signatures: dict[int, bytes] = {}
        self._opened: dict[int, dict[int, bytes]] = {}  # dealer -> point -> share
        self._sum = mask.zeros(parameters.dim, parameters.bits)

    @property
    def step(self) -> Step:
        """Which answers are being collected; `done` once the sum is open, `aborted` after an `AbortError`."""
        return self._step

    @property
    def session(self) -> bytes:
        """The session's name, which is public; empty before the step `advertise` is closed."""
        return self._session.id

    @property
    def awaited(self) -> frozenset[int]:
        """Who was asked and has neither answered nor been found at fault."""
        return frozenset(self._asked.keys() - self._answered.keys() - self._faults.keys())

    @property
    def faults(self) -> dict[int, str]:
        """Who was left out for what it sent, and why."""
        return dict(self._faults)

    @property
    def survivors(self) -> tuple[int, ...]:
        """Whose vectors are in the sum; empty before the step `mask` is closed."""
        return tuple(sorted(self._alive))

    def requests(self) -> dict[int, bytes]:
        """What to send to whom for this step. The first step has no message of its own: the round's request is it."""
        return dict(self._asked)

    def take(self, sender: int, message: bytes) -> None:
        """An owner's answer to this step's request. Raises `FaultError`. `sender` is whom the transport knows it from."""
        takers = {
            "advertise": self._take_advertisement,
            "deal": self._take_dealing,
            "check": self._take_report,
            "agree": self._take_agreement,
            "unmask": self._take_opening,
        }
        if self._step not in takers:
            raise FaultError("late", sender, f"a message in step {self._step}, which takes none", stays=True)
        if not self._due(sender, hashlib.sha256(message).digest()):
            return
        try:
            takers[self._step](sender, message)
        except MessageError as error:
            raise self._fault("malformed", sender, str(error)) from error
        except (CryptoError, ShareError) as error:
            raise self._fault("proof", sender, str(error)) from error
        self._answered[sender] = hashlib.sha256(message).digest()

    def fold(self, sender: int, vector: NDArray[np.integer[Any]]) -> None:
        """An owner's masked vector, `[dim]` elements of the ring, added to the sum at once. Raises `FaultError`.

        Whole vectors only: what arrived in part, or after `close`, must not be added, since nobody would take its masks off.
        """
        if self._step != "mask":
            raise FaultError("late", sender, f"a vector in step {self._step}", stays=True)
        if not self._due(sender, b""):
            return
        parameters = self._parameters
        if vector.dtype.kind not in "iu" or vector.shape != (parameters.dim,):
            raise self._fault(
                "malformed", sender, f"a vector {vector.dtype}{list(vector.shape)} for [{parameters.dim}]"
            )
        if (vector.dtype.kind == "i" and int(vector.min()) < 0) or int(vector.max()) >> parameters.bits:
            raise self._fault("malformed", sender, f"a vector that leaves the ring of {parameters.bits} bits")
        np.add(self._sum, vector.astype(self._sum.dtype, copy=False), out=self._sum)
        self._answered[sender] = b""

    def close(self) -> None:
        """Go on to the next step with those who answered. Raises `AbortError` where they are too few."""
        closers = {
            "advertise": self._close_advertise,
            "deal": self._close_deal,
            "check": self._close_check,
            "mask": self._close_mask,
            "agree": self._close_agree,
            "unmask": self._close_unmask,
        }
        if self._step not in closers:
            raise AbortError(self._step, f"there is no step to close: the attempt is {self._step}", {})
        closers[self._step]()
        self._answered = {}

    def total(self) -> Vector:
        """The survivors' sum mod 2^bits, `[dim]`."""
        if self._step != "done":
            raise AbortError(self._step, f"the sum is still masked in step {self._step}", {})
        return self._sum

    def _due(self, sender: int, fingerprint: bytes) -> bool:
        """Whether this answer is new. The first one counts; the same again is no fault, another one is."""
        if sender not in self._asked or sender in self._faults:
            raise FaultError("unasked", sender, f"was not asked in step {self._step}", stays=True)
        if sender not in self._answered:
            return True
        if self._answered[sender] != fingerprint:
            raise FaultError("changed", sender, f"two different answers to {self._step}; the first counts", stays=True)
        return False

    def _fault(self, code: str, sender: int, reason: str) -> FaultError:
        self._faults[sender] = f"{self._step}: {reason}"
        return FaultError(code, sender, f"{self._step}: {reason}")

    def _take_advertisement(self, sender: int, message: bytes) -> None:
        found = messages.advertisement_from(message, self._context)
        self._own(sender, found.index)
        keys.verify(self._cohort[sender], "advertise", found.signed(self._context), found.signature)
        public = {found.mask_key, found.sealing_key}
        for key in public:
            _PROBE.shared(key)
        if len(public) < 2 or public & self._public:
            raise MessageError("a public key that was advertised before")
        self._public |= public
        self._advertised[sender] = found

    def _close_advertise(self) -> None:
        self._advertised = {each: self._advertised[each] for each in sorted(self._advertised)}
        listed = messages.entries(self._advertised.values())
        directory = Directory(listed, ())
        self._session = sessions.session(directory, self._context, self._cohort, self._parameters)
        self._floor(self._advertised, self._session.members)
        self._asked = {}
        shown: dict[tuple[int, ...], bytes] = {}  # in the full graph everybody is shown the same
        for member in self._session.members:
            near = self._session.near(member)
            if near not in shown:
                full = tuple(self._advertised[each] for each in near)
                shown[near] = Directory(listed, full).to_bytes(self._context)
            self._asked[member] = shown[near]
        self._step = "deal"

    def _take_dealing(self, sender: int, message: bytes) -> None:
        found = messages.dealing_from(message, self._session.id)
        self._own(sender, found.index)
        if tuple(found.commitments) != self._session.near(sender):
            raise MessageError("a dealing that is not for exactly the dealer's neighbours and itself")
        keys.verify(self._cohort[sender], "deal", found.signed(self._session.id), found.signature)
        self._dealt[sender] = found

    def _close_deal(self) -> None:
        self._floor(self._dealt, self._session.members)
        self._asked = {}
        for holder in sorted(self._dealt):
            column: dict[int, tuple[bytes, bytes, bytes]] = {}
            for dealer in self._session.near(holder):
                if dealer != holder and dealer in self._dealt:
                    dealing = self._dealt[dealer]
                    column[dealer] = (*dealing.commitments[holder], dealing.sealed[holder])
            self._shown[holder] = Shares(column)
            self._asked[holder] = self._shown[holder].to_bytes(self._session.id)
        self._step = "check"

    def _take_report(self, sender: int, message: bytes) -> None:
        found = messages.report_from(message, self._session.id)
        self._own(sender, found.index)
        shown = self._shown[sender]
        if found.column != shown.column(self._session.id, sender) or not found.complaints.keys() <= shown.dealt.keys():
            raise MessageError("a report on other shares than were shown")
        keys.verify(self._cohort[sender], "report", found.signed(self._session.id), found.signature)
        self._reports[sender] = found

    def _close_check(self) -> None:
        complaining = tuple(self._reports[each] for each in sorted(self._reports) if self._reports[each].complaints)
        out = sessions.excluded(complaining, self._parameters.colluders)
        for each, reason in out.items():
            self._faults.setdefault(each, f"check: {reason}")
        members = tuple(sorted(self._reports.keys() - out.keys()))
        self._floor(members, members)
        verdict = Verdict(members, complaining)
        self._masking, self._view = frozenset(members), verdict.view(self._session.id)
        self._asked = dict.fromkeys(members, verdict.to_bytes(self._session.id))
        self._shown = {}
        self._step = "mask"

    def _close_mask(self) -> None:
        survivors = tuple(sorted(self._answered))
        self._floor(survivors, self._masking)
        self._alive = frozenset(survivors)
        self._agreed_on = Survivors(survivors).signed(self._view)
        self._asked = dict.fromkeys(survivors, Survivors(survivors).to_bytes(self._session.id))
        self._step = "agree"

    def _take_agreement(self, sender: int, message: bytes) -> None:
        found = messages.agreement_from(message, self._session.id)
        self._own(sender, found.index)
        keys.verify(self._cohort[sender], "agree", self._agreed_on, found.signature)
        self._signatures[sender] = found.signature

    def _close_agree(self) -> None:
        parameters = self._parameters
        signed = {each: self._signatures[each] for each in sorted(self._signatures)}
        if len(signed) < parameters.quorum:
            raise self._abort(f"{len(signed)} owners agree on the survivors; {parameters.quorum} have to", signed)
        self._asked = {}
        shown: dict[tuple[int, ...], bytes] = {}
        for signer in signed:
            near = tuple(each for each in self._session.near(signer) if each in signed)
            if len(near) >= parameters.quorum:
                if near not in shown:
                    shown[near] = Agreements({each: signed[each] for each in near}).to_bytes(self._session.id)
                self._asked[signer] = shown[near]
        self._recoverable(self._asked, self._masking)
        self._step = "unmask"

    def _take_opening(self, sender: int, message: bytes) -> None:
        found = messages.opening_from(message, self._session.id)
        self._own(sender, found.index)
        due = [each for each in self._session.near(sender) if each in self._masking]
        if list(found.shares) != due:
            raise MessageError("an opening that is not of exactly the sender's neighbours and itself")
        for dealer, (secret, share) in found.shares.items():
            wanted = Secret.SEED if dealer in self._alive else Secret.MASK_KEY
            committed = self._dealt[dealer].commitments[sender][secret == Secret.SEED]
            shown = sessions.share_commitment(self._session.id, dealer, sender, secret, share)
            if secret != wanted or shown != committed:
                raise MessageError(f"a share of owner {dealer} that is not the one dealt")
            shamir.check_share(sender + 1, share)
        for dealer, (_, share) in found.shares.items():
            self._opened.setdefault(dealer, {})[sender + 1] = share

    def _close_unmask(self) -> None:
        self._recoverable(self._answered, self._masking)
        alive = self._alive
        seeds: dict[int, bytes] = {}
        dropped: dict[int, AgreementKey] = {}
        bad: dict[int, str] = {}
        for dealer, secret in self._secrets().items():
            advertised = self._advertised[dealer]
            if secret is None:
                bad[dealer] = "unmask: its shares give no secret"
            elif dealer in alive:
                seeds[dealer] = secret
                if sessions.seed_commitment(self._context, dealer, secret) != advertised.commitment:
                    bad[dealer] = "unmask: its shares give another seed than it committed to"
            else:
                dropped[dealer] = AgreementKey.of(secret)
                if dropped[dealer].public != advertised.mask_key:
                    bad[dealer] = "unmask: its shares give another key than it advertised"
        if bad:
            self._faults |= bad
            named = ", ".join(map(str, bad))
            raise self._abort(
                f"owners {named} dealt shares of no secret of theirs; leave them out", alive, frozenset(bad)
            )
        self._take_masks_off(seeds, dropped)
        self._asked, self._step = {}, "done"

    def _secrets(self) -> dict[int, bytes | None]:
        """The opened secret of every member; None where the shares lie on no polynomial of a secret."""
        threshold = self._parameters.threshold
        coefficients: dict[tuple[int, ...], dict[int, int]] = {}  # many secrets are opened by the same holders
        found: dict[int, bytes | None] = {}
        for dealer in sorted(self._masking):
            shares = self._opened[dealer]
            points = tuple(sorted(shares)[:threshold])
            if points not in coefficients:
                coefficients[points] = shamir.weights(points)
            try:
                found[dealer] = shamir.secret_bytes(shamir.interpolate(shares, coefficients[points]))
            except ShareError:
                found[dealer] = None
        return found

    def _take_masks_off(self, seeds: Mapping[int, bytes], dropped: Mapping[int, AgreementKey]) -> None:
        masks: list[tuple[bytes, mask.Sign]] = [
            (sessions.self_mask(seed, self._view, survivor), -1) for survivor, seed in seeds.items()
        ]
        for gone, key in dropped.items():
            for survivor in self._session.near(gone):
                if survivor in seeds:
                    shared = key.shared(self._advertised[survivor].mask_key)
                    pair = sessions.pair_mask(shared, self._view, gone, survivor)
                    masks.append((pair, sessions.pair_sign(gone, survivor)))  # minus the sign that the survivor gave it
        mask.add_masks(self._sum, masks, self._parameters.bits)
        mask.reduce(self._sum, self._parameters.bits)

    def _own(self, sender: int, index: int) -> None:
        if index != sender:
            raise MessageError(f"a message that speaks for owner {index}")

    def _floor(self, present: Iterable[int], members: Iterable[int]) -> None:
        """Abort where fewer owners are `present` than a sum has at least, or than open the secrets of `members`."""
        held = set(present)
        least = max(self._parameters.least, self._parameters.quorum)
        if len(held) < least:
            raise self._abort(f"{len(held)} owners are left after {self._step}, and {least} are needed", held)
        self._recoverable(held, members)

    def _recoverable(self, present: Iterable[int], members: Iterable[int]) -> None:
        held, threshold = set(present), self._parameters.threshold
        whole = len(held)
        for each in members:
            near = self._session.near(each)
            holders = whole if near is self._session.members else len(held.intersection(near))
            if holders < threshold:
                raise self._abort(f"{holders} owners hold shares of owner {each}, and {threshold} open them", held)

    def _abort(self, message: str, present: Iterable[int], dealers: frozenset[int] = frozenset()) -> AbortError:
        step, self._step, self._asked = self._step, "aborted", {}
        missing = {each: self._faults.get(each, "silent") for each in self._cohort.keys() - set(present) | dealers}
        return AbortError(step, f"{message}; ask the missing owners, or begin another attempt", missing, dealers)
