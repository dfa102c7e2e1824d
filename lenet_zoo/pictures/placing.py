"""Ink to a picture as MNIST has it: steps 1 and 11 to 15 of `character`, which specifies them."""

from __future__ import annotations

import numpy as np

from lenet_zoo.pictures.kernels import (
    Bytes,
    box_of,
    edge_count,
    extreme,
    extreme_along,
    nearest,
    padded,
    resampled,
    scale_to,
    sheared,
    spread,
)

__all__ = ["even_stroke", "is_normal", "narrowed", "place", "upright"]

# Width by height. Chosen on MNIST's last 10,000 training digits, made 1.2 to 2.5 times as wide: the least that costs
# those up to 1.6 times as wide nothing. 982 of 1,000 of its training digits are no wider.
_WIDEST = (4, 3)
# Tenths of a pixel of the 20 px box. Chosen on the dev halves of pictures from the wild and on scikit-learn's 1,797
# digits, the ramp of step 10 on MNIST's validation digits, redrawn in many ways: accuracy there is no held-out figure.
_STROKE = (23, 33)


def _box_side(size: int) -> int:
    return (2 * 20 * size + 28) // 56


def is_normal(digit: Bytes, size: int) -> bool:
    """Step 1."""
    if digit.max() < 250:
        return False
    top, bottom, left, right = box_of(digit > 0)
    if max(bottom - top, right - left) not in (_box_side(size), _box_side(size) - 1):
        return False
    places = np.arange(size)
    rows = digit.sum(1, dtype=np.int64)
    mass = int(rows.sum())
    moments = int(rows @ places), int(digit.sum(0, dtype=np.int64) @ places)
    # The doubled distance of the centre from pixel 14 (size/2), against 2 · 0.52.
    return all(100 * abs(2 * moment - size * mass) <= 104 * mass for moment in moments)


def upright(ink: Bytes) -> Bytes:
    """Step 11, whose limit of 1/2 was chosen on MNIST's last 10,000 training digits, slanted by up to 1."""
    rows, columns = (ink >= 128).nonzero()
    # Both are the sums of the specification times the number of pixels.
    across = int(rows.sum()) * int(columns.sum()) - rows.size * int(rows @ columns)
    along = spread(rows)
    excess = 2 * abs(across) - along
    if excess <= 0:
        return ink
    height = ink.shape[0]
    doubled = 2 * np.arange(height) - (height - 1)  # distances from the middle row
    straight = sheared(ink, nearest((excess if across > 0 else -excess) * doubled, 4 * along))
    _, _, left, right = box_of(straight >= 64)
    return np.ascontiguousarray(straight[:, left:right])


def narrowed(ink: Bytes) -> Bytes:
    """Step 12."""
    height, width = ink.shape
    widest = int(nearest(_WIDEST[0] * height, _WIDEST[1]))
    return resampled(ink, height, widest) if width > widest else ink


def even_stroke(ink: Bytes, tall: int | None = None) -> Bytes:
    """Step 13; of several characters, the height `tall` of one takes the place of the longer side."""
    long = tall or max(ink.shape)
    edges = edge_count(ink >= 128)
    area = int(ink.sum(dtype=np.int64))
    # In tenths of a pixel of the 20 px box: 10 · 20 / long · 2.5 · (area / 255) / edges.
    width = 500 * area // (255 * long * max(edges, 1))
    least, most = _STROKE
    if width < least:
        turns = int(nearest((least - width) * long, 400))
        return _stepwise(padded(ink, turns), turns, np.maximum) if turns else ink
    turns = int(nearest((width - most) * long, 400)) if width > most else 0
    thinner = _stepwise(padded(ink, 1), turns, np.minimum)
    dark = thinner >= 128
    if not dark.any():
        return ink
    top, bottom, left, right = box_of(dark)
    return thinner[top:bottom, left:right]


def _stepwise(values: Bytes, turns: int, choose: np.ufunc) -> Bytes:
    """Grow or shrink by `turns` pixels: a cross, then a square, and so on, which comes near to a disc."""
    for turn in range(turns):
        if turn % 2:
            values = extreme(values, 1, choose)
        else:
            values = choose(extreme_along(values, 1, choose), extreme_along(values.T, 1, choose).T)
    return values


def place(ink: Bytes, size: int) -> Bytes:
    """Steps 14 and 15."""
    levels = scale_to(ink, _box_side(size)).astype(np.int64)
    digit = levels * 255 // levels.max()
    mass = int(digit.sum())
    corner = []
    for axis, length in enumerate(digit.shape):
        moment = int(digit.sum(1 - axis) @ np.arange(length))
        shift = -((2 * moment - (size - 1) * mass) // (2 * mass))
        corner.append(min(max(shift, 0), size - length))
    field = np.zeros((size, size), np.uint8)
    field[corner[0] : corner[0] + digit.shape[0], corner[1] : corner[1] + digit.shape[1]] = digit
    return field
