"""Any picture of one character → a 28×28 digit as MNIST was made.

A picture passes two stages. Reading (`load_picture`, `to_grey`) decodes a file and gives a grey uint8 array; it is
Pillow's work. `digit_from_grey` makes the digit of it and is specified below to the last bit: numpy integers
throughout, one float64 quotient in steps 3 and 4, no resizing or filter of any library, so that another language gives
the same bytes from the same pixels. Neither stage imports torch.

Pixels to grey (`grey_from_rgba`)
    G1. Backdrop. Where alpha is below 255 the colours are laid over one grey b: (c·a + b·(255 − a) + 127) // 255. Let m
        be the median luma of the pixels with alpha ≥ 128. If more than 1 in 200 of them is over 64 levels away from m,
        the picture brings its own paper, and b = m. Else all of it is ink, and b contrasts: 255 for m < 128, else 0.
    G2. Luma is (19595 R + 38470 G + 7471 B + 32768) >> 16. When the squared spread of R, G or B (of the picture reduced
        to 256 px) is over 4 times that of the luma, that channel is the grey: ink and paper that differ in hue alone.

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

import io
import os
import re
import stat
import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from lenet_zoo.errors import InputError, NoDigitError

__all__ = [
    "MAX_PIXELS",
    "NoDigitError",
    "PictureSource",
    "digit_from_grey",
    "digit_from_image",
    "grey_from_rgba",
    "load_picture",
    "picture_from_image",
    "picture_suffixes",
    "pictures_in",
    "prepared",
    "to_grey",
]

MAX_PIXELS = 64_000_000
"""The largest picture that is decoded, in pixels (8,000×8,000): up to 2 GB of memory on the way to a digit."""

PictureSource = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

# Decoders of plain raster pictures. Pillow knows more, among them EPS, which starts Ghostscript on the file.
_FORMATS = frozenset(
    {"AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "QOI", "SGI", "TGA", "TIFF"}
    | {"WEBP", "XBM"}
)

# The working picture of step 2: enough for a hair line of a large scan, little enough for Python.
_LEAST_SIDE, _MOST_SIDE = 112, 256
# Tenths of a pixel of the 20 px box. Chosen on MNIST's validation digits, redrawn in many ways, and on scikit-learn's
# 1,797 digits, as were the ramp and the radius of steps 9 and 5: accuracy on those is no independent figure.
_STROKE = (26, 35)


# ---- Reading ---------------------------------------------------------------------------------------------------------


def load_picture(source: PictureSource) -> Image.Image:
    """Decode a picture completely, first frame, turned upright by its EXIF orientation.

    Args:
        source: a path, the bytes of a file, an open binary file or a PIL image.

    Raises:
        InputError: missing, unreadable, empty, damaged, of an unknown format, or over `MAX_PIXELS` (judged by the
            header, before anything is decoded).
    """
    name = _name(source)
    if isinstance(source, Image.Image):
        return _decode(source, name)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _open(io.BytesIO(source), name)
    if isinstance(source, (str, os.PathLike)):
        with _open_file(Path(source)) as stream:
            return _open(stream, name)
    if hasattr(source, "read") and hasattr(source, "seek"):
        return _open(source, name)
    raise InputError(
        f"a {type(source).__name__} is not a picture: pass a path, the bytes of a file, an open binary file or a PIL "
        "image (Image.fromarray makes one of an array)"
    )


def pictures_in(path: str | os.PathLike[str]) -> list[Path]:
    """The pictures that a path stands for: a file is itself, a folder is its picture files in order of name.

    Picture files are known by their suffix; hidden files and subfolders do not count.

    Raises:
        InputError: the path is missing or cannot be read, or the folder has no picture.
    """
    path = Path(path)
    try:
        if not stat.S_ISDIR(path.stat().st_mode):
            return [path]
        files = sorted(entry for entry in path.iterdir() if not entry.name.startswith(".") and entry.is_file())
    except (OSError, ValueError) as error:
        raise InputError(_why_unreadable(path, error)) from None
    known = picture_suffixes()
    pictures = [file for file in files if file.suffix.lower() in known]
    if not pictures:
        raise InputError(f"{path} has no pictures in it: a folder needs files such as .png, .jpg, .gif, .bmp or .tif")
    return pictures


def picture_suffixes() -> set[str]:
    """The suffixes, in lower case and with their dot, that picture files are known by."""
    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in _formats()}


def _formats() -> list[str]:
    Image.init()
    return sorted(_FORMATS & set(Image.OPEN))


def _name(source: object) -> str:
    """What an error calls the picture."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source) if isinstance(source, str) else str(Path(source))
    name = getattr(source, "filename", None) or getattr(source, "name", None)
    return name if isinstance(name, str) else "the picture"


def _why_unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{path}: no such file or folder"
    reason = error.strerror if isinstance(error, OSError) else None
    return f"{path} cannot be read: {(reason or _one_line(error)).lower()}"


def _one_line(error: Exception) -> str:
    return re.sub(r"\s+", " ", str(error)).strip().rstrip(".") or type(error).__name__


def _open_file(path: Path) -> IO[bytes]:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{path} is a folder, not a picture")
        if not stat.S_ISREG(mode):  # a pipe or a device may never end
            raise InputError(f"{path} is not a regular file")
        return path.open("rb")
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise InputError(_why_unreadable(path, error)) from None


def _open(stream: IO[bytes], name: str) -> Image.Image:
    start = stream.tell()
    if not stream.read(1):
        raise InputError(f"{name} is empty (0 bytes)")
    stream.seek(start)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the size is judged below, and a decoder's doubts are not the caller's
            image = Image.open(stream, formats=_formats())
    except Image.DecompressionBombError:
        raise InputError(_too_large(name)) from None
    except UnidentifiedImageError:
        raise InputError(f"{name} is not a picture of a known format (PNG, JPEG, GIF, BMP, TIFF, WebP …)") from None
    except Exception as error:  # decoders raise all sorts of things on hostile bytes
        raise InputError(f"{name} is a damaged picture: {_one_line(error)}") from None
    return _decode(image, name)


def _decode(image: Image.Image, name: str) -> Image.Image:
    if image.width * image.height > MAX_PIXELS:
        raise InputError(_too_large(name))
    if image.width * image.height == 0:
        raise InputError(f"{name} has no pixels ({image.width}×{image.height})")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
    except Image.DecompressionBombError:
        raise InputError(_too_large(name)) from None
    except Exception as error:
        raise InputError(f"{name} is a damaged picture: {_one_line(error)}") from None
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # unreadable EXIF data say nothing about the pixels
        return image


def _too_large(name: str) -> str:
    return f"{name} has more than {MAX_PIXELS:,} pixels: scale it down first"


def to_grey(image: Image.Image) -> Bytes:
    """The grey levels of a decoded picture of any mode: uint8, H×W, dark 0, bright 255.

    8-bit modes go through `grey_from_rgba`; LAB gives its lightness. 16-bit, 32-bit and float pictures name no white:
    the range from 0 (or the least value, if negative) to the greatest value becomes 0 … 255.

    Raises:
        InputError: a float picture with values that are not finite.
    """
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image).astype(np.float64)
        if not np.isfinite(values).all():
            raise InputError(f"{_name(image)} holds values that are not finite")
        least, greatest = min(0.0, float(values.min())), float(values.max())
        if greatest <= least:
            return np.zeros(values.shape, np.uint8)
        return np.floor((values - least) / (greatest - least) * 255 + 0.5).astype(np.uint8)
    if image.mode == "LAB":
        return np.asarray(image.getchannel(0))
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return np.asarray(image.convert("L"))
    if image.mode == "La":
        image = image.convert("LA")
    elif image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa"):
        image = image.convert("RGB")
    return grey_from_rgba(np.asarray(image.convert("RGBA")))


def grey_from_rgba(rgba: Bytes) -> Bytes:
    """Steps G1 and G2 of this module: uint8 H×W×4, alpha not premultiplied → uint8 H×W."""
    alpha = rgba[..., 3]
    channels = [np.ascontiguousarray(rgba[..., index]) for index in range(3)]  # reducing strided ones is slow
    if alpha.min() < 255:
        backdrop = _backdrop(_luma(*channels), alpha)
        rest = backdrop * (255 - alpha.astype(np.uint32)) + 127
        channels = [((channel * alpha.astype(np.uint32) + rest) // 255).astype(np.uint8) for channel in channels]
    luma = _luma(*channels)
    spreads = [_spread(_fit(channel)) for channel in channels]
    widest = max(range(3), key=spreads.__getitem__)
    return channels[widest] if spreads[widest] > 4 * _spread(_fit(luma)) else luma


def _luma(red: Bytes, green: Bytes, blue: Bytes) -> Bytes:
    total = red * np.uint32(19595)
    total += green * np.uint32(38470)
    total += blue * np.uint32(7471)
    return ((total + 32768) >> 16).astype(np.uint8)


def _backdrop(luma: Bytes, alpha: Bytes) -> int:
    opaque = luma[alpha >= 128].astype(np.int64)
    if not opaque.size:
        return 255
    median = int(np.sort(opaque)[(opaque.size - 1) // 2])
    if 200 * np.count_nonzero(np.abs(opaque - median) > 64) > opaque.size:
        return median
    return 255 if median < 128 else 0


def _spread(values: Ints) -> int:
    mean = int(values.sum()) // values.size
    return int(((values - mean) ** 2).sum())


# ---- The digit -------------------------------------------------------------------------------------------------------


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
    name = _name(image)
    try:
        return digit_from_grey(to_grey(picture), size)
    except NoDigitError as error:
        raise NoDigitError(str(error) if name == "the picture" else f"{name}: {error}") from None


def prepared(image: PictureSource, preparation: str, channels: int = 1, size: int = 28) -> Bytes:
    """A picture as a network wants it that was trained on pictures of this `preparation` (see `Dataset`).

    Args:
        image: whatever `load_picture` takes.
        preparation: 'character': `digit_from_image`; 'picture': `picture_from_image`.
        channels: of the network; 'picture' is in colour for 3, and else grey.
        size: side of the result in pixels.

    Returns: uint8 size×size, or 3×size×size in colour.

    Raises: InputError when the picture cannot be read; NoDigitError, which is one, for one without a character.
    """
    if preparation == "character":
        return digit_from_image(image, size)
    return picture_from_image(image, 3 if channels == 3 else 1, size)


def picture_from_image(image: PictureSource, channels: int = 1, size: int = 28) -> Bytes:
    """A picture as it is, scaled to size×size whatever its aspect: the pixels that `create_transform` takes.

    Args:
        image: whatever `load_picture` takes. What is transparent is laid over white.
        channels: 1 for grey, 3 for colour.
        size: side of the result in pixels.

    Returns: uint8 size×size for 1 channel, 3×size×size for 3.

    Raises: InputError when the picture cannot be read.
    """
    picture = load_picture(image)
    if picture.mode.startswith(("I", "F")):
        picture = Image.fromarray(to_grey(picture))
    if "A" in picture.getbands() or "a" in picture.getbands() or "transparency" in picture.info:
        rgba = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    picture = picture.convert("L" if channels == 1 else "RGB")
    pixels: Bytes = np.array(picture.resize((size, size), Image.Resampling.BILINEAR))  # torch wants it writable
    return pixels if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def digit_from_grey(grey: Bytes, size: int = 28) -> Bytes:
    """Steps 1 to 12 of this module: uint8 H×W of one character → uint8 size×size; errors as `digit_from_image`."""
    if not isinstance(size, int) or size < 8:
        raise InputError(f"size must be a whole number of at least 8 pixels, not {size!r}")
    if grey.ndim != 2 or grey.dtype != np.uint8 or not grey.size:
        raise InputError(f"grey must be uint8 H×W, not {grey.dtype} {'×'.join(map(str, grey.shape))}")
    if grey.shape == (size, size):
        for candidate in (grey, 255 - grey):
            if _is_normal(candidate.astype(np.int64), size):
                return candidate.copy()
    return _place(_even_stroke(_ink(grey)), size)


def _box_side(size: int) -> int:
    return (2 * 20 * size + 28) // 56


def _is_normal(digit: Ints, size: int) -> bool:
    """Step 1."""
    if digit.max() < 250 or not digit.any():
        return False
    top, bottom, left, right = _box(digit > 0)
    if max(bottom - top, right - left) not in (_box_side(size), _box_side(size) - 1):
        return False
    mass = int(digit.sum())
    moments = [int((digit.sum(axis) * np.arange(size)).sum()) for axis in (1, 0)]
    return all(100 * abs(2 * moment - size * mass) <= 104 * mass for moment in moments)


def _ink(grey: Bytes) -> Ints:
    """Steps 2 to 9: the ink alone, 0 … 255, cut to its box."""
    crop = grey
    for _ in range(3):
        sheet = _sheet(_fit(crop))
        if sheet is None:
            break
        crop = _cut(crop, *sheet)
    bright = _ink_is_bright(_fit(crop))
    for _ in range(4):
        picture = _level(_fit(crop))
        height, width = picture.shape
        side = max(height, width)
        rise = _rise_above_paper(picture if bright else -picture)
        threshold, paper, ink = _otsu(rise)
        if ink - paper < 12:
            raise NoDigitError("no digit: the picture is of one tone")
        mask = rise >= threshold
        pitch = max(1, side // max(crop.shape))
        if max(crop.shape) >= 16:
            _refuse_noise(rise, mask, ink - paper, pitch)
        _refuse_soft_light(rise, mask, ink - paper, max(pitch, 1 + side // 32))
        kept = _pieces(rise, mask, (threshold + ink) // 2)
        top, bottom, left, right = _box(kept)
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
    soft *= _extreme(kept.astype(np.int64), 1 + side // 32, np.maximum)
    top, bottom, left, right = _box(soft >= 64)
    return soft[top:bottom, left:right]


def _fit(grey: npt.NDArray[Any]) -> Ints:
    """Step 2."""
    height, width = grey.shape
    long = max(height, width)
    return _scale_to(grey, min(max(long, _LEAST_SIDE), _MOST_SIDE))


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
    threshold, dark, bright = _otsu(picture)
    if dark == bright:
        return None
    surround = picture >= threshold
    border = _ring(surround)
    if 2 * int(border.sum()) < border.size:
        surround = ~surround
    labels, _ = _components(surround)
    outside = surround & np.isin(labels, _ring(labels)[_ring(surround)])
    labels, count = _components(~outside)
    if not count:
        return None
    piece = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
    top, bottom, left, right = _box(piece)
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
    nearby = _mean(picture, max(1, max(picture.shape) // 3))
    return _skewness(picture - _border_plane(picture)) + _skewness(_mean(picture, 1) - nearby) > 0


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
    plane = np.full_like(picture, _nearest(levels.sum(), border.sum()))
    rows = 2 * np.arange(height)[:, None] - (height - 1)
    columns = 2 * np.arange(width)[None, :] - (width - 1)
    for axis in (rows, columns):
        square = (axis * axis * border).sum()
        if square:
            plane += _nearest(axis * (axis * levels).sum(), square)
    return plane


def _level(picture: Ints) -> Ints:
    """Step 5, first half. A border that is half ink, half paper is no slope of light: the plane must explain it."""
    flat = picture - _border_plane(picture)
    before, after = _ring(picture), _ring(flat)
    return flat if 2 * _variance(after) < _variance(before) else picture


def _variance(values: Ints) -> int:
    return values.size * int((values**2).sum()) - int(values.sum()) ** 2


def _rise_above_paper(picture: Ints) -> Ints:
    """Step 5, second half: ≥ 0."""
    radius = max(1, 3 * max(picture.shape) // 10)
    paper = _extreme(_extreme(_mean(picture, 1), radius, np.minimum), radius, np.maximum)
    return np.maximum(picture - paper, 0)


def _otsu(levels: Ints) -> tuple[int, int, int]:
    """Otsu's threshold (levels of at least it are the upper class) and the means of both classes, rounded down.

    Levels are 0 … 511 (above counts as 511). On one level only, both means are it.
    """
    histogram = np.bincount(np.minimum(levels, 511).ravel(), minlength=512)
    count, total = int(levels.size), int((histogram * np.arange(512)).sum())
    below, sum_below = histogram.cumsum()[:-1], (histogram * np.arange(512)).cumsum()[:-1]
    weight = below * (count - below)
    if not weight.any():
        return 512, total // count, total // count
    distance = (count * sum_below - below * total).astype(np.float64)
    score = distance * distance / np.maximum(weight, 1)
    best = int(np.argmax(np.where(weight > 0, score, -1.0)))
    lower = int(below[best])
    return best + 1, int(sum_below[best]) // lower, (total - int(sum_below[best])) // (count - lower)


def _refuse_noise(rise: Ints, mask: Mask, contrast: int, pitch: int) -> None:
    """Step 6, the background's steps from one original pixel to the next, which are `pitch` pixels apart."""
    calm = ~mask[:, pitch:] & ~mask[:, :-pitch]
    steps = int((np.abs(rise[:, pitch:] - rise[:, :-pitch]) * calm).sum())
    if contrast * int(calm.sum()) < 4 * steps:
        raise NoDigitError("no digit: the picture is noise")


def _refuse_soft_light(rise: Ints, mask: Mask, contrast: int, radius: int) -> None:
    """Step 6, the edge of the ink."""
    edge = mask & (_extreme(mask.astype(np.int64), 1, np.minimum) == 0)
    climb = _extreme(rise, radius, np.maximum) - _extreme(rise, radius, np.minimum)
    if 4 * int(climb[edge].sum()) < 3 * contrast * int(edge.sum()):
        raise NoDigitError("no digit: the picture is light and shade without a stroke")


def _pieces(rise: Ints, mask: Mask, pale: int) -> Mask:
    """Step 7: the mask without edges, rules, specks and shadows, which are paler than `pale`."""
    height, width = mask.shape
    labels, count = _components(_extreme(mask.astype(np.int64), 1, np.maximum) > 0)
    boxes = np.array(_boxes(labels, count))
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


def _components(mask: Mask) -> tuple[Ints, int]:
    """8-connected pieces: their labels (0 outside, then 1, 2, … in order of their first pixel) and their number."""
    changes = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    rows, starts = np.nonzero(changes == 1)
    ends = np.nonzero(changes == -1)[1]  # in the same order: each run has its end before the next one starts
    runs = list(zip(rows.tolist(), starts.tolist(), ends.tolist(), strict=True))
    parents = list(range(len(runs)))

    def root(run: int) -> int:
        while parents[run] != run:
            parents[run] = parents[parents[run]]
            run = parents[run]
        return run

    previous: list[int] = []
    current: list[int] = []
    first, at = 0, -1
    for run, (row, start, end) in enumerate(runs):
        if row != at:
            previous, current = (current if row == at + 1 else []), []
            first, at = 0, row
        current.append(run)
        while first < len(previous) and runs[previous[first]][2] < start:
            first += 1
        for other in previous[first:]:
            if runs[other][1] > end:
                break
            older, newer = sorted((root(other), root(run)))
            parents[newer] = older
    names: dict[int, int] = {}
    values = [names.setdefault(root(run), len(names) + 1) for run in range(len(runs))]
    labels = np.zeros(mask.shape, np.int64)
    labels[mask] = np.repeat(np.array(values, np.int64), ends - starts)
    return labels, len(names)


def _boxes(labels: Ints, count: int) -> list[tuple[int, int, int, int]]:
    rows, columns = np.nonzero(labels)
    which = labels[rows, columns] - 1
    edges = []
    for places in (rows, columns):
        least, most = np.full(count, labels.size), np.zeros(count, np.int64)
        np.minimum.at(least, which, places)
        np.maximum.at(most, which, places + 1)
        edges += [least.tolist(), most.tolist()]
    return list(zip(*edges, strict=True))


def _even_stroke(ink: Ints) -> Ints:
    """Step 10."""
    long = max(ink.shape)
    inside = np.pad(ink >= 128, 1)
    edges = int((inside[1:] != inside[:-1]).sum()) + int((inside[:, 1:] != inside[:, :-1]).sum())
    area = int(ink.sum())
    # In tenths of a pixel of the 20 px box: 10 · 20 / long · 2.5 · (area / 255) / edges.
    width = 500 * area // (255 * long * max(edges, 1))
    least, most = _STROKE
    if width < least:
        turns = int(_nearest((least - width) * long, 400))
        return _stepwise(np.pad(ink, turns), turns, np.maximum)
    turns = int(_nearest((width - most) * long, 400)) if width > most else 0
    thinner = _stepwise(np.pad(ink, 1), turns, np.minimum)
    if not (thinner >= 128).any():
        return ink
    top, bottom, left, right = _box(thinner >= 128)
    return thinner[top:bottom, left:right]


def _stepwise(values: Ints, turns: int, choose: np.ufunc) -> Ints:
    """Grow or shrink by `turns` pixels: a cross, then a square, and so on, which comes near to a disc."""
    for turn in range(turns):
        if turn % 2:
            values = _extreme(values, 1, choose)
        else:
            values = choose(_extreme_along(values, 1, choose, 0), _extreme_along(values, 1, choose, 1))
    return values


def _place(ink: Ints, size: int) -> Bytes:
    """Steps 11 and 12."""
    digit = _scale_to(ink, _box_side(size))
    digit = digit * 255 // digit.max()
    mass = int(digit.sum())
    corner = []
    for axis, length in enumerate(digit.shape):
        moment = int((digit.sum(1 - axis) * np.arange(length)).sum())
        shift = -((2 * moment - (size - 1) * mass) // (2 * mass))
        corner.append(min(max(shift, 0), size - length))
    field = np.zeros((size, size), np.uint8)
    field[corner[0] : corner[0] + digit.shape[0], corner[1] : corner[1] + digit.shape[1]] = digit
    return field


# ---- Arithmetic on arrays --------------------------------------------------------------------------------------------


def _nearest(numerator: Any, denominator: Any) -> Any:
    """numerator / denominator to the nearest whole number, halves up."""
    return (2 * numerator + denominator) // (2 * denominator)


def _ring(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The border pixels, each once or, in a picture one pixel wide, twice."""
    return np.concatenate([values[0], values[-1], values[1:-1, 0], values[1:-1, -1]])


def _box(mask: Mask) -> tuple[int, int, int, int]:
    """First row, row after the last, first column and column after the last that hold something."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _scale_to(values: npt.NDArray[Any], long: int) -> Ints:
    """Resample so that the longer side is `long` and the aspect is kept."""
    most = max(values.shape)
    height, width = (max(1, int(_nearest(side * long, most))) for side in values.shape)
    return np.ascontiguousarray(_resample_rows(_resample_rows(values, height).T, width).T)


def _resample_rows(values: npt.NDArray[Any], rows: int) -> Ints:
    before = values.shape[0]
    if rows == before:
        return values.astype(np.int64)
    if rows < before:
        # Row i covers the old rows from i·before/rows to (i + 1)·before/rows: whole rows, less and plus a fraction.
        first, fraction = np.divmod(np.arange(rows) * before, rows)
        share = fraction[:, None] * values[first].astype(np.int64)
        total = rows * np.add.reduceat(values, first, axis=0, dtype=np.int64) - share
        total[:-1] += share[1:]
        return _nearest(total, before)
    lower, fraction = np.divmod((2 * np.arange(rows) + 1) * before - rows, 2 * rows)
    low = values[np.maximum(lower, 0)].astype(np.int64)
    high = values[np.minimum(lower + 1, before - 1)].astype(np.int64)
    return _nearest((2 * rows - fraction[:, None]) * low + fraction[:, None] * high, 2 * rows)


def _mean(values: Ints, radius: int) -> Ints:
    """The mean, rounded down, over the window of 2·radius + 1 rows and then columns, as far as the picture goes."""
    for _ in range(2):
        length = values.shape[0]
        sums = np.concatenate([np.zeros_like(values[:1]), values.cumsum(axis=0)])
        start = np.maximum(np.arange(length) - radius, 0)
        end = np.minimum(np.arange(length) + radius + 1, length)
        values = ((sums[end] - sums[start]) // (end - start)[:, None]).T
    return values


def _extreme(values: Ints, radius: int, choose: np.ufunc) -> Ints:
    """The maximum or minimum over a square window of 2·radius + 1, as far as the picture goes."""
    return _extreme_along(_extreme_along(values, radius, choose, 0), radius, choose, 1)


def _extreme_along(values: Ints, radius: int, choose: np.ufunc, axis: int) -> Ints:
    radius = min(radius, values.shape[axis] - 1)
    # Repeating the end pixel adds nothing to a window that holds it already.
    padding = [(radius, radius) if index == axis else (0, 0) for index in (0, 1)]
    values = np.pad(values, padding, mode="edge")
    values = values.T if axis else values
    span, window = 1, 2 * radius + 1
    while span < window:  # windows of 1, 2, 4, … and at last two that overlap
        step = min(span, window - span)
        values = choose(values[:-step], values[step:])
        span += step
    return values.T if axis else values
