"""A sheet of paper, or the field of a frame, that does not fill the picture. Step 3 of `character`, and 1 of `line`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lenet_zoo.pictures.components import Pieces, components, filled
from lenet_zoo.pictures.kernels import Box, Bytes, Mask, box_of, extreme, mean_stroke, otsu, ring

__all__ = ["Sheet", "Surround", "cells_alone", "corners_in", "is_desk", "painted_over", "sheet_in", "surround_of"]

# Pixels of a sheet's edge that are no paper yet.
_EDGE = 2


class Sheet(NamedTuple):
    """Where a sheet lies in the working picture: a box within it, and what is around it if that is to go."""

    box: Box
    around: Mask | None


@dataclass(frozen=True)
class Surround:
    """What may lie around a sheet: of two tones the one that most of the border has.

    Attributes:
        mask: where it is.
        is_bright: whether it is the brighter one.
        contrast: the difference of the tones' means.
    """

    mask: Mask
    is_bright: bool
    contrast: int

    @cached_property
    def sheets(self) -> Pieces:
        """What it encloses, without holes."""
        return components(filled(~self.mask))


def surround_of(picture: Bytes) -> Surround | None:
    """None in a picture of one tone."""
    threshold, dark, bright = otsu(picture)
    if dark == bright:
        return None
    mask = picture >= threshold
    border = ring(mask)
    is_bright = bool(2 * np.count_nonzero(border) >= border.size)
    return Surround(mask if is_bright else ~mask, is_bright, bright - dark)


def sheet_in(found: Surround, of_lines: bool = False) -> Sheet | None:
    """The sheet within a surround; None where there is none.

    Args:
        of_lines: whether the sheet is one of lines of writing, which may be of any shape and smaller, but has marks.
    """
    surround = found.mask
    rows, columns = surround.shape
    # A smaller one is looked for where it is not too small for that to be worth it, and has to have writing on it.
    share = 4 if of_lines or 12 * np.count_nonzero(~surround) >= surround.size else 2
    top, bottom, left, right = box_of(~surround)
    if share * (bottom - top) < rows or share * (right - left) < columns:
        return None  # the largest piece is no larger: most pictures need no look at the pieces
    sheets = found.sheets
    if not sheets.count:
        return None
    which = int(sheets.area.argmax())
    sheet = _without_string(sheets.mask(np.arange(sheets.count) == which))
    top, bottom, left, right = box_of(sheet)
    area, height, width = int(np.count_nonzero(sheet)), bottom - top, right - left
    if (
        share * height < rows
        or share * width < columns
        or not (of_lines or max(height, width) < 2 * min(height, width))
    ):
        return None
    small = 2 * height < rows or 2 * width < columns
    # What touches the border may be what a shadow leaves of the light.
    written = not ring(sheet).any() and _is_solid(sheet, area) and _is_written_upon(sheet & surround, area)
    inside = extreme(sheet, _EDGE + 1, np.logical_and)
    around = ~inside if written and inside.any() else None
    # A long strip that is turned a little fills much less of its box, but each of its columns is as high.
    high = int(sheet.sum(0).max()) if of_lines else height
    straight = 100 * area >= 85 * high * width
    if around is None and (of_lines or small or not straight):
        return None
    if not straight and not _lies_askew(sheet, area) and not _is_disc(area, height, width, sheet & surround):
        return None
    if straight:
        marks = components(~surround)
        tops, bottoms, lefts, rights = marks.boxes
        if 3 * int(marks.area.max()) < 2 * height * width:
            # A ring, not a solid sheet: a frame encloses another mark, a 0 or a block 8 does not.
            within = (tops > top) & (bottoms < bottom) & (lefts > left) & (rights < right)
            if not (within & (5 * (bottoms - tops) >= height)).any():
                return None
    return Sheet((top + _EDGE, bottom - _EDGE, left + _EDGE, right - _EDGE), around)


def is_desk(found: Surround, picture: Bytes) -> bool:
    """Whether a dark surround is what a sheet lies on, which has an edge, and not the dark around a spot of light."""
    sheets = found.sheets
    if found.is_bright or not sheets.count:
        return False
    which = int(sheets.area.argmax())
    if sheets.borders[:, which].any() or 8 * int(sheets.area[which]) < found.mask.size:
        return False
    return _is_edge(sheets.mask(np.arange(sheets.count) == which), picture, found.contrast)


def cells_alone(found: Surround, picture: Bytes, grey: Bytes) -> Bytes | None:
    """A picture without what lies around and between the cells of a row, each with a character, as drums of a counter.

    None where there are no such cells. They are of one height, and half of them, two or more, are whole: straight,
    apart from each other and from the border, and with 1/64 to 1/3 of the character's tone within. The strokes on
    these are no wider than a quarter of their height, as the holes of bold zeros are. In the result, the level nearest
    to the characters that a whole cell has is that of all cells, and of what is around.

    Args:
        found: the surround in the working picture.
        picture: the working picture, a scaled copy of `grey`.
        grey: the picture.
    """
    pieces, rows = found.sheets, len(picture)
    if pieces.count < 2:
        return None
    tops, bottoms, lefts, rights = pieces.boxes
    heights = bottoms - tops
    inked, area = pieces.sums(found.mask), pieces.area
    whole = (100 * area >= 85 * heights * (rights - lefts)) & (pieces.borders.max(0) == 0)
    whole &= (64 * inked >= area) & (3 * inked <= area)
    tallest = int((heights * whole).max())
    whole &= 4 * heights >= 3 * tallest
    if np.count_nonzero(whole) < 2 or 8 * tallest < rows or 4 * int(np.ptp(tops[whole])) > tallest:
        return None
    marks = pieces.mask(whole) & found.mask
    characters = components(marks)
    high = int((characters.boxes[1] - characters.boxes[0]).max())
    if 3 * high < tallest or 4 * mean_stroke(marks) > high:
        return None
    kept = pieces.mask(whole)
    open_ones = _open_cells(pieces, whole)
    if len(open_ones) > np.count_nonzero(whole):
        return None
    for top, bottom, left, right in open_ones:
        kept[top:bottom, left:right] = True
    levels = []
    for cell in np.flatnonzero(whole):
        ground = picture[pieces.mask(np.arange(pieces.count) == cell) & ~found.mask]
        levels.append(int(np.partition(ground, ground.size // 2)[ground.size // 2]))
    gone = _enlarged(~extreme(kept, _EDGE, np.logical_and), grey.shape)
    level, choose = (max(levels), np.maximum) if found.is_bright else (min(levels), np.minimum)
    return np.where(gone, np.uint8(level), choose(grey, np.uint8(level)))


def corners_in(found: Surround, picture: Bytes) -> Mask | None:
    """What is around a round or rounded sheet that reaches the border, as where a picture was cropped to a disc.

    None where there is none. It has the four corners, two fifths of the picture at most, and what it leaves is solid
    and no rectangle. Where they meet, their levels differ by half of what the tones do: a lens that darkens the corners
    makes no such edge. What has its tone upon the sheet are strokes: of a 0 that fills the picture, the hole is too
    wide for one.
    """
    corners = np.zeros(found.mask.shape, np.bool_)
    corners[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    for mask in (found.mask, ~found.mask):
        if not mask[corners].all() or 5 * np.count_nonzero(mask) > 3 * mask.size:
            continue  # as nearly always: it has no more than its share of the picture, and a third of the sheet
        pieces = components(mask)
        around = pieces.mask(pieces.sums(corners) > 0)
        marks = mask & ~around
        area = int(np.count_nonzero(~around))
        top, bottom, left, right = box_of(~around)
        rounded = 5 * area >= 3 * mask.size and 100 * area <= 97 * (bottom - top) * (right - left)
        written = 3 * np.count_nonzero(marks) <= area and (not marks.any() or _are_strokes(marks))
        if rounded and written and _is_solid(~around, area) and _is_edge(around, picture, found.contrast):
            return extreme(around, _EDGE, np.logical_or)
    return None


def _is_edge(one_side: Mask, picture: Bytes, contrast: int) -> bool:
    """Whether levels 2 and 3 px on either side of a border differ by half the contrast, on average."""
    outside, inside = (
        picture[extreme(one, 3, np.logical_or) & ~extreme(one, 1, np.logical_or)] for one in (~one_side, one_side)
    )
    levels = abs(int(outside.sum()) * inside.size - int(inside.sum()) * outside.size)
    return min(outside.size, inside.size) > 0 and 2 * levels >= contrast * inside.size * outside.size


def _open_cells(pieces: Pieces, whole: Mask) -> list[Box]:
    """The boxes of cells that a character reaches out of, beside whole ones: it parts what is left of them."""
    tops, bottoms, lefts, rights = pieces.boxes
    first, last = int(tops[whole].min()), int(bottoms[whole].max())
    between = ~whole & (first <= tops) & (bottoms <= last)
    found: list[list[int]] = []  # the box, and how much of it is of the cell
    for i in sorted(np.flatnonzero(between).tolist(), key=lambda i: int(lefts[i])):
        box = [int(edge[i]) for edge in pieces.boxes]
        if found and box[2] < found[-1][3]:
            top, bottom, left, right, area = found[-1]
            found[-1] = [min(top, box[0]), max(bottom, box[1]), left, max(right, box[3]), area + int(pieces.area[i])]
        else:
            found.append([*box, int(pieces.area[i])])
    high, wide = int((bottoms - tops)[whole].max()), int((rights - lefts)[whole].min())
    return [
        (top, bottom, left, right)
        for top, bottom, left, right, area in found
        if 4 * (bottom - top) >= 3 * high and 2 * (right - left) >= wide and 2 * area >= (bottom - top) * (right - left)
    ]


def _without_string(sheet: Mask) -> Mask:
    """Without what leads from a label towards the border, up to 4 px wide, if the rest fills its box."""
    if not ring(sheet).any() and _fills_its_box(sheet):
        return sheet
    pieces = components(extreme(extreme(sheet, 2, np.logical_and), 2, np.logical_or))
    if not pieces.count:
        return sheet
    label = pieces.mask(np.arange(pieces.count) == pieces.area.argmax())
    # The loop of a 9 is not most of it, nor a disc without its ends.
    most = 25 * np.count_nonzero(label) >= 24 * np.count_nonzero(sheet)
    return label if most and not ring(label).any() and _fills_its_box(label) else sheet


def _fills_its_box(sheet: Mask) -> bool:
    top, bottom, left, right = box_of(sheet)
    return 100 * int(np.count_nonzero(sheet)) >= 85 * (bottom - top) * (right - left)


def _is_solid(sheet: Mask, area: int) -> bool:
    """Whether nothing of a piece is hollow: no row or column of it has gaps, but for 1/20 in all."""
    for one in (sheet, sheet.T):
        lines = one[one.any(1)]
        spans = lines.size - int(lines.argmax(1).sum() + lines[:, ::-1].argmax(1).sum())
        if 20 * spans > 21 * area:
            return False
    return True


def _is_written_upon(marks: Mask, area: int) -> bool:
    """Whether the marks on a sheet of that area are under a third of it, and one is high enough for a character."""
    pieces = components(marks)
    if not pieces.count or 3 * int(pieces.area.sum()) > area:
        return False
    tops, bottoms, _, _ = pieces.boxes
    return 64 * int((bottoms - tops).max()) ** 2 >= area


def _lies_askew(sheet: Mask, area: int) -> bool:
    """Whether a piece is a rectangle that does not lie straight: its four outermost places are its corners."""
    top, bottom, left, right = box_of(sheet)

    def middle(line: Mask) -> int:
        where = line.nonzero()[0]
        return int(where[0] + where[-1])

    # Twice the coordinates of the corners, against the clock.
    a, c = (middle(sheet[top]), 2 * top), (middle(sheet[bottom - 1]), 2 * bottom - 2)
    b, d = (2 * left, middle(sheet[:, left])), (2 * right - 2, middle(sheet[:, right - 1]))
    eightfold = abs((c[0] - a[0]) * (d[1] - b[1]) - (c[1] - a[1]) * (d[0] - b[0]))
    if 6 * abs(eightfold - 8 * area) > 8 * area:
        return False
    down, across = (b[0] - a[0], b[1] - a[1]), (d[0] - a[0], d[1] - a[1])
    short, long = sorted(x * x + y * y for x, y in (down, across))
    # Opposite sides are alike, within a sixth of the longer one; and they meet at right angles, within 14 degrees.
    uneven = (a[0] + c[0] - b[0] - d[0]) ** 2 + (a[1] + c[1] - b[1] - d[1]) ** 2
    dot = down[0] * across[0] + down[1] * across[1]
    return 36 * uneven <= long and 16 * dot * dot <= short * long


def _is_disc(area: int, height: int, width: int, marks: Mask) -> bool:
    """Whether a piece is round, and what is on it strokes: the hole of a bold 0 is not."""
    is_round = 8 * abs(height - width) <= max(height, width) and 75 <= 100 * area // (height * width) <= 82
    return is_round and _are_strokes(marks)


def _are_strokes(marks: Mask) -> bool:
    """Whether there are marks, five times as high as their strokes are wide."""
    pieces = components(marks)
    if not pieces.count:
        return False
    tops, bottoms, _, _ = pieces.boxes
    return int((bottoms - tops).max()) >= 5 * mean_stroke(marks)


def painted_over(grey: Bytes, gone: Mask) -> Bytes:
    """A picture with the median level of the rest in place of what is marked in a scaled copy of it."""
    large = _enlarged(gone, grey.shape)
    levels = grey[~large]
    if not levels.size:
        return grey
    return np.where(large, np.partition(levels, levels.size // 2)[levels.size // 2], grey)


def _enlarged(mask: Mask, shape: tuple[int, ...]) -> Mask:
    (height, width), (rows, columns) = shape, mask.shape
    return mask[np.arange(height) * rows // height][:, np.arange(width) * columns // width]
