"""A line of writing as a strip 28 px high (steps 7 and 8 of `line`), and where what is in it stands in the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lenet_zoo.errors import NoDigitError
from lenet_zoo.pictures.character import digit_from_grey
from lenet_zoo.pictures.components import components
from lenet_zoo.pictures.kernels import Bytes, Ints, Mask, box_of, scale_to, sheared
from lenet_zoo.pictures.placing import even_stroke

__all__ = ["HEIGHT", "Place", "Strip", "strip_of"]

HEIGHT = 28
"""Pixels, of every strip."""
# Chosen on the same pictures as the constants of `line`.
_BOX = 20  # pixels of the strip that the writing is high
_MARGIN = 12  # pixels on either side, so that the first digit is in the middle of a window
_GAP = 12
_LONGEST = 2_000  # pixels of a strip, some 120 digits
_SLANTS = np.arange(-8, 9) / 16

Place = tuple[float, float, float, float]
"""First row and column of a strip's ink in the picture, and pixels per pixel, down and across."""


@dataclass(frozen=True)
class _Part:
    """Where columns of the strip come from: strip column x is `left` + (x − `start`) / `scale` of the upright ink."""

    start: int
    end: int
    left: float
    scale: float


@dataclass(frozen=True)
class Strip:
    """A line of writing, ready for the network.

    Attributes:
        pixels: uint8 28×W, background 0, ink 255, with 12 px of background at both ends.
    """

    pixels: Bytes
    _parts: tuple[_Part, ...]
    _ink: _Ink  # what the strip was made of
    _place: Place

    def box(self, first: float, last: float) -> tuple[int, int, int, int]:
        """The ink in the strip's columns `first` … `last`, in the picture: left, top, right, bottom in its pixels."""
        return self.boxes([first], [last])[0]

    def boxes(self, firsts: Sequence[float], lasts: Sequence[float]) -> list[tuple[int, int, int, int]]:
        """`box` of several parts of the strip."""
        ink, count = self._ink, len(firsts)
        columns = self._columns(np.array([*firsts, *lasts], np.float64))
        starts = np.minimum(np.maximum(columns[:count].astype(np.int64), 0), ink.width - 1)
        ends = np.minimum(ink.width, np.maximum(np.ceil(columns[count:]).astype(np.int64), starts + 1))
        # From each start to its end, and in every other place, which is left out, on to the next start.
        places = np.empty(2 * count, np.int64)
        places[::2], places[1::2] = starts, ends
        low, high = (
            choose.reduceat(edges, places, axis=1)[:, ::2]
            for choose, edges in ((np.minimum, ink.firsts), (np.maximum, ink.lasts))
        )
        empty = high[1] == 0
        if empty.any():
            low = np.where(empty, [starts, np.zeros_like(starts)], low)
            high = np.where(empty, [ends, np.full_like(ends, ink.height)], high)
        top, left, down, across = self._place
        origin, pitch = np.array([left, top])[:, None], np.array([across, down])[:, None]
        corners = np.rint(origin + np.array([low, high]) * pitch).astype(np.int64)
        x0, y0, x1, y1 = corners.reshape(4, count).tolist()
        return list(zip(x0, y0, x1, y1, strict=True))

    def _columns(self, at: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Columns of the upright ink."""
        start, end, left, scale = np.array([(part.start, part.end, part.left, part.scale) for part in self._parts]).T
        which = np.minimum(np.searchsorted(end, at, "right"), len(end) - 1)
        first = start[which]
        return left[which] + (np.minimum(np.maximum(at, first), end[which]) - first) / scale[which]


@dataclass(frozen=True)
class _Ink:
    """Where the upright ink stands, column by column, with one empty column more.

    Attributes:
        height, width: of the mask.
        firsts: left and top, 2×(`width` + 1): the first column that the ink is in, with the slant that it was written
            with, and the first row; 2·`width` and `height` where there is none.
        lasts: right and bottom, the ones after the last; −2·`width` and 0 where there is none.
    """

    height: int
    width: int
    firsts: Ints
    lasts: Ints


def _outline(ink: Mask, slant: float) -> _Ink:
    height, width = ink.shape
    filled, columns = ink.any(0), np.arange(width)
    top, last = ink.argmax(0), height - 1 - ink[::-1].argmax(0)
    # A row's ink lies this much further right as it was written; from row to row more, or less.
    shifts = _shifts(height, slant)
    ends = np.stack([shifts[top], shifts[last]])

    def or_else(edges: list[Ints], *nowhere: int) -> Ints:
        empty = np.array(nowhere)[:, None]
        return np.concatenate([np.where(filled, edges, empty), empty], axis=1)

    left, right = columns - ends.max(0), columns - ends.min(0) + 1
    return _Ink(height, width, or_else([left, top], 2 * width, height), or_else([right, last + 1], -2 * width, 0))


def strip_of(ink: Bytes, tall: int, crop: Bytes, place: Place) -> Strip:
    """The strip of grey ink, cut to its box, of characters `tall` px high; `crop` is the picture that it stands on."""
    soft = even_stroke(ink, tall)
    # Strokes that were made wider or thinner move the border: keep the middle where it was.
    grown = [(after - before) // 2 for after, before in zip(soft.shape, ink.shape, strict=True)]
    slant = _slant_of(soft >= 128)
    upright = sheared(soft, _shifts(soft.shape[0], slant))
    room = (upright.shape[1] - soft.shape[1]) // 2
    filled = upright >= 64
    top, left, down, across = place
    place = (top - grown[0] * down, left - (grown[1] + room) * across, down, across)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], filled.any(0).view(np.int8), [0]])))
    clusters = list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
    clusters = [part for part in clusters if not _equals_sign(np.ascontiguousarray(filled[:, slice(*part)]), tall)]
    main = [part for part in clusters if 2 * _tall(filled, part) >= tall]
    if not main:
        raise NoDigitError("no number: nothing on the paper is a character")
    unit = _BOX / tall
    if (clusters[-1][1] - clusters[0][0]) * unit > 2 * _LONGEST:
        raise NoDigitError("no number: the line is too long; give 100 digits at most")
    if len(main) == 1 and len(clusters) <= 3 and main[0][1] - main[0][0] <= tall:
        single = _single(crop, main[0], place, filled, slant)
        if single is not None:
            return single
    pieces: list[tuple[Bytes, int]] = []  # pixels, and the gap before them
    parts: list[_Part] = []
    at, before, middle = _MARGIN, 0, _middle(upright, main[0])
    for begin, end in clusters:
        gap = min(_GAP, round((begin - before) * unit)) if parts else 0
        scale = unit
        first, last = _rows(filled, (begin, end))
        if 2 * (last - first) >= tall:
            scale = min(max(_BOX / (last - first), 0.8 * unit), 1.25 * unit)
            middle = _middle(upright, (begin, end))
        long = max(1, round(max(last - first, end - begin) * scale))
        pixels = scale_to(np.ascontiguousarray(upright[first:last, begin:end]), long)
        shift = round(HEIGHT / 2 + (first - middle) * scale)
        shift = min(max(shift, 0), max(0, HEIGHT - len(pixels)))
        column = np.zeros((HEIGHT, pixels.shape[1]), np.uint8)
        pixels = pixels[: HEIGHT - shift]
        column[shift : shift + len(pixels)] = pixels
        at += max(gap, 1) if parts else 0
        parts.append(_Part(at, at + pixels.shape[1], begin, scale))
        pieces.append((column, at))
        at += pixels.shape[1]
        before = end
    if at > _LONGEST:
        raise NoDigitError("no number: the line is too long; give 100 digits at most")
    out = np.zeros((HEIGHT, at + _MARGIN), np.uint8)
    for column, start in pieces:
        out[:, start : start + column.shape[1]] = column
    most = int(out.max())
    if 0 < most < 255:
        out = (out.astype(np.uint16) * 255 // most).astype(np.uint8)
    return Strip(out, tuple(parts), _outline(filled, slant), place)


def _shifts(height: int, slant: float) -> npt.NDArray[np.int64]:
    """How many columns each row moves to the right, so that what leans by `slant` stands upright."""
    return np.rint(slant * (np.arange(height) - (height - 1) / 2)).astype(np.int64)


def _slant_of(ink: Mask) -> float:
    """The slant of the writing; that of slashes in it is not asked for."""
    return _heaped(ink & ~_leaning_bars(ink))


def _heaped(ink: Mask) -> float:
    """The slant whose removal heaps the ink most: the largest sum of squared columns."""
    rows, columns = ink.nonzero()
    height, width = ink.shape
    best, chosen = 0.0, 0.0
    for slant in sorted(_SLANTS.tolist(), key=abs):
        moved = columns + _shifts(height, slant)[rows] + height
        heaps = np.bincount(moved, minlength=width + 2 * height).astype(np.float64)
        value = float(heaps @ heaps)
        if value > best * 1.02:  # a slant has to be worth its name
            best, chosen = value, slant
    return chosen


def _leaning_bars(ink: Mask) -> Mask:
    """Straight strokes of the height of digits that lean to the right, and more than the digits beside them."""
    pieces = components(ink)
    if pieces.count < 2:
        return np.zeros_like(ink)
    tops, bottoms, _, _ = pieces.boxes
    tall = bottoms - tops
    # Each run of pixels adds its columns, and their squares, at once.
    length, middle = pieces.ends - pieces.starts, pieces.ends + pieces.starts - 1  # twice the middle
    n, y = pieces.area, pieces.total(length * pieces.rows)
    x = pieces.total(length * middle)
    yy = pieces.total(length * pieces.rows**2)
    xy = pieces.total(length * middle * pieces.rows)
    xx = pieces.total(length * middle**2 + length * (length * length - 1) // 3)
    across, down, both = (n * xx - x * x) / 4.0, 1.0 * (n * yy - y * y), (n * xy - x * y) / 2.0
    straight = 250 * (across * down - both * both) <= n * n * down * tall * tall
    high = 2 * tall >= tall.max()
    leaning = high & straight & (4 * -both > down)
    if not leaning.any() or not (high & ~leaning).any():
        return np.zeros_like(ink)
    slant = _heaped(pieces.mask(~leaning))
    return pieces.mask(leaning & (-both > (slant + 0.125) * down))


def _equals_sign(ink: Mask, tall: int) -> bool:
    """Whether a cluster is two flat strokes, one above the other: amounts end so, and it looks like a 2."""
    pieces = components(ink)
    if pieces.count != 2:
        return False
    tops, bottoms, lefts, rights = pieces.boxes
    heights, widths = bottoms - tops, rights - lefts
    flat = (2 * widths >= 3 * heights).all() and 3 * heights.max() <= tall
    low = 4 * (bottoms.max() - tops.min()) <= 3 * tall
    above = bottoms.min() <= tops.max() and 2 * (rights.min() - lefts.max()) >= widths.min()
    return bool(flat and low and above)


def _rows(ink: Mask, part: tuple[int, int]) -> tuple[int, int]:
    rows = np.flatnonzero(ink[:, part[0] : part[1]].any(1))
    return int(rows[0]), int(rows[-1]) + 1


def _tall(ink: Mask, part: tuple[int, int]) -> int:
    first, last = _rows(ink, part)
    return last - first


def _middle(values: Bytes, part: tuple[int, int]) -> float:
    """The row of the centre of mass."""
    mass = values[:, part[0] : part[1]].sum(1, dtype=np.int64)
    return float(mass @ np.arange(len(mass)) / max(1, int(mass.sum()))) + 0.5


def _single(crop: Bytes, part: tuple[int, int], place: Place, ink: Mask, slant: float) -> Strip | None:
    """A line of one character as `digit_from_grey` places it; None where that finds several, or none."""
    try:
        digit = digit_from_grey(crop)
    except NoDigitError:
        return None
    left, right = box_of(digit > 0)[2:]
    pixels = np.pad(digit, ((0, 0), (_MARGIN, _MARGIN)))
    scale = (right - left) / (part[1] - part[0])
    parts = (_Part(_MARGIN + left, _MARGIN + right, part[0], scale),)
    return Strip(pixels, parts, _outline(ink, slant), place)
