"""Secure aggregation: one attempt beside Flower's SecAgg+ in the same run, and what its parts take. Prints tables in Markdown.

    python benchmarks/secagg.py              about five minutes
    python benchmarks/secagg.py --quick      under one: d = 10⁵, one repetition, a smaller crowd
    python benchmarks/secagg.py --degree 20  another sparse graph than the search returns
    python benchmarks/secagg.py --check      fails where a figure is not what was asked for

All owners and the server run in turn in one process, so that a median over owners is one over a hundred of them. Times are of
processors, which is what repeats where other work shares the machine; beside them those on the wall. Formats (ours: packing
and unpacking; Flower's: quantising, scaling, reading and writing arrays) are told apart from the protocol.
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
        missed = "" if self.kept else "missed"
        return f"| {self.name} | {self.reached:.3g} {self.unit} | {sign} {self.asked:g} {self.unit} | {missed} |"


@dataclass(frozen=True, slots=True)
class Sides:
    """What one attempt took: the median owner and the server, and how much more each spent on the formats of arrays.

    `overhead`: bytes beside its vector that the owner which sent most sent.
    """

    owner: Spent
    server: Spent
    owner_formats: float
    server_formats: float
    overhead: int = 0


def sides(clock: Clock, overhead: int = 0) -> Sides:
    """What a clock says of both."""
    owners = clock.each("owner")
    owner = Spent(statistics.median(each.wall for each in owners), statistics.median(each.cpu for each in owners))
    return Sides(owner, clock.of("server"), clock.of("pack").cpu / N, clock.of("unpack").cpu, overhead)


def middle(found: list[Sides]) -> Sides:
    """The median of some attempts, of each number by itself."""

    def of(pick: Callable[[Sides], float]) -> float:
        return statistics.median(pick(each) for each in found)

    return Sides(
        Spent(of(lambda each: each.owner.wall), of(lambda each: each.owner.cpu)),
        Spent(of(lambda each: each.server.wall), of(lambda each: each.server.cpu)),
        of(lambda each: each.owner_formats),
        of(lambda each: each.server_formats),
        found[0].overhead,
    )


def ours(numbers: Parameters, drops: int) -> Sides:
    """One attempt of ours."""
    took = attempt(numbers, drops)
    return sides(took.clock, max(took.sent.values()) - -(-numbers.bits * numbers.dim // 8))


def theirs(numbers: Parameters, drops: int) -> Sides:
    """One attempt of Flower's with the same graph, threshold and length."""
    from secaggplus import attempt as flower

    return sides(flower(numbers.n, numbers.degree or numbers.n - 1, numbers.threshold, numbers.dim, drops))


def compared(sparse: Parameters, repetitions: int) -> list[Figure]:
    """Ours and Flower's in turns, without drops and with as many as the search allowed for; then ours with the full graph."""
    full = parameters.full(N, 2 * N // 3 + 1, FEW, BITS, sparse.dim, "malicious")
    k = f"k = {sparse.degree}"
    runs: dict[str, Callable[[], Sides]] = {
        f"ours, {k}": lambda: ours(sparse, 0),
        f"Flower, {k}": lambda: theirs(sparse, 0),
        f"ours, {k}, {FEW} drop": lambda: ours(sparse, FEW),
        f"Flower, {k}, {FEW} drop": lambda: theirs(sparse, FEW),
        "ours, full, malicious": lambda: ours(full, 0),
        "ours, full, malicious, 10 drop": lambda: ours(full, 10),
    }
    found: dict[str, list[Sides]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
            found[name].append(run())
    middles = {name: middle(each) for name, each in found.items()}
    print(f"\n| n = {N}, d = {sparse.dim:,}, ms | owner, wall | owner | formats | server, wall | server | formats |")
    print("|---|---|---|---|---|---|---|")
    for name, each in middles.items():
        times = (
            each.owner.wall,
            each.owner.cpu,
            each.owner_formats,
            each.server.wall,
            each.server.cpu,
            each.server_formats,
        )
        print(f"| {name} | " + " | ".join(f"{1e3 * seconds:,.1f}" for seconds in times) + " |")
    figures: list[Figure] = []
    for words in (k, f"{k}, {FEW} drop"):
        one, other = middles[f"ours, {words}"], middles[f"Flower, {words}"]
        owner = (other.owner.cpu + other.owner_formats) / (one.owner.cpu + one.owner_formats)
        figures += [
            Figure(f"owner against Flower, {words}", other.owner.cpu / one.owner.cpu, 8, "times", most=False),
            Figure(f"the same with formats, {words}", owner, 8, "times", most=False),
            Figure(f"server against Flower, {words}", other.server.cpu / one.server.cpu, 50, "times", most=False),
        ]
    plain, dropped = middles["ours, full, malicious"], middles["ours, full, malicious, 10 drop"]
    return [
        *figures,
        Figure("owner, full, malicious", 1e3 * (plain.owner.cpu + plain.owner_formats), 150, "ms"),
        Figure("server, full, malicious", plain.server.cpu + plain.server_formats, 0.5, "s"),
        Figure("server, full, malicious, 10 drop", dropped.server.cpu + dropped.server_formats, 1, "s"),
        Figure("sent beyond b/8 bytes a parameter, full, d = 10⁶", 100 * plain.overhead / (BITS / 8 * DIM), 1, "%"),
    ]


def profile(sparse: Parameters) -> None:
    """Where the time of one attempt goes, by step."""
    clock = attempt(sparse).clock
    steps = ("begin", "advertise", "deal", "check", "mask", "agree", "unmask")
    print(
        f"\n| k = {sparse.degree}, d = {sparse.dim:,}, ms | "
        + " | ".join(steps)
        + " |\n|---"
        + "|---" * len(steps)
        + "|"
    )
    owner = [statistics.median(clock.spent["owner", each, step].cpu for each in range(sparse.n)) for step in steps]
    server = [clock.of("server", step).cpu for step in steps]
    for name, times in (("an owner", owner), ("the server", server)):
        print(f"| {name} | " + " | ".join(f"{1e3 * seconds:.2f}" for seconds in times) + " |")


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
    """`size` bytes of AES-256-CTR keystream, by OpenSSL's code for CTR, into a buffer that stays in the cache."""
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


def memory() -> Figure:
    """What masking and packing ten million elements takes beside them, in vectors of the type that is worked on."""
    few = parameters.full(5, 4, 1, BITS, 10**7, "malicious")
    vector = mask.element(BITS).itemsize * few.dim
    return Figure("extra memory of an owner, d = 10⁷", owner_memory(few) / vector, 2, "vectors")


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


def chosen(dim: int, degree: int | None) -> Parameters:
    """The sparse graph's numbers: those of the search, or of another degree with a threshold of half of it."""
    if degree is not None:
        return Parameters(N, N - FEW, FEW, degree // 2, BITS, dim, "semi-honest", degree)
    found = parameters.sparse(N, N - FEW, FEW, BITS, dim)
    if found is None:
        raise RuntimeError("no sparse graph for the benchmark's cohort")
    return found


def main() -> None:
    """Measure everything and print the tables."""
    parser = argparse.ArgumentParser(description="Secure aggregation beside Flower's SecAgg+.")
    parser.add_argument("--quick", action="store_true", help="small and once")
    parser.add_argument("--check", action="store_true", help="fail where a figure is not what was asked for")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, help="attempts of each kind")
    parser.add_argument("--degree", type=int, help="neighbours in the sparse graph, instead of what the search returns")
    asked = parser.parse_args()
    dim, repetitions = (10**5, 1) if asked.quick else (DIM, asked.repetitions)
    load = os.getloadavg()[0]
    sparse = chosen(dim, asked.degree)
    figures = compared(sparse, repetitions)
    profile(sparse)
    figures += [masking(), memory(), crowd(200, 10**4) if asked.quick else crowd(1000, 10**5)]
    print("\n| part | ms |\n|---|---|")
    for name, seconds in rows():
        print(f"| {name} | {seconds * 1e3:.3g} |")
    print("\n| figure | reached | asked | |\n|---|---|---|---|")
    for figure in figures:
        print(figure.row())
    print(
        f"\nLoad of the machine (one minute): {load:.1f} before, {os.getloadavg()[0]:.1f} after; {os.cpu_count()} cores."
    )
    if asked.check and not all(figure.kept for figure in figures):
        sys.exit("missed: " + "; ".join(figure.name for figure in figures if not figure.kept))


if __name__ == "__main__":
    main()
