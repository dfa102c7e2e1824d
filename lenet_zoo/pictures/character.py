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
from lenet_zoo.pictures.grey import to_grey
from lenet_zoo.pictures.kernels import (
    Bytes,
    Ints,
    Mask,
    box_of,
    boxes_of,
    components,
    extreme,
    fit,
    nearest,
    otsu,
    ring,
    window_mean,
)
from lenet_zoo.pictures.placing import even_stroke, is_normal, place
from lenet_zoo.pictures.reading import PictureSource, load_picture, picture_name

__all__ = ["digit_from_grey", "digit_from_image"]


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
    picture = load_picture(image)
    name = picture_name(image)
    try:
        return digit_from_grey(to_grey(picture), size)
    except NoDigitError as error:
        raise NoDigitError(str(error) if name == "the picture" else f"{name}: {error}") from None


def digit_from_grey(grey: Bytes, size: int = 28) -> Bytes:
    """Steps 1 to 12 of this module: uint8 H×W of one character → uint8 size×size; errors as `digit_from_image`."""
    if not isinstance(size, int) or size < 8:
        raise InputError(f"size must be a whole number of at least 8 pixels, not {size!r}")
    if grey.ndim != 2 or grey.dtype != np.uint8 or not grey.size:
        raise InputError(f"grey must be uint8 H×W, not {grey.dtype} {'×'.join(map(str, grey.shape))}")
    if grey.shape == (size, size):
        for candidate in (grey, 255 - grey):
            if is_normal(candidate.astype(np.int64), size):
                return candidate.copy()
    return place(even_stroke(_ink(grey)), size)


def _ink(grey: Bytes) -> Ints:
    """Steps 2 to 9: the ink alone, 0 … 255, cut to its box."""
    crop = grey
    for _ in range(3):
        sheet = _sheet(fit(crop))
        if sheet is None:
            break
        crop = _cut(crop, *sheet)
    bright = _ink_is_bright(fit(crop))
    for _ in range(4):
        picture = _level(fit(crop))
        height, width = picture.shape
        side = max(height, width)
        rise = _rise_above_paper(picture if bright else -picture)
        threshold, paper, ink = otsu(rise)
        if ink - paper < 12:
            raise NoDigitError("no digit: the picture is of one tone")
        mask = rise >= threshold
        pitch = max(1, side // max(crop.shape))
        if max(crop.shape) >= 16:
            _refuse_noise(rise, mask, ink - paper, pitch)
        _refuse_soft_light(rise, mask, ink - paper, max(pitch, 1 + side // 32))
        kept = _pieces(rise, mask, (threshold + ink) // 2)
        top, bottom, left, right = box_of(kept)
        long = max(bottom - top, right - left)
        if 2 * long >= side:
            break
        margin = long // 3 + 1
        crop = _cut(crop, (top - margin, bottom + margin, left - margin, right + margin), (height, width))
    if long * max(crop.shape) < 3 * side:
        raise NoDigitError("no digit: the only mark is under 3 pixels")
    short = min(bottom - top, right - left)
    if long < 2 * short and 10 * int(kept.sum()) >= 9 * (bottom - top) * (right - left):
        raise NoDigitError("no digit: the picture is full")
    soft = np.clip((rise - paper) * 255 // (ink - paper), 0, 255)
    soft *= extreme(kept.astype(np.int64), 1 + side // 32, np.maximum)
    top, bottom, left, right = box_of(soft >= 64)
    return soft[top:bottom, left:right]


def _cut(grey: Bytes, box: tuple[int, int, int, int], frame: tuple[int, int]) -> Bytes:
    """The part of a picture that `box` (top, bottom, left, right) marks in its fitted copy of the shape `frame`."""
    (top, bottom, left, right), (height, width) = box, frame
    rows, columns = grey.shape
    return grey[
        max(0, top * rows // height) : -(-bottom * rows // height),
        max(0, left * columns // width) : -(-right * columns // width),
    ]


def _sheet(picture: Ints) -> tuple[tuple[int, int, int, int], tuple[int, int]] | None:
    """Step 3: the box of the sheet within a surround, and the shape of the picture; None without a surround."""
    threshold, dark, bright = otsu(picture)
    if dark == bright:
        return None
    surround = picture >= threshold
    border = ring(surround)
    if 2 * int(border.sum()) < border.size:
        surround = ~surround
    labels, _ = components(surround)
    outside = surround & np.isin(labels, ring(labels)[ring(surround)])
    labels, count = components(~outside)
    if not count:
        return None
    piece = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
    top, bottom, left, right = box_of(piece)
    height, width = bottom - top, right - left
    long, short = max(height, width), min(height, width)
    if 100 * int(piece.sum()) < 85 * height * width or long >= 2 * short:
        return None
    if 5 * height < 3 * picture.shape[0] or 5 * width < 3 * picture.shape[1]:
        return None
    edge = 1 + max(picture.shape) // 64
    return (top + edge, bottom - edge, left + edge, right - edge), (picture.shape[0], picture.shape[1])


def _ink_is_bright(picture: Ints) -> bool:
    """Step 4."""
    nearby = window_mean(picture, max(1, max(picture.shape) // 3))
    return _skewness(picture - _border_plane(picture)) + _skewness(window_mean(picture, 1) - nearby) > 0


def _skewness(residual: Ints) -> float:
    cubes = residual**3
    return int(cubes.sum()) / max(1, int(np.abs(cubes).sum()))


def _border_plane(picture: Ints) -> Ints:
    """The plane through the border pixels by least squares, in whole levels.

    Coordinates count from the middle in half pixels: their sums over the border are 0, so that the three coefficients
    are three independent quotients.
    """
    height, width = picture.shape
    border = np.zeros((height, width), np.int64)
    border[[0, -1], :] = border[:, [0, -1]] = 1
    levels = picture * border
    plane = np.full_like(picture, nearest(levels.sum(), border.sum()))
    rows = 2 * np.arange(height)[:, None] - (height - 1)
    columns = 2 * np.arange(width)[None, :] - (width - 1)
    for axis in (rows, columns):
        square = (axis * axis * border).sum()
        if square:
            plane += nearest(axis * (axis * levels).sum(), square)
    return plane


def _level(picture: Ints) -> Ints:
    """Step 5, first half. A border that is half ink, half paper is no slope of light: the plane must explain it."""
    flat = picture - _border_plane(picture)
    before, after = ring(picture), ring(flat)
    return flat if 2 * _variance(after) < _variance(before) else picture


def _variance(values: Ints) -> int:
    return values.size * int((values**2).sum()) - int(values.sum()) ** 2


def _rise_above_paper(picture: Ints) -> Ints:
    """Step 5, second half: ≥ 0."""
    radius = max(1, 3 * max(picture.shape) // 10)
    paper = extreme(extreme(window_mean(picture, 1), radius, np.minimum), radius, np.maximum)
    return np.maximum(picture - paper, 0)


def _refuse_noise(rise: Ints, mask: Mask, contrast: int, pitch: int) -> None:
    """Step 6, the background's steps from one original pixel to the next, which are `pitch` pixels apart."""
    calm = ~mask[:, pitch:] & ~mask[:, :-pitch]
    steps = int((np.abs(rise[:, pitch:] - rise[:, :-pitch]) * calm).sum())
    if contrast * int(calm.sum()) < 4 * steps:
        raise NoDigitError("no digit: the picture is noise")


def _refuse_soft_light(rise: Ints, mask: Mask, contrast: int, radius: int) -> None:
    """Step 6, the edge of the ink."""
    edge = mask & (extreme(mask.astype(np.int64), 1, np.minimum) == 0)
    climb = extreme(rise, radius, np.maximum) - extreme(rise, radius, np.minimum)
    if 4 * int(climb[edge].sum()) < 3 * contrast * int(edge.sum()):
        raise NoDigitError("no digit: the picture is light and shade without a stroke")


def _pieces(rise: Ints, mask: Mask, pale: int) -> Mask:
    """Step 7: the mask without edges, rules, specks and shadows, which are paler than `pale`."""
    height, width = mask.shape
    labels, count = components(extreme(mask.astype(np.int64), 1, np.maximum) > 0)
    boxes = np.array(boxes_of(labels, count))
    heights, widths = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    stray = ((widths == width) & (10 * heights <= height)) | ((heights == height) & (10 * widths <= width))
    for line in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        stray |= 2 * np.bincount(line, minlength=count + 1)[1:] >= line.size
    keep = np.ones(count, bool)
    if 6 * np.maximum(heights, widths)[~stray].max(initial=0) >= max(height, width):
        keep = ~stray
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    keep &= 20 * area >= area[keep].max()
    marks = labels * mask
    keep &= np.bincount(marks.ravel(), ((rise - pale) * mask).ravel(), minlength=count + 1)[1:] >= 0
    if not keep.any():
        raise NoDigitError("no digit: the picture is light and shade without a stroke")
    if keep.sum() > 12:
        raise NoDigitError("no digit: the picture is noise")
    return mask & np.concatenate([[False], keep])[labels]
