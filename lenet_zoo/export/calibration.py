"""The pictures that travel with the package, for int8's ranges and for comparing a graph with its model.

`calibration.npz` holds 200 pictures each of MNIST and Fashion-MNIST, uint8 28×28: the first 20 of every class in the
training set (`tools/make_calibration.py` wrote it).
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lenet_zoo.errors import InputError
from lenet_zoo.pictures.preparation import Preparation
from lenet_zoo.pictures.reading import pictures_in

__all__ = ["bundled", "fit", "load_calibration", "sample"]

_FILE = Path(__file__).parent / "calibration.npz"
_MOST, _MOST_VALUES = 1_000, 1 << 24
_SETS = ("mnist", "fashion_mnist")

Pixels = NDArray[np.uint8]


@cache
def bundled(dataset: str | None = None) -> Pixels:
    """uint8 200×28×28 training pictures: Fashion-MNIST's for a network of clothes, MNIST's for any other."""
    with np.load(_FILE, allow_pickle=False) as stored:
        pixels: Pixels = stored[dataset if dataset in _SETS else "mnist"]
    pixels.setflags(write=False)
    return pixels


def load_calibration(source: object, preparation: Preparation) -> Pixels:
    """Check or read a user's own calibration pictures.

    Args:
        source: uint8 N×28×28 or N×C×H×W, or the path of a .npy file with such an array, or of a folder of pictures.
        preparation: how pictures of a folder become pixels.

    Raises: InputError for anything else.
    """
    wanted = "give uint8 N×28×28 or N×C×H×W, a .npy file of that, or a folder of pictures"
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if path.is_dir():
            return np.stack([preparation.pixels(picture) for picture in pictures_in(path)])
        try:
            source = np.load(path, allow_pickle=False)
        except FileNotFoundError:
            raise InputError(f"no calibration file {path}: {wanted}") from None
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"the calibration file {path} is not a .npy array: {wanted}") from error
    try:
        pixels = np.asarray(source.cpu() if hasattr(source, "cpu") else source)
    except ValueError:  # lists of different lengths
        raise InputError(f"calibration pictures are no array: {wanted}") from None
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or not pixels.size:
        raise InputError(f"calibration pictures are {pixels.dtype} of shape {pixels.shape}: {wanted}")
    return pixels


def sample(pixels: Pixels, size: int) -> Pixels:
    """At most 1,000 of the pictures, and as many as have 2²⁴ values at `size` each, which is 21,399 of 28×28: the maps
    of all are in memory at once. They are drawn with a fixed seed: the first ones of a sorted array lack some classes.
    """
    most = max(1, min(_MOST, _MOST_VALUES // size))
    if len(pixels) <= most:
        return pixels
    return pixels[np.sort(np.random.default_rng(0).choice(len(pixels), most, replace=False))]


def fit(pixels: Pixels, channels: int, height: int, width: int) -> Pixels:
    """Grey pictures as N×channels×height×width: repeated over the channels, and centred on background 0 or cut.

    Raises: InputError for pictures that have channels, and not as many as asked for.
    """
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.shape[1] not in (1, channels):
        raise InputError(f"pictures of {pixels.shape[1]} channels for a network of {channels}")
    out = np.zeros((len(pixels), channels, height, width), np.uint8)
    target, source = [slice(None)] * 2, [slice(None)] * 2
    for have, want in zip(pixels.shape[2:], (height, width), strict=True):
        size = min(have, want)
        target.append(slice((want - size) // 2, (want - size) // 2 + size))
        source.append(slice((have - size) // 2, (have - size) // 2 + size))
    out[tuple(target)] = pixels[tuple(source)]
    return out
