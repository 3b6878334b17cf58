"""Who is whose neighbour: a sparse graph is cut by chosen drops, so a malicious server gets the full one; claims say which."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tacit.privacy.pipeline import PipelineError, pipeline
from tacit.privacy.secagg import mask
from tacit.privacy.secagg import session as sessions
from tacit.privacy.secagg.errors import RefusalError
from tacit.privacy.secagg.graph import neighbours, split
from tacit.privacy.secagg.messages import Secret
from tacit.privacy.secagg.owner import Owner
from tacit.privacy.secagg.parameters import ParameterError, Parameters, choose, sparse
from tacit.privacy.signal import Signal
from tacit.privacy.stages.clip import Clip
from tacit.privacy.stages.encode import Encode
from tacit.privacy.stages.mask import Mask

Make = Callable[..., Any]


def circle(graph: Any) -> list[int]:
    """The positions in the order of the circle: who is joined to 0 … n−1 follows from who shares most neighbours."""
    order, left = [0], set(range(1, len(graph)))
    while left:
        near = set(graph[order[-1]]) | {order[-1]}
        step = max(left & near, key=lambda each: len(near & (set(graph[each]) | {each})))
        order.append(step)
        left.remove(step)
    return order


def cheapest_cut(order: list[int], degree: int, colluders: set[int], least: int) -> tuple[int, set[int], set[int]]:
    """Fewest honest owners to declare dropped, so that `least` or more are cut off, and both parts."""
    n, half = len(order), degree // 2
    runs = [[order[(start + step) % n] for step in range(half)] for start in range(n)]
    price = [sum(each not in colluders for each in run) for run in runs]
    best = (n, 0, 0)
    for one, other in itertools.combinations(range(n), 2):
        inside, outside = other - one - half, n - (other - one) - half
        if min(inside, outside) >= least:
            best = min(best, (price[one] + price[other], one, other))
    cost, one, other = best
    part = {order[each % n] for each in range(one + half, other)}
    dropped = {each for each in (*runs[one], *runs[other]) if each not in colluders}
    return cost, part, dropped


@pytest.mark.parametrize("seed", range(10))
def test_at_most_24_chosen_drops_split_the_graph_of_a_hundred(seed: int) -> None:
    """n = 100, k = 20, t = 12, C = 20: who dropped is said when order and colluders are known (PRIVACY.md 18)."""
    graph = neighbours(100, 20, seed.to_bytes(32))
    colluders = {int(each) for each in np.random.default_rng(seed).choice(100, 20, replace=False)}
    order = circle(graph)
    assert all(set(graph[each]) >= {order[at - 1], order[(at + 1) % 100]} for at, each in enumerate(order))
    cost, part, dropped = cheapest_cut(order, 20, colluders, 12)
    assert cost == len(dropped) <= 24
    rest = set(range(100)) - part - dropped - colluders
    for one in part - colluders:  # nobody honest on one side shares a mask with anybody honest on the other
        assert not set(graph[one]) & rest
    assert part - colluders
    assert rest
    alive = set(range(100)) - dropped  # and no owner finds too few neighbours left to open its secrets
    assert all(len(alive & {each, *graph[each]}) >= 12 for each in alive - colluders)
    # drops that nobody chose would have to be lucky: the bound on the probability that so many split it
    assert split(100, 44, 20) < np.log(1e-4)


def test_a_malicious_server_is_not_withstood_by_a_sparse_graph() -> None:
    with pytest.raises(ParameterError, match="use the full graph"):
        Parameters(100, 76, 5, 12, 20, 3, "malicious", 20)
    for n in (100, 1000):
        assert choose(n, n * 9 // 10, n // 20, 20, 3, "malicious").degree is None
        assert choose(n, n * 9 // 10, n // 20, 20, 3, "semi-honest").degree is not None


def test_a_claim_says_that_its_masks_withstand_only_who_follows_the_protocol() -> None:
    source = Signal(dim=4, unit="owner", least=90, most=100)
    stages = [Clip(1.0), Encode(bits=20)]
    line, other = (pipeline(source, [*stages, Mask(each, 5)]).final for each in ("semi-honest", "malicious"))
    assert (line.masked.adversary, other.masked.adversary) == ("semi-honest", "malicious")  # type: ignore[union-attr]
    assert (line.delta_extra - other.delta_extra) == pytest.approx(2**-40)
    with pytest.raises(PipelineError, match="nobody honest"):
        pipeline(source, [*stages, Mask("malicious", 90)])


class Splits:
    """A server that only pretends to follow the protocol: it drops two runs of the circle and keeps what is in between."""

    def __init__(self, least: int) -> None:
        self._least = least
        self.part: set[int] = set()
        self.dropped: set[int] = set()
        self.vectors: dict[int, Any] = {}

    def begin(self, world: Any, step: str) -> None:
        if step != "mask":
            return
        parameters, members = world.parameters, list(world.cohort)
        graph = neighbours(parameters.n, parameters.degree, world.session)  # known since everybody advertised
        _, part, dropped = cheapest_cut(circle(graph), parameters.degree, set(), self._least)
        self.part, self.dropped = {members[each] for each in part}, {members[each] for each in dropped}

    def say(self, world: Any, step: str, index: int, answer: Any) -> Any:
        if step == "mask":
            self.vectors[index] = answer
            return None if index in self.dropped else answer
        return answer


def test_chosen_drops_show_a_server_two_sums_in_a_sparse_graph(world: Make) -> None:
    """What `semi-honest` means: no owner refuses, and the server reads the sum of a part that it chose."""
    parameters = sparse(100, 76, 2, 20, 3)
    assert parameters is not None
    assert parameters.degree is not None
    assert parameters.degree <= 24
    at, server = world(parameters), Splits(parameters.degree)
    at.play(server)
    assert not at.refusals
    kept = set(at.cohort) - server.dropped
    assert np.array_equal(at.collector.total(), at.sum(kept))
    part, bits, view = server.part, parameters.bits, at.collector._view
    assert part < kept
    total = mask.zeros(parameters.dim, bits)
    for each in part:
        total += server.vectors[each]
        assert len(at.shares_of(each)[Secret.SEED]) >= parameters.threshold  # so the server has this seed,
        seed = at.streams[each].drawn[2]
        mask.add_mask(total, sessions.self_mask(seed, view, each), -1, bits)
    for gone in server.dropped:
        assert len(at.shares_of(gone)[Secret.MASK_KEY]) >= parameters.threshold  # and this key
        for each in part & at.owners[gone]._secrets.masking.keys():
            pair = sessions.pair_mask(at.owners[gone]._secrets.masking[each], view, gone, each)
            mask.add_mask(total, pair, sessions.pair_sign(gone, each), bits)
    mask.reduce(total, bits)
    assert np.array_equal(total, at.sum(part))


def test_the_same_drops_in_the_full_graph_show_one_sum(world: Make) -> None:
    """Whoever is left shares a mask with everybody: take off what is open, and a part of the sum is still uniform."""
    parameters = Parameters(n=12, least=8, colluders=1, threshold=8, bits=20, dim=64, adversary="malicious")
    at = world(parameters)
    members = list(at.cohort)

    class Drops(Splits):
        def begin(self, world: Any, step: str) -> None:
            self.part, self.dropped = set(members[:4]), set(members[8:])

    server = Drops(0)
    at.play(server)
    view, bits = at.collector._view, parameters.bits
    assert np.array_equal(at.collector.total(), at.sum(members[:8]))
    total = mask.zeros(parameters.dim, bits)
    for each in server.part:
        total += server.vectors[each]
        mask.add_mask(total, sessions.self_mask(at.streams[each].drawn[2], view, each), -1, bits)
        for gone in server.dropped:
            pair = sessions.pair_mask(at.owners[gone]._secrets.masking[each], view, gone, each)
            mask.add_mask(total, pair, sessions.pair_sign(gone, each), bits)
    mask.reduce(total, bits)
    off = (total.astype(np.int64) - at.sum(server.part)) % 2**bits
    assert np.mean((off > 2**14) & (off < 2**bits - 2**14)) > 0.9
    at.judge()


@pytest.mark.parametrize("strangers", range(1, 7))
def test_sybils_count_as_colluders_and_never_towards_a_floor(world: Make, strangers: int) -> None:
    """Whom nobody approved may be the server: with u of seven, a threshold of t holds where 2t > n + C + u."""
    for threshold in range(5, 8):
        parameters = Parameters(
            n=7, least=threshold, colluders=1, threshold=threshold, bits=20, dim=3, adversary="malicious"
        )
        known = frozenset(3 * at + 2 for at in range(7 - strangers))
        holds = 2 * threshold > 7 + 1 + strangers and 7 - strangers >= threshold
        if holds:
            at = world(parameters, approved=known)
            owner = at.owners[2]
            assert owner._company.counted == known
            assert 2 * owner._company.quorum > 7 + 1 + strangers
            continue
        with pytest.raises(RefusalError, match="not approved") as caught:
            world(parameters, approved=known)
        assert caught.value.code == "approval"


def test_an_owner_alone_among_sybils_tells_nobody_anything() -> None:
    """A cohort of the victim and six inventions of the server, all properly signed, by keys that nobody approved."""
    members = (2, 5, 8, 11, 14, 17, 20)
    made = {each: Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"%d" % each).digest()) for each in members}
    cohort = {each: key.public_key().public_bytes_raw() for each, key in made.items()}
    parameters = Parameters(n=7, least=5, colluders=1, threshold=5, bits=20, dim=3, adversary="malicious")

    def never(count: int) -> bytes:
        raise AssertionError("a key was drawn for a cohort that is none")

    with pytest.raises(RefusalError) as caught:
        Owner(parameters, bytes(32), 2, made[2], cohort, frozenset({2}), never)
    assert caught.value.code == "approval"
    for wrong, code in (
        ({**cohort, 5: cohort[2]}, "cohort"),  # the victim's own key under another name
        ({**cohort, 5: cohort[8]}, "cohort"),  # one key under two names
        ({**cohort, 2: cohort[5], 5: cohort[2]}, "cohort"),  # the victim's number for somebody else
        ({each: key for each, key in cohort.items() if each != 20}, "cohort"),
        ({**{each: key for each, key in cohort.items() if each != 20}, -1: cohort[20]}, "cohort"),
        ({**{each: key for each, key in cohort.items() if each != 20}, 1 << 32: cohort[20]}, "cohort"),
    ):
        with pytest.raises(RefusalError) as caught:
            Owner(parameters, bytes(32), 2, made[2], wrong, frozenset(wrong), never)
        assert caught.value.code == code


WEAK: dict[str, dict[str, Any]] = {
    "a threshold of one": {"threshold": 1},
    "a threshold that colluders reach": {"colluders": 4, "threshold": 4},
    "two thresholds at once": {"threshold": 4},
    "a threshold above the floor": {"threshold": 6},
    "a sum of one": {"least": 1},
    "nobody honest in a sum": {"colluders": 5},
    "colluders below zero": {"colluders": -1},
    "more survivors than members": {"least": 8},
    "one member": {"n": 1},
    "a ring of one bit": {"bits": 1},
    "a ring of 63 bits": {"bits": 63},
    "no vector": {"dim": 0},
    "a real number": {"threshold": 5.0},
    "a truth value": {"colluders": True},
    "an unknown adversary": {"adversary": "friendly"},
    "a sparse graph": {"degree": 4},
    "a threshold that colluders reach, semi-honest": {"adversary": "semi-honest", "colluders": 4, "threshold": 4},
}


@pytest.mark.parametrize("what", WEAK)
def test_parameters_that_protect_less_cannot_be_made(what: str) -> None:
    sound = Parameters(n=7, least=5, colluders=1, threshold=5, bits=20, dim=3, adversary="malicious")
    with pytest.raises(ParameterError):
        replace(sound, **WEAK[what])
