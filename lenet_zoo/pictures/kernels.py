"""Exact arithmetic on pictures: integers in, the same integers out on every machine and in every language.

`//` rounds down; every resampling rounds to the nearest after each axis, rows first, averages areas when it shrinks and
interpolates linearly between pixel centres when it enlarges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "Bytes",
    "Ints",
    "Mask",
    "box_of",
    "boxes_of",
    "components",
    "extreme",
    "extreme_along",
    "fit",
    "nearest",
    "otsu",
    "ring",
    "scale_to",
    "window_mean",
]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

# The working picture of step 2: enough for a hair line of a large scan, little enough for Python.
_LEAST_SIDE, _MOST_SIDE = 112, 256


def nearest(numerator: Any, denominator: Any) -> Any:
    """numerator / denominator to the nearest whole number, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)


def ring(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The border pixels, each once or, in a picture one pixel wide, twice."""
    return np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])


def box_of(mask: Mask) -> tuple[int, int, int, int]:
    """First row, row after the last, first column and column after the last that hold something."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def fit(grey: npt.NDArray[Any]) -> Ints:
    """Step 2."""
    height, width = grey.shape
    long = max(height, width)
    return scale_to(grey, min(max(long, _LEAST_SIDE), _MOST_SIDE))


def scale_to(values: npt.NDArray[Any], long: int) -> Ints:
    """Resample so that the longer side is `long` and the aspect is kept."""
    most = max(values.shape)
    height, width = (max(1, int(nearest(side * long, most))) for side in values.shape)
    return np.ascontiguousarray(_resample_rows(_resample_rows(values, height).T, width).T)


def _resample_rows(values: npt.NDArray[Any], rows: int) -> Ints:
    before = values.shape[0]
    if rows == before:
        return values.astype(np.int64)
    if rows < before:
        # Row i covers the old rows from i·before/rows to (i + 1)·before/rows: whole rows, less and plus a fraction.
        first, fraction = np.divmod(np.arange(rows) * before, rows)
        share = fraction[:, None] * values[first].astype(np.int64)
        total = rows * np.add.reduceat(values, first, axis=0, dtype=np.int64) - share
        total[:-1] += share[1:]
        return nearest(total, before)
    lower, fraction = np.divmod((2 * np.arange(rows) + 1) * before - rows, 2 * rows)
    low = values[np.maximum(lower, 0)].astype(np.int64)
    high = values[np.minimum(lower + 1, before - 1)].astype(np.int64)
    return nearest((2 * rows - fraction[:, None]) * low + fraction[:, None] * high, 2 * rows)


def window_mean(values: Ints, radius: int) -> Ints:
    """The mean, rounded down, over the window of 2·radius + 1 rows and then columns, as far as the picture goes."""
    for _ in range(2):
        length = values.shape[0]
        sums = np.concatenate([np.zeros_like(values[:1]), values.cumsum(axis=0)])
        start = np.maximum(np.arange(length) - radius, 0)
        end = np.minimum(np.arange(length) + radius + 1, length)
        values = ((sums[end] - sums[start]) // (end - start)[:, None]).T
    return values


def extreme(values: Ints, radius: int, choose: np.ufunc) -> Ints:
    """The maximum or minimum over a square window of 2·radius + 1, as far as the picture goes."""
    return extreme_along(extreme_along(values, radius, choose, 0), radius, choose, 1)


def extreme_along(values: Ints, radius: int, choose: np.ufunc, axis: int) -> Ints:
    radius = min(radius, values.shape[axis] - 1)
    # Repeating the end pixel adds nothing to a window that holds it already.
    padding = [(radius, radius) if index == axis else (0, 0) for index in (0, 1)]
    values = np.pad(values, padding, mode="edge")
    values = values.T if axis else values
    span, window = 1, 2 * radius + 1
    while span < window:  # windows of 1, 2, 4, … and at last two that overlap
        step = min(span, window - span)
        values = choose(values[:-step], values[step:])
        span += step
    return values.T if axis else values


def otsu(levels: Ints) -> tuple[int, int, int]:
    """Otsu's threshold (levels of at least it are the upper class) and the means of both classes, rounded down.

    Levels are 0 … 511 (above counts as 511). On one level only, both means are it.
    """
    histogram = np.bincount(np.minimum(levels, 511).ravel(), minlength=512)
    count, total = int(levels.size), int((histogram * np.arange(512)).sum())
    below, sum_below = histogram.cumsum()[:-1], (histogram * np.arange(512)).cumsum()[:-1]
    weight = below * (count - below)
    if not weight.any():
        return 512, total // count, total // count
    distance = (count * sum_below - below * total).astype(np.float64)
    score = distance * distance / np.maximum(weight, 1)
    best = int(np.argmax(np.where(weight > 0, score, -1.0)))
    lower = int(below[best])
    return best + 1, int(sum_below[best]) // lower, (total - int(sum_below[best])) // (count - lower)


def components(mask: Mask) -> tuple[Ints, int]:
    """8-connected pieces: their labels (0 outside, then 1, 2, … in order of their first pixel) and their number."""
    changes = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(changes == 1)
    ends = np.nonzero(changes == -1)[1]  # in the same order: each run has its end before the next one starts
    runs = list(zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True))
    parents = list(range(len(runs)))

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    previous: list[int] = []
    current: list[int] = []
    first, at = 0, -1
    for run, (row, start, end) in enumerate(runs):
        if row != at:
            previous, current = (current if row == at + 1 else []), []
            first, at = 0, row
        current.append(run)
        while first < len(previous) and runs[previous[first]][2] < start:
            first += 1
        for other in previous[first:]:
            if runs[other][1] > end:
                break
            older, newer = sorted((root(other), root(run)))
            parents[newer] = older
    names: dict[int, int] = {}
    values = [names.setdefault(root(run), len(names) + 1) for run in range(len(runs))]
    labels = np.zeros(mask.shape, np.int64)
    labels[mask] = np.repeat(np.array(values, np.int64), ends - starts)
    return labels, len(names)


def boxes_of(labels: Ints, count: int) -> list[tuple[int, int, int, int]]:
    rows, columns = np.nonzero(labels)
    which = labels[rows, columns] - 1
    edges = []
    for places in (rows, columns):
        least, most = np.full(count, labels.size), np.zeros(count, np.int64)
        np.minimum.at(least, which, places)
        np.maximum.at(most, which, places + 1)
        edges += [least.tolist(), most.tolist()]
    return list(zip(*edges, strict=True))
