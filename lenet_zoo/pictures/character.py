"""Any picture of one character → a 28×28 digit as MNIST was made.

A picture passes three stages: it is decoded and, if large, reduced (`reading`, Pillow's work), becomes grey (`grey`),
and `digit_from_grey` makes the digit of it. That is specified below to the last bit, so that another language gives the
same bytes from the same pixels: whole numbers throughout, with one float64 quotient each in steps 4 and 7 (Otsu).

Reading (`reading`)
    - R1. A JPEG file is decoded at 1/2, 1/4 or 1/8 of its size as far as 384 px of its longer side are left.
    - R2. A grey or RGB picture without transparency (an RGBA one that is opaque throughout counts as RGB) is reduced by
      the largest power of two f that leaves 384 px of its longer side (and 1 of its shorter): means of f×f blocks,
      (sum + f²/2) // f²; what fills no block is left out.

Grey to digit (`digit_from_grey`; `//` rounds down; S = 96 is the longer side of the working picture)
    Scaling: rows first, then columns, each axis to the nearest, (2n + d) // (2d); means of areas when it shrinks,
    linear between pixel centres when it enlarges. The fit of steps 2, 3 and 9 first reduces a picture as in R2, by the
    largest f that leaves 2·S of the longer side.
    Otsu: of the thresholds that part the levels in two classes the lowest of those that maximise
    (n·s − b·t)² / (b·(n − b)) in float64: n levels of sum t, of which b below the threshold have the sum s. The means
    of both classes are rounded down.

    1. A size×size picture that is a digit as MNIST has them, or its negative, is the answer: background 0, ink reaching
       250, the box 20 or 19 px, the centre of mass within 0.52 px of pixel 14 (all 70,000 of MNIST pass).
    2. Fit: the picture is scaled to S.
    3. Sheet (`sheet`): Otsu's threshold in two classes. The class that holds most of the border is the surround, as far
       as it hangs together with the border. The largest piece of the rest may be a sheet or the field of a frame if it
       measures 1/2 of the picture in both directions (1/4 where 1/12 of the picture is not of the surround's class;
       then it must have writing on it), is shorter than 2:1, and either fills 85 % of its box or is a rectangle that
       lies askew: the middles of its first row, first column, last row and last column are the corners of a
       quadrilateral of its area, within 1/6; the sums of opposite corners differ by at most 1/6 of the longer side; and
       the sides meet at right angles (cosine at most 1/4).
       What fills its box is neither, but a 0 or a block 8, when no piece of the class that is not the surround covers
       2/3 of that box and none within it is 1/5 as high. The picture is cut to the box, less 2 px on each side.
       It is a sheet with writing on it if it does not touch the border (of a piece that does, or that does not fill
       its box, the largest part that an opening over 5 px leaves is taken in its place if that does neither and is
       24/25 of it: a label may hang from a string); if its rows and columns, each from its first pixel to the last,
       have gaps of 1/20 in all at most; and if what is of the surround's class on it is up to 1/3 of its area, and a
       piece of that 1/8 as high as the root of that area. Then all that is not 3 px inside it gets the median level of
       the rest before the cut. What lies askew has to be such a one, and so has a disc: as wide as it is high, within
       1/8, it fills 75 to 82 % of its box, and what is on it is 5 times as high as its strokes are wide, rounded down
       (step 13).
       Before that, a round sheet may reach the border: the pieces of one class that hold all four corners are up to 2/5
       of the picture, the rest has as few gaps and fills 97 % of its box at most, and what it has of their class, if
       any, is up to 1/3 of it and again 5 times as high as its strokes are wide. At their edge the levels 2 and 3 px on
       either side differ by half the distance of the class means. Then these pieces and what is up to 2 px away get the
       median level of the rest. Go back to 2 (three times at most).
    4. Polarity (`ground`): the sum of two skewnesses Σr³ / Σ|r|³, of r = the picture less the plane through its border,
       and of r = the picture, smoothed 3×3, less its mean over S/3 each way. Positive: the ink is bright. Otherwise the
       picture is turned to its negative. The first term asks what stands out from the border, however fat the pen; the
       second what is rare nearby, whatever the light. (Means over windows, rows first, are rounded down.)
    5. Paper (`ground`): the morphological opening (radius 3·S // 10 = 28) of the 3×3 mean; ink is what rises above it.
       Of dark ink, the picture being a negative, 255 less the paper is the light. Where 1/16 of that is under 2/3 of
       the strongest light, ink rises as it would in that: times the strongest and by the light, which is a quarter of
       that at least, to the nearest, up to 255. Else, where that halves the border's variance, the border's plane less
       its mean on the border is taken off before, within 0 … 255.
    6. Threshold: Otsu. There is no digit unless the two class means are 4 levels apart. After step 7 it is asked again,
       and: that is 4 times the mean step from one pixel of the background to another at max(2, ⌈S / longer side⌉) px
       to its right (else it is noise; not asked under 16 px, where a stroke is as wide as a pixel); and, along the
       edge of the ink, the levels within max(4, ⌈S / longer side⌉) px range over 3/4 of that distance on average
       (else it is soft light).
    7. Rules (`rules`): what is up to S/9 deep, in stretches of 2·(S // 14) + 1 px or more that may step by one pixel,
       or any run over half of the row. Such a stretch, 1/8 of the width or longer, is a rule if it and what lies in the
       same rows, 2 px more on each side, cover 4/5 of the picture's width and 3/4 of their own; their height is up to
       1/5 of their length; both ends leave the picture, one of them by its side. Upright ones likewise; where there are
       none, those up to S/7 deep. The rule's own pixels are those up to 1.5 times (and 1.5 px) as deep as the lower
       quartile of it, and the crossings of rules: a stroke that crosses it stays. It is none, but the foot of a 2 or
       the bar of a 7, if it waves: if the middles of its own pixels in each column are over 1 px (root mean square)
       away from the straight line through them. There are none if the heaviest piece of the rest (as in step 8) does
       not measure S/6, or if the rules are at least 9/10 as dark as the rest and fill the picture, within S/32, across
       the rules together with the pieces of the rest that touch them: that is the bar of a 4 or 7. Rules whose mean
       depth is under 2/3 of the rest's stroke (2.5 · area / edges, as in step 13) are no bars, nor are upright ones
       beside a heaviest piece of 3/4 of the picture's height that touches them within less than half of it. The rules
       and the pixels around them go that are no ink and up to 1.5 times the rule's median rise, and the threshold is
       asked again. If ink is left on the border of the picture (of the sheet, where there is one), the edge cuts
       something off (`Found.at_edge`).
       A box comes first, of lying and upright rules that may end within the picture and are 2/5 of it long or more.
       With all pixels within 2 px of their courses, its sides are the outermost rows and columns that 9/10 of these are
       in from side to side, and no more than 1/10 beyond; they are 2/5 of the picture apart. (The columns that rows are
       first measured between are the outermost that hold 2/5 of the height.) Of its rules those go that lie along the
       sides, as deep as the thickest of the four, if a piece of what is inside is 1/3 as high as the box. Others are
       not looked for then.
       Blobs (`ground.upon_blob`): where the mean stroke, ⌊2.5 · area / edges⌋ (as in step 13), is over S/10, the ink
       may be a sheet that lies askew, a spot of light or a shadow, with the strokes upon it. Steps 5 to 7 are tried
       with the other polarity, with an opening of S // 10 = 9, and with both. One counts if its mean stroke is at most
       half of that, if the pieces that measure S/4 and six mean strokes are half of all that are away from the border,
       and if the class means are 9/8 as far apart as before; 3/4 is enough for the same polarity, and where the largest
       piece of the blob has half of its box, and 7/10 with its holes filled. With the other polarity these pieces must
       be 2/3 of all ink, else they are what a bold digit encloses; with the same one the mean levels of the ink and of
       the rest of the blob must be half as far apart in the picture as the class means. Of those that count the one
       with the class means farthest apart is taken.
       Pattern (`ground.above_pattern`): Otsu's threshold parts the ink in two. The pale part is a stain or the squares
       of the paper if 1/10 of the ink is pale and over 3 px away from what is dark, half of that outside the box of the
       dark piece; if nothing dark is on the border; if 19/20 of what is dark, with gaps of 2 px bridged, is one piece,
       6 mean strokes long; and if the mean levels of both parts in the picture are half as far apart as those of their
       rise, or more (else a part of the ink lies in shadow). Then the threshold rises by 2/5 of the way to that between
       pale and dark, the paper by 1/5 of the way to the pale part's mean, the ink is the dark part's, and soft light is
       not asked for.
    8. Pieces (`pieces`): 8-connected; in a picture of twice S or more with ink on under 1/32 of it over gaps of 2 px,
       as a hair line may have broken.
       Frames: a piece, 8 px high or more and half as wide as high or more, that holds another of 1/4 of its height.
       What it encloses is half of it, holes filled, or more; and that fills 9/10 of its box, or 3/4 if it is 4/5 as
       wide as high (a 0 with a stroke in it is narrower and has no corners). Rings that hang together fill less
       than 17/20 of their box, and are as many as the hills of their upper or lower edge, which falls and rises by 1/8
       of the height between two; so many such pieces must be inside, else one has become one with its ring. Only what
       the largest one encloses is left.
       Dots: 8 pieces or more of at most twice and at least half the median size (the longer side of the box; it is at
       most 1/5 of the height of all), with 7/8 of the area of all and half that of squares of their sizes, are a dotted
       stroke if a square around each pixel, of 3, 5, … and at most twice that size and 3 px, joins 7/8 of the ink in
       one piece, half as high as all or more, whose area is up to 3/5 of the square of its longer side. The ink in that
       is the character; nothing more of this step is asked.
       Segments, as of a display: 2 pieces or more, none of which touches the border, and of which those of 3/4 of the
       height of all have less than 7/8 of the ink. Gaps are closed with a square of 3, 5, … and at most 2·r + 1 px; r
       is 1/16 of the height of all or 2/3 of the mean stroke, the smaller one, but 1 at least. The smallest is taken
       after which pieces of 3/4 of the highest have 7/8 of the ink; the upper edges of these lie within 1/8 of that
       height on the line from the first to the last from the left, which falls or rises by up to 1/8 of its length or
       of the height, and their lower edges likewise; and two in three of them or more are made of several pieces, of
       which one at most was so high before, and are no wider than high. What was closed in these becomes ink as dark as
       the mean, and this step begins anew.
       A piece that runs along half of one side of the picture, or that crosses it at up to 1/10 of its other side, is
       an edge, and goes if the rest measures S/6 and its heaviest piece weighs 1/4 of the heaviest edge. Pieces whose
       mean lies below the middle of threshold and ink are pale. The heaviest of the others is the character: area times
       nearness to the middle, which falls evenly to the border in both directions. Of the rest go shadows, which are
       pale and have their middle outside the character's box; those that touch the border; those under 1/20 of the
       largest area; and those up to 1/5 of its longer side that have their middle outside its box. Of more than 12
       pieces those go that are above or below the character and up to 1/3 as high: printed text. If there still are
       more, they are noise. And those up to 1/5 go that have nothing of it on one side in their rows, nor on one side
       in their columns. After the question of several characters, which follows, there go: underlines, which are four
       times as wide as high, begin 2 px under all that is not, and are as wide as that; and what is smaller than half
       of the character and over 1/4 of its longer side away from all that stays.
       Several characters: others of 1/4 of its area and between half and twice its height, 5/8 of the taller's height
       level with it, and beside it (1/8 of the narrower's width may overlap). In a picture that is 9:5 or wider, those
       count that touch the border, too. In another one only those count that are S/24 of the width away from both
       sides, and only if no piece at the border has 1/8 of the character's area; a single one must bring both together
       nearer to the middle than the character alone (not asked once step 9 has cut the picture).
       Tails: where what is kept reaches the border, its largest hole (8-connected, away from the border) and w px
       around it are taken for a 0 if they measure 4/5 of its height; w = 1 + ⌊2.5 · area / (count of edges between
       pixels)⌋. The pieces of the rest that touch the border go: they are the stroke to the next character.
    9. Closer: while the box of the ink is under half of the picture, cut the original to the box and a third of it on
       each side, and go back to 2 and 5 (three times at most).
   10. Ink becomes grey: a ramp from 0 at the paper's mean to 255 at the ink's, on the kept pieces and a fringe of 4 px.
       The box holds what reaches 64.
   11. Slant (`placing`): of the pixels that reach 128, −Σ(x − x̄)(y − ȳ) / Σ(y − ȳ)². What it exceeds 1/2 by, to either
       side, is taken off: each row moves by that times its distance from the middle row, to the nearest pixel. The box
       holds what reaches 64.
   12. Width (`placing`): ink over 4/3 as wide as it is high is made as narrow as that, as step 2 scales columns.
   13. Stroke (`placing`): the mean width is 2.5 · area / (count of edges between pixels); it is brought between 2.3 and
       3.3 px of the final digit by growing or shrinking (cross and square in turn): a hair line would vanish, a fat pen
       closes the loops.
   14. Box: the longer side is scaled to 20 px (20/28 of size), aspect kept, the brightest pixel to 255.
   15. Centre: shifted by whole pixels so that the centre of mass lies in [13.5, 14.5), as MNIST counts it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lenet_zoo.errors import InputError, NoDigitError
from lenet_zoo.pictures.grey import to_grey
from lenet_zoo.pictures.ground import (
    Ink,
    above_pattern,
    ink_is_bright,
    refuse_noise,
    refuse_soft_light,
    rise_above_paper,
    upon_blob,
)
from lenet_zoo.pictures.kernels import LEVELS, Box, Bytes, box_of, extreme, fit, otsu, ring
from lenet_zoo.pictures.pieces import kept_pieces, without_tails
from lenet_zoo.pictures.placing import even_stroke, is_normal, narrowed, place, upright
from lenet_zoo.pictures.reading import PictureSource, load_picture, picture_name
from lenet_zoo.pictures.rules import rules_in, without_rules
from lenet_zoo.pictures.sheet import corners_in, painted_over, sheet_in, surround_of

__all__ = ["Found", "digit_from_grey", "digit_from_image", "find_character"]

# The longer side of the working picture: 64 loses 0.7 points of digits cut from cheques, 128 gains nothing that lasts.
# Chosen on the dev halves of pictures from the wild (drawings, records, cheques, numbers), as were the constants of
# `rules`, `pieces` and `placing`: accuracy on those is no held-out figure.
_SIDE = 96
# Of a larger picture so many pixels are decoded: step 9 finds 4 original ones in each, even of a small digit.
_ENOUGH = 4 * _SIDE
# Levels between ink and paper: pencil that is hardly to be seen has 9.
_LEAST_CONTRAST = 4


class Found(NamedTuple):
    """A character as MNIST would have it, and what the picture of it was like.

    Attributes:
        pixels: uint8 size×size, as `digit_from_image` gives them.
        at_edge: whether ink reaches the edge of the picture: that of the character, which may be cut off, or of what
            stands beside it. So it is where characters are cut out of a page. False for a digit that was as MNIST has
            them already.
    """

    pixels: Bytes
    at_edge: bool


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
        NoDigitError: the picture is empty, full or noise, or shows several characters.
        InputError: the picture cannot be read, or `size` is below 8.
    """
    return find_character(image, size).pixels


def find_character(image: PictureSource, size: int = 28) -> Found:
    """`digit_from_image`, and whether the picture's edge cuts something off; arguments and errors are the same."""
    picture = load_picture(image, _ENOUGH)
    name = picture_name(image)
    try:
        return _found_in(to_grey(picture), size)
    except NoDigitError as error:
        raise NoDigitError(str(error) if name == "the picture" else f"{name}: {error}") from None


def digit_from_grey(grey: Bytes, size: int = 28) -> Bytes:
    """Steps 1 to 15 of this module: uint8 H×W of one character → uint8 size×size; errors as `digit_from_image`."""
    return _found_in(grey, size).pixels


def _found_in(grey: Bytes, size: int) -> Found:
    if not isinstance(size, int | np.integer) or size < 8:
        raise InputError(f"size must be a whole number of at least 8 pixels, not {size!r}")
    if grey.ndim != 2 or grey.dtype != np.uint8 or not grey.size:
        raise InputError(f"grey must be uint8 H×W, not {grey.dtype} {'×'.join(map(str, grey.shape))}")
    if grey.shape == (size, size):
        for candidate in (grey, 255 - grey):
            if is_normal(candidate, size):
                return Found(candidate.copy(), at_edge=False)
    ink, at_edge = _ink(grey)
    return Found(place(even_stroke(narrowed(upright(ink))), size), at_edge)


def _ink(grey: Bytes) -> tuple[Bytes, bool]:
    """Steps 2 to 10: the ink alone, 0 … 255, cut to its box; and whether ink reaches the edge of the picture."""
    crop, picture = grey, fit(grey, _SIDE)
    for _ in range(3):
        around = surround_of(picture)
        corners = None if around is None else corners_in(around, picture)
        if corners is not None:
            crop = painted_over(crop, corners)
            picture = fit(crop, _SIDE)
            continue
        sheet = None if around is None else sheet_in(around)
        if sheet is None:
            break
        crop = _cut(crop if sheet.around is None else painted_over(crop, sheet.around), sheet.box, picture.shape)
        picture = fit(crop, _SIDE)
    bright, at_edge = ink_is_bright(picture), False
    for turn in range(4):
        bright, (rise, threshold, paper, ink, mask) = _strokes(picture, bright)
        if not turn:
            at_edge = bool(ring(mask).any())
        pitch = max(2, -(-_SIDE // max(crop.shape)))
        if max(crop.shape) >= 16:
            refuse_noise(rise, mask, ink - paper, pitch)
        upon = above_pattern(rise, mask, threshold, paper, picture)
        if upon is None:
            refuse_soft_light(rise, mask, ink - paper, max(pitch, 4))
        else:
            threshold, paper, ink = upon
            mask = rise >= threshold
        shrunk = max(crop.shape) >= 2 * _SIDE
        kept = without_tails(kept_pieces(rise, mask, (threshold + ink) // 2, shrunk, None if turn else crop.shape))
        bridges = kept & ~mask
        if bridges.any():  # rarely
            rise = np.where(bridges, np.uint8(ink), rise)
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
    ramp = np.minimum(np.maximum((LEVELS - paper) * 255 // (ink - paper), 0), 255).astype(np.uint8)
    # The fringe ends 4 px beyond the box.
    near = slice(max(0, top - 4), bottom + 4), slice(max(0, left - 4), right + 4)
    soft: Bytes = ramp.take(rise[near]) * extreme(kept[near], 4, np.logical_or)
    top, bottom, left, right = box_of(soft >= 64)
    return soft[top:bottom, left:right], at_edge


def _strokes(picture: Bytes, bright: bool) -> tuple[bool, Ink]:
    """Steps 5 to 7, and whether the ink is bright."""

    def look(is_bright: bool, radius: int | None = None) -> Ink:
        return _threshold(rise_above_paper(picture, is_bright, radius))

    return upon_blob(look(bright), look, bright, _SIDE, _SIDE // 4, picture)


def _threshold(rise: Bytes) -> Ink:
    """Steps 6 and 7."""
    threshold, paper, ink = otsu(rise)
    mask = rise >= threshold
    if ink - paper >= _LEAST_CONTRAST:
        rules = rules_in(mask, rise)
        if rules is not None:
            rise, gone = without_rules(rise, mask, rules)
            threshold, paper, ink = otsu(rise[~gone])
            mask = rise >= threshold
    if ink - paper < _LEAST_CONTRAST:
        raise NoDigitError("no digit: the picture is of one tone")
    return Ink(rise, threshold, paper, ink, mask)


def _cut(grey: Bytes, box: Box, frame: tuple[int, ...]) -> Bytes:
    """The part of a picture that `box` marks in its scaled copy of the shape `frame`."""
    top, bottom, left, right = box
    (rows, columns), (height, width) = grey.shape, frame
    return grey[
        max(0, top * rows // height) : -(-bottom * rows // height),
        max(0, left * columns // width) : -(-right * columns // width),
    ]
