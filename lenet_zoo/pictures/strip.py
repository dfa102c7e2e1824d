"""A line of writing as a strip 28 px high (steps 7 and 8 of `line`), and where what is in it stands in the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lenet_zoo.errors import NoDigitError
from lenet_zoo.pictures.character import digit_from_grey
from lenet_zoo.pictures.kernels import Bytes, Mask, box_of, scale_to
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
    _ink: Mask  # the upright ink that the strip was made of
    _slant: float
    _place: Place

    def box(self, first: float, last: float) -> tuple[int, int, int, int]:
        """The ink in the strip's columns `first` … `last`, in the picture: left, top, right, bottom in its pixels."""
        height, width = self._ink.shape
        start, end = (self._column(at) for at in (first, last))
        start, end = max(0, int(start)), min(width, max(int(np.ceil(end)), int(start) + 1))
        rows = np.flatnonzero(self._ink[:, start:end].any(1))
        columns = np.flatnonzero(self._ink[:, start:end].any(0))
        top, bottom = (int(rows[0]), int(rows[-1]) + 1) if rows.size else (0, height)
        left, right = (start + int(columns[0]), start + int(columns[-1]) + 1) if columns.size else (start, end)
        # Back to the slant that it was written with: a row's ink lies this much further right.
        rows, columns = (self._ink[top:bottom, left:right]).nonzero()
        if rows.size:
            shifts = _shifts(height, self._slant)[top + rows]
            left, right = int((left + columns - shifts).min()), int((left + columns - shifts).max()) + 1
        first_row, first_column, down, across = self._place
        return (
            round(first_column + left * across),
            round(first_row + top * down),
            round(first_column + right * across),
            round(first_row + bottom * down),
        )

    def _column(self, at: float) -> float:
        part = self._parts[0]
        for part in self._parts:
            if at < part.end:
                break
        return part.left + (min(max(at, part.start), part.end) - part.start) / part.scale


def strip_of(ink: Bytes, tall: int, crop: Bytes, place: Place) -> Strip:
    """The strip of grey ink, cut to its box, of characters `tall` px high; `crop` is the picture that it stands on."""
    soft = even_stroke(ink, tall)
    # Strokes that were made wider or thinner move the border: keep the middle where it was.
    grown = [(after - before) // 2 for after, before in zip(soft.shape, ink.shape, strict=True)]
    slant = _slant_of(soft >= 128)
    upright = _upright(soft, slant)
    room = (upright.shape[1] - soft.shape[1]) // 2
    filled = upright >= 64
    top, left, down, across = place
    place = (top - grown[0] * down, left - (grown[1] + room) * across, down, across)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], filled.any(0).view(np.int8), [0]])))
    clusters = list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
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
    return Strip(out, tuple(parts), filled, slant, place)


def _shifts(height: int, slant: float) -> npt.NDArray[np.int64]:
    """How many columns each row moves to the right, so that what leans by `slant` stands upright."""
    return np.rint(slant * (np.arange(height) - (height - 1) / 2)).astype(np.int64)


def _slant_of(ink: Mask) -> float:
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


def _upright(values: Bytes, slant: float) -> Bytes:
    height, width = values.shape
    shifts = _shifts(height, slant)
    room = int(np.abs(shifts).max(initial=0))
    out = np.zeros((height, width + 2 * room), np.uint8)
    columns = np.arange(width)[None, :] + (shifts + room)[:, None]
    np.put_along_axis(out, columns, values, 1)
    return out


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
    return Strip(pixels, parts, ink, slant, place)
