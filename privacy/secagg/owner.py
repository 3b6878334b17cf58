"""Owner: one data owner's half of one attempt. Bytes in, bytes out; it decides everything that protects its vector itself.

    advertise → deal → check → mask → agree → unmask

Each step is taken once and in this order. The same bytes again get the same answer again, which is stored before it is
returned; any other bytes, and whatever fails a check, end the session: its secrets are forgotten and it answers nothing
more. What an owner refuses never depends on its vector.

Rules: `docs/secure-aggregation.md`; Bonawitz et al. 2017, "Practical Secure Aggregation for Privacy-Preserving Machine
Learning", figure 4, with what a malicious server needs on top.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from . import keys, mask, messages, shamir
from . import session as sessions
from .company import company, require
from .errors import MessageError, RefusalError
from .keys import AgreementError, AgreementKey, CryptoError, Randomness, SealError, SignatureError
from .mask import MaskError, Vector
from .messages import Advertisement, Agreement, Dealing, Opening, Reason, Report, Secret, Survivors, Verdict
from .parameters import Parameters
from .session import Session
from .shamir import SHARE, ShareError

STEPS = ("advertise", "deal", "check", "mask", "agree", "unmask")

Answer = TypeVar("Answer")


@dataclass(slots=True, eq=False)
class _Secrets:
    """What an owner must never show; forgotten when the session ends."""

    mask_key: AgreementKey
    sealing_key: AgreementKey
    seed: bytes = field(repr=False)
    sealing: dict[int, bytes] = field(default_factory=dict, repr=False)  # what seals to and from each neighbour
    masking: dict[int, bytes] = field(default_factory=dict, repr=False)  # what masks with each neighbour
    held: dict[int, tuple[bytes, bytes]] = field(default_factory=dict, repr=False)  # dealer -> its two shares


class Owner:
    """One owner in one attempt.

    `cohort` maps the roster index of every member, its own included, to the member's Ed25519 key; `approved` are the entries
    of the roster that this owner's administrator approved; `parameters` are what its policy accepts. Against a malicious
    server a member that is not approved counts as one colluder more and never towards the floor. Raises `RefusalError`.
    """

    def __init__(
        self,
        parameters: Parameters,
        context: bytes,
        index: int,
        signing_key: Ed25519PrivateKey,
        cohort: Mapping[int, bytes],
        approved: frozenset[int],
        randomness: Randomness,
    ) -> None:
        require(
            len(context) == keys.KEY, "context", f"a context of {len(context)} bytes; `context` makes one of {keys.KEY}"
        )
        own = signing_key.public_key().public_bytes_raw()
        self._company = company(parameters, index, own, cohort, approved)
        self._parameters = parameters
        self._context = context
        self._index = index
        self._signing_key = signing_key
        self._randomness = randomness
        self._ended = ""
        self._answers: list[tuple[bytes, Any]] = []
        mask_key, sealing_key = AgreementKey.fresh(randomness), AgreementKey.fresh(randomness)
        self._secrets: _Secrets | None = _Secrets(mask_key, sealing_key, randomness(mask.SEED))
        self._session = Session(b"", (), None)
        self._advertised: dict[int, Advertisement] = {}
        self._complaints: dict[int, Reason] = {}
        self._verdict = Verdict((), ())
        self._view = b""
        self._survivors = Survivors(())
        self._agreed = b""

    def advertise(self) -> bytes:
        """Exchange 1: this owner's fresh public keys and the commitment to its seed, signed over the context."""
        return self._once(0, b"", self._advertise)

    def deal(self, directory: bytes) -> bytes:
        """Exchange 2: shares of both secrets for every neighbour, once everybody's keys are known and checked."""
        return self._once(1, directory, lambda: self._deal(directory))

    def check(self, shares: bytes) -> bytes:
        """Exchange 3: what is wrong with the shares that this owner was dealt, if anything, signed."""
        return self._once(2, shares, lambda: self._check(shares))

    def mask(self, verdict: bytes, vector: NDArray[np.integer[Any]]) -> Vector:
        """Exchange 4: `vector` (`[dim]`, any integers) plus this owner's masks, mod 2^bits; read-only.

        One vector of extra memory. Kept until `agree`; asked again with the same verdict it is the same array, and the
        `vector` given with that call is not looked at.
        """
        return self.mask_made(verdict, lambda: vector)

    def mask_made(self, verdict: bytes, make: Callable[[], NDArray[np.integer[Any]]]) -> Vector:
        """As `mask`, of the vector that `make()` gives: asked for once, and only after `verdict` passed every check.

        So what it takes to make the vector is not even begun for a verdict that is refused. Where `make` raises, the session
        is over.
        """
        if len(self._answers) > 4 and self._same(3, verdict):
            raise RefusalError("repeat", "the masked vector was sent and is no longer kept")
        return self._once(3, verdict, lambda: self._mask(verdict, make))

    def agree(self, survivors: bytes) -> bytes:
        """Exchange 5: a signature over the owners whose vectors arrived."""
        return self._once(4, survivors, lambda: self._agree(survivors))

    def unmask(self, agreements: bytes) -> bytes:
        """Exchange 6: one share for each neighbour, once enough members signed the same survivors. Ends the session."""
        answer = self._once(5, agreements, lambda: self._unmask(agreements))
        self._secrets = None
        return answer

    @property
    def survivors(self) -> int:
        """How many owners this one agreed are in the sum; 0 before it agreed."""
        return len(self._survivors.members)

    @property
    def ended(self) -> str:
        """Why the session is over without its result; empty while it is not."""
        return self._ended

    def _once(self, step: int, request: bytes, work: Callable[[], Answer]) -> Answer:
        if self._ended:
            raise RefusalError("ended", f"this session is over: {self._ended}; begin another attempt")
        if step < len(self._answers):
            if self._same(step, request):
                answer: Answer = self._answers[step][1]
                return answer
            self._end(f"asked to {STEPS[step]} twice, differently")
            raise RefusalError("changed", f"asked to {STEPS[step]} twice in one session, differently")
        if step > len(self._answers):
            due = STEPS[len(self._answers)]
            self._end(f"asked to {STEPS[step]} before {due}")
            raise RefusalError("order", f"asked to {STEPS[step]} before {due}")
        answered = False
        try:
            answer = work()
            self._answers.append((hashlib.sha256(request).digest(), answer))
            answered = True
        except MessageError as error:
            raise RefusalError("malformed", f"{STEPS[step]}: {error}") from error
        except AgreementError as error:
            raise RefusalError("keys", f"{STEPS[step]}: {error}") from error
        except SignatureError as error:
            raise RefusalError("signature", f"{STEPS[step]}: {error}") from error
        except (CryptoError, ShareError, MaskError) as error:  # what only broken randomness leads to
            raise RefusalError("broken", f"{STEPS[step]}: {error}") from error
        finally:  # whatever went wrong, also what nobody foresaw: no second try with the same secrets
            if not answered:
                self._end(f"refused to {STEPS[step]}")
        return answer

    def _same(self, step: int, request: bytes) -> bool:
        return self._answers[step][0] == hashlib.sha256(request).digest()

    def _end(self, reason: str) -> None:
        self._ended, self._secrets, self._answers = reason, None, []

    def _live(self) -> _Secrets:
        if self._secrets is None:
            raise RefusalError("ended", "this session has no secrets any more; begin another attempt")
        return self._secrets

    def _advertise(self) -> bytes:
        secrets = self._live()
        commitment = sessions.seed_commitment(self._context, self._index, secrets.seed)
        unsigned = Advertisement(
            self._index, secrets.mask_key.public, secrets.sealing_key.public, commitment, bytes(keys.SIGNATURE)
        )
        signature = keys.sign(self._signing_key, "advertise", unsigned.signed(self._context))
        own = Advertisement(*(unsigned.index, unsigned.mask_key, unsigned.sealing_key, commitment, signature))
        self._advertised = {self._index: own}
        return own.to_bytes(self._context)

    def _deal(self, message: bytes) -> bytes:
        secrets, own = self._live(), self._advertised[self._index]
        directory = messages.directory_from(message, self._context)
        digests = directory.digests()
        require(digests.keys() <= self._company.keys.keys(), "members", "the directory lists owners outside the cohort")
        require(digests.get(self._index) == own.digest(), "own", "the directory changed this owner's advertisement")
        self._company.floor("the directory", digests)
        self._session = sessions.session(directory, self._context, self._company.keys, self._parameters)
        near = self._session.near(self._index)
        self._advertised = {each.index: each for each in directory.full}
        require(tuple(self._advertised) == near, "members", "the directory does not show exactly the neighbours' keys")
        self._company.reach("the directory", near)
        for each in directory.full:
            require(each.digest() == digests[each.index], "members", f"two advertisements of owner {each.index}")
            if each.index != self._index:
                self._company.signed(each.index, "advertise", each.signed(self._context), each.signature)
        published = [key for each in directory.full for key in (each.mask_key, each.sealing_key)]
        distinct = len(set(published)) == len(published)
        require(distinct, "keys", "a public key is advertised twice, which would let two masks be one")
        require(len({each.commitment for each in directory.full}) == len(near), "keys", "a commitment comes twice")
        return self._dealing(secrets, near).to_bytes(self._session.id)

    def _dealing(self, secrets: _Secrets, near: tuple[int, ...]) -> Dealing:
        session, points = self._session.id, [each + 1 for each in near]
        threshold = self._parameters.threshold
        of_key = shamir.split(secrets.mask_key.secret, threshold, points, self._randomness)
        of_seed = shamir.split(secrets.seed, threshold, points, self._randomness)
        secrets.held[self._index] = (of_key[self._index + 1], of_seed[self._index + 1])
        commitments: dict[int, tuple[bytes, bytes]] = {}
        sealed: dict[int, bytes] = {}
        for each in near:
            pair = of_key[each + 1], of_seed[each + 1]
            commitments[each] = self._commitments(self._index, each, pair)
            if each == self._index:
                continue
            secrets.sealing[each] = secrets.sealing_key.shared(self._advertised[each].sealing_key)
            secrets.masking[each] = secrets.mask_key.shared(self._advertised[each].mask_key)
            sealed[each] = keys.seal(secrets.sealing[each], session, self._index, each, b"".join(pair))
        unsigned = Dealing(self._index, b"", commitments, sealed)
        return Dealing(self._index, self._sign("deal", unsigned.signed(session)), commitments, sealed)

    def _check(self, message: bytes) -> bytes:
        secrets, session = self._live(), self._session.id
        shares = messages.shares_from(message, session)
        near = set(self._session.near(self._index)) - {self._index}
        require(shares.dealt.keys() <= near, "members", "shares of owners that do not deal to this one")
        self._company.reach("the dealers", {*shares.dealt, self._index})
        for dealer, (key, seed, sealed) in shares.dealt.items():
            pair = self._opened(secrets, dealer, sealed)
            if isinstance(pair, Reason):
                self._complaints[dealer] = pair
            elif self._commitments(dealer, self._index, pair) != (key, seed):
                self._complaints[dealer] = Reason.COMMITMENT
            else:
                secrets.held[dealer] = pair
        secrets.sealing.clear()
        column = shares.column(session, self._index)
        unsigned = Report(self._index, column, self._complaints, b"")
        return Report(self._index, column, self._complaints, self._sign("report", unsigned.signed(session))).to_bytes(
            session
        )

    def _opened(self, secrets: _Secrets, dealer: int, sealed: bytes) -> tuple[bytes, bytes] | Reason:
        try:
            text = keys.open_sealed(secrets.sealing[dealer], self._session.id, dealer, self._index, sealed)
        except SealError:
            return Reason.SEALED
        pair = text[:SHARE], text[SHARE:]
        try:
            for share in pair:
                shamir.check_share(self._index + 1, share)
        except ShareError:
            return Reason.SHARE
        return pair

    def _mask(self, message: bytes, make: Callable[[], NDArray[np.integer[Any]]]) -> Vector:
        secrets, session = self._live(), self._session.id
        verdict = messages.verdict_from(message, session)
        goes_on = set(verdict.members)
        require(goes_on <= set(self._session.members), "members", "the verdict keeps owners that did not advertise")
        require(self._index in goes_on, "members", "the verdict leaves this owner out and asks for its vector")
        for report in verdict.reports:
            require(report.index in self._session.members, "members", "a complaint of an owner that did not advertise")
            self._company.signed(report.index, "report", report.signed(session), report.signature)
        own = [dict(report.complaints) for report in verdict.reports if report.index == self._index]
        require(
            own == ([self._complaints] if self._complaints else []), "own", "the verdict changed this owner's report"
        )
        out = sessions.excluded(verdict.reports, self._parameters.colluders)
        require(not goes_on & out.keys(), "members", f"the verdict keeps {sorted(goes_on & out.keys())}, complained of")
        peers = [each for each in self._session.near(self._index) if each in goes_on]
        require(
            set(peers) <= secrets.held.keys(), "members", "the verdict keeps an owner of whom this one has no shares"
        )
        self._company.floor("the verdict", goes_on)
        self._company.reach("the verdict", peers)
        self._verdict, self._view = verdict, verdict.view(session)
        vector = make()
        if vector.shape != (self._parameters.dim,) or vector.dtype.kind not in "iu":
            raise RefusalError(
                "vector", f"a vector {vector.dtype}{list(vector.shape)}; give integers [{self._parameters.dim}]"
            )
        return self._masked(secrets, [each for each in peers if each != self._index], vector)

    def _masked(self, secrets: _Secrets, peers: list[int], vector: NDArray[np.integer[Any]]) -> Vector:
        bits = self._parameters.bits
        seeds: list[tuple[bytes, mask.Sign]] = [(sessions.self_mask(secrets.seed, self._view, self._index), 1)]
        for each in peers:
            pair = sessions.pair_mask(secrets.masking[each], self._view, self._index, each)
            seeds.append((pair, sessions.pair_sign(self._index, each)))
        masked = mask.working(vector, bits)
        mask.add_masks(masked, seeds, bits)
        mask.reduce(masked, bits)
        masked.setflags(write=False)
        return masked

    def _agree(self, message: bytes) -> bytes:
        survivors = messages.survivors_from(message, self._session.id)
        alive = set(survivors.members)
        require(alive <= set(self._verdict.members), "survivors", "a survivor that was not to send a vector")
        require(self._index in alive, "survivors", "this owner sent its vector and is listed as dropped")
        self._company.floor("the survivors", alive)
        self._company.reach("the survivors", alive.intersection(self._session.near(self._index)))
        self._survivors = survivors
        signature = self._agreed = self._sign("agree", survivors.signed(self._view))
        self._answers[3] = (self._answers[3][0], None)  # a masked vector that is in the sum is not asked for again
        return Agreement(self._index, signature).to_bytes(self._session.id)

    def _unmask(self, message: bytes) -> bytes:
        secrets, session = self._live(), self._session.id
        signatures = messages.agreements_from(message, session).signatures
        alive, near = set(self._survivors.members), self._session.near(self._index)
        require(signatures.get(self._index) == self._agreed, "agreement", "the agreements lack this owner's own")
        require(
            signatures.keys() <= alive & set(near), "agreement", "an agreement of an owner that is no surviving peer"
        )
        quorum = self._company.quorum
        require(
            len(signatures) >= quorum, "agreement", f"{len(signatures)} agree on the survivors, and {quorum} have to"
        )
        payload, others = self._survivors.signed(self._view), [each for each in signatures if each != self._index]
        for signer in others[: quorum - 1]:  # more would prove no more
            self._company.signed(signer, "agree", payload, signatures[signer])
        shares: dict[int, tuple[Secret, bytes]] = {}
        masked = set(self._verdict.members)  # of who was left out before masking nothing is ever shown
        for each in near:
            if each in masked:
                secret = Secret.SEED if each in alive else Secret.MASK_KEY
                shares[each] = (secret, secrets.held[each][secret == Secret.SEED])
        return Opening(self._index, shares).to_bytes(session)

    def _commitments(self, dealer: int, holder: int, pair: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        session = self._session.id
        return (
            sessions.share_commitment(session, dealer, holder, Secret.MASK_KEY, pair[0]),
            sessions.share_commitment(session, dealer, holder, Secret.SEED, pair[1]),
        )

    def _sign(self, purpose: str, payload: bytes) -> bytes:
        return keys.sign(self._signing_key, purpose, payload)
