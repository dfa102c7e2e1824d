"""Pictures of one's own as a data set: a folder per class, as torchvision's ImageFolder reads them.

    letters/                     letters/
      A/  scan1.png …     or       train/  A/ …  B/ …
      B/  …                        val/    A/ …  B/ …      (or validation/, or none)
                                   test/   A/ …  B/ …      (or none)

Classes are numbered in the order of their names. Pictures in folders within a class belong to that class. Links are
followed. Hidden files and files that are no pictures are left out.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lenet_zoo._files import utf8_name
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import DataError, InputError
from lenet_zoo.pictures.kernels import Bytes
from lenet_zoo.pictures.preparation import Preparation
from lenet_zoo.pictures.reading import load_picture, picture_suffixes

__all__ = ["MOST_CLASSES", "few_per_class", "load_folder", "load_labelled", "split_by_class"]

MOST_CLASSES = 1_000
"""More classes than this are refused: 84 features do not tell them apart, and such a folder is most often a mistake."""

_SPLITS = {"train": "train", "val": "validation", "valid": "validation", "validation": "validation", "test": "test"}
_MANY = 1_000  # pictures: reading more takes long enough to be announced


def load_folder(
    folder: str | os.PathLike[str],
    *,
    preparation: Preparation | None = None,
    strict: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Dataset]:
    """Read a folder of pictures.

    Args:
        folder: a folder per class, or `train` and, if there are such, `val` and `test` with a folder per class in each.
        preparation: how each picture becomes pixels; by default as a character. In grey, colour becomes grey; in
            colour, grey pictures get three equal channels.
        strict: pictures that cannot be used, and colour mixed with grey, are errors. By default such pictures are left
            out, or converted, and `say` is called.
        say: called with a line for each picture that is left out, and with one for their number; by default nothing
            is said.

    Returns:
        'train' and, for a folder that is split already, 'validation' and 'test': images uint8 N×28×28, or N×3×28×28;
        all with the classes of 'train'.

    Raises:
        DataError: no folder, fewer than two or more than `MOST_CLASSES` classes, classes that differ only by case, a
            class without a usable picture or that is a link to nothing, a class that is only in `val` or `test`; with
            `strict`, also the first picture that cannot be used, or pictures of both kinds.
    """
    folder = Path(folder)
    files = {split: _files_of(path, split) for split, path in _splits_of(folder).items()}
    classes = tuple(files["train"])
    _check_classes(folder, classes)
    for split, found in files.items():
        for unknown in found.keys() - files["train"].keys():
            raise DataError(f"class {unknown!r} is in {folder}'s {split} pictures and not among those to train on")
        if split != "train" and not any(found.values()):
            raise DataError(f"{folder} has a folder of {split} pictures without any: fill it or remove it")
    for name, paths in files["train"].items():
        if not paths:
            raise DataError(f"class {name!r} in {folder} has no pictures: put some in, or remove the folder")
    total = sum(len(paths) for found in files.values() for paths in found.values())
    if total > _MANY:
        say(f"reading {total:,} pictures")
    reader = _Reader(preparation or Preparation(), strict, say, total)
    data = {split: reader.read(utf8_name(folder.resolve().name), classes, found) for split, found in files.items()}
    reader.conclude(folder)
    for label, count in enumerate(torch.bincount(data["train"].labels, minlength=len(classes)).tolist()):
        if not count:
            raise DataError(f"class {classes[label]!r} in {folder} has no picture that can be used")
    for split, part in data.items():
        if not len(part):
            raise DataError(f"none of {folder}'s {split} pictures can be used")
    return data


def load_labelled(
    folder: str | os.PathLike[str],
    labels: Sequence[str],
    preparation: Preparation,
    *,
    train: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Dataset, str]:
    """Pictures to measure a network on, numbered as its labels are.

    Args:
        folder: as for `load_folder`, its classes named after labels of the network; some labels may have no folder.
        labels: the network's.
        preparation: the network's.
        train: of a folder that is split already, the training pictures; else those of `test`, or `val` without it.
        say: as for `load_folder`.

    Returns: the pictures, and the name of their split: 'train' for a folder that is not split.

    Raises: DataError as `load_folder`; InputError for a class that is none of the labels.
    """
    parts = load_folder(folder, preparation=preparation, say=say)
    split = next(name for name in (("train",) if train else ("test", "validation", "train")) if name in parts)
    data = parts[split]
    for name in data.classes:
        if name not in labels:
            raise InputError(
                f"class {name!r} in {folder} is none of the network's labels: name its folders {', '.join(labels)}"
            )
    numbers = torch.tensor([labels.index(name) for name in data.classes])
    return replace(data, labels=numbers[data.labels], classes=tuple(labels)), split


def _folders_in(path: Path) -> list[Path]:
    try:
        entries = sorted(entry for entry in path.iterdir() if not entry.name.startswith("."))
    except FileNotFoundError:
        raise DataError(f"no folder {path}: give one that holds a folder of pictures per class") from None
    except NotADirectoryError:
        raise DataError(f"{path} is a file: give a folder that holds a folder of pictures per class") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    for entry in entries:
        if entry.is_symlink() and not entry.exists():  # most likely a class, which must not be missing unnoticed
            raise DataError(f"{entry} is a link to nothing: mend it or remove it")
    return [entry for entry in entries if entry.is_dir()]


def _splits_of(folder: Path) -> dict[str, Path]:
    """'train', 'validation' and 'test' folders where they are; else the folder itself as 'train'."""
    inner = _folders_in(folder)
    names = [_SPLITS.get(path.name.lower()) for path in inner]
    # 'train' may be a class, beside 'car'. It is a split only if all folders beside it are, and if it has folders.
    if "train" not in names or None in names or not _folders_in(inner[names.index("train")]):
        return {"train": folder}
    if len(set(names)) != len(names):
        raise DataError(f"{folder} holds both {' and '.join(path.name for path in inner)}: keep one of each kind")
    return {str(name): path for name, path in zip(names, inner, strict=True)}


def _files_of(folder: Path, split: str) -> dict[str, list[Path]]:
    """Class → its pictures, sorted, those in folders within included; a link to nothing counts by its name."""
    found: dict[str, list[Path]] = {}
    known = picture_suffixes()
    classes = _folders_in(folder)
    if split == "train" and len(classes) > MOST_CLASSES:
        raise DataError(f"{len(classes):,} classes in {folder}: LeNet-5 is fine-tuned to {MOST_CLASSES:,} at most")
    for path in classes:
        label = utf8_name(path.name)
        found[label] = []
        entered: set[str] = set()
        for inner, folders, names in os.walk(path, onerror=_refuse, followlinks=True):
            here = os.path.realpath(inner)
            again = here in entered  # by a link, which may lead in a circle
            folders[:] = [] if again else sorted(name for name in folders if not name.startswith("."))
            files = [] if again else [Path(inner, name) for name in sorted(names) if not name.startswith(".")]
            found[label] += [file for file in files if file.suffix.lower() in known]
            entered.add(here)
    return found


def _refuse(error: OSError) -> NoReturn:
    raise DataError(f"{error.filename} cannot be read: {error.strerror}") from None


def _check_classes(folder: Path, classes: tuple[str, ...]) -> None:
    if not classes:
        raise DataError(f"{folder} has no folders in it: give one that holds a folder of pictures per class")
    if len(classes) == 1:
        raise DataError(f"{folder} has one class, {classes[0]!r}: give at least two, a folder of pictures for each")
    seen: dict[str, str] = {}
    for name in classes:
        # Unicode has two ways to write é; on Windows and macOS, a and A are one folder.
        key = unicodedata.normalize("NFC", name).casefold()
        if key in seen:
            raise DataError(
                f"classes {seen[key]!r} and {name!r} in {folder} differ only by case: rename one (say 'A_upper'), "
                "since they are one folder on Windows and macOS"
            )
        seen[key] = name


class _Reader:
    """Reads pictures into arrays, and counts those that cannot be used."""

    def __init__(
        self,
        preparation: Preparation,
        strict: bool,
        say: Callable[[str], None],
        total: int,
    ) -> None:
        self.preparation, self.strict, self.say = preparation, strict, say
        self.total, self.skipped = total, 0
        self.coloured: list[Path] = []
        self.grey: list[Path] = []

    def read(self, name: str, classes: tuple[str, ...], files: dict[str, list[Path]]) -> Dataset:
        images: list[Bytes] = []
        labels: list[int] = []
        for label, one in enumerate(classes):
            for path in files.get(one, []):
                try:
                    image = load_picture(path)
                    pixels = self.preparation.pixels(image)
                except InputError as error:
                    text = _naming(path, str(error))
                    if self.strict:
                        raise DataError(text) from None
                    self.skipped += 1
                    self.say(f"left out: {text}")
                else:
                    images.append(pixels)
                    labels.append(label)
                    (self.coloured if _has_colour(image) else self.grey).append(path)
        size = self.preparation.size
        shape = (0, size, size) if self.preparation.channels == 1 else (0, 3, size, size)
        stacked = np.stack(images) if images else np.zeros(shape, np.uint8)
        targets = torch.tensor(labels, dtype=torch.int64)
        return Dataset(name, torch.from_numpy(stacked), targets, classes, self.preparation)

    def conclude(self, folder: Path) -> None:
        if self.skipped:
            self.say(
                f"{self.skipped:,} of {self.total:,} pictures in {folder} were left out (--strict stops at the first)"
            )
        if self.coloured and self.grey:
            few = min(self.coloured, self.grey, key=len)
            kind = "in colour" if few is self.coloured else "grey"
            became = "all become grey" if self.preparation.channels == 1 else "grey ones get three equal channels"
            text = f"{len(few):,} of {self.total - self.skipped:,} pictures are {kind}, such as {few[0]}"
            if self.strict:
                raise DataError(f"{text}: with --strict all must be of one kind")
            self.say(f"{text}: {became}")


def _naming(path: Path, text: str) -> str:
    text = " ".join(text.split())
    return text if str(path) in text else f"{path}: {text}"


def _has_colour(image: Image.Image) -> bool:
    """Whether a picture shows colour, judged by its pixels: scanners store grey paper as RGB."""
    if image.mode in ("1", "L", "LA", "La") or image.mode.startswith(("I", "F")):
        return False
    rgb = np.asarray(image.convert("RGB").resize((28, 28), Image.Resampling.BOX)).astype(int)
    # JPEG and a scanner's sensor tint grey by a few levels.
    return bool((rgb.max(-1) - rgb.min(-1)).mean() > 8)


# ------------------------------------------------------------------------------------------------------------ splits


def split_by_class(data: Dataset, part: float, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Split into (rest, part), every class in the same proportion and with at least one picture on either side.

    The same data, part and seed give the same pictures on every machine; both keep the order that they had.

    Raises: InputError for a part that is not between 0 and 1; DataError for a class of a single picture.
    """
    if not 0 < part < 1:
        raise InputError(f"a part of {part:g} cannot be held out: between 0 and 1, 0.2 for a fifth")
    held = torch.zeros(len(data), dtype=torch.bool)
    for label, index in _shuffled(data, seed):
        if len(index) == 1:
            raise DataError(
                f"class {data.classes[label]!r} has one picture: at least two are needed, one of them to hold out"
            )
        held[index[: min(max(round(part * len(index)), 1), len(index) - 1)]] = True
    return _take(data, ~held), _take(data, held)


def few_per_class(data: Dataset, count: int, seed: int = 0) -> Dataset:
    """`count` pictures of each class, drawn by the seed, in the order that they had.

    Raises: InputError for a count below 1; DataError for a class with fewer pictures.
    """
    if count < 1:
        raise InputError(f"{count} pictures per class: at least 1")
    kept = torch.zeros(len(data), dtype=torch.bool)
    for label, index in _shuffled(data, seed):
        if len(index) < count:
            raise DataError(
                f"class {data.classes[label]!r} has {len(index)} pictures to train on, fewer than the {count} asked for"
            )
        kept[index[:count]] = True
    return _take(data, kept)


def _shuffled(data: Dataset, seed: int) -> list[tuple[int, Tensor]]:
    random = torch.Generator().manual_seed(seed)
    found = []
    for label in range(len(data.classes)):
        index = (data.labels == label).nonzero()[:, 0]
        found.append((label, index[torch.randperm(len(index), generator=random)]))
    return [(label, index) for label, index in found if len(index)]


def _take(data: Dataset, which: Tensor) -> Dataset:
    return replace(data, images=data.images[which], labels=data.labels[which])
