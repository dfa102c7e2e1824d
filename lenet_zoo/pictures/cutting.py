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
from itertools import pairwise
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


def characters_alone(pixels: Bytes, middles: Sequence[float]) -> Bytes:
    """Each character of a strip, alone.

    Args:
        pixels: uint8 28×W, 0 background and 255 ink.
        middles: the columns that are the middles of its characters, ascending.

    Returns: uint8 N×28×28, one picture for each middle.
    """
    pictures, which = characters_of_texts(pixels, [middles])
    return pictures[which]


def characters_of_texts(pixels: Bytes, texts: Sequence[Sequence[float]]) -> tuple[Bytes, Ints]:
    """`characters_alone` of several texts that one strip may have, which share most of their characters.

    Returns:
        uint8 N×28×28, the pictures, each once; and which is that of each middle of the first text, of the second, …
    """
    mask = pixels >= _INK
    pieces = components(mask)
    labels = _labels(pieces)
    found: dict[_Cell, int] = {}
    pictures: list[Bytes] = []
    which = []
    for middles in texts:
        for cell in _cells(pieces, middles):
            if cell not in found:
                found[cell] = len(pictures)
                pictures.append(_placed(pixels, mask, labels, pieces, cell))
            which.append(found[cell])
    out = np.array(pictures, np.uint8).reshape(-1, _SIZE, _SIZE)
    return out, np.array(which, np.int64)


def _labels(pieces: Pieces) -> Ints:
    """For each pixel its piece, counted from 1; 0 outside."""
    height, width = pieces.shape
    steps = np.zeros(height * (width + 1), np.int64)
    offset = pieces.rows * (width + 1)
    steps[pieces.starts + offset] = pieces.labels + 1
    steps[pieces.ends + offset] = -pieces.labels - 1
    return np.cumsum(steps).reshape(height, width + 1)[:, :-1]


def _cells(pieces: Pieces, middles: Sequence[float]) -> list[_Cell]:
    """Steps 2 to 4, the remnants in a cell left aside."""
    if not pieces.count:
        return [_Cell((), (), (0, 0))] * len(middles)
    at = np.asarray(middles, np.float64)
    edges = np.concatenate([[0], np.ceil((at[1:] + at[:-1]) / 2), [pieces.shape[1]]]).astype(np.int64)
    columns = list(pairwise(edges.tolist()))
    ink = np.array(
        [
            pieces.total(np.maximum(0, np.minimum(pieces.ends, right) - np.maximum(pieces.starts, left)))
            for left, right in columns
        ]
    ).reshape(len(columns), pieces.count)
    lefts, rights = pieces.boxes[2:]
    over = ((lefts <= at[:, None]) & (at[:, None] < rights)).sum(0)
    cells = []
    for i, column in zip(range(len(at)), columns, strict=False):
        own = (over <= 1) & (ink.argmax(0) == i)
        if own.any():
            largest = int(np.where(own, pieces.area, 0).argmax())
            beside = (lefts < rights[largest] + _NEAR) & (rights > lefts[largest] - _NEAR)
            own &= beside | (4 * pieces.area >= pieces.area[largest])
        shared = tuple(np.flatnonzero((over > 1) & (ink[i] > 0)).tolist())
        cells.append(_Cell(tuple(np.flatnonzero(own).tolist()), shared, column if shared else (0, 0)))
    return cells


def _placed(pixels: Bytes, mask: Mask, labels: Ints, pieces: Pieces, cell: _Cell) -> Bytes:
    """Steps 4 to 6 of one cell."""
    if not cell.own and not cell.shared:
        return np.zeros((_SIZE, _SIZE), np.uint8)
    (left, right), own = cell.columns, list(cell.own)
    lefts, rights = pieces.boxes[2:]
    # All around it, and the pixel beside it, which may have its fainter ink.
    begin = max(0, min([*lefts[own].tolist(), *([left] if cell.shared else [])]) - 1)
    end = max([*rights[own].tolist(), *([right] if cell.shared else [])]) + 1
    near = labels[:, begin:end]
    here = np.isin(near, [piece + 1 for piece in own])
    if cell.shared:
        part = np.isin(labels[:, left:right], [piece + 1 for piece in cell.shared])
        here[:, left - begin : right - begin] |= _without_remnants(part)
    soft = extreme(here, 1, np.logical_or) & (here | ~mask[:, begin:end])
    ink = pixels[:, begin:end] * soft
    top, bottom, first, last = box_of(ink > 0)
    return place(ink[top:bottom, first:last], _SIZE)


def _without_remnants(part: Mask) -> Mask:
    """Step 4 of what is left of touching characters in one cell."""
    pieces = components(part)
    cut = pieces.borders[2:].max(0) > 0
    return pieces.mask(~cut | (5 * pieces.area >= pieces.area.max()))
