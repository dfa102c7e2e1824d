"""Pixels to grey: the levels of a decoded picture of any mode.

Pixels to grey (`grey_from_rgba`)
    G1. Backdrop. Where alpha is below 255 the colours are laid over one grey b: (c·a + b·(255 − a) + 127) // 255. Let m
        be the median luma of the pixels with alpha ≥ 128. If more than 1 in 200 of them is over 64 levels away from m,
        the picture brings its own paper, and b = m. Else all of it is ink, and b contrasts: 255 for m < 128, else 0.
    G2. Luma is (19595 R + 38470 G + 7471 B + 32768) >> 16. When the squared spread of R, G or B is over 4 times
        that of the luma, that channel is the grey: ink and paper that differ in hue alone. The spread is that of the
        picture reduced as in R2 of `character`, to 32 … 63 px (luma after it).
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from lenet_zoo.errors import InputError
from lenet_zoo.pictures.kernels import Bytes, spread
from lenet_zoo.pictures.reading import picture_name, reduced

__all__ = ["grey_from_rgba", "to_grey"]

_SPREAD_SIDE = 32


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
    if image.mode == "RGB" and "transparency" not in image.info:
        return _grey_from_rgb(image)
    return grey_from_rgba(np.asarray(image.convert("RGBA")))


def grey_from_rgba(rgba: Bytes) -> Bytes:
    """Steps G1 and G2 of this module: uint8 H×W×4, alpha not premultiplied → uint8 H×W."""
    colours, alpha = rgba[..., :3], rgba[..., 3]
    if alpha.min() < 255:
        luma = np.asarray(Image.fromarray(np.ascontiguousarray(colours)).convert("L"))
        rest = _backdrop(luma, alpha) * (255 - alpha[..., None].astype(np.uint16)) + 127
        colours = ((colours * alpha[..., None].astype(np.uint16) + rest) // 255).astype(np.uint8)
    return _grey_from_rgb(Image.fromarray(np.ascontiguousarray(colours)))


def _grey_from_rgb(image: Image.Image) -> Bytes:
    small = reduced(image, _SPREAD_SIDE)
    channels = np.ascontiguousarray(np.asarray(small).reshape(-1, 3).T).astype(np.int64)
    spreads = [spread(channel) for channel in channels]
    widest = max(range(3), key=spreads.__getitem__)
    in_hue = spreads[widest] > 4 * spread(np.asarray(small.convert("L")).ravel().astype(np.int64))
    # Pillow's conversion to L is the luma of G2, to the bit.
    return np.asarray(image.getchannel(widest) if in_hue else image.convert("L"))


def _backdrop(luma: Bytes, alpha: Bytes) -> int:
    opaque = luma[alpha >= 128].astype(np.int16)
    if not opaque.size:
        return 255
    median = int(np.sort(opaque)[(opaque.size - 1) // 2])
    if 200 * np.count_nonzero(np.abs(opaque - median) > 64) > opaque.size:
        return median
    return 255 if median < 128 else 0
