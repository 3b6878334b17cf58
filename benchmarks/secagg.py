"""Secure aggregation: one attempt beside Flower's SecAgg+ in the same run, and what its parts take. Prints tables in Markdown.

    python benchmarks/secagg.py           about five minutes
    python benchmarks/secagg.py --quick   under one: d = 10⁵, one repetition, n = 200 instead of 1,000
    python benchmarks/secagg.py --check   fails where a figure is not what was asked for

Every owner and the server run in turn in this process, so that a median over owners is one over a hundred of them. Each time is
given on the wall and on processors: where other work shares the machine, the second is what repeats. Times of ours do not hold
packing and unpacking, nor Flower's quantising and array formats, but where the table says so.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from attempts import attempt, owner_memory
from clocks import Clock, Spent
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from tacit.privacy.secagg import graph, mask, parameters, shamir
from tacit.privacy.secagg.keys import AgreementKey, derive, open_sealed, seal
from tacit.privacy.secagg.parameters import Parameters
from tacit.strategies.codec import pack, unpack_into

N, DIM, BITS = 100, 10**6, 20
FEW = 5  # of a hundred collude, and as many may drop
REPETITIONS = 3
_BLOCK = 1 << 18
_ZEROS = bytes(_BLOCK)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that was asked for; `most` says whether it is a limit from above."""

    name: str
    reached: float
    asked: float
    unit: str
    most: bool = True

    @property
    def kept(self) -> bool:
        """Whether it is what was asked for."""
        return self.reached <= self.asked if self.most else self.reached >= self.asked

    def row(self) -> str:
        """Its row of the table."""
        sign = "≤" if self.most else "≥"
        return f"| {self.name} | {self.reached:.3g} {self.unit} | {sign} {self.asked:g} {self.unit} | {'' if self.kept else 'no'} |"


@dataclass(frozen=True, slots=True)
class Sides:
    """The median owner and the server of one attempt, and what both spent on formats of arrays."""

    owner: Spent
    server: Spent
    formats: Spent


def sides(clock: Clock, formats: tuple[str, ...]) -> Sides:
    """What a clock says of both."""
    owners = clock.each("owner")
    owner = Spent(statistics.median(each.wall for each in owners), statistics.median(each.cpu for each in owners))
    return Sides(owner, clock.of("server"), sum((clock.of(each) for each in formats), Spent()))


def middle(found: list[Sides]) -> Sides:
    """The median of some attempts, of each number by itself."""

    def of(pick: Callable[[Sides], Spent]) -> Spent:
        return Spent(
            statistics.median(pick(each).wall for each in found), statistics.median(pick(each).cpu for each in found)
        )

    return Sides(of(lambda each: each.owner), of(lambda each: each.server), of(lambda each: each.formats))


def ours(numbers: Parameters, drops: int) -> Sides:
    """One attempt of ours."""
    return sides(attempt(numbers, drops).clock, ("pack", "unpack"))


def theirs(degree: int, threshold: int, dim: int, drops: int) -> Sides:
    """One attempt of Flower's."""
    import secaggplus

    return sides(secaggplus.attempt(N, degree, threshold, dim, drops), ("encoding",))


def compared(dim: int, repetitions: int) -> list[Figure]:
    """Ours and Flower's in turns, without drops and with as many as the search allowed for."""
    numbers = parameters.sparse(N, N - FEW, FEW, BITS, dim)
    if numbers is None or numbers.degree is None:
        raise RuntimeError("no sparse graph for the benchmark's cohort")
    wider = Parameters(N, N - FEW, FEW, 10, BITS, dim, "semi-honest", 20)
    malicious = parameters.full(N, 2 * N // 3 + 1, FEW, BITS, dim, "malicious")
    runs: dict[str, Callable[[], Sides]] = {
        f"ours, k = {numbers.degree}": lambda: ours(numbers, 0),
        f"Flower, k = {numbers.degree}": lambda: theirs(numbers.degree or 0, numbers.threshold, dim, 0),
        f"ours, k = {numbers.degree}, {FEW} drop": lambda: ours(numbers, FEW),
        f"Flower, k = {numbers.degree}, {FEW} drop": lambda: theirs(numbers.degree or 0, numbers.threshold, dim, FEW),
        "ours, k = 20": lambda: ours(wider, 0),
        "Flower, k = 20": lambda: theirs(20, 10, dim, 0),
        "ours, full, malicious": lambda: ours(malicious, 0),
        "ours, full, malicious, 10 drop": lambda: ours(malicious, 10),
    }
    found: dict[str, list[Sides]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
            found[name].append(run())
    medians = {name: middle(each) for name, each in found.items()}
    print(
        f"\n| n = {N}, d = {dim:,} | owner, ms | on processors | server, ms | on processors | formats, all, ms |\n|---|---|---|---|---|---|"
    )
    for name, each in medians.items():
        times = (each.owner.wall, each.owner.cpu, each.server.wall, each.server.cpu, each.formats.cpu)
        print(f"| {name} | " + " | ".join(f"{1e3 * seconds:,.1f}" for seconds in times) + " |")
    figures = []
    for words in (f"k = {numbers.degree}", f"k = {numbers.degree}, {FEW} drop", "k = 20"):
        one, other = medians[f"ours, {words}"], medians[f"Flower, {words}"]
        figures += [
            Figure(f"owner against Flower, {words}", other.owner.cpu / one.owner.cpu, 8, "times", most=False),
            Figure(f"server against Flower, {words}", other.server.cpu / one.server.cpu, 50, "times", most=False),
        ]
    plain, dropped = medians["ours, full, malicious"], medians["ours, full, malicious, 10 drop"]
    return [
        *figures,
        Figure("owner, full, malicious", 1e3 * max(plain.owner.cpu, dropped.owner.cpu), 150, "ms"),
        Figure("server, full, malicious", plain.server.cpu, 0.5, "s"),
        Figure("server, full, malicious, 10 drop", dropped.server.cpu, 1, "s"),
    ]


def medians(*tasks: Callable[[], object], repetitions: int = 31) -> list[float]:
    """Median seconds of each task on a processor, run in turns, so that what else the machine does falls on all of them."""
    found: list[list[float]] = [[] for _ in tasks]
    for _ in range(repetitions):
        for times, task in zip(found, tasks, strict=True):
            start = time.thread_time()
            task()
            times.append(time.thread_time() - start)
    return [statistics.median(times) for times in found]


def bare(size: int) -> None:
    """`size` bytes of AES-256-CTR keystream into a buffer that stays in the cache: the least that a mask can cost."""
    encryptor = Cipher(AES256(bytes(32)), CTR(bytes(16))).encryptor()
    out = bytearray(_BLOCK + 15)
    for start in range(0, size, _BLOCK):
        count = min(_BLOCK, size - start)
        encryptor.update_into(_ZEROS if count == _BLOCK else _ZEROS[:count], out)


def masking() -> Figure:
    """Masks against bare AES-CTR of the same bytes, at the widths where another type of element begins."""
    print(
        f"\n| one mask, d = {DIM:,} | keystream | bare AES-256-CTR, ms | masking, ms | ratio |\n|---|---|---|---|---|"
    )
    worst = 0.0
    for bits in (12, 20, 32, 40):
        vector, seed = mask.zeros(DIM, bits), os.urandom(32)
        least, found = medians(
            lambda size=vector.nbytes: bare(size),
            lambda vector=vector, seed=seed, bits=bits: mask.add_mask(vector, seed, 1, bits),
        )
        worst = max(worst, found / least)
        print(
            f"| b = {bits} | {vector.nbytes / 1e6:g} MB | {least * 1e3:.3f} | {found * 1e3:.3f} | {found / least:.2f} |"
        )
    return Figure("masking against bare AES-CTR", worst, 2.5, "times")


def sizes(dim: int) -> list[Figure]:
    """Bytes that travel, and memory of one owner whose vector has ten million elements."""
    malicious = parameters.full(N, 2 * N // 3 + 1, FEW, BITS, dim, "malicious")
    more = max(attempt(malicious).sent.values()) / (BITS / 8 * dim) - 1
    few = parameters.full(5, 4, 1, BITS, 10**7, "malicious")
    vector = mask.element(BITS).itemsize * few.dim
    return [
        Figure("sent by an owner beyond b/8 bytes a parameter, full", 100 * more, 1, "%"),
        Figure("extra memory of an owner, d = 10⁷", owner_memory(few) / vector, 2, "vectors"),
    ]


def crowd(n: int, dim: int) -> Figure:
    """A large semi-honest cohort in one process: all owners and the server."""
    numbers = parameters.sparse(n, n - n // 20, n // 20, BITS, dim)
    if numbers is None:
        raise RuntimeError("no sparse graph for the crowd")
    start = time.process_time()
    attempt(numbers, n // 20)
    return Figure(
        f"n = {n:,}, d = {dim:,}, k = {numbers.degree}, {n // 20} drop, in one process",
        time.process_time() - start,
        60,
        "s",
    )


def rows() -> list[tuple[str, float]]:
    """What an owner and a collector do besides, at n = 100."""
    vector = mask.zeros(DIM, BITS)
    masks: list[tuple[bytes, mask.Sign]] = [(os.urandom(32), 1) for _ in range(100)]
    secret, xs = os.urandom(32), range(1, 101)
    shares, coefficients = shamir.split(secret, 67, xs, os.urandom), shamir.weights(range(34, 101))
    mine, theirs, session = AgreementKey.fresh(os.urandom), AgreementKey.fresh(os.urandom), os.urandom(32)
    shared = mine.shared(theirs.public)
    sealed = seal(shared, session, 1, 2, bytes(66))
    elements = np.random.default_rng(0).integers(0, 1 << BITS, DIM).astype(vector.dtype)
    packed = pack(elements, BITS)
    tasks: dict[str, Callable[[], object]] = {
        "two secrets in 100 shares of threshold 67": lambda: (
            shamir.split(secret, 67, xs, os.urandom), shamir.split(secret, 67, xs, os.urandom)),
        "weights of 67 shares, once for all secrets": lambda: shamir.weights(range(34, 101)),
        "one secret from 67 shares, with the weights": lambda: shamir.interpolate(shares, coefficients),
        "X25519, one pair": lambda: mine.shared(theirs.public),
        "HKDF, one key": lambda: derive(shared, session, "pair mask", bytes(8)),
        "seal two shares": lambda: seal(shared, session, 1, 2, bytes(66)),
        "open two shares": lambda: open_sealed(shared, session, 1, 2, sealed),
        f"100 masks, d = {DIM:,}, b = {BITS}": lambda: mask.add_masks(vector, masks, BITS),
        f"pack d = {DIM:,} to {BITS} bits": lambda: pack(elements, BITS),
        "unpack them": lambda: unpack_into(packed, BITS, elements),
        "degree and threshold for n = 100, 5 % and 5 %": lambda: graph.sparsest(100, 5, 5),
        "degree and threshold for n = 10,000, 33 % and 33 %": lambda: graph.sparsest(10_000, 3300, 3300),
        "the graph of n = 1,000, k = 30": lambda: graph.neighbours(1000, 30, session),
    }  # fmt: skip
    return [(name, medians(task, repetitions=9)[0]) for name, task in tasks.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description="Secure aggregation beside Flower's SecAgg+.")
    parser.add_argument("--quick", action="store_true", help="small and once")
    parser.add_argument("--check", action="store_true", help="fail where a figure is not what was asked for")
    asked = parser.parse_args()
    dim, repetitions = (10**5, 1) if asked.quick else (DIM, REPETITIONS)
    load = os.getloadavg()[0]
    figures = compared(dim, repetitions)
    figures.append(masking())
    figures += sizes(DIM)
    figures.append(crowd(200, 10**4) if asked.quick else crowd(1000, 10**5))
    print("\n| part | ms |\n|---|---|")
    for name, seconds in rows():
        print(f"| {name} | {seconds * 1e3:.3g} |")
    print("\n| figure | reached | asked | missed |\n|---|---|---|---|")
    for figure in figures:
        print(figure.row())
    print(
        f"\nLoad of the machine (one minute): {load:.1f} before, {os.getloadavg()[0]:.1f} after; {os.cpu_count()} cores."
    )
    if asked.check and not all(figure.kept for figure in figures):
        sys.exit("missed: " + "; ".join(figure.name for figure in figures if not figure.kept))


if __name__ == "__main__":
    main()
