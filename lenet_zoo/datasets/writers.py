"""Digits that other people than MNIST's wrote, from three files of the UCI archive, as pictures like MNIST's.

- optdigits (30 Turkish writers in its training half): 8×8 counts of ink in blocks of 4×4 binary pixels. It is enlarged.
- pendigits (44 Turkish writers): eight points along the pen's way, stretched to a square. A pen is led along them.
- Semeion (about 80 Italian writers): 16×16 binary pixels, stretched to a square. It is smoothed.

What was stretched gets a plausible width back: that of MNIST's digits of its class, give or take. Ink then passes
through the placing of every picture (`lenet_zoo.pictures.placing`). The same files give the same pictures everywhere.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import urllib.request
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lenet_zoo.datasets.by_hand import first_there
from lenet_zoo.errors import DataError
from lenet_zoo.pictures.kernels import Bytes, box_of
from lenet_zoo.pictures.placing import even_stroke, place

__all__ = ["FILES", "FOLDER", "File", "addresses", "drawn", "enlarged", "get", "numbers", "pictures_of"]

FOLDER = "writers"
"""Where the files lie in the data root."""

_ARCHIVE = "https://archive.ics.uci.edu"


@dataclass(frozen=True)
class File:
    """One file of numbers: a row for each picture, its label last.

    Attributes:
        folder: in the archive.
        number, zip: of the data set's own page, whose zip file holds the file too.
        rows, columns: of numbers.
        sha256: of the numbers as uint8, row by row; copies differ in how they write a number (1, 1.0000).
    """

    folder: str
    number: int
    zip: str
    rows: int
    columns: int
    sha256: str


FILES: dict[str, File] = {
    "optdigits.tra": File(
        "optdigits", 80, "optical+recognition+of+handwritten+digits.zip", 3_823, 65,
        "028f5e244ee9135dbe3d8c684583e6518709a7b05293a4c5ecd652eafb9f4689",
    ),
    "pendigits.tra": File(
        "pendigits", 81, "pen+based+recognition+of+handwritten+digits.zip", 7_494, 17,
        "cbc52923bac9f4b90a33acb326ca5fe2147eee4ab0ad272cc6bf195f58aefbc9",
    ),
    "pendigits.tes": File(
        "pendigits", 81, "pen+based+recognition+of+handwritten+digits.zip", 3_498, 17,
        "413f3ee29a04b3066a7cc109860e0cf0ce5c538f3bbc86e5ec304212055eb627",
    ),
    "semeion.data": File(
        "semeion", 178, "semeion+handwritten+digit.zip", 1_593, 266,
        "21be29a795c8319e951c7d26ca0f0ed7c44b8c193debedea22c6eeb74ba475ed",
    ),
}  # fmt: skip

# Width by height of MNIST's training digits, the mean of each class.
_ASPECT = np.array([0.92, 0.44, 0.95, 0.81, 0.80, 0.96, 0.74, 0.79, 0.77, 0.69])


def pictures_of(name: str, root: Path) -> tuple[Bytes, NDArray[np.int64]]:
    """One of `FILES` as pictures like MNIST's.

    Args:
        name: of the file.
        root: the data root.

    Returns: uint8 N×28×28, 0 background and 255 ink, and N labels.

    Raises: DataError for a file that is missing, damaged or another.
    """
    found = numbers(name, root)
    if name == "optdigits.tra":
        return enlarged(found[:, :64].reshape(-1, 8, 8)), found[:, 64].astype(np.int64)
    labels = found[:, 256:].argmax(1) if name == "semeion.data" else found[:, 16].astype(np.int64)
    inks: Iterable[Bytes]
    random = np.random.default_rng(1)
    widths = _ASPECT[labels] * np.exp(0.15 * random.standard_normal(len(labels)))
    if name == "semeion.data":
        inks = (_from_bits(*one) for one in zip(found[:, :256].reshape(-1, 16, 16), widths, strict=True))
    else:
        ways = found[:, :16].reshape(-1, 8, 2) * np.stack([widths, np.full(len(widths), -1.0)], 1)[:, None]
        pens = random.uniform(2.2, 3.4, len(labels))
        each = zip(ways, labels, pens, strict=True)
        inks = (drawn(_strokes(way - way.min(0), int(label)), pen) for way, label, pen in each)
    return np.stack([place(ink, 28) for ink in inks]), labels.astype(np.int64)


# ------------------------------------------------------------------------------------------------------------ drawing

_STEPS = 12  # places on the curve from one point of pendigits to the next
_ENLARGE, _REDUCE = (  # what pillow does along one axis, as a matrix
    np.asarray(Image.fromarray(np.eye(before, dtype=np.float32)).resize((before, after), how))
    for before, after, how in ((8, 80, Image.Resampling.BICUBIC), (80, 20, Image.Resampling.BOX))
)


def enlarged(counts: NDArray[Any]) -> Bytes:
    """Counts N×8×8 of 0 to 16, cut to the digit's box → uint8 N×28×28, the box 20×20 and centred by mass.

    Each count is the share of ink in 4×4 binary pixels. `digit_from_image` would make them black or white, and training
    would lose what the shares tell.
    """
    smooth = _ENLARGE @ (counts.astype(np.float32) / 16) @ _ENLARGE.T
    # Strokes as bright as MNIST's; the interpolation overshoots 0 and 1, which is cut off.
    ink = np.clip((smooth - 0.1) / 0.8, 0, 1)
    boxes = np.rint(_REDUCE @ ink @ _REDUCE.T * 255).astype(np.uint8)
    mass = np.maximum(boxes.sum((1, 2)), 1)
    out = np.zeros((len(boxes), 28, 28), np.uint8)
    corners = [np.clip(np.rint(13.5 - boxes.sum(axis) @ np.arange(20) / mass), 0, 8).astype(int) for axis in (2, 1)]
    for field, box, top, left in zip(out, boxes, *corners, strict=True):
        field[top : top + 20, left : left + 20] = box
    return out


def _from_bits(bits: Bytes, width: float) -> Bytes:
    """One of Semeion's: pixels 16×16 of 0 and 1 → ink, cut to its box, `width` times as wide as high."""
    top, bottom, left, right = box_of(bits > 0)
    size = max(round(40 * width / max(width, 1)), 4), round(40 / max(width, 1))
    digit = Image.fromarray(np.pad(bits.astype(np.float32), 1))
    smooth = digit.resize(size, Image.Resampling.BICUBIC, box=(left + 1, top + 1, right + 1, bottom + 1))
    ink = np.clip((np.asarray(smooth) - 0.5) * 4 + 0.5, 0, 1)
    return even_stroke(np.rint(ink * 255).astype(np.uint8))


def drawn(strokes: Sequence[NDArray[np.float64]], pen: float, side: int = 20, flat: float = 1.0) -> Bytes:
    """The ink of a pen that follows strokes, each of points K×2 (x, y downwards), smoothly.

    Args:
        strokes: of any scale.
        pen: its width in pixels.
        side: pixels along the longer side.
        flat: the pen's height, as a share of its width: the less, the thinner lying strokes are beside upright ones.

    Returns: uint8, `side` pixels along the longer side.
    """
    steps = math.ceil(_STEPS * side / 20 / flat)  # as near to each other as the pen is high
    points = np.concatenate([_curve(stroke, steps) for stroke in strokes])
    points = points - points.min(0)
    points = points * ((side - pen) / max(points.max(), 1e-6)) + pen / 2
    width, height = np.ceil(points.max(0) + pen / 2).astype(int)
    across, down = (np.arange(length, dtype=np.float32)[:, None] + 0.5 for length in (width, height))
    x, y = points.T.astype(np.float32)
    squared = ((across - x) ** 2 + (((down - y) / np.float32(flat)) ** 2)[:, None]).min(2)
    ink = np.clip(pen / 2 + 0.5 - np.sqrt(squared), 0, 1)  # how far a pixel lies under the pen
    return np.rint(ink * 255).astype(np.uint8)


def _strokes(way: NDArray[np.float64], label: int) -> list[NDArray[np.float64]]:
    """The way K×2, y downwards, without the line from stroke to stroke: the pen was lifted there, which is not told.

    A 5 that begins at the upper left has its roof last, and a barred 7 its bar. Both go to the right, and the pen came
    to them from below.
    """
    if label not in (5, 7) or way[-1, 0] - way[-2, 0] < 12:
        return [way]
    foot = lowest = int(way[:-1, 1].argmax())
    while label == 5 and way[foot + 1, 1] > way[lowest, 1] - 20 and way[foot + 1, 0] < way[foot, 0]:
        foot += 1  # its hook still goes on to the left
    first = foot + 1
    while first < len(way) - 2 and way[first + 1, 1] < way[first, 1] - 12:  # on the way up
        first += 1
    if first == len(way) - 1 or way[foot, 1] - way[first, 1] < 15:
        return [way]
    if label == 7:
        return [way[: foot + 1], way[first:]]
    if way[-1, 1] > 35 or way[-1, 0] - way[0, 0] < 25:
        return [way]
    # The roof begins where the 5 began.
    return [way[: foot + 1], np.concatenate([way[:1], way[first:][way[first:, 1] < 30]])]


def _curve(way: NDArray[np.float64], steps: int) -> NDArray[np.float64]:
    """Places on a smooth curve through points K×2 (Catmull-Rom), `steps` from one to the next, sharp at sharp turns."""
    before, after = way[1:-1] - way[:-2], way[2:] - way[1:-1]
    length = np.hypot(*before.T) * np.hypot(*after.T) + 1e-6
    smooth = np.clip((before * after).sum(1) / length + 0.5, 0, 1)[:, None]
    slopes = np.concatenate([way[1:2] - way[:1], smooth * (way[2:] - way[:-2]) / 2, way[-1:] - way[-2:-1]])
    start, end, out, into = (part[:, None] for part in (way[:-1], way[1:], slopes[:-1], slopes[1:]))
    t = np.arange(steps)[:, None] / steps
    curve = start + t * out + t**2 * (3 * (end - start) - 2 * out - into) + t**3 * (2 * (start - end) + out + into)
    return np.concatenate([curve.reshape(-1, 2), way[-1:]])


# ------------------------------------------------------------------------------------------------------------ reading


def numbers(name: str, root: Path) -> Bytes:
    """The numbers of one of `FILES`, uint8 rows×columns, from the data root `root`.

    The file may lie there as it is, packed by gzip, or in the zip file of its page; in `writers`, in a folder named as
    in the archive, or directly in the root.

    Raises: DataError for a file that is missing, damaged or another.
    """
    file = FILES[name]
    found = first_there(
        folder / spelt
        for folder in (root / FOLDER, root / FOLDER / file.folder, root / file.folder, root)
        for spelt in (name, f"{name}.gz", file.zip)
    )
    if found is not None:
        content, path = found
        return _parsed(_unpacked(content, path.suffix, name, path), name, path)
    raise DataError(
        f"no {name} in {root / FOLDER}: add --download (download=True) to fetch it, put there what you fetched from "
        f"{addresses(name)[0]}, or name the folder that holds {FOLDER} with --data-root or LENET_ZOO_DATA"
    )


def addresses(name: str) -> tuple[str, str]:
    """Where the archive has a file: as it is, and in a zip file."""
    file = FILES[name]
    return (
        f"{_ARCHIVE}/ml/machine-learning-databases/{file.folder}/{name}",
        f"{_ARCHIVE}/static/public/{file.number}/{file.zip}",
    )


def get(names: Sequence[str], root: Path, folder: Path) -> None:
    """Fetch those of `FILES` that the data root lacks into the data root `folder`.

    Raises: DataError, OSError.
    """
    for name in names:
        with suppress(DataError):
            numbers(name, root)
            continue
        content = _fetched(name)
        (folder / FOLDER).mkdir(exist_ok=True)
        (folder / FOLDER / name).write_bytes(content)


def _fetched(name: str) -> bytes:
    for address in addresses(name):
        try:
            with urllib.request.urlopen(address) as answer:
                content = answer.read()
            content = _unpacked(content, Path(address).suffix, name, address)
            _parsed(content, name, address)
            return content
        except (OSError, DataError) as error:
            failed = error
    raise failed


def _unpacked(content: bytes, suffix: str, name: str, where: object) -> bytes:
    try:
        if suffix == ".gz":
            return gzip.decompress(content)
        if suffix == ".zip":
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                return archive.read(name)
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"{where} is damaged: {' '.join(str(error).split())}; fetch it again") from error
    return content


def _parsed(content: bytes, name: str, where: object) -> Bytes:
    file = FILES[name]
    wrong = DataError(f"{where} is damaged, or is not {name} as it was published: fetch it again")
    try:
        found = np.array(content.replace(b",", b" ").split(), dtype=np.float32)
    except ValueError:
        raise wrong from None
    if found.size != file.rows * file.columns or not ((found >= 0) & (found <= 255) & (found % 1 == 0)).all():
        raise wrong
    whole = found.astype(np.uint8)
    if hashlib.sha256(whole.tobytes()).hexdigest() != file.sha256:
        raise wrong
    return whole.reshape(file.rows, file.columns)
