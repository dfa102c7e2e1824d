"""One character of a strip by itself, placed as a picture of one character is (`placing`).

1. Pieces: the 8-connected ink of level 64 or more.
2. Cells: the strip is parted half-way between the middles of neighbours.
3. A piece over one middle, or none, belongs to the cell with most of its ink. A piece over several is of characters
   that touch: each cell has its part of it.
4. Of the pieces of a cell, those go that have less than a quarter of the largest one's ink and columns over 2 px
   away from its: dots, dashes. Where a piece was cut, those of less than a fifth go that the cut touches.
5. The fainter ink within a pixel of a character is its own where it is no other's.
6. It is scaled and placed as MNIST has a digit. A cell without ink gives an empty picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, compress, pairwise
from typing import NamedTuple

import numpy as np

from lenet_zoo.pictures.components import Pieces, components
from lenet_zoo.pictures.kernels import Bytes, Ints, Mask, box_of, extreme
from lenet_zoo.pictures.placing import place

__all__ = ["characters_alone", "characters_of_texts"]

_SIZE = 28
_INK = 64
_NEAR = 2


class _Cell(NamedTuple):
    """The ink of one character: its own pieces, and those that it shares, between two columns."""

    own: tuple[int, ...]
    shared: tuple[int, ...]
    columns: tuple[int, int]


_EMPTY = _Cell((), (), (0, 0))


def characters_alone(pixels: Bytes, middles: Sequence[float]) -> Bytes:
    """Each character of a strip, alone.

    Args:
        pixels: uint8 28×W, 0 background and 255 ink.
        middles: the columns that are the middles of its characters, ascending.

    Returns: uint8 N×28×28, one picture for each middle.
    """
    strip = _Strip(pixels)
    pictures = [strip.placed(cell) for cell in strip.cells(middles)]
    return np.array(pictures, np.uint8).reshape(-1, _SIZE, _SIZE)


def characters_of_texts(pixels: Bytes, texts: Sequence[tuple[Sequence[int], Sequence[float]]]) -> tuple[Bytes, Ints]:
    """`characters_alone` of several texts that one strip may have, as far as they differ.

    Args:
        pixels: as above.
        texts: of each the classes of its characters, and their middles.

    Returns:
        uint8 N×28×28, the pictures, each once; and which is that of each character of the first text, of the second, …
        A character that all texts have, as the same class, says nothing of which is right: −1.
    """
    strip = _Strip(pixels)
    cells = [list(zip(strip.cells(middles), classes, strict=True)) for classes, middles in texts]
    shared = set[tuple[_Cell, int]].intersection(*map(set, cells)) if cells else set()
    found: dict[_Cell, int] = {}
    which = []
    for cell, label in chain.from_iterable(cells):
        tells = (cell, label) not in shared or cell == _EMPTY
        which.append(found.setdefault(cell, len(found)) if tells else -1)
    pictures = [strip.placed(cell) for cell in found]
    return np.array(pictures, np.uint8).reshape(-1, _SIZE, _SIZE), np.array(which, np.int64)


class _Strip:
    """A strip that characters are cut out of."""

    def __init__(self, pixels: Bytes) -> None:
        self.pixels, self.mask = pixels, pixels >= _INK
        self.pieces = components(self.mask)
        self.labels = _labels(self.pieces)
        self.before = _ink_before(self.labels, self.pieces)

    def cells(self, middles: Sequence[float]) -> list[_Cell]:
        """Steps 2 to 4, the remnants in a cell left aside."""
        pieces = self.pieces
        if not pieces.count or not len(middles):
            return [_EMPTY] * len(middles)
        at = np.asarray(middles, np.float64)
        edges = np.concatenate([[0], np.ceil((at[1:] + at[:-1]) / 2), [pieces.shape[1]]]).astype(np.int64)
        ink = np.diff(self.before[:, edges]).T  # cells × pieces
        lefts, rights = pieces.boxes[2:]
        over = ((lefts <= at[:, None]) & (at[:, None] < rights)).sum(0)
        own = (over <= 1) & (ink.argmax(0) == np.arange(len(at))[:, None])
        largest = np.where(own, pieces.area, 0).argmax(1)
        beside = (lefts < rights[largest, None] + _NEAR) & (rights > lefts[largest, None] - _NEAR)
        own &= beside | (4 * pieces.area >= pieces.area[largest, None])
        shared = (over > 1) & (ink > 0)
        numbers = range(pieces.count)
        return [
            _Cell(tuple(compress(numbers, mine)), tuple(compress(numbers, ours)), column if any(ours) else (0, 0))
            for mine, ours, column in zip(own.tolist(), shared.tolist(), pairwise(edges.tolist()), strict=True)
        ]

    def placed(self, cell: _Cell) -> Bytes:
        """Steps 4 to 6 of one cell."""
        pieces, labels = self.pieces, self.labels
        if cell == _EMPTY:
            return np.zeros((_SIZE, _SIZE), np.uint8)
        (left, right), own = cell.columns, list(cell.own)
        lefts, rights = pieces.boxes[2:]
        # All around it, and the pixel beside it, which may have its fainter ink.
        begin = max(0, min([*lefts[own].tolist(), *([left] if cell.shared else [])]) - 1)
        end = max([*rights[own].tolist(), *([right] if cell.shared else [])]) + 1
        near = labels[:, begin:end]
        here = _of(pieces, own)[near]
        if cell.shared:
            part = _of(pieces, cell.shared)[labels[:, left:right]]
            here[:, left - begin : right - begin] |= _without_remnants(part)
        soft = extreme(here, 1, np.logical_or) & (here | ~self.mask[:, begin:end])
        ink = self.pixels[:, begin:end] * soft
        top, bottom, first, last = box_of(ink > 0)
        return place(ink[top:bottom, first:last], _SIZE)


def _labels(pieces: Pieces) -> Ints:
    """For each pixel its piece, counted from 1; 0 outside."""
    height, width = pieces.shape
    steps = np.zeros(height * (width + 1), np.int64)
    offset = pieces.rows * (width + 1)
    steps[pieces.starts + offset] = pieces.labels + 1
    steps[pieces.ends + offset] = -pieces.labels - 1
    return np.cumsum(steps).reshape(height, width + 1)[:, :-1]


def _ink_before(labels: Ints, pieces: Pieces) -> Ints:
    """Of each piece the pixels to the left of each column, and all: count×(W + 1)."""
    _, columns = labels.nonzero()
    width = pieces.shape[1]
    of_columns = np.bincount((labels[labels > 0] - 1) * width + columns, minlength=pieces.count * width)
    out = np.zeros((pieces.count, width + 1), np.int64)
    np.cumsum(of_columns.reshape(-1, width), axis=1, out=out[:, 1:])
    return out


def _of(pieces: Pieces, some: Sequence[int]) -> Mask:
    """For each value of `_labels` whether it is of one of some pieces."""
    out = np.zeros(pieces.count + 1, np.bool_)
    out[1:][list(some)] = True
    return out


def _without_remnants(part: Mask) -> Mask:
    """Step 4 of what is left of touching characters in one cell."""
    pieces = components(part)
    cut = np.zeros(pieces.count, np.bool_)
    cut[pieces.labels[(pieces.starts == 0) | (pieces.ends == part.shape[1])]] = True
    return pieces.mask(~cut | (5 * pieces.area >= pieces.area.max()))
