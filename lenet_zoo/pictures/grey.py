"""Pixels to grey: the levels of a decoded picture of any mode.

Pixels to grey (`grey_from_rgba`)
    G1. Backdrop. Where alpha is below 255 the colours are laid over one grey b: (c·a + b·(255 − a) + 127) // 255. Let m
        be the median luma of the pixels with alpha ≥ 128. If more than 1 in 200 of them is over 64 levels away from m,
        the picture brings its own paper, and b = m. Else all of it is ink, and b contrasts: 255 for m < 128, else 0.
    G2. Luma is (19595 R + 38470 G + 7471 B + 32768) >> 16. When the squared spread of R, G or B (of the picture reduced
        to 256 px) is over 4 times that of the luma, that channel is the grey: ink and paper that differ in hue alone.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from lenet_zoo.errors import InputError
from lenet_zoo.pictures.kernels import Bytes, Ints, scale_to
from lenet_zoo.pictures.reading import picture_name

__all__ = ["grey_from_rgba", "to_grey"]


def to_grey(image: Image.Image) -> Bytes:
    """The grey levels of a decoded picture of any mode: uint8, H×W, dark 0, bright 255.

    8-bit modes go through `grey_from_rgba`; LAB gives its lightness. 16-bit, 32-bit and float pictures name no white:
    the range from 0 (or the least value, if negative) to the greatest value becomes 0 … 255.

    Raises:
        InputError: a float picture with values that are not finite.
    """
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image).astype(np.float64)
        if not np.isfinite(values).all():
            raise InputError(f"{picture_name(image)} holds values that are not finite")
        least, greatest = min(0.0, float(values.min())), float(values.max())
        if greatest <= least:
            return np.zeros(values.shape, np.uint8)
        return np.floor((values - least) / (greatest - least) * 255 + 0.5).astype(np.uint8)
    if image.mode == "LAB":
        return np.asarray(image.getchannel(0))
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return np.asarray(image.convert("L"))
    if image.mode == "La":
        image = image.convert("LA")
    elif image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa"):
        image = image.convert("RGB")
    return grey_from_rgba(np.asarray(image.convert("RGBA")))


def grey_from_rgba(rgba: Bytes) -> Bytes:
    """Steps G1 and G2 of this module: uint8 H×W×4, alpha not premultiplied → uint8 H×W."""
    alpha = rgba[..., 3]
    channels = [np.ascontiguousarray(rgba[..., index]) for index in range(3)]  # reducing strided ones is slow
    if alpha.min() < 255:
        backdrop = _backdrop(_luma(*channels), alpha)
        rest = backdrop * (255 - alpha.astype(np.uint32)) + 127
        channels = [((channel * alpha.astype(np.uint32) + rest) // 255).astype(np.uint8) for channel in channels]
    luma = _luma(*channels)
    spreads = [_spread(fit(channel)) for channel in channels]
    widest = max(range(3), key=spreads.__getitem__)
    return channels[widest] if spreads[widest] > 4 * _spread(fit(luma)) else luma


def _luma(red: Bytes, green: Bytes, blue: Bytes) -> Bytes:
    total = red * np.uint32(19595)
    total += green * np.uint32(38470)
    total += blue * np.uint32(7471)
    return ((total + 32768) >> 16).astype(np.uint8)


def _backdrop(luma: Bytes, alpha: Bytes) -> int:
    opaque = luma[alpha >= 128].astype(np.int64)
    if not opaque.size:
        return 255
    median = int(np.sort(opaque)[(opaque.size - 1) // 2])
    if 200 * np.count_nonzero(np.abs(opaque - median) > 64) > opaque.size:
        return median
    return 255 if median < 128 else 0


def _spread(values: Ints) -> int:
    mean = int(values.sum()) // values.size
    return int(((values - mean) ** 2).sum())


def fit(values):
    return scale_to(values, 96).astype(np.int64)
