"""What the character stands on: polarity, slope of light, paper, tests for noise. Steps 4 to 6 of `character`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lenet_zoo.errors import NoDigitError
from lenet_zoo.pictures.components import components, filled
from lenet_zoo.pictures.kernels import (
    Bytes,
    Ints,
    Mask,
    box_of,
    extreme,
    mean_stroke,
    nearest,
    opened,
    otsu,
    ranges,
    ring,
    spread,
    window_mean,
)

__all__ = [
    "Ink",
    "above_pattern",
    "ink_is_bright",
    "refuse_noise",
    "refuse_soft_light",
    "rise_above_paper",
    "upon_blob",
]

Shorts = npt.NDArray[np.int16]


class Ink(NamedTuple):
    """The rise above the paper, the threshold, the means of paper and ink, and the ink."""

    rise: Bytes
    threshold: int
    paper: int
    ink: int
    mask: Mask


def ink_is_bright(picture: Bytes) -> bool:
    """Step 4."""
    rows, columns = _border_plane(picture)
    from_border = _skewness(picture - rows[:, None] - columns)
    if from_border <= -1:
        return False  # nothing is brighter than the border's plane, and the other term is 1 at most
    nearby = window_mean(picture, max(1, max(picture.shape) // 3)).astype(np.int16)
    return from_border + _skewness(window_mean(picture, 1) - nearby) > 0


def _skewness(residual: Shorts) -> float:
    values = residual.ravel().astype(np.float64)
    squares = values * values  # the sums of cubes stay far below 2^53
    return float(squares @ values) / max(1.0, float(squares @ np.abs(values)))


def _border_plane(picture: Bytes) -> tuple[Shorts, Shorts]:
    """The plane through the border pixels by least squares, in whole levels: what each row has, and each column.

    Coordinates count from the middle in half pixels: their sums over the border are 0, so that the three coefficients
    are three independent quotients.
    """
    height, width = picture.shape
    sides = picture[0], picture[-1], picture[:, 0], picture[:, -1]
    top, bottom, left, right = (side.astype(np.int64) for side in sides)
    by_row = left + right if width > 1 else left.copy()
    by_column = top + bottom if height > 1 else top.copy()
    by_row[0], by_row[-1] = np.add.reduce(top), np.add.reduce(bottom)  # half the time of .sum()
    by_column[0], by_column[-1] = np.add.reduce(left), np.add.reduce(right)
    rows, row_square = _border_axis(height, width)
    columns, column_square = _border_axis(width, height)
    middle = int(
        nearest(int(np.add.reduce(by_row)), 2 * (height + width) - 4 if min(height, width) > 1 else height * width)
    )
    along_rows = nearest(rows * int(rows @ by_row), row_square) if row_square else rows
    along_columns = nearest(columns * int(columns @ by_column), column_square) if column_square else columns
    return (along_rows + middle).astype(np.int16), along_columns.astype(np.int16)


@lru_cache(maxsize=256)
def _border_axis(length: int, across: int) -> tuple[Ints, int]:
    """Coordinates along one axis, and the sum of their squares over the border pixels."""
    places = 2 * np.arange(length) - (length - 1)
    count = np.full(length, min(across, 2))
    count[[0, -1]] = across
    return places, int((places * places * count).sum())


def _levelled(picture: Bytes) -> Bytes:
    """Step 5, first half. A border that is half ink, half paper is no slope of light: the plane must explain it."""
    around = ring(picture).astype(np.int64)
    unequal = spread(around)
    if not unequal:
        return picture
    rows, columns = _border_plane(picture)
    slope = np.concatenate([rows[0] + columns, rows[-1] + columns, rows[1:-1] + columns[0], rows[1:-1] + columns[-1]])
    slope = slope.astype(np.int64)  # what `ring` has of the plane
    if 2 * spread(around - slope) >= unequal:
        return picture
    middle = int(nearest(int(slope.sum()), slope.size))
    return np.clip(picture - rows[:, None] - columns + middle, 0, 255).astype(np.uint8)


def rise_above_paper(picture: Bytes, is_bright: bool, radius: int | None = None, on_desk: bool = False) -> Bytes:
    """How far ink that is brighter, or darker, rises above the paper: step 5.

    Ink takes its part of the light that falls on it, so that dark ink rises less in a shadow.

    Args:
        picture: grey levels.
        is_bright: whether the ink is.
        radius: of the opening, where another one suits it than that of a picture of one character.
        on_desk: whether what is dark is no paper in a shadow, but what a sheet lies on.
    """
    radius = max(1, 3 * max(picture.shape) // 10 if radius is None else radius)
    shown = picture if is_bright else 255 - picture
    paper = opened(window_mean(shown, 1), radius)
    if not is_bright and not on_desk:
        light = 255 - paper
        strongest = int(light.max())
        if 16 * np.count_nonzero(light < -(-2 * strongest // 3)) >= light.size:
            rise = (shown - np.minimum(shown, paper)).astype(np.int32)
            light = np.maximum(light, max(1, strongest // 4)).astype(np.int32)
            return np.minimum(nearest(rise * strongest, light), 255).astype(np.uint8)
    level = _levelled(shown)
    if level is not shown:
        paper = opened(window_mean(level, 1), radius)
    return level - np.minimum(level, paper)


def upon_blob(
    first: Ink, look: Callable[[bool, int | None], Ink], bright: bool, side: int, smallest: int, picture: Bytes
) -> tuple[bool, Ink]:
    """The strokes on what is taken for ink, and whether they are bright, where that is a blob; else what is given.

    Args:
        first: what was found with that polarity and the usual opening.
        look: finds it with another polarity and radius of the opening (None for the usual one).
        side: S of step 7, which has the conditions.
        smallest: the longer side of a character, at least.
        picture: that of which they are.
    """
    wide = mean_stroke(first.mask)
    if 10 * wide <= side:
        return bright, first
    solid, best = _is_solid(first.mask), (bright, first)
    for is_bright, radius in ((not bright, None), (bright, side // 10), (not bright, side // 10)):
        try:
            found = look(is_bright, radius)
        except NoDigitError:
            continue
        # In eighths: the ink of a fat pen is darker than what is in its loops.
        least = 6 if is_bright == bright or solid else 9
        thin = mean_stroke(found.mask)
        contrast = found.ink - found.paper
        if 2 * thin > wide or 8 * contrast < least * (first.ink - first.paper):
            continue
        if is_bright == bright and not _differ(picture, found.mask, first.mask & ~found.mask, contrast):
            continue
        pieces = components(found.mask)
        tops, bottoms, lefts, rights = pieces.boxes
        free = pieces.borders.max(0) == 0
        large = free & (np.maximum(bottoms - tops, rights - lefts) >= max(smallest, 6 * thin))
        strokes = int(pieces.area[large].sum())
        if not strokes or 2 * strokes < int(pieces.area[free].sum()):
            continue
        # Else they are what a bold digit encloses: outside it there is as much of that.
        if is_bright != bright and 3 * strokes < 2 * int(pieces.area.sum()):
            continue
        if best[1] is first or contrast > best[1].ink - best[1].paper:
            best = is_bright, found
    return best


def _is_solid(mask: Mask) -> bool:
    """Whether the largest piece fills half of its box, and with its holes 7/10."""
    pieces = components(mask)
    which = int(pieces.area.argmax())
    whole = filled(pieces.mask(np.arange(pieces.count) == which))
    top, bottom, left, right = box_of(whole)
    box = (bottom - top) * (right - left)
    return 10 * int(np.count_nonzero(whole)) >= 7 * box and 2 * int(pieces.area[which]) >= box


def above_pattern(
    rise: Bytes, mask: Mask, threshold: int, paper: int, picture: Bytes, of_lines: bool = False
) -> tuple[int, int, int] | None:
    """Threshold, level of the paper and of the ink, as `otsu` gives them, for ink upon a pattern that is in the mask.

    None where there is none. A pattern is a tenth of the mask, over 3 px away from what is dark in it: what is less
    dark within a stroke, or beside it, is nearer. And it is paler in the picture, too: ink rises less above paper that
    lies in shadow. In the picture of one character, step 7 asks more: a hair line is dark where the pen began and where
    it ended.
    """
    middle, pattern, ink = otsu(rise[mask])
    dark = rise >= middle
    away = mask & ~extreme(dark, 3, np.logical_or)
    if not dark.any() or 10 * np.count_nonzero(away) < np.count_nonzero(mask):
        return None
    if not _differ(picture, dark, away, ink - pattern) or not (of_lines or _is_upon(dark, away)):
        return None
    # A fifth of the way, or two: at the middle strokes that the pen drew lightly would break.
    steps = 1 if of_lines else 2
    return threshold + steps * (middle - threshold) // 5, paper + (pattern - paper) // 5, ink


def _differ(picture: Bytes, one: Mask, other: Mask, contrast: int) -> bool:
    """Whether the mean levels of two parts of a picture are half of `contrast` apart or more: ink rises by more than it
    differs where it is above paper that lies in a shadow. True where one of them is empty.
    """
    count, area = np.count_nonzero(other), np.count_nonzero(one)
    levels = int(picture[one].sum()) * count - int(picture[other].sum()) * area
    return bool(2 * abs(levels) >= contrast * count * area)


def _is_upon(dark: Mask, pattern: Mask) -> bool:
    """What step 7 asks of a character that is dark upon a pattern."""
    if ring(dark).any():
        return False
    pieces = components(extreme(dark, 1, np.logical_or))
    inked = pieces.sums(dark)
    main = int(inked.argmax())
    top, bottom, left, right = (int(edge[main]) for edge in pieces.boxes)
    if 20 * int(inked[main]) < 19 * int(inked.sum()):
        return False
    if 2 * np.count_nonzero(pattern[top:bottom, left:right]) > np.count_nonzero(pattern):
        return False
    return max(bottom - top, right - left) >= 6 * mean_stroke(dark)


def refuse_noise(rise: Bytes, mask: Mask, contrast: int, pitch: int) -> None:
    """Step 6, the background's steps from one original pixel to the next, which are `pitch` pixels apart."""
    calm = ~(mask[:, pitch:] | mask[:, :-pitch])
    one, other = rise[:, pitch:], rise[:, :-pitch]
    steps = int(((np.maximum(one, other) - np.minimum(one, other)) * calm).sum(dtype=np.uint32))
    if contrast * np.count_nonzero(calm) < 4 * steps:
        raise NoDigitError("no digit: the picture is noise")


def refuse_soft_light(rise: Bytes, mask: Mask, contrast: int, radius: int) -> None:
    """Step 6, the edge of the ink."""
    edge = (mask & ~extreme(mask, 1, np.logical_and)).ravel().nonzero()[0]
    enough = 3 * contrast * edge.size
    if 4 * int(_above_corners(rise, edge, radius).sum(dtype=np.uint32)) >= enough:
        return  # as nearly always: the ranges are no smaller
    if 4 * int(ranges(rise, radius).take(edge).sum(dtype=np.uint32)) < enough:
        raise NoDigitError("no digit: the picture is light and shade without a stroke")


def _above_corners(rise: Bytes, places: Ints, radius: int) -> Bytes:
    """How far pixels of the flat picture rise above the lowest corner of the windows around them, or 0."""
    height, width = rise.shape
    row = places // width
    column = places - row * width
    above, below = np.maximum(row - radius, 0) * width, np.minimum(row + radius, height - 1) * width
    left, right = np.maximum(column - radius, 0), np.minimum(column + radius, width - 1)
    lowest = levels = rise.take(places)
    for corner in (above + left, above + right, below + left, below + right):
        lowest = np.minimum(lowest, rise.take(corner))
    return levels - lowest
