"""Laws of a whole attempt: exact sums under every tolerated dropout, nothing opened past it, one bad sender left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tacit.privacy.secagg import messages
from tacit.privacy.secagg.collector import Collector
from tacit.privacy.secagg.errors import AbortError, FaultError, RefusalError
from tacit.privacy.secagg.messages import Secret
from tacit.privacy.secagg.owner import STEPS
from tacit.privacy.secagg.parameters import Parameters, choose

Begin = Callable[..., Any]
KINDS = [
    Parameters(n=4, least=3, colluders=0, threshold=3, bits=16, dim=5, adversary="malicious"),
    Parameters(n=5, least=4, colluders=1, threshold=4, bits=20, dim=3, adversary="malicious"),
    Parameters(n=7, least=5, colluders=2, threshold=5, bits=62, dim=2, adversary="malicious"),
    Parameters(n=8, least=6, colluders=0, threshold=5, bits=2, dim=4, adversary="malicious"),
    Parameters(n=6, least=5, colluders=0, threshold=5, bits=32, dim=3, adversary="malicious"),  # t above the quorum
    Parameters(n=6, least=3, colluders=1, threshold=2, bits=33, dim=4, adversary="semi-honest"),
]


class Wire:
    """A network that loses owners from a step on and keeps all that the collector was sent."""

    def __init__(self, drops: Mapping[int, str], collector: Collector) -> None:
        self._drops = {index: STEPS.index(step) for index, step in drops.items()}
        self.sent: dict[tuple[str, int], bytes] = {}
        take = collector.take

        def recorded(sender: int, message: bytes) -> None:
            self.sent[(collector.step, sender)] = message
            take(sender, message)

        collector.take = recorded  # type: ignore[method-assign]  # what an observer at the server writes down

    def __call__(self, step: str, owner: int, request: bytes) -> bytes | None:
        return None if STEPS.index(step) >= self._drops.get(owner, len(STEPS)) else request

    def opened(self, session: bytes) -> dict[int, dict[Secret, set[int]]]:
        """For each member, who showed a share of which of its secrets."""
        found: dict[int, dict[Secret, set[int]]] = {}
        for (step, sender), message in self.sent.items():
            if step == "unmask":
                for dealer, (secret, _) in messages.opening_from(message, session).shares.items():
                    found.setdefault(dealer, {}).setdefault(secret, set()).add(sender)
        return found


def first_abort(parameters: Parameters, drops: Mapping[int, str]) -> str | None:
    """Where the rules say that an attempt with these drops ends; None where it gives a sum."""
    for at, step in enumerate(STEPS):
        left = parameters.n - sum(STEPS.index(each) <= at for each in drops.values())
        needed = {"agree": parameters.quorum, "unmask": 0}.get(step, max(parameters.least, parameters.quorum))
        if left < max(needed, parameters.threshold):
            return step
    return None


@st.composite
def dropouts(draw: st.DrawFn) -> tuple[Parameters, dict[int, str]]:
    """Parameters, and owners that drop out at some step each: about as many as are tolerated."""
    parameters = draw(st.sampled_from(KINDS))
    who = [3 * each + 2 for each in range(parameters.n)]
    count = draw(st.integers(0, parameters.drops + 1))
    gone = draw(st.permutations(who))[:count]
    return parameters, {each: draw(st.sampled_from(STEPS)) for each in gone}


@settings(max_examples=80)
@given(dropouts(), st.integers(0, 10))
def test_the_sum_of_the_survivors_is_exact_or_nothing_is_opened(
    begin: Begin, case: tuple[Parameters, dict[int, str]], seed: int
) -> None:
    parameters, drops = case
    attempt = begin(parameters, seed)
    wire = Wire(drops, attempt.collector)
    ends = first_abort(parameters, drops)
    before = {each for each in attempt.cohort if drops.get(each, "agree") in ("agree", "unmask")}
    if ends is None:
        assert np.array_equal(attempt.run(wire), attempt.sum(before))
        assert set(attempt.collector.survivors) == before
    else:
        with pytest.raises(AbortError) as caught:
            attempt.run(wire)
        assert caught.value.step == ends
        missing = {each for each, step in drops.items() if STEPS.index(step) <= STEPS.index(ends)}
        assert set(caught.value.missing) == missing
        assert attempt.collector.step == "aborted"
        with pytest.raises(AbortError):
            attempt.collector.total()
    opened = wire.opened(attempt.collector.session)
    assert all(len(kinds) == 1 for kinds in opened.values())  # never both secrets of one owner
    if ends is not None:  # below the threshold, nothing
        assert all(len(senders) < parameters.threshold for kinds in opened.values() for senders in kinds.values())
        assert ends == "unmask" or not opened


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("past", [0, 1])
@pytest.mark.parametrize("kind", [2, 4])
def test_drops_at_one_step_up_to_the_tolerance_and_one_past_it(begin: Begin, step: str, past: int, kind: int) -> None:
    parameters = KINDS[kind]
    tolerated = parameters.n - parameters.threshold if step in ("agree", "unmask") else parameters.drops
    attempt = begin(parameters)
    wire = Wire({3 * each + 2: step for each in range(tolerated + past)}, attempt.collector)
    if past:
        with pytest.raises(AbortError) as caught:
            attempt.run(wire)
        assert caught.value.step == step
        assert wire.opened(attempt.collector.session) == {} or step == "unmask"
    else:
        assert np.array_equal(attempt.run(wire), attempt.sum(attempt.collector.survivors))


@pytest.mark.parametrize("seed", range(2))
def test_a_sparse_graph_gives_exact_sums(begin: Begin, seed: int) -> None:
    parameters = choose(80, 74, 4, 20, 3, "semi-honest")
    assert parameters.degree is not None
    assert parameters.degree < 40
    attempt = begin(parameters, seed)
    draw = np.random.default_rng(seed)
    gone = draw.choice(list(attempt.cohort), 6, replace=False)
    wire = Wire({int(each): STEPS[at] for at, each in enumerate(gone)}, attempt.collector)
    assert np.array_equal(attempt.run(wire), attempt.sum(attempt.collector.survivors))
    assert len(attempt.collector.survivors) == 76
    session = attempt.collector.session
    dealt = {
        len(messages.dealing_from(sent, session).sealed) for (step, _), sent in wire.sent.items() if step == "deal"
    }
    assert dealt == {parameters.degree, parameters.degree - 1}  # one owner advertised nothing


BEFORE_MASKS = ("advertise", "deal", "check")


@settings(max_examples=80)
@given(st.sampled_from([step for step in STEPS if step != "mask"]), st.integers(0, 10**6), st.integers(1, 255))
def test_a_flipped_byte_costs_its_sender_its_place_and_nobody_else_anything(
    begin: Begin, step: str, place: int, flip: int
) -> None:
    attempt = begin(KINDS[1])
    bad = 8
    take = attempt.collector.take

    def changed(sender: int, message: bytes) -> None:
        if sender == bad and attempt.collector.step == step:
            at = place % len(message)
            message = message[:at] + bytes([message[at] ^ flip]) + message[at + 1 :]
        take(sender, message)

    attempt.collector.take = changed  # type: ignore[method-assign]  # what the network makes of it
    total = attempt.run()
    others = [each for each in attempt.cohort if each != bad]
    assert np.array_equal(total, attempt.sum(others if step in BEFORE_MASKS else attempt.cohort))
    assert list(attempt.collector.faults) == [bad]
    assert attempt.collector.faults[bad].startswith(step if step != "deal" else ("deal", "check"))


@settings(max_examples=80)
@given(st.sampled_from(STEPS[1:]), st.integers(0, 10**6), st.integers(1, 255))
def test_a_flipped_byte_of_the_server_is_refused_or_complained_of(
    begin: Begin, step: str, place: int, flip: int
) -> None:
    attempt = begin(KINDS[1])
    victim = 8
    requests = attempt.until(step)
    request = requests[victim]
    at = place % len(request)
    changed = request[:at] + bytes([request[at] ^ flip]) + request[at + 1 :]
    owner = attempt.owners[victim]
    work = {"deal": owner.deal, "check": owner.check, "agree": owner.agree, "unmask": owner.unmask}
    try:
        answer = owner.mask(changed, attempt.vectors[victim]) if step == "mask" else work[step](changed)
    except RefusalError:
        assert owner.ended
    else:  # a share that does not open; one of the signatures beyond those that are needed
        assert step in ("check", "unmask")
        if step == "check":
            assert messages.report_from(answer, attempt.collector.session).complaints
        else:
            assert at >= 37 + 4 + 68 * KINDS[1].quorum


def test_an_owner_that_lost_the_server_s_trust_is_left_out_of_the_next_attempt(begin: Begin) -> None:
    attempt = begin(KINDS[1])
    attempt.until("deal")
    attempt.owners[5]._secrets.seed = bytes(32)  # committed to one seed, deals shares of another
    with pytest.raises(AbortError) as caught:
        attempt.run()
    assert caught.value.dealers == {5}
    assert 5 in caught.value.missing
    again = begin(KINDS[1], attempt=2, without=caught.value.dealers)
    assert np.array_equal(again.run(), again.sum(again.cohort))


def test_masked_vectors_of_different_views_do_not_cancel(begin: Begin) -> None:
    """A server that tells one owner of other members than the rest gets neither its vector nor a sum."""
    parameters = Parameters(n=6, least=4, colluders=0, threshold=4, bits=30, dim=50, adversary="malicious")
    attempt = begin(parameters)
    requests = attempt.until("mask")
    verdict = messages.verdict_from(requests[2], attempt.collector.session)
    other = messages.Verdict(verdict.members[:-1], ()).to_bytes(attempt.collector.session)
    for index, request in requests.items():
        told = other if index == 2 else request
        attempt.collector.fold(index, attempt.owners[index].mask(told, attempt.vectors[index]))
    attempt.collector.close()
    agreed = attempt.collector.requests()
    with pytest.raises(RefusalError, match="not to send"):
        attempt.owners[2].agree(agreed[2])
    for index in [each for each in agreed if each != 2]:
        attempt.collector.take(index, attempt.owners[index].agree(agreed[index]))
    attempt.collector.close()
    for index, request in attempt.collector.requests().items():
        attempt.collector.take(index, attempt.owners[index].unmask(request))
    attempt.collector.close()
    off = (attempt.collector.total().astype(np.int64) - attempt.sum(attempt.cohort)) % 2**30
    assert np.mean(off > 2**20) > 0.9


def test_nothing_secret_stands_in_a_text(begin: Begin) -> None:
    attempt = begin(KINDS[1])
    attempt.until("unmask")
    owner, texts = attempt.owners[2], []
    drawn = [each for stream in attempt.streams.values() for each in stream.drawn if len(each) == 32]
    held = [share for pair in owner._secrets.held.values() for share in pair]
    masks = [*owner._secrets.masking.values()]
    assert (len(drawn), len(held), len(masks)) == (15, 10, 4)
    texts += [repr(owner), repr(owner._secrets), str(owner._secrets), repr(attempt.collector)]
    opening = messages.opening_from(owner.unmask(attempt.collector.requests()[2]), attempt.collector.session)
    texts.append(repr(opening))
    swapped = {each: (secret, held[0]) for each, (secret, _) in opening.shares.items()}
    with pytest.raises(FaultError) as fault:
        attempt.collector.take(2, messages.Opening(2, swapped).to_bytes(attempt.collector.session))
    with pytest.raises(RefusalError) as refusal:
        attempt.owners[5].unmask(attempt.collector.requests()[5][:-1])
    with pytest.raises(RefusalError) as ended:
        attempt.owners[5].advertise()
    texts += [str(fault.value), repr(fault.value), str(refusal.value), repr(refusal.value), str(ended.value)]
    texts += [attempt.owners[5].ended, *attempt.collector.faults.values()]
    whole = " ".join(texts).lower()
    for secret in [*drawn, *held, *masks]:
        assert secret.hex() not in whole
        assert repr(secret)[2:-1].lower() not in whole
        assert str(int.from_bytes(secret)) not in whole
    assert owner._secrets is None
    assert attempt.owners[5]._secrets is None
