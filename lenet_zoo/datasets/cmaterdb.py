"""Handwritten digits of three Indian scripts, from CMATERdb: 32×32 binary pixels each.

They were collected at Jadavpur University (Das et al., Applied Soft Computing 12, 2012): 6,000 in Bangla (CMATERdb
3.1.1), 3,000 in Devanagari (3.2.1) and 3,000 in Telugu (3.4.1). The files are those of
https://github.com/prabhuomkar/CMATERdb (Apache-2.0), which TensorFlow Datasets reads, too. They are ink alone: it only
has to be placed, as the ink of every picture is (`lenet_zoo.pictures.placing`).
"""

from __future__ import annotations

import hashlib
import io
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet_zoo.datasets.by_hand import first_there
from lenet_zoo.errors import DataError
from lenet_zoo.pictures.kernels import Bytes, box_of, fit
from lenet_zoo.pictures.placing import even_stroke, place

__all__ = ["FILES", "FOLDER", "address", "get", "numerals", "pictures_of"]

FOLDER = "cmaterdb"
"""Where the files lie in the data root."""

# A commit, so that the files stay those whose hashes stand below.
_PUBLISHED = "https://raw.githubusercontent.com/prabhuomkar/CMATERdb/e65568bc9cd8c4d53cb68a9c9b031634389d259b/datasets"

# (script, is it the training set) → SHA-256 of the file.
FILES: dict[tuple[str, bool], str] = {
    ("bangla", True): "502957392649eecad013ac425b54fecc6d06dbc06bc647a46b0cfc6b96e2c130",
    ("bangla", False): "d1c9780ba5decc135175a021bd29961cd7316db009f428d8c04b84ba36a6d67a",
    ("devanagari", True): "e690d54f7c82e12e3c5ba99221672dc3fc7b6ad493e495077f7e26332558ae86",
    ("devanagari", False): "1636fa10484100486b96a3e938cee4c6adeddcfb1e91c9dbb5166fb9a260216d",
    ("telugu", True): "32f9b5b135c8084f0cf646bc6a70358767653b1f8c6d19bd64ad5d5cbf1d9467",
    ("telugu", False): "182806a45091da53b4ad98d4425130c0ebbf9bc1bf50fb58b3e5ea65ee33c7c6",
}

# The longer side of the ink before it is placed: pixels of the original are 2×2 of these.
_SIDE = 64


def pictures_of(script: str, train: bool, root: Path) -> tuple[Bytes, NDArray[np.int64]]:
    """The training or the test set of a script as pictures like MNIST's.

    The files hold one class after the other. Here the classes take turns, each in the order of its file, so that the
    last pictures are a fair sample for validation. Of the training sets those pictures are left out that the test set
    holds, too, pixel for pixel: 7 in Bangla, 20 in Devanagari, 3 in Telugu.

    Args:
        script: 'bangla', 'devanagari' or 'telugu'.
        train: the training set, else the test set.
        root: the data root.

    Returns: uint8 N×28×28, 0 background and 255 ink, and N labels, the digits' values.

    Raises: DataError for a file that is missing, damaged or another.
    """
    scans, labels = numerals(script, train, root)
    if train:
        tested = {scan.tobytes() for scan in numerals(script, False, root)[0]}
        unseen = np.array([scan.tobytes() not in tested for scan in scans])
        scans, labels = scans[unseen], labels[unseen]
    turn = np.zeros(len(labels), np.int64)
    for digit in range(10):
        turn[labels == digit] = np.arange(np.count_nonzero(labels == digit))
    order = np.lexsort((labels, turn))
    return np.stack([_placed(255 - scan) for scan in scans[order]]), labels[order]


def _placed(ink: Bytes) -> Bytes:
    enlarged = fit(ink, _SIDE)
    top, bottom, left, right = box_of(enlarged >= 64)
    return place(even_stroke(enlarged[top:bottom, left:right]), 28)


# ------------------------------------------------------------------------------------------------------------- reading


def numerals(script: str, train: bool, root: Path) -> tuple[Bytes, NDArray[np.int64]]:
    """One file as it was published: uint8 N×32×32, ink dark on light, and N labels, class by class.

    It may lie in `cmaterdb` or directly in the root, named `bangla-training.npz`, or as where it was published,
    `bangla-numerals/training-images.npz`.

    Raises: DataError for a file that is missing, damaged or another.
    """
    part = "training" if train else "testing"
    name = f"{script}-{part}.npz"
    found = first_there(
        path
        for folder in (root / FOLDER, root)
        for path in (folder / name, folder / f"{script}-numerals" / f"{part}-images.npz")
    )
    if found is not None:
        content, path = found
        return _parsed(content, script, train, path)
    raise DataError(
        f"no {name} in {root / FOLDER}: add --download (download=True) to fetch it, put there what you fetched from "
        f"{address(script, train)}, or name the folder that holds {FOLDER} with --data-root or LENET_ZOO_DATA"
    )


def address(script: str, train: bool) -> str:
    """Where a file is published."""
    return f"{_PUBLISHED}/{script}-numerals/{'training' if train else 'testing'}-images.npz"


def get(script: str, train: bool, root: Path, folder: Path) -> None:
    """Fetch what `pictures_of` reads and the data root lacks into the data root `folder`.

    Raises: DataError, OSError.
    """
    for part in {train, False}:
        with suppress(DataError):
            numerals(script, part, root)
            continue
        where = address(script, part)
        with urllib.request.urlopen(where) as answer:
            content = answer.read()
        _parsed(content, script, part, where)
        (folder / FOLDER).mkdir(exist_ok=True)
        (folder / FOLDER / f"{script}-{'training' if part else 'testing'}.npz").write_bytes(content)


def _parsed(content: bytes, script: str, train: bool, where: Any) -> tuple[Bytes, NDArray[np.int64]]:
    if hashlib.sha256(content).hexdigest() != FILES[script, train]:
        part = "training" if train else "test"
        raise DataError(f"{where} is damaged, or is not the {part} set of {script} as it was published: fetch it again")
    with np.load(io.BytesIO(content)) as arrays:
        return np.ascontiguousarray(arrays["images"][..., 0]), arrays["labels"].astype(np.int64)
