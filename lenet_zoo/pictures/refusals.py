"""Prepared arrays that hold no picture: what `digit_from_grey` refuses, said of pixels that come as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lenet_zoo.pictures.kernels import ring

if TYPE_CHECKING:
    from lenet_zoo.pictures.kernels import Bytes

__all__ = ["refuse_blank"]

# Pictures at a time: few enough that their differences stay in the processor's cache.
_BLOCK = 256
# Levels from the darkest to the brightest pixel. The least in MNIST and Fashion-MNIST is 254.
_LEAST_RANGE = 16
# Where the ground is dark, pixels are below this level.
_DARK = 64


def refuse_blank(pixels: Bytes, *, noise: bool = True) -> list[str | None]:
    """Why each of N prepared pictures is none: blank, full, noise or without a ground; None for one that is.

    Blank: all levels within 16. Full: 9 in 10 pixels are at least 128, which is also what ink on white paper looks like
    here, as prepared pictures are bright on black. Noise: the mean squared step from one pixel to the next, in both
    directions, is over 0.8 of what it would be if neighbours had nothing to do with each other, twice the variance.
    No dark ground: more than 2 in 3 pixels of the border are at least 64, as in light and shade or smoothed noise.
    (White noise has 0.88 and more; the most in all of MNIST is 0.51, in Fashion-MNIST 0.73; the most bright pixels are
    312 and 665 of 784, and on the border 5 and 63 of 108. None of their 140,000 pictures is refused.)

    Args:
        pixels: uint8 N×H×W, bright on dark, H and W at least 2.
        noise: whether noise and pictures without a ground are refused, too.

    Returns: N reasons, worded as `digit_from_grey` words them, or None.
    """
    reasons: list[str | None] = []
    for start in range(0, len(pixels), _BLOCK):
        block = pixels[start : start + _BLOCK]
        count = block.shape[1] * block.shape[2]
        flat = block.reshape(len(block), count)
        blank = flat.max(1) - flat.min(1) < _LEAST_RANGE
        full = 10 * np.count_nonzero(flat >= 128, axis=1) >= 9 * count
        kinds = [("is full", full), ("is of one tone", blank)]  # of several that hold, the last one is said
        if noise:
            border = ring(np.moveaxis(block, 0, -1))
            groundless = 3 * np.count_nonzero(border >= _DARK, axis=0) > 2 * len(border)
            kinds = [("has no dark ground", groundless), ("is noise", _is_rough(block)), *kinds]
        found: list[str | None] = [None] * len(block)
        for what, here in kinds:
            for index in np.flatnonzero(here).tolist():
                found[index] = f"no digit: the picture {what}"
        reasons += found
    return reasons


def _is_rough(block: Bytes) -> np.ndarray:
    """Whether Σ step² / steps > 0.8 · 2 · variance, in whole numbers."""
    values = block.astype(np.int32)
    height, width = block.shape[1:]
    count, steps = height * width, height * (width - 1) + (height - 1) * width
    across, down = values[:, :, 1:] - values[:, :, :-1], values[:, 1:] - values[:, :-1]
    squares = np.einsum("nij,nij->n", across, across) + np.einsum("nij,nij->n", down, down)
    own = np.einsum("nij,nij->n", values, values).astype(np.int64)
    variance = count * own - values.sum((1, 2), dtype=np.int64) ** 2
    rough: np.ndarray = 5 * squares.astype(np.int64) * count * count > 8 * variance * steps
    return rough
