"""A sheet of paper, or the field of a frame, that does not fill the picture. Step 3 of `character`, and 2 of `line`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lenet_zoo.pictures.components import components, filled
from lenet_zoo.pictures.kernels import Box, Bytes, Mask, box_of, extreme, otsu, ring

__all__ = ["Sheet", "painted_over", "sheet_in"]

# Pixels of a sheet's edge that are no paper yet.
_EDGE = 2


class Sheet(NamedTuple):
    """Where a sheet lies in the working picture: a box within it, and what is around it if that is to go."""

    box: Box
    around: Mask | None


def sheet_in(picture: Bytes, of_lines: bool = False) -> Sheet | None:
    """The sheet within a surround; None without a surround.

    Args:
        of_lines: whether the sheet is one of lines of writing, which may be of any shape and smaller, but has marks.
    """
    rows, columns = picture.shape
    threshold, dark, bright = otsu(picture)
    if dark == bright:
        return None
    surround = picture >= threshold
    border = ring(surround)
    if 2 * np.count_nonzero(border) < border.size:
        surround = ~surround
    # A smaller one is looked for where it is not too small for that to be worth it, and has to have writing on it.
    share = 4 if of_lines or 12 * np.count_nonzero(~surround) >= surround.size else 2
    top, bottom, left, right = box_of(~surround)
    if share * (bottom - top) < rows or share * (right - left) < columns:
        return None  # the largest piece is no larger: most pictures need no look at the pieces
    sheets = components(filled(~surround))
    if not sheets.count:
        return None
    which = int(sheets.area.argmax())
    top, bottom, left, right = (int(edge[which]) for edge in sheets.boxes)
    area, height, width = int(sheets.area[which]), bottom - top, right - left
    if (
        share * height < rows
        or share * width < columns
        or not (of_lines or max(height, width) < 2 * min(height, width))
    ):
        return None
    small = 2 * height < rows or 2 * width < columns
    sheet = sheets.mask(np.arange(sheets.count) == which)
    # What touches the border may be what a shadow leaves of the light.
    written = not ring(sheet).any() and _is_solid(sheet, area) and _is_written_upon(sheet & surround, area)
    inside = extreme(sheet, _EDGE + 1, np.logical_and)
    around = ~inside if written and inside.any() else None
    straight = 100 * area >= 85 * height * width
    if around is None and (of_lines or small or not straight):
        return None
    if not straight and not _lies_askew(sheet, area):
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


def painted_over(grey: Bytes, gone: Mask) -> Bytes:
    """A picture with the median level of the rest in place of what is marked in a scaled copy of it."""
    (height, width), (rows, columns) = grey.shape, gone.shape
    large = gone[np.arange(height) * rows // height][:, np.arange(width) * columns // width]
    levels = grey[~large]
    if not levels.size:
        return grey
    return np.where(large, np.partition(levels, levels.size // 2)[levels.size // 2], grey)
