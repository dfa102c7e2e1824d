"""Fast integer loops over pictures: resampling, means, extremes, Otsu's threshold. Exact on every machine.

Everything works on uint8 and widens only as far as its sums need. Float64 appears for whole numbers below 2^53 alone.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "LEVELS",
    "Box",
    "Bytes",
    "Ints",
    "Mask",
    "box_of",
    "edge_count",
    "extreme",
    "extreme_along",
    "fit",
    "halved",
    "mean_stroke",
    "nearest",
    "opened",
    "otsu",
    "padded",
    "ranges",
    "resampled",
    "ring",
    "scale_to",
    "sheared",
    "spread",
    "window_mean",
]

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]
"""First row, row after the last, first column, column after the last."""


def nearest(numerator: Any, denominator: Any) -> Any:
    """numerator / denominator to the nearest whole number, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)


def spread(values: npt.NDArray[Any]) -> int:
    """The squared deviations from the mean, times the number of values, which are whole numbers of any type."""
    return values.size * int(values @ values) - int(np.add.reduce(values)) ** 2


def ring(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The border pixels, each once or, in a picture one pixel wide, twice."""
    return np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])


def box_of(mask: Mask) -> Box:
    """The box of what a mask holds, which must be something."""
    rows, columns = np.asarray(mask.any(1)), np.asarray(mask.any(0))
    bottom, right = rows.size - int(rows[::-1].argmax()), columns.size - int(columns[::-1].argmax())
    return int(rows.argmax()), bottom, int(columns.argmax()), right


def padded(values: npt.NDArray[Any], margin: int) -> npt.NDArray[Any]:
    """What `numpy.pad` gives, with zeros, in half the time."""
    height, width = values.shape
    out = np.zeros((height + 2 * margin, width + 2 * margin), values.dtype)
    out[margin:-margin, margin:-margin] = values
    return out


def edge_count(mask: Mask) -> int:
    """Of the edges between pixels those that part ink from paper; beyond the picture lies paper."""
    inside = padded(mask, 1)
    across, along = inside[1:] != inside[:-1], inside[:, 1:] != inside[:, :-1]
    return int(np.count_nonzero(across)) + int(np.count_nonzero(along))


def mean_stroke(mask: Mask) -> int:
    """The mean width of the strokes of a mask that is not empty, in whole pixels: 2.5 · area / edges, rounded down.

    A level bar has two edges to each pixel of its length; slants and corners have more.
    """
    return 5 * int(np.count_nonzero(mask)) // (2 * edge_count(mask))


# ---- Resampling ------------------------------------------------------------------------------------------------------


def halved(values: Bytes, factor: int) -> Bytes:
    """Means of factor×factor blocks, to the nearest, halves up; `factor` is a power of two.

    Rows and columns that fill no block are left out. Pillow's `reduce` does it: for a power of two its arithmetic is
    (sum + factor²/2) // factor², exactly.
    """
    from PIL import Image  # here, as those who have prepared pixels alone need no Pillow

    height, width = (side // factor * factor for side in values.shape)
    return np.asarray(Image.fromarray(values).reduce(factor, box=(0, 0, width, height)))


def fit(values: Bytes, long: int) -> Bytes:
    """`scale_to`, fast for large pictures.

    A picture of 4 times the size or more is first reduced in blocks (`halved`), by the largest power of two that leaves
    2·`long` pixels of the longer side and one of the shorter.
    """
    factor = 1
    while max(values.shape) // (4 * factor) >= long and min(values.shape) >= 2 * factor:
        factor *= 2
    return scale_to(halved(values, factor) if factor > 1 else values, long)


def scale_to(values: Bytes, long: int) -> Bytes:
    """Resample so that the longer side is `long` and the aspect is kept: rows first, each axis to the nearest."""
    most = max(values.shape)
    height, width = (max(1, int(nearest(side * long, most))) for side in values.shape)
    return resampled(values, height, width)


def resampled(values: Bytes, height: int, width: int) -> Bytes:
    """Means of areas along an axis that shrinks, linear between pixel centres along one that grows: rows first."""
    values = _resample_rows(values, height)
    return np.ascontiguousarray(_resample_rows(np.ascontiguousarray(values.T), width).T)


def sheared(values: Bytes, shifts: Ints) -> Bytes:
    """Each row moved by its shift, to the right where that is positive; both sides have room for the largest."""
    height, width = values.shape
    room = int(np.abs(shifts).max(initial=0))
    out = np.zeros((height, width + 2 * room), np.uint8)
    np.put_along_axis(out, np.arange(width)[None, :] + (shifts + room)[:, None], values, 1)
    return out


def _resample_rows(values: Bytes, rows: int) -> Bytes:
    if rows == values.shape[0]:
        return values
    ((index, share), *rest), whole = _shares(values.shape[0], rows)
    values = values.astype(whole.dtype)  # once: numpy is slow where types meet
    total = values.take(index, 0)
    total *= share
    for index, share in rest:
        part = values.take(index, 0)
        part *= share
        total += part
    total += whole // 2
    total //= whole
    return total.astype(np.uint8)


@lru_cache(maxsize=1024)  # some 4 kB each; cut pictures have many sizes
def _shares(before: int, rows: int) -> tuple[list[tuple[Ints, npt.NDArray[Any]]], Any]:
    """New row i is the sum of old rows index[i] times share[i], over the parts, divided by the whole.

    Shares and whole are as small as they can be, which changes no quotient, also not where the half is rounded: uint16
    where that holds 255 · whole + whole // 2, else uint32.
    """
    parts, whole = _whole_shares(before, rows)
    common = math.gcd(whole, *(int(np.gcd.reduce(share.ravel())) for _, share in parts))
    whole //= common
    kind = np.uint16 if 256 * whole <= 65536 else np.uint32
    return [(index, (share // common).astype(kind)) for index, share in parts], kind(whole)


def _whole_shares(before: int, rows: int) -> tuple[list[tuple[Ints, Ints]], int]:
    places = np.arange(rows)
    if rows < before:  # means of areas: row i covers i·before … (i + 1)·before, where an old row is `rows` long
        start = places * before
        parts = []
        for step in range(before // rows + 2):
            old = start // rows + step
            share = np.minimum(start + before, (old + 1) * rows) - np.maximum(start, old * rows)
            if (share > 0).any():
                parts.append((np.minimum(old, before - 1), np.maximum(share, 0)[:, None]))
        return parts, before
    lower, fraction = np.divmod((2 * places + 1) * before - rows, 2 * rows)  # linear between the pixels' centres
    low = np.maximum(lower, 0), (2 * rows - fraction)[:, None]
    return [low, (np.minimum(lower + 1, before - 1), fraction[:, None])], 2 * rows


# ---- Windows ---------------------------------------------------------------------------------------------------------


def window_mean(values: Bytes, radius: int) -> Bytes:
    """The mean, rounded down, over the window of 2·radius + 1 rows and then columns, as far as the picture goes."""
    if radius == 1 and min(values.shape) > 1:
        rows = _mean_of_three(values.astype(np.uint16))
        return _mean_of_three(np.ascontiguousarray(rows.T)).T.astype(np.uint8, order="C")
    for _ in range(2):
        # No matrix product, which BLAS would hand to threads that wait for each other longer than all of this takes.
        reach = min(radius, values.shape[0] - 1)
        # Sums of whole numbers below 2^24, and quotients that are whole or 1/count away from it: float32 is exact.
        means = _window_sums(values, reach).astype(np.float32, copy=False) / _window_counts(values.shape[0], reach)
        values = np.ascontiguousarray(means.astype(np.uint8).T)
    return values


def _window_sums(values: Bytes, reach: int) -> npt.NDArray[Any]:
    """The sums over 2·reach + 1 rows: of sums over 1, 2, 4, … rows, those that add up to so many."""
    length, wanted = values.shape[0], 2 * reach + 1
    sums = np.zeros((length + 2 * reach, values.shape[1]), np.uint16 if wanted <= 257 else np.uint32)
    sums[reach : reach + length] = values
    total = sums[:length].copy()  # `wanted` is odd
    done, span = 1, 1
    while done < wanted:
        sums = sums[:-span] + sums[span:]
        span *= 2
        if wanted & span:
            total += sums[done : done + length]
            done += span
    return total


def _mean_of_three(values: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    total = values.copy()
    total[1:] += values[:-1]
    total[:-1] += values[1:]
    total[1:-1] //= np.uint16(3)
    total[0] >>= 1
    total[-1] >>= 1
    return total


@lru_cache(maxsize=256)
def _window_counts(length: int, reach: int) -> npt.NDArray[np.float32]:
    """How many rows the window of each row has, length×1."""
    places = np.arange(length)
    counts = np.minimum(places + reach + 1, length) - np.maximum(places - reach, 0)
    return counts.astype(np.float32)[:, None]


def extreme(values: npt.NDArray[Any], radius: int, choose: np.ufunc) -> npt.NDArray[Any]:
    """The maximum or minimum (`or`, `and` of masks) over a square of 2·radius + 1, as far as the picture goes."""
    if radius == 1:
        rows = extreme_along(values, 1, choose)
        near = rows.copy()
        choose(near[:, 1:], rows[:, :-1], out=near[:, 1:])
        choose(near[:, :-1], rows[:, 1:], out=near[:, :-1])
        return near
    columns = np.ascontiguousarray(extreme_along(values, radius, choose).T)
    return np.ascontiguousarray(extreme_along(columns, radius, choose).T)


def opened(values: Bytes, radius: int) -> Bytes:
    """`extreme` of the minima, and of these the maxima."""
    # Rows and columns may take turns in any order: so the picture is turned twice, not four times.
    columns = np.ascontiguousarray(extreme_along(values, radius, np.minimum).T)
    columns = extreme_along(extreme_along(columns, radius, np.minimum), radius, np.maximum)
    return extreme_along(np.ascontiguousarray(columns.T), radius, np.maximum)


def ranges(values: Bytes, radius: int) -> Bytes:
    """The maximum less the minimum over the same squares."""
    high, low = (
        extreme_along(np.ascontiguousarray(extreme_along(values, radius, choose).T), radius, choose)
        for choose in (np.maximum, np.minimum)
    )
    return (high - low).T


def extreme_along(values: npt.NDArray[Any], radius: int, choose: np.ufunc) -> npt.NDArray[Any]:
    """The same over 2·radius + 1 rows."""
    length = values.shape[0]
    radius = min(radius, length - 1)
    if not radius:
        return values
    if radius == 1:
        near = values.copy()
        choose(near[1:], values[:-1], out=near[1:])
        choose(near[:-1], values[1:], out=near[:-1])
        return near
    # Repeating the end row adds nothing to a window that holds it already.
    window = np.empty((length + 2 * radius, values.shape[1]), values.dtype)
    window[:radius] = values[0]
    window[radius : radius + length] = values
    window[radius + length :] = values[-1]
    span, wanted = 1, 2 * radius + 1
    while span < wanted:  # windows of 1, 2, 4, … and at last two that overlap
        step = min(span, wanted - span)
        window = choose(window[:-step], window[step:])
        span += step
    return window


# ---- Threshold -------------------------------------------------------------------------------------------------------

LEVELS = np.arange(256)


def otsu(levels: Bytes) -> tuple[int, int, int]:
    """Otsu's threshold (levels of at least it are the upper class) and the means of both classes, rounded down.

    Of several thresholds that are equally good, the lowest. On one level only: 256, and both means are it.
    """
    histogram = np.bincount(levels.ravel(), minlength=256)
    below, sum_below = histogram.cumsum(), (histogram * LEVELS).cumsum()
    count, total = int(below[-1]), int(sum_below[-1])
    weight = below * (count - below)
    distance = (count * sum_below - below * total).astype(np.float64)
    best = int((distance * distance / np.maximum(weight, 1)).argmax())
    if not weight[best]:
        return 256, total // count, total // count
    lower = int(below[best])
    return best + 1, int(sum_below[best]) // lower, (total - int(sum_below[best])) // (count - lower)
