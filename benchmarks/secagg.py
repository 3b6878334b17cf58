"""How long the parts of secure aggregation take. Prints tables in Markdown: `python benchmarks/secagg.py`.

One thread. Medians over repetitions that take turns, so that whatever else the machine does falls on both sides of a ratio.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR
from tacit.privacy.secagg import graph, mask, shamir
from tacit.privacy.secagg.keys import AgreementKey, derive, open_sealed, seal
from tacit.strategies.codec import pack, unpack_into

DIM = 10**6
LIMIT = 2.5  # masking against bare AES-CTR of the same bytes
_BLOCK = 1 << 18
_ZEROS = bytes(_BLOCK)


def medians(*tasks: Callable[[], object], repetitions: int = 31) -> list[float]:
    """Median seconds of each task, run in turns."""
    found: list[list[float]] = [[] for _ in tasks]
    for _ in range(repetitions):
        for times, task in zip(found, tasks, strict=True):
            start = time.perf_counter()
            task()
            times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in found]


def bare(size: int) -> None:
    """`size` bytes of AES-256-CTR keystream into a buffer that stays in the cache: the least that a mask can cost."""
    encryptor = Cipher(AES256(bytes(32)), CTR(bytes(16))).encryptor()
    out = bytearray(_BLOCK + 15)
    for start in range(0, size, _BLOCK):
        count = min(_BLOCK, size - start)
        encryptor.update_into(_ZEROS if count == _BLOCK else _ZEROS[:count], out)


def masking() -> bool:
    """Masks against bare AES-CTR; whether every one keeps to the limit."""
    print(
        f"\n| one mask, d = {DIM:,} | keystream | bare AES-256-CTR, ms | masking, ms | ratio |\n|---|---|---|---|---|"
    )
    kept = True
    for bits in (12, 20, 32, 40):
        vector, seed = mask.zeros(DIM, bits), os.urandom(32)
        least, found = medians(
            lambda size=vector.nbytes: bare(size),
            lambda vector=vector, seed=seed, bits=bits: mask.add_mask(vector, seed, 1, bits),
        )
        kept = kept and found <= LIMIT * least
        print(
            f"| b = {bits} | {vector.nbytes / 1e6:g} MB | {least * 1e3:.3f} | {found * 1e3:.3f} | {found / least:.2f} |"
        )
    return kept


def rows() -> list[tuple[str, float]]:
    """What an owner and a collector do besides, at n = 100."""
    vector = mask.zeros(DIM, 20)
    masks: list[tuple[bytes, mask.Sign]] = [(os.urandom(32), 1) for _ in range(100)]
    secret, xs = os.urandom(32), range(1, 101)
    shares, coefficients = shamir.split(secret, 67, xs, os.urandom), shamir.weights(range(34, 101))
    mine, theirs, session = AgreementKey.fresh(os.urandom), AgreementKey.fresh(os.urandom), os.urandom(32)
    shared = mine.shared(theirs.public)
    sealed = seal(shared, session, 1, 2, bytes(66))
    elements = np.random.default_rng(0).integers(0, 1 << 20, DIM).astype(vector.dtype)
    packed = pack(elements, 20)
    tasks: dict[str, Callable[[], object]] = {
        "two secrets in 100 shares of threshold 67": lambda: (
            shamir.split(secret, 67, xs, os.urandom), shamir.split(secret, 67, xs, os.urandom)),
        "weights of 67 shares, once for all secrets": lambda: shamir.weights(range(34, 101)),
        "one secret from 67 shares, with the weights": lambda: shamir.interpolate(shares, coefficients),
        "X25519, one pair": lambda: mine.shared(theirs.public),
        "HKDF, one key": lambda: derive(shared, session, "pair mask", bytes(8)),
        "seal two shares": lambda: seal(shared, session, 1, 2, bytes(66)),
        "open two shares": lambda: open_sealed(shared, session, 1, 2, sealed),
        f"100 masks, d = {DIM:,}, b = 20": lambda: mask.add_masks(vector, masks, 20),
        f"pack d = {DIM:,} to 20 bits": lambda: pack(elements, 20),
        "unpack them": lambda: unpack_into(packed, 20, elements),
        "degree and threshold for n = 100, 5 % and 5 %": lambda: graph.sparsest(100, 5, 5),
        "degree and threshold for n = 10,000, 33 % and 33 %": lambda: graph.sparsest(10_000, 3300, 3300),
        "the graph of n = 1,000, k = 30": lambda: graph.neighbours(1000, 30, session),
    }  # fmt: skip
    return [(name, medians(task, repetitions=9)[0]) for name, task in tasks.items()]


def main() -> None:
    kept = masking()
    print("\n| what | ms |\n|---|---|")
    for name, seconds in rows():
        print(f"| {name} | {seconds * 1e3:.3g} |")
    if not kept:
        sys.exit(f"masking takes more than {LIMIT} times what bare AES-CTR of the same bytes takes")


if __name__ == "__main__":
    main()
