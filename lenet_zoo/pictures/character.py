"""Any picture of one character → a 28×28 digit as MNIST was made.

A picture passes three stages: it is decoded (`reading`, Pillow's work), becomes grey (`grey`), and `digit_from_grey`
makes the digit of it. That is specified below to the last bit: numpy integers throughout, one float64 quotient in steps
3 and 4, no resizing or filter of any library, so that another language gives the same bytes from the same pixels.

Grey to digit (`digit_from_grey`; `//` rounds down, and every resampling rounds to the nearest after each axis, rows
first; it averages areas when it shrinks and interpolates linearly between pixel centres when it enlarges)
    1. A size×size picture that is a digit as MNIST has them, or its negative, is the answer: background 0, ink reaching
       250, the box 20 or 19 px, the centre of mass within 0.52 px of pixel 14 (all 70,000 of MNIST pass).
    2. Fit: the picture is resampled so that its longer side is 112 … 256 px.
    3. Sheet: Otsu's threshold in two classes. The class that holds most of the border is the surround, as far as it
       hangs together with the border; when the largest piece of the rest is a rectangle (it fills 85 % of its box, over
       3/5 of the picture in both directions, shorter than 2:1), it is the sheet or the field of a frame. Cut to it,
       less 1/64 on each side, and go back to 2 (three times at most).
    4. Polarity: the sum of two skewnesses Σr³ / Σ|r|³, of r = the picture less the plane through its border, and of
       r = the picture, smoothed 3×3, less its mean over a third of the picture each way. Positive: the ink is bright.
       Otherwise the picture is turned to its negative. The first term asks what stands out from the border, however
       fat the pen; the second what is rare nearby, whatever the light.
    5. Paper: the border's plane is taken off if that halves the border's variance. The paper is the morphological
       opening (radius 3/10 of the longer side) of the 3×3 mean; ink is what rises above it.
    6. Threshold: Otsu. There is no digit unless the two class means are 12 levels apart; that is 4 times the mean step
       from one original pixel of the background to the next (else it is noise; not asked under 16 px, where a stroke
       is as wide as a pixel); and, along the edge of the ink, the levels within 1/32 of the picture (at least one
       original pixel) range over 3/4 of that distance on average (else it is soft light).
    7. Pieces: 8-connected, over gaps of 2 px. A piece that runs along half of one side of the picture, or that crosses
       it as a thin line, is an edge or a rule, and goes if the rest measures 1/6 of the picture. Pieces under 1/20 of
       the largest are specks; those whose mean lies below the middle of threshold and ink are shadows. More than 12
       pieces are noise.
    8. Closer: while the box of the ink is under half of the picture, cut the original to the box and a third of it on
       each side, and go back to 2 and 5 (three times at most).
    9. Ink becomes grey: a ramp from 0 at the paper's mean to 255 at the ink's, on the kept pieces and a fringe of 1/32
       of the picture. The box holds what reaches 64.
   10. Stroke: the mean width is 2.5 · area / (count of edges between pixels); it is brought between 2.6 and 3.5 px of
       the final digit by growing or shrinking (cross and square in turn): a hair line would vanish, a fat pen closes
       the loops.
   11. Box: the longer side is resampled to 20 px (20/28 of size), aspect kept, the brightest pixel to 255.
   12. Centre: shifted by whole pixels so that the centre of mass lies in [13.5, 14.5), as MNIST counts it.
"""

from __future__ import annotations

import numpy as np

from lenet_zoo.errors import InputError, NoDigitError
from lenet_zoo.pictures.components import components
from lenet_zoo.pictures.grey import to_grey
from lenet_zoo.pictures.ground import ink_is_bright, levelled, refuse_noise, refuse_soft_light, rise_above_paper
from lenet_zoo.pictures.kernels import Box, Bytes, Mask, box_of, extreme, fit, otsu, ring
from lenet_zoo.pictures.pieces import kept_pieces
from lenet_zoo.pictures.placing import even_stroke, is_normal, place
from lenet_zoo.pictures.reading import PictureSource, load_picture, picture_name
from lenet_zoo.pictures.rules import rules_in

__all__ = ["digit_from_grey", "digit_from_image"]

# The longer side of the working picture: 64 loses 0.7 points of the cheques' digits, 112 and more gain nothing that
# lasts. Chosen on the dev halves of pictures from the wild, as were the constants of `rules` and `pieces`.
_SIDE = 96
# Of a larger picture so many pixels are decoded: step 9 finds 4 original ones in each, even of a small digit.
_ENOUGH = 4 * _SIDE
# Levels between ink and paper: pencil that is hardly to be seen has 9.
_LEAST_CONTRAST = 4


def digit_from_image(image: PictureSource, size: int = 28) -> Bytes:
    """Any picture of one character as MNIST would have it.

    Dark ink on light paper or light on dark, in colour or grey, any pen, size and aspect. A digit that is already as
    MNIST has them comes through unchanged.

    Args:
        image: whatever `load_picture` takes.
        size: side of the result in pixels; the character's box is 20/28 of it.

    Returns:
        uint8, size×size: background 0, ink 255, the longer side of the box 20 px, centred by mass.

    Raises:
        NoDigitError: the picture is empty, full or noise.
        InputError: the picture cannot be read, or `size` is below 8.
    """
    picture = load_picture(image, _ENOUGH)
    name = picture_name(image)
    try:
        return digit_from_grey(to_grey(picture), size)
    except NoDigitError as error:
        raise NoDigitError(str(error) if name == "the picture" else f"{name}: {error}") from None


def digit_from_grey(grey: Bytes, size: int = 28) -> Bytes:
    """Steps 1 to 13 of this module: uint8 H×W of one character → uint8 size×size; errors as `digit_from_image`."""
    if not isinstance(size, int) or size < 8:
        raise InputError(f"size must be a whole number of at least 8 pixels, not {size!r}")
    if grey.ndim != 2 or grey.dtype != np.uint8 or not grey.size:
        raise InputError(f"grey must be uint8 H×W, not {grey.dtype} {'×'.join(map(str, grey.shape))}")
    if grey.shape == (size, size):
        for candidate in (grey, 255 - grey):
            if is_normal(candidate, size):
                return candidate.copy()
    return place(even_stroke(_ink(grey)), size)


def _ink(grey: Bytes) -> Bytes:
    """Steps 2 to 10: the ink alone, 0 … 255, cut to its box."""
    crop, picture = grey, fit(grey, _SIDE)
    for _ in range(3):
        sheet = _sheet(picture)
        if sheet is None:
            break
        crop = _cut(crop, sheet, picture.shape)
        picture = fit(crop, _SIDE)
    bright = ink_is_bright(picture)
    for turn in range(4):
        rise, threshold, paper, ink, mask = _threshold(levelled(picture if bright else 255 - picture))
        pitch = max(2, -(-_SIDE // max(crop.shape)))
        if max(crop.shape) >= 16:
            refuse_noise(rise, mask, ink - paper, pitch)
        refuse_soft_light(rise, mask, ink - paper, max(pitch, 4))
        kept = kept_pieces(rise, mask, (threshold + ink) // 2, max(crop.shape) >= 2 * _SIDE, None if turn else crop.shape)
        top, bottom, left, right = box_of(kept)
        long = max(bottom - top, right - left)
        if 2 * long >= _SIDE:
            break
        margin = long // 3 + 1
        crop = _cut(crop, (top - margin, bottom + margin, left - margin, right + margin), picture.shape)
        picture = fit(crop, _SIDE)
    if long * max(crop.shape) < 3 * _SIDE:
        raise NoDigitError("no digit: the only mark is under 3 pixels")
    short = min(bottom - top, right - left)
    if long < 2 * short and 10 * np.count_nonzero(kept) >= 9 * (bottom - top) * (right - left):
        raise NoDigitError("no digit: the picture is full")
    ramp = np.clip((np.arange(256) - paper) * 255 // (ink - paper), 0, 255).astype(np.uint8)
    soft: Bytes = ramp[rise] * extreme(kept, 4, np.logical_or)
    top, bottom, left, right = box_of(soft >= 64)
    return soft[top:bottom, left:right]


def _threshold(picture: Bytes) -> tuple[Bytes, int, int, int, Mask]:
    """Steps 5 to 7: the rise above the paper, the threshold, the means of paper and ink, and the ink."""
    rise = rise_above_paper(picture)
    threshold, paper, ink = otsu(rise)
    mask = rise >= threshold
    if ink - paper >= _LEAST_CONTRAST:
        rules = rules_in(mask, rise)
        if rules is not None:
            # Pixels much darker than the rule are ink upon it.
            levels = np.sort(rise[rules])
            faint = 2 * rise.astype(np.int16) <= 3 * int(levels[levels.size // 2])
            gone = extreme(rules, 1, np.logical_or) & faint & ~(mask & ~rules)
            rise = rise * ~gone
            threshold, paper, ink = otsu(rise[~gone])
            mask = rise >= threshold
    if ink - paper < _LEAST_CONTRAST:
        raise NoDigitError("no digit: the picture is of one tone")
    return rise, threshold, paper, ink, mask


def _cut(grey: Bytes, box: Box, frame: tuple[int, ...]) -> Bytes:
    """The part of a picture that `box` marks in its scaled copy of the shape `frame`."""
    top, bottom, left, right = box
    (rows, columns), (height, width) = grey.shape, frame
    return grey[
        max(0, top * rows // height) : -(-bottom * rows // height),
        max(0, left * columns // width) : -(-right * columns // width),
    ]


def _sheet(picture: Bytes) -> Box | None:
    """Step 3: the box of the sheet within a surround; None without a surround."""
    rows, columns = picture.shape
    threshold, dark, bright = otsu(picture)
    if dark == bright:
        return None
    surround = picture >= threshold
    border = ring(surround)
    if 2 * np.count_nonzero(border) < border.size:
        surround = ~surround
    top, bottom, left, right = box_of(~surround)
    if 5 * (bottom - top) < 3 * rows or 5 * (right - left) < 3 * columns:
        return None  # the largest piece is no larger: most pictures need no look at the pieces
    ground = components(surround)
    filled = components(~ground.mask(ground.borders.any(0)))
    if not filled.count:
        return None
    which = int(filled.area.argmax())
    top, bottom, left, right = (int(edge[which]) for edge in filled.boxes)
    height, width = bottom - top, right - left
    if 100 * int(filled.area[which]) < 85 * height * width or max(height, width) >= 2 * min(height, width):
        return None
    if 5 * height < 3 * rows or 5 * width < 3 * columns:
        return None
    marks = components(~surround)
    tops, bottoms, lefts, rights = marks.boxes
    if 3 * int(marks.area.max()) < 2 * height * width:
        # A ring, not a solid sheet: a frame encloses another mark, a 0 or a block 8 does not.
        inside = (tops > top) & (bottoms < bottom) & (lefts > left) & (rights < right)
        if not (inside & (5 * (bottoms - tops) >= height)).any():
            return None
    edge = 1 + _SIDE // 64
    return top + edge, bottom - edge, left + edge, right - edge
