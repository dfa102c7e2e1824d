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

import numpy as np

from lenet_zoo.pictures.components import components
from lenet_zoo.pictures.kernels import Bytes, Mask, box_of, extreme
from lenet_zoo.pictures.placing import place

__all__ = ["characters_alone"]

_SIZE = 28
_INK = 64
_NEAR = 2


def characters_alone(pixels: Bytes, middles: Sequence[float]) -> Bytes:
    """Each character of a strip, alone.

    Args:
        pixels: uint8 28×W, 0 background and 255 ink.
        middles: the columns that are the middles of its characters, ascending.

    Returns: uint8 N×28×28, one picture for each middle.
    """
    out = np.zeros((len(middles), _SIZE, _SIZE), np.uint8)
    mask = pixels >= _INK
    if not out.size or not mask.any():
        return out
    pieces = components(mask)
    at = np.asarray(middles, np.float64)
    edges = np.concatenate([[0], np.ceil((at[1:] + at[:-1]) / 2), [pixels.shape[1]]]).astype(np.int64)
    ink = np.stack(
        [
            pieces.total(np.maximum(0, np.minimum(pieces.ends, right) - np.maximum(pieces.starts, left)))
            for left, right in pairwise(edges.tolist())
        ]
    )  # cells × pieces
    lefts, rights = pieces.boxes[2:]
    over = ((lefts <= at[:, None]) & (at[:, None] < rights)).sum(0)
    owner = np.where(over > 1, -1, ink.argmax(0))
    shared = pieces.mask(owner < 0) if (owner < 0).any() else None
    for i, (left, right) in enumerate(pairwise(edges.tolist())):
        own = owner == i
        if own.any():
            largest = int(np.where(own, pieces.area, 0).argmax())
            beside = (lefts < rights[largest] + _NEAR) & (rights > lefts[largest] - _NEAR)
            own &= beside | (4 * pieces.area >= pieces.area[largest])
        here = pieces.mask(own)
        if shared is not None and shared[:, left:right].any():
            here[:, left:right] |= _without_remnants(shared[:, left:right])
        if not here.any():
            continue
        soft = extreme(here, 1, np.logical_or) & (here | ~mask)
        top, bottom, first, last = box_of(soft & (pixels > 0))
        out[i] = place(pixels[top:bottom, first:last] * soft[top:bottom, first:last], _SIZE)
    return out


def _without_remnants(part: Mask) -> Mask:
    """Step 4 of what is left of touching characters in one cell."""
    pieces = components(part)
    cut = pieces.borders[2:].any(0)
    return pieces.mask(~cut | (5 * pieces.area >= pieces.area.max()))
