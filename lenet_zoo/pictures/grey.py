"""Pixels to grey: the levels of a decoded picture of any mode.

Pixels to grey (`grey_from_rgba`)
    G1. Backdrop. Where alpha is below 255 the colours are laid over one grey b: (c·a + b·(255 − a) + 127) // 255. Let m
        be the median luma of the pixels with alpha ≥ 128. If more than 1 in 200 of them is over 64 levels away from m,
        the picture brings its own paper, and b = m. Else all of it is ink, and b contrasts: 255 for m < 128, else 0.
    G2. Luma is (19595 R + 38470 G + 7471 B + 32768) >> 16. When the squared spread of R, G or B is over 4 times
        that of the luma, that channel is the grey: ink and paper that differ in hue alone. The spread is that of the
        picture reduced as in R2 of `character`, to 32 … 63 px (luma after it).

Large pictures are worked on in bands of rows, to the same bytes: of the copies, only the grey levels are held whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from PIL import Image

from lenet_zoo.errors import InputError
from lenet_zoo.pictures.kernels import Bytes, spread
from lenet_zoo.pictures.reading import bands, means, picture_name, reduction

__all__ = ["flattened", "grey_from_rgba", "to_grey"]

_SPREAD_SIDE = 32

_OfBand = Callable[[Image.Image], Image.Image]


def to_grey(image: Image.Image) -> Bytes:
    """The grey levels of a decoded picture of any mode: uint8, H×W, dark 0, bright 255.

    8-bit modes go through `grey_from_rgba`; LAB gives its lightness. 16-bit, 32-bit and float pictures name no white:
    the range from 0 (or the least value, if negative) to the greatest value becomes 0 … 255.

    Raises:
        InputError: a float picture with values that are not finite.
    """
    if image.mode.startswith(("I", "F")):
        return _by_range(image)
    if image.mode == "LAB":
        return _joined(image, (band.getchannel(0) for band in bands(image)))
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return _joined(image, (band.convert("L") for band in bands(image)))
    step = reduction(image.size, _SPREAD_SIDE)
    flat = _flattening(image)
    first = next(bands(image, step))
    if first is image:  # one band, so that it need not be made twice
        image, flat = flat(image), _as_it_is
    level = _level(means(flat(band), step) for band in bands(image, step) if band.height >= step)
    return _joined(image, (level(flat(band)) for band in bands(image)))


def flattened(image: Image.Image, mode: str, backdrop: int) -> Image.Image:
    """A decoded picture of any mode as it is, in grey ('L') or colour ('RGB'), over a grey where it is transparent.

    16-bit, float and LAB pictures become grey as in `to_grey`.
    """
    if image.mode.startswith(("I", "F")) or image.mode == "LAB":
        image = Image.fromarray(to_grey(image))
    if image.mode == "La":
        image = image.convert("LA")
    if "A" in image.getbands() or "a" in image.getbands() or "transparency" in image.info:
        flat, top = Image.new(mode, image.size), 0
        for band in bands(image):
            rgba = band.convert("RGBA")
            ground = Image.new("RGBA", rgba.size, (backdrop, backdrop, backdrop, 255))
            flat.paste(Image.alpha_composite(ground, rgba).convert(mode), (0, top))
            top += rgba.height
        image = flat
    return image.convert(mode)


def grey_from_rgba(rgba: Bytes) -> Bytes:
    """Steps G1 and G2 of this module: uint8 H×W×4, alpha not premultiplied → uint8 H×W."""
    return to_grey(Image.fromarray(np.ascontiguousarray(rgba)))


def _joined(image: Image.Image, grey: Iterable[Image.Image | Bytes]) -> Bytes:
    """The grey bands of the picture as one array."""
    levels = np.empty((image.height, image.width), np.uint8)
    top = 0
    for band in map(np.asarray, grey):
        levels[top : top + len(band)] = band
        top += len(band)
    return levels


def _by_range(image: Image.Image) -> Bytes:
    """The levels of a picture that names no white."""
    least, greatest = 0.0, -np.inf
    for values in map(np.asarray, bands(image)):
        if not np.isfinite(values).all():
            raise InputError(f"{picture_name(image)} holds values that are not finite")
        least, greatest = min(least, float(values.min())), max(greatest, float(values.max()))
    if greatest <= least:
        return np.zeros((image.height, image.width), np.uint8)

    def levels(band: Image.Image) -> Bytes:
        share = (np.asarray(band).astype(np.float64) - least) / (greatest - least)
        return np.floor(share * 255 + 0.5).astype(np.uint8)

    return _joined(image, map(levels, bands(image)))


def _flattening(image: Image.Image) -> _OfBand:
    """Step G1 for bands of this picture, which become RGB."""
    if _plain(next(bands(image))).mode == "RGB":
        return _plain
    if all(_plain(band).getchannel("A").getextrema() == (255, 255) for band in bands(image)):
        return _without_alpha
    backdrop = _backdrop(image)

    def laid_over(band: Image.Image) -> Image.Image:
        rgba = np.asarray(_plain(band))
        colours, alpha = rgba[..., :3], rgba[..., 3:].astype(np.uint16)
        return Image.fromarray(((colours * alpha + (backdrop * (255 - alpha) + 127)) // 255).astype(np.uint8))

    return laid_over


def _plain(band: Image.Image) -> Image.Image:
    """RGB where the mode has no transparency, else RGBA."""
    if band.mode == "RGBA":
        return band
    if band.mode == "La":
        band = band.convert("LA")
    elif band.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBa"):
        band = band.convert("RGB")
    return band if band.mode == "RGB" and "transparency" not in band.info else band.convert("RGBA")


def _without_alpha(band: Image.Image) -> Image.Image:
    return _plain(band).convert("RGB")


def _as_it_is(band: Image.Image) -> Image.Image:
    return band


def _backdrop(image: Image.Image) -> int:
    counts = np.zeros(256, np.int64)  # of the luma of what is opaque
    for band in map(_plain, bands(image)):
        luma, alpha = np.asarray(band.convert("L")), np.asarray(band.getchannel("A"))
        counts += np.bincount(luma[alpha >= 128], minlength=256)
    opaque = int(counts.sum())
    if not opaque:
        return 255
    median = int(np.searchsorted(counts.cumsum(), (opaque - 1) // 2, side="right"))
    if 200 * int(counts[np.abs(np.arange(256) - median) > 64].sum()) > opaque:
        return median
    return 255 if median < 128 else 0


def _level(small: Iterable[Image.Image]) -> _OfBand:
    """Step G2 for RGB bands, by the reduced bands of the picture."""
    picture = np.concatenate([np.asarray(band) for band in small])
    # In float64, for whose products numpy has quick ones: exact, as the sums stay far below 2^53.
    red, green, blue = channels = picture.reshape(-1, 3).T.astype(np.float64, order="C")
    spreads = [spread(channel) for channel in channels]
    widest = max(range(3), key=spreads.__getitem__)
    luma = np.floor((19595 * red + 38470 * green + 7471 * blue + 32768) / 65536)
    if spreads[widest] > 4 * spread(luma):  # in hue alone
        return lambda band: band.getchannel(widest)
    return lambda band: band.convert("L")  # Pillow's conversion is the luma of G2, to the bit
