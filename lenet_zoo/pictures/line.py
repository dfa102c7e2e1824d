"""Any picture of lines of digits → strips 28 px high, each digit about as MNIST has it.

The steps are those of `character`, with the height of the line in place of the side of one character:

    1. Fit: the picture is scaled to a height of 96 px (1,536 px wide at most). Around a sheet with writing on it
       (`sheet`; it measures 1/4 of the picture in both directions, and may be of any shape) it gets the median level of
       that, as around a round one that reaches the border, and around and between the cells of a counter that of the
       cells: they are 1/8 of the picture high, their tops differ by up to 1/4 of that, and the highest character in one
       is 1/3 as high as it.
    2. Polarity, light and paper (`ground`; what is dark around a sheet is in no shadow: `sheet.is_desk`), Otsu's
       threshold; one tone and noise are refused. Ink is less than half of the picture, or the polarity was that of a
       frame. A note, a spot of light or a shadow is no ink where there are strokes upon it (`ground.upon_blob`), of
       which a digit is 1/8 as high as the picture or more. Where the mean stroke is up to 2 px, the extreme over 2·r +
       1 px of the original, r = ⌊its height / (3 · that of the working picture)⌋, takes its place if that doubles the
       distance of the class means: hair lines would break. Rings and boxes around characters (`pieces.frames`) are
       painted over with the picture's median level, of boxes only the lines, and all begins anew (twice at most).
    3. Rules along the line are taken out (`rules`), and those that the upper or lower border cuts. A pattern of the
       paper that is over the threshold raises it (`ground.above_pattern`).
       Dots and segments are joined as in step 8 of `character`; of dots, 31/32 of the ink have to be in pieces half as
       high as all, which may be several, and all that the squares cover is ink.
    4. Pieces: edges of the paper, remnants that touch the border, specks and, unless nothing else is there, pale
       patterns go, and upright lines that are higher than all else by a third, or one alone by half, and no more than 3
       times as high (beside 1s there may be no more than a dot). The height of the writing is the median of the pieces
       that have half the tallest one's height.
    5. Lines: pieces that share rows are one line. Where others have a quarter of its ink, each is cut out, and all
       begins anew for it; more than five are a page of text, which is refused.
    6. Closer: while the line is under half the picture's height, the original is cut to it and all begins anew.
    7. Ink becomes grey, strokes are brought to MNIST's width (`placing`), and the slant that makes the columns of ink
       stand highest is taken out. Slashes are left aside for it: straight strokes of half the tallest's height or more
       that lean to the right by over 1/4, and by 1/8 more than the rest does.
    8. Clusters, which empty columns part; an equals sign goes. Those of half the height or more are scaled to 20 px, as
       far as a quarter from the line's own scale, and centred by mass; lower ones (dots, dashes) keep their place
       beside them. Gaps over 12 px become 12. A line of one narrow cluster that `digit_from_grey` can read is placed
       as that does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lenet_zoo.errors import InputError, NoDigitError
from lenet_zoo.pictures.components import Pieces, components, run_lengths
from lenet_zoo.pictures.grey import to_grey
from lenet_zoo.pictures.ground import (
    Ink,
    above_pattern,
    ink_is_bright,
    refuse_noise,
    rise_above_paper,
    upon_blob,
)
from lenet_zoo.pictures.kernels import Bytes, Mask, box_of, extreme, halved, mean_stroke, nearest, otsu, scale_to
from lenet_zoo.pictures.pieces import frames, joined
from lenet_zoo.pictures.reading import PictureSource, load_picture, picture_name, reduced
from lenet_zoo.pictures.rules import rules_along, without_rules
from lenet_zoo.pictures.sheet import Surround, cells_alone, corners_in, is_desk, painted_over, sheet_in, surround_of
from lenet_zoo.pictures.strip import Strip, strip_of

__all__ = ["line_from_grey", "line_from_image", "lines_from_image"]

# Chosen, as all constants here, on the dev halves of cheque amounts and of photos of numbers: accuracy on those is no
# held-out figure.
_TALL, _WIDE, _LOWEST = 96, 1536, 8
_MOST_LINES = 5
_LEAST_CONTRAST = 4


def lines_from_image(image: PictureSource) -> tuple[Strip, ...]:
    """Any picture of a few lines of digits as strips for a network that reads numbers, from top to bottom.

    Dark ink on light paper or light on dark, in colour or grey, any pen and size.

    Args:
        image: whatever `load_picture` takes.

    Raises:
        NoDigitError: the picture is empty or noise, or a page of text.
        InputError: the picture cannot be read, is lower than 8 px, or over 192 times as wide as high.
    """
    picture = load_picture(image)
    name, size = picture_name(image), (picture.height, picture.width)
    try:
        return _lines(to_grey(reduced(picture, _WIDE)), size)
    except InputError as error:
        if name == "the picture" or str(error).startswith(name):
            raise
        raise type(error)(f"{name}: {error}") from None


def line_from_image(image: PictureSource) -> Strip:
    """`lines_from_image` of a picture of one line. Raises: NoDigitError for several."""
    return _only(lines_from_image(image))


def line_from_grey(grey: Bytes) -> Strip:
    """`line_from_image` of grey levels, uint8 H×W."""
    return _only(_lines(grey, grey.shape))


def _only(lines: tuple[Strip, ...]) -> Strip:
    if len(lines) > 1:
        raise NoDigitError(f"no number: there are {len(lines)} lines; give a picture of one")
    return lines[0]


def _lines(grey: Bytes, size: tuple[int, ...]) -> tuple[Strip, ...]:
    """All lines of a picture whose boxes are to be given in the pixels of one of this height and width."""
    if grey.ndim != 2 or grey.dtype != np.uint8 or not grey.size:
        raise InputError(f"grey must be uint8 H×W, not {grey.dtype} {'×'.join(map(str, grey.shape))}")
    height, width = size
    if height < _LOWEST:
        raise InputError(f"a picture {height} px high: a line of digits needs at least {_LOWEST} px")
    most = _WIDE // _LOWEST
    if width > most * height:
        raise InputError(
            f"a picture {width:,} px wide and {height} px high: up to {most} times as wide as high is read; cut it"
        )
    return _cut(grey, (0, 0), (height / grey.shape[0], width / grey.shape[1]))


def _cut(crop: Bytes, corner: tuple[int, int], scale: tuple[float, float], single: bool = False) -> tuple[Strip, ...]:
    """The lines of a part of a picture.

    Args:
        crop: its grey levels.
        corner: its first row and column in the picture.
        scale: of the picture's rows and columns to those that boxes are given in.
        single: whether there is one line, and what stands above and below it are remnants.
    """
    top, left = corner
    picture = _fitted(crop)
    around = surround_of(picture)
    on_desk = around is not None and is_desk(around, picture)
    alone = None if around is None else _alone(around, picture, crop)
    if alone is not None:
        crop = alone
        picture = _fitted(crop)
    risen = _risen(picture, on_desk)
    crop, picture, risen = _widened(crop, picture, risen, on_desk)
    for _ in range(2):
        boxes = _frames(risen)
        if boxes is None:
            break
        crop = painted_over(crop, extreme(boxes, 2, np.logical_or))
        picture = _fitted(crop)
        risen = _risen(picture, on_desk)
    for turn in range(4):
        found = _written(picture, risen, crop.shape[0], single)
        down, across = (crop.shape[axis] / picture.shape[axis] for axis in (0, 1))
        if len(found.lines) > 1:
            return _each(crop, [(first * down, last * down) for first, last in found.lines], (top, left), scale)
        first, last, begin, end = box_of(found.kept)
        tall = last - first
        if 2 * tall >= len(picture) or turn == 3:
            break
        margin = tall // 2 + 2
        cut = (
            max(0, int((first - margin) * down)),
            min(crop.shape[0], int((last + margin) * down) + 1),
            max(0, int((begin - margin) * across)),
            min(crop.shape[1], int((end + margin) * across) + 1),
        )
        if (cut[1] - cut[0]) * 4 >= 3 * crop.shape[0] or cut[1] - cut[0] < _LOWEST:
            break
        crop = crop[cut[0] : cut[1], cut[2] : cut[3]]
        top, left = top + cut[0], left + cut[2]
        picture = _fitted(crop)
        risen = _risen(picture, on_desk)
    if tall * crop.shape[0] < 5 * len(picture):
        raise NoDigitError("no number: the writing is under 5 px high")
    place = ((top + first * down) * scale[0], (left + begin * across) * scale[1], down * scale[0], across * scale[1])
    return (strip_of(found.soft[first:last, begin:end], found.height, crop, place),)


def _each(
    crop: Bytes, rows: list[tuple[float, float]], corner: tuple[int, int], scale: tuple[float, float]
) -> tuple[Strip, ...]:
    """Each of several lines, cut half-way to its neighbours; without those on which nothing is a character."""
    strips: list[Strip] = []
    reason = NoDigitError("no number: nothing on the paper is a character")
    for i, (first, last) in enumerate(rows):
        margin = (last - first) / 2 + 2
        above = max(first - margin, (rows[i - 1][1] + first) / 2 if i else 0, 0)
        below = min(last + margin, (last + rows[i + 1][0]) / 2 if i + 1 < len(rows) else crop.shape[0], crop.shape[0])
        part = crop[int(above) : math.ceil(below)]
        if len(part) < _LOWEST:
            continue
        try:
            strips += _cut(part, (corner[0] + int(above), corner[1]), scale, single=True)
        except NoDigitError as error:
            reason = error
    if not strips:
        raise reason
    return tuple(strips)


@dataclass(frozen=True)
class _Writing:
    """What stands on the paper: grey ink and its pieces, the height of its characters, and first and last rows of its
    lines, in pixels. Of several lines there is no more than these."""

    soft: Bytes
    kept: Mask
    height: int
    lines: list[tuple[int, int]]


def _fitted(grey: Bytes) -> Bytes:
    """Step 1."""
    height, width = grey.shape
    long = _TALL if height >= width else int(nearest(width * _TALL, height))
    factor = 1
    while min(grey.shape) // (2 * factor) >= 2 * _TALL:
        factor *= 2
    if factor > 1:
        grey = halved(grey, factor)
    if height > width:
        long = int(nearest(height * _TALL, width)) if height < 4 * width else _TALL
        long = max(_TALL, min(long, 2 * _TALL))
    return scale_to(grey, min(max(long, 8), _WIDE))


def _alone(around: Surround, picture: Bytes, crop: Bytes) -> Bytes | None:
    """Step 1, the crop without what is around its cells, or its sheet; None where there is neither."""
    cells = cells_alone(around, picture, crop)
    if cells is not None:
        return cells
    corners = corners_in(around, picture)
    if corners is not None:
        return painted_over(crop, corners)
    sheet = sheet_in(around, of_lines=True)
    return None if sheet is None or sheet.around is None else painted_over(crop, sheet.around)


def _risen(picture: Bytes, on_desk: bool) -> Ink:
    """The ink of step 2."""
    side = min(picture.shape)

    def look(is_bright: bool, radius: int | None = None) -> Ink:
        rise = rise_above_paper(picture, is_bright, 3 * side // 10 if radius is None else radius, on_desk)
        threshold, paper, ink = otsu(rise)
        return Ink(rise, threshold, paper, ink, rise >= threshold)

    bright = ink_is_bright(picture)
    found = look(bright)
    if 2 * np.count_nonzero(found.mask) > found.mask.size:  # that is the paper, within a frame of the ink's tone
        bright, found = not bright, look(not bright)
    if found.ink - found.paper < _LEAST_CONTRAST:
        return found
    return upon_blob(found, look, bright, side, side // 8, picture)[1]  # a digit may be an eighth as high as a note


def _widened(crop: Bytes, picture: Bytes, risen: Ink, on_desk: bool) -> tuple[Bytes, Bytes, Ink]:
    """A crop, its working picture and the ink on it, hair lines being as wide as a pixel of the working picture."""
    reach = crop.shape[0] // (3 * picture.shape[0])
    if not reach or not risen.mask.any() or mean_stroke(risen.mask) > 2:
        return crop, picture, risen
    for choose in (np.minimum, np.maximum):  # the one for the other polarity rubs them out
        wide = extreme(crop, reach, choose)
        thick = _fitted(wide)
        found = _risen(thick, on_desk)
        if found.ink - found.paper >= 2 * (risen.ink - risen.paper):
            return wide, thick, found
    return crop, picture, risen


def _written(picture: Bytes, risen: Ink, pixels: int, single: bool) -> _Writing:
    """The refusals of step 2, and steps 3 to 5."""
    rise, threshold, paper, ink, mask = risen
    height, width = rise.shape
    if ink - paper >= _LEAST_CONTRAST:
        rules = rules_along(mask, min(height, width))
        if rules is not None:
            rise, gone = without_rules(rise, mask, rules)
            threshold, paper, ink = otsu(rise[~gone])
            mask = rise >= threshold
    if ink - paper < _LEAST_CONTRAST or not mask.any():
        raise NoDigitError("no number: the picture is of one tone")
    if pixels >= 16:
        try:
            refuse_noise(rise, mask, ink - paper, max(2, -(-height // pixels)))
        except NoDigitError:
            raise NoDigitError("no number: the picture is noise") from None
    upon = above_pattern(rise, mask, threshold, paper, picture, of_lines=True)
    if upon is not None:
        threshold, paper, ink = upon
        mask = rise >= threshold
    mask = _without_edges(mask)
    pieces = components(mask)
    parts = joined(mask, pieces)
    if parts is not None:
        rise = np.where(parts.ink & ~mask, np.uint8(ink), rise)
        pieces = components(parts.ink)
    if not pieces.count:
        raise NoDigitError("no number: nothing on the paper is a character")
    keep, tall, lines = _kept(pieces, rise, (threshold + ink) // 2, single)
    kept = pieces.mask(keep)
    ramp = np.clip((np.arange(256) - paper) * 255 // (ink - paper), 0, 255).astype(np.uint8)
    return _Writing(ramp[rise] * extreme(kept, 2, np.logical_or), kept, tall, lines)


def _frames(risen: Ink) -> Mask | None:
    """The rings and boxes around characters; None where there are none.

    Of a box the straight lines alone, if they are half of it: characters may touch it.
    """
    if risen.ink - risen.paper < _LEAST_CONTRAST:
        return None
    pieces = components(risen.mask)
    around = np.zeros(risen.mask.shape, np.bool_)
    for piece, _ in frames(pieces, of_lines=True):
        whole = pieces.mask(np.arange(pieces.count) == piece)
        long = 4 * int(pieces.boxes[1][piece] - pieces.boxes[0][piece])
        lines = (5 * run_lengths(whole) >= long) | (long <= 5 * run_lengths(np.ascontiguousarray(whole.T)).T)
        around |= lines if 2 * np.count_nonzero(lines) >= np.count_nonzero(whole) else whole
    return around if around.any() else None


def _without_edges(mask: Mask) -> Mask:
    """Without the rules of a form that are cut along the upper or lower border, where characters may stand on them."""
    deep = max(1, len(mask) // 24)
    for rows in (slice(0, deep), slice(len(mask) - 1, len(mask) - 1 - deep, -1)):
        whole = np.flatnonzero(2 * run_lengths(np.ascontiguousarray(mask[rows])).max(1) >= mask.shape[1])
        if whole.size:
            mask = mask.copy()
            mask[rows][: int(whole[-1]) + 1] = False
    return mask


def _kept(
    pieces: Pieces, rise: Bytes, pale: int, single: bool
) -> tuple[npt.NDArray[np.bool_], int, list[tuple[int, int]]]:
    """Steps 4 and 5: which pieces are the line, how high its characters are, and the rows of all lines."""
    height, width = pieces.shape
    tops, bottoms, lefts, rights = pieces.boxes
    heights, widths, area = bottoms - tops, rights - lefts, pieces.area
    sides = pieces.borders
    keep = ~((widths >= width - 2) & (5 * heights <= height)) & ~((heights >= height - 2) & (20 * widths <= height))
    keep &= ~((2 * sides[:2] >= width).any(0) | (2 * sides[2:] >= height).any(0))
    # Remnants of the lines above and below, of a box or of the neighbour: they touch the border and are no character.
    keep &= ~((sides[:2] > 0).any(0) & (3 * heights < height))
    keep &= heights + widths >= max(4, min(height, width) // 24)
    # What is low and pale is no dash and no dot, but the pattern of the paper or the rest of a rule. Where all is, that
    # is the writing: of a fine pencil, small on a large sheet.
    written = keep & ((4 * heights >= height) | (pieces.sums(rise) >= pale * area))
    keep = written if written.any() else keep
    if not keep.any():
        raise NoDigitError("no number: nothing on the paper is a character")
    keep &= ~_bars(heights, widths, keep)
    tallest = int(heights[keep].max())
    main = keep & (2 * heights >= tallest)
    # The tallest may be a bracket or a long stroke: the median of what comes near to it is the writing's.
    tall = int(np.median(heights[main]))
    main = keep & (2 * heights >= tall)
    keep &= ~((5 * heights < tall) & (5 * widths < tall) & (25 * area < tall * tall // 4))
    if pieces.count > 400 and np.count_nonzero(main) > 150:
        raise NoDigitError("no number: this is a page of text; give a picture of one line")
    lines = _bands(tops, bottoms, area, main, tall, single)
    if len(lines) > 1:
        return keep, tall, lines
    first, last = lines[0][0] - tall // 4, lines[0][1] + tall // 4
    inside = np.minimum(bottoms, last) - np.maximum(tops, first)
    keep &= 2 * inside >= heights
    return keep, tall, lines


def _bars(
    heights: npt.NDArray[np.int64], widths: npt.NDArray[np.int64], keep: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """Which pieces are upright lines between characters, as of a form or a counter: thin, and higher than all others.

    One alone may be a long 1, unless it is half as high again; and what is over 3 times as high may be 1s beside a dot.
    """
    thin = keep & (8 * widths <= heights)
    highest = int((heights * (keep & ~thin)).max(initial=0))
    bars = thin & (3 * heights >= 4 * highest) & (heights <= 3 * highest)
    if np.count_nonzero(bars) == 1:
        bars &= 2 * heights >= 3 * highest
    return bars


def _bands(
    tops: npt.NDArray[np.int64],
    bottoms: npt.NDArray[np.int64],
    area: npt.NDArray[np.int64],
    main: npt.NDArray[np.bool_],
    tall: int,
    single: bool,
) -> list[tuple[int, int]]:
    """The rows of the lines of writing, from top to bottom."""
    bands: list[list[int]] = []  # first row, row after the last, ink, pieces
    for i in sorted(np.flatnonzero(main).tolist(), key=lambda i: int(tops[i])):
        top, bottom = int(tops[i]), int(bottoms[i])
        if bands and 8 * (bands[-1][1] - top) > tall:
            bands[-1][1] = max(bands[-1][1], bottom)
            bands[-1][2] += int(area[i])
            bands[-1][3] += 1
        else:
            bands.append([top, bottom, int(area[i]), 1])
    best = max(bands, key=lambda band: band[2])
    if single:
        return [(best[0], best[1])]
    lines = [(band[0], band[1]) for band in bands if 4 * band[2] >= best[2]]
    if len(lines) > _MOST_LINES:
        raise NoDigitError("no number: this is a page of text; give a picture of one line")
    return lines
