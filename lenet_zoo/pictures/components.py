"""The connected pieces of a mask, kept as runs of pixels: what is asked of them costs per run, not per pixel."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lenet_zoo.pictures.kernels import Ints, Mask

__all__ = ["Pieces", "components", "filled", "run_lengths"]


@dataclass(frozen=True)
class Pieces:
    """The pieces 0, 1, … of a mask of `shape`, in the order of their first pixels.

    Attributes:
        rows, starts, ends: of each run of pixels its row, its first column and the column after its last.
        labels: of each run the piece that it belongs to.
        count: of pieces.
    """

    shape: tuple[int, int]
    rows: Ints
    starts: Ints
    ends: Ints
    labels: Ints
    count: int

    def total(self, of_runs: Ints) -> Ints:
        """The sum over the runs of each piece. Float64 inside: exact below 2^53."""
        return np.bincount(self.labels, of_runs, minlength=self.count).astype(np.int64)

    def sums(self, values: npt.NDArray[np.uint8] | Mask) -> Ints:
        """The sum of a picture's values over each piece."""
        before = np.zeros(values.size + 1, np.int64)
        np.cumsum(values, dtype=np.int64, out=before[1:])
        offset = self.rows * self.shape[1]
        return self.total(before[self.ends + offset] - before[self.starts + offset])

    @cached_property
    def area(self) -> Ints:
        """Pixels of each piece."""
        return self.total(self.ends - self.starts)

    @cached_property
    def boxes(self) -> tuple[Ints, Ints, Ints, Ints]:
        """First row, row after the last, first column, column after the last of each piece."""
        order = np.argsort(self.labels, kind="stable")
        first = np.searchsorted(self.labels[order], np.arange(self.count))
        rows = self.rows[order]
        last = np.append(first[1:], len(rows)) - 1
        left, right = np.minimum.reduceat(self.starts[order], first), np.maximum.reduceat(self.ends[order], first)
        return rows[first], rows[last] + 1, left, right

    @cached_property
    def borders(self) -> Ints:
        """4×count: pixels of each piece in the first row, the last row, the first column, the last column."""
        height, width = self.shape
        length = self.ends - self.starts
        sides = [length * (self.rows == 0), length * (self.rows == height - 1), self.starts == 0, self.ends == width]
        return np.stack([self.total(side) for side in sides])

    def mask(self, keep: Mask) -> Mask:
        """The pixels of the pieces that are marked in `keep`."""
        height, width = self.shape
        runs = keep[self.labels]
        offset = self.rows[runs] * (width + 1)
        steps = np.zeros(height * (width + 1), np.int8)
        steps[self.starts[runs] + offset] = 1
        steps[self.ends[runs] + offset] = -1
        inside = np.cumsum(steps, dtype=np.int8).reshape(height, width + 1)[:, :-1]
        return np.ascontiguousarray(inside).view(np.bool_)


def _runs(mask: Mask) -> tuple[Ints, Ints]:
    """First pixel and pixel after the last of each run, in the picture written row by row with an empty column more."""
    height, width = mask.shape
    flat = np.zeros(height * (width + 1) + 1, np.bool_)
    flat[1:].reshape(height, width + 1)[:, :-1] = mask
    edges = (flat[1:] != flat[:-1]).nonzero()[0]
    return edges[::2], edges[1::2]


def run_lengths(mask: Mask) -> npt.NDArray[np.int16]:
    """For each pixel of the mask the length of its run along the row; 0 elsewhere."""
    height, width = mask.shape
    starts, ends = _runs(mask)
    steps = np.zeros(height * (width + 1), np.int16)
    steps[starts] = ends - starts
    steps[ends] = starts - ends
    return np.cumsum(steps, dtype=np.int16).reshape(height, width + 1)[:, :-1]


def components(mask: Mask) -> Pieces:
    """8-connected pieces."""
    height, width = mask.shape
    starts, ends = _runs(mask)
    # Runs of the next row that touch this one, corners included, are those from `low` to before `high`.
    low = np.searchsorted(ends, starts + (width + 1), "left").tolist()
    high = np.searchsorted(starts, ends + (width + 1), "right").tolist()
    parents = list(range(len(low)))
    for run, first in enumerate(low):
        if first >= high[run]:
            continue
        root = run
        while parents[root] != root:
            parents[root] = parents[parents[root]]
            root = parents[root]
        for other in range(first, high[run]):
            while parents[other] != other:
                parents[other] = parents[parents[other]]
                other = parents[other]
            if other < root:
                root, other = other, root
            parents[other] = root
    labels: list[int] = []
    count = 0
    for run, parent in enumerate(parents):  # a parent comes before its children
        if parent == run:
            labels.append(count)
            count += 1
        else:
            labels.append(labels[parent])
    rows = starts // (width + 1)
    offset = rows * (width + 1)
    return Pieces((height, width), rows, starts - offset, ends - offset, np.array(labels, np.int64), count)


def filled(mask: Mask) -> Mask:
    """The mask and its holes: all that the paper at the border does not hang together with."""
    paper = components(~mask)
    return ~paper.mask(paper.borders.max(0) > 0)
