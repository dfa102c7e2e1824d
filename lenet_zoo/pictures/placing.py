"""Ink to a picture as MNIST has it: steps 1 and 10 to 12 of `character`, which specifies them."""

from __future__ import annotations

import numpy as np

from lenet_zoo.pictures.kernels import Bytes, Ints, box_of, extreme, extreme_along, nearest, scale_to

__all__ = ["even_stroke", "is_normal", "place"]

# Tenths of a pixel of the 20 px box. Chosen on MNIST's validation digits, redrawn in many ways, and on scikit-learn's
# 1,797 digits, as were the ramp and the radius of steps 9 and 5: accuracy on those is no independent figure.
_STROKE = (26, 35)


def _box_side(size: int) -> int:
    return (2 * 20 * size + 28) // 56


def is_normal(digit: Ints, size: int) -> bool:
    """Step 1."""
    if digit.max() < 250 or not digit.any():
        return False
    top, bottom, left, right = box_of(digit > 0)
    if max(bottom - top, right - left) not in (_box_side(size), _box_side(size) - 1):
        return False
    mass = int(digit.sum())
    moments = [int((digit.sum(axis) * np.arange(size)).sum()) for axis in (1, 0)]
    return all(100 * abs(2 * moment - size * mass) <= 104 * mass for moment in moments)


def even_stroke(ink: Ints) -> Ints:
    """Step 10."""
    long = max(ink.shape)
    inside = np.pad(ink >= 128, 1)
    edges = int((inside[1:] != inside[:-1]).sum()) + int((inside[:, 1:] != inside[:, :-1]).sum())
    area = int(ink.sum())
    # In tenths of a pixel of the 20 px box: 10 · 20 / long · 2.5 · (area / 255) / edges.
    width = 500 * area // (255 * long * max(edges, 1))
    least, most = _STROKE
    if width < least:
        turns = int(nearest((least - width) * long, 400))
        return _stepwise(np.pad(ink, turns), turns, np.maximum)
    turns = int(nearest((width - most) * long, 400)) if width > most else 0
    thinner = _stepwise(np.pad(ink, 1), turns, np.minimum)
    if not (thinner >= 128).any():
        return ink
    top, bottom, left, right = box_of(thinner >= 128)
    return thinner[top:bottom, left:right]


def _stepwise(values: Ints, turns: int, choose: np.ufunc) -> Ints:
    """Grow or shrink by `turns` pixels: a cross, then a square, and so on, which comes near to a disc."""
    for turn in range(turns):
        if turn % 2:
            values = extreme(values, 1, choose)
        else:
            values = choose(extreme_along(values, 1, choose, 0), extreme_along(values, 1, choose, 1))
    return values


def place(ink: Ints, size: int) -> Bytes:
    """Steps 11 and 12."""
    digit = scale_to(ink, _box_side(size))
    digit = digit * 255 // digit.max()
    mass = int(digit.sum())
    corner = []
    for axis, length in enumerate(digit.shape):
        moment = int((digit.sum(1 - axis) * np.arange(length)).sum())
        shift = -((2 * moment - (size - 1) * mass) // (2 * mass))
        corner.append(min(max(shift, 0), size - length))
    field = np.zeros((size, size), np.uint8)
    field[corner[0] : corner[0] + digit.shape[0], corner[1] : corner[1] + digit.shape[1]] = digit
    return field
