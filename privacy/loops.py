"""Loops: one pass each over numbers in the cache, where NumPy and torch take several; `compiled.py` compiles them.

They are Python that Numba reads, so they keep to scalars and arrays. None does what is not done without it too: noise, whole
numbers and maxima are the same to the bit, sums of floating-point numbers but for their order.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOOK = 1024  # words looked up at once, and then seen whether one of them was a tie
# Its six bits from place p on, p = 0 … 63, are all different (de Bruijn): they say which bit is the only one of a word.
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_PLACES = np.empty(64, dtype=np.int64)
_PLACES[[(0x03F79D71B4CB0A89 << place & (1 << 64) - 1) >> 58 for place in range(64)]] = np.arange(64)


def coarse(
    words: NDArray[np.uint32],
    columns: NDArray[np.uint32],
    bits: int,
    first: int,
    out: NDArray[np.int32],
    ties: NDArray[np.int64],
) -> int:
    """Draws from an alias table of 2^bits columns, one for each word, into `out`; how many are ties, their places in `ties`."""
    mask, count = np.uint32((1 << bits) - 1), 0
    for start in range(0, len(out), _LOOK):
        some, drawn = words[start : start + _LOOK], out[start : start + _LOOK]
        for i in range(len(drawn)):  # by itself: what follows is done for many at once
            drawn[i] = np.int32(columns[some[i] & mask])
        least = np.uint32(0xFFFFFFFF)
        for i in range(len(drawn)):
            word, entry = some[i], np.uint32(drawn[i])
            apart = np.uint32(word ^ entry)
            least = apart if apart < least else least
            lower = word if word < entry else entry
            drawn[i] = np.int32(lower & mask) + np.int32(first)
        if least <= mask:
            for i in range(len(drawn)):
                if some[i] ^ columns[some[i] & mask] <= mask:
                    ties[count] = start + i
                    count += 1
    return count


def below(
    coarse: NDArray[np.int32],
    fine: NDArray[Any],
    bits: int,
    limit: int,
    places: NDArray[np.int64],
    values: NDArray[np.int64],
) -> int:
    """How many words of `fine` are below `limit`; where, in `places`, and 2^bits·coarse + (their low bits), in `values`.

    Sixty-four comparisons make a word of bits, all at once; its ones, of which there is one on average, are then looked up.
    """
    mask, count, whole = (1 << bits) - 1, 0, len(fine) // 64 * 64
    for start in range(0, whole, 64):
        found = np.uint64(0)
        for i in range(64):
            found |= np.uint64(fine[start + i] < limit) << np.uint64(i)
        while found != 0:
            lowest = found & (~found + np.uint64(1))
            places[count] = start + _PLACES[np.int64((lowest * _DE_BRUIJN) >> np.uint64(58))]
            count += 1
            found ^= lowest
    for i in range(whole, len(fine)):
        places[count] = i
        count += fine[i] < limit
    for j in range(count):
        values[j] = (np.int64(coarse[places[j]]) << bits) + np.int64(fine[places[j]] & mask)
    return count


def added(coarse: NDArray[np.int32], fine: NDArray[Any], bits: int, into: NDArray[Any]) -> None:
    """Add 2^bits·coarse + (the low bits of fine), as many as each row of `into` `[k, w]` takes."""
    mask = (1 << bits) - 1
    for k in range(into.shape[0]):
        for i in range(into.shape[1]):
            into[k, i] += (coarse[k, i] << bits) + np.int64(fine[k, i] & mask)


def stepped(
    sums: NDArray[np.float32],
    coarse: NDArray[np.int32],
    fine: NDArray[np.uint32],
    bits: int,
    rate: float,
    kept: int,
    start: NDArray[np.float32],
    update: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """kept·update − rate·g into `update`, and start + update into `out` unless that is empty. `kept` is 0 or 1; 0 forgets what
    was there.

    g is the whole number nearest to the sum, to even where two are, and its noise, 2^bits·coarse + (the low bits of fine).
    """
    mask, step = np.uint32((1 << bits) - 1), np.float32(rate)
    if kept == 0:
        for i in range(len(update)):
            noise = np.int32(np.int32(coarse[i] << bits) + np.int32(fine[i] & mask))
            update[i] = -step * np.float32(np.int32(np.int32(np.rint(sums[i])) + noise))
    else:
        for i in range(len(update)):
            noise = np.int32(np.int32(coarse[i] << bits) + np.int32(fine[i] & mask))
            update[i] -= step * np.float32(np.int32(np.int32(np.rint(sums[i])) + noise))
    for i in range(len(out)):
        out[i] = start[i] + update[i]


def refused(
    values: NDArray[np.int64],
    doubtful: NDArray[np.int64],
    words: NDArray[np.uint64],
    bits: int,
    rate: float,
    least: float,
    gone: NDArray[np.int64],
) -> int:
    """Which of the doubtful proposals are refused (`gaussian.py`), their places in `gone`; how many, or −1 where one is nearer
    than `least` to its limit, which float64 does not decide.
    """
    mask, count = (np.int64(1) << bits) - 1, 0
    for i in range(len(doubtful)):
        x = values[i]
        near = (x ^ (x >> 63)) & mask
        limit = math.expm1(float(near) * float(2 * abs(x) - near) * rate)
        apart = float(words[i] >> np.uint64(11)) * 2.0**-53 + limit * 64.0
        if abs(apart) <= least:
            return -1
        gone[count] = doubtful[i]
        count += apart < 0
    return count


def squares(
    inputs: NDArray[np.float32],
    errors: NDArray[np.float32],
    plus: float,
    coefficients: NDArray[np.float64],
    sums: NDArray[np.float64],
    lengths: NDArray[np.float64],
) -> None:
    """Add ‖c Σᵢ eᵢxᵢᵀ‖² of every row of `inputs` `[k, b, in]` and `errors` `[k, b, out]` to `sums`, and |c| Σᵢ‖eᵢ‖‖xᵢ‖ to
    `lengths`. Each xᵢ·xⱼ has `plus` added: 1 for one more input that is always 1.

    Products of rows in float32, as partial sums side by side; their sum in float64.
    """
    for k in range(len(errors)):
        total, length = 0.0, 0.0
        for i in range(errors.shape[1]):
            for j in range(i + 1):
                met = np.float32(0)
                for n in range(errors.shape[2]):
                    met += errors[k, i, n] * errors[k, j, n]
                entered = np.float32(plus)
                for n in range(inputs.shape[2]):
                    entered += inputs[k, i, n] * inputs[k, j, n]
                both = np.float64(met) * np.float64(entered)
                if i == j:
                    total += both
                    length += math.sqrt(both)
                else:
                    total += 2 * both
        sums[k] += coefficients[k] * coefficients[k] * total
        lengths[k] += abs(coefficients[k]) * length


def crossed(
    inputs: NDArray[np.float32],
    errors: NDArray[np.float32],
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Add 2·left·right·Σ inputs∘errors of each of `[k, b, b']` to `sums`: how two steps of one layer meet."""
    for k in range(len(errors)):
        total = 0.0
        for i in range(errors.shape[1]):
            for j in range(errors.shape[2]):
                total += np.float64(inputs[k, i, j]) * np.float64(errors[k, i, j])
        sums[k] += 2 * left[k] * right[k] * total


def onto(values: NDArray[np.float32], scale: float, out: NDArray[np.int64]) -> None:
    """The whole numbers nearest to scale·values, to even where two are, into `out`."""
    for i in range(len(out)):
        out[i] = np.int64(np.rint(np.float64(values[i]) * scale))


def real(values: NDArray[np.int64], scale: float, out: NDArray[np.float32]) -> None:
    """scale·values into `out`, rounded to float64 and to float32."""
    for i in range(len(out)):
        out[i] = np.float32(np.float64(values[i]) * scale)


def lengths(rows: NDArray[np.float32], out: NDArray[np.float64]) -> None:
    """Squared lengths of `rows` `[k, n]` into `out` `[k]`, in float64."""
    for k in range(len(out)):
        total = 0.0
        for n in range(rows.shape[1]):
            total += np.float64(rows[k, n]) * np.float64(rows[k, n])
        out[k] = total


def rectified(values: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    """max(values + bias, 0) into `values` `[k, b, n]`, `bias` being `[k, n]`, or `[1, n]` for all; what is no number stays."""
    none = np.float32(0)
    for k in range(values.shape[0]):
        own = bias[k if len(bias) > 1 else 0]
        for i in range(values.shape[1]):
            row = values[k, i]
            for j in range(values.shape[2]):
                value = row[j] + own[j]
                row[j] = none if value <= none else value


def halved(images: NDArray[np.float32], out: NDArray[np.float32], places: NDArray[np.uint8]) -> None:
    """Maxima over windows of two by two of `images` `[n, H, W, C]` into `out` `[n, H // 2, W // 2, C]`, and which of the four
    each was, row by row: the first of equals, the last of what is no number.
    """
    for n in range(out.shape[0]):
        for i in range(out.shape[1]):
            upper, lower, best, which = images[n, 2 * i], images[n, 2 * i + 1], out[n, i], places[n, i]
            for j in range(out.shape[2]):
                for c in range(out.shape[3]):
                    first, second, third, fourth = (
                        upper[2 * j, c],
                        upper[2 * j + 1, c],
                        lower[2 * j, c],
                        lower[2 * j + 1, c],
                    )
                    found, at = first, np.uint8(0)
                    if second > found or second != second:
                        found, at = second, np.uint8(1)
                    if third > found or third != third:
                        found, at = third, np.uint8(2)
                    if fourth > found or fourth != fourth:
                        found, at = fourth, np.uint8(3)
                    best[j, c] = found
                    which[j, c] = at


def doubled(errors: NDArray[np.float32], places: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
    """Put `errors` where `halved` found the maxima of their windows, and zero into the rest of each window."""
    none = np.float32(0)
    for n in range(errors.shape[0]):
        for i in range(errors.shape[1]):
            for j in range(errors.shape[2]):
                error, which = errors[n, i, j], places[n, i, j]
                for p in range(4):
                    place, this = out[n, 2 * i + p // 2, 2 * j + p % 2], np.int32(p)
                    for c in range(errors.shape[3]):
                        value, at = error[c], np.int32(which[c])
                        place[c] = value if at == this else none
