"""Data sets as tensors in memory: all of MNIST's training set takes 47 MB."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from lenet_zoo._files import user_cache
from lenet_zoo.cards import DIGITS, SCRIPTS
from lenet_zoo.datasets import cmaterdb, writers
from lenet_zoo.datasets.by_hand import put_in_place, root_of
from lenet_zoo.datasets.fetching import fetch
from lenet_zoo.errors import DataError, InputError, MissingExtraError, did_you_mean, to_install
from lenet_zoo.pictures.preparation import Preparation

__all__ = ["DATASETS", "Dataset", "data_root", "load_dataset", "other_writers", "validation_split"]


@dataclass(frozen=True)
class Dataset(TorchDataset[tuple[Any, int]]):
    """Pictures and their classes: tensors in memory, and a map-style data set for torch's DataLoader.

    `data[i]` is the pair (picture, label): a uint8 tensor 1×28×28 (3×28×28 in colour), or what `transform` makes of it.

    Attributes:
        name: as in `DATASETS`.
        images: uint8 N×28×28, 0 background, 255 ink; N×3×28×28 for pictures in colour.
        labels: int64 N, the class of each picture.
        classes: the names of the classes, in the order of the labels.
        preparation: how a user's picture is brought into the form of these.
        transform: applied to each picture that is taken by its index, such as `lenet_zoo.create_transform(model)`.
    """

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    preparation: Preparation = field(default_factory=Preparation)
    transform: Callable[[Any], Any] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        picture = self.images[index]
        if picture.ndim == 2:
            picture = picture[None]
        return picture if self.transform is None else self.transform(picture), int(self.labels[index])


@dataclass(frozen=True)
class _Source:
    """One of torchvision's data sets: its class, the arguments that choose a variant, and the names of its classes."""

    kind: str
    options: tuple[tuple[str, str], ...] = ()


# Names on the command line → torchvision's classes. Names of classes come from torchvision, shortened where it says
# both ('0 - zero').
DATASETS: dict[str, _Source | None] = {
    "mnist": _Source("MNIST"),
    "fashion_mnist": _Source("FashionMNIST"),
    "kmnist": _Source("KMNIST"),
    "emnist-balanced": _Source("EMNIST", (("split", "balanced"),)),
    "emnist-byclass": _Source("EMNIST", (("split", "byclass"),)),
    "emnist-digits": _Source("EMNIST", (("split", "digits"),)),
    "emnist-letters": _Source("EMNIST", (("split", "letters"),)),
    # Those that do not come through torchvision:
    "digits": None,  # scikit-learn's 1,797 real digits, which travel in its wheel
    "pendigits": None,  # 44 writers' pens on a tablet, of the UCI archive (`writers`)
    "handwriting": None,  # MNIST's training set and more writers than MNIST's
    **dict.fromkeys(SCRIPTS),  # digits of scripts that have their own (`cmaterdb`)
}


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """`root`, else the environment's LENET_ZOO_DATA, else lenet-zoo's folder in the user's cache.

    Raises: DataError for a user without a home, where the cache would be.
    """
    if root:
        return Path(root)
    if os.environ.get("LENET_ZOO_DATA"):
        return Path(os.environ["LENET_ZOO_DATA"])
    try:
        return user_cache() / "data"
    except RuntimeError as error:
        raise DataError(
            "this user has no home folder, where data sets are kept: name their folder with --data-root or "
            "LENET_ZOO_DATA"
        ) from error


def load_dataset(
    name: str,
    *,
    train: bool,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    transform: Callable[[Any], Any] | None = None,
) -> Dataset:
    """Load a data set into memory.

    Args:
        name: one of `DATASETS`.
        train: the training set, else the test set. Of 'digits', which has no split of its own, all 1,797 pictures
            either way. The test set of 'pendigits' are other writers; that of 'handwriting' is MNIST's.
        root: the folder that holds torchvision's layout (`MNIST/raw/…`), `writers` for 'pendigits' and 'handwriting',
            `cmaterdb` for 'bangla', 'devanagari' and 'telugu'; see `data_root`. Files that were fetched by hand may
            also lie in it packed by gzip (`train-images-idx3-ubyte.gz`), in `MNIST` or directly in the root.
        download: fetch what is missing, through torchvision, from the UCI archive or from GitHub.
        transform: see `Dataset`.

    Raises:
        InputError: an unknown name.
        DataError: files that are missing or damaged, or a download that failed.
        MissingExtraError: 'digits' without scikit-learn.
    """
    if name not in DATASETS:
        raise InputError(f"no data set called {name!r}.{did_you_mean(name, DATASETS)} Known: {', '.join(DATASETS)}")
    source = DATASETS[name]
    if source is not None:
        found = _from_torchvision(name, source, train, data_root(root), download)
    elif name == "digits":
        found = _digits()
    elif name in SCRIPTS:
        found = _script(name, train, data_root(root), download)
    else:
        found = {"pendigits": _pendigits, "handwriting": _handwriting}[name](train, data_root(root), download)
    return replace(found, transform=transform)


def validation_split(data: Dataset, size: int | None = None) -> tuple[Dataset, Dataset]:
    """Split a training set into (training, validation): the last `size` pictures are for validation.

    By default these are 10,000, of less than MNIST's 60,000 the last sixth.
    MNIST's files are shuffled already, so that the tail is a fair sample; a fixed tail makes every choice comparable.

    Raises: InputError when `size` leaves nothing to train on.
    """
    if size is None:
        size = min(10_000, len(data) // 6)
    if not 0 < size < len(data):
        raise InputError(f"a validation split of {size} from {len(data)} pictures: give a size between the two")
    cut = len(data) - size
    return (
        replace(data, images=data.images[:cut], labels=data.labels[:cut]),
        replace(data, images=data.images[cut:], labels=data.labels[cut:]),
    )


def _from_torchvision(name: str, source: _Source, train: bool, root: Path, download: bool) -> Dataset:
    root = root_of(source.kind, root)
    try:
        return _read(name, source, train, root)
    except DataError as error:
        missing = error
    try:
        if not put_in_place(source.kind, root, _files(source, train)):
            raise missing
        return _read(name, source, train, root)
    except DataError:
        if not download:
            raise
    _download(name, source, train, root)
    return _read(name, source, train, root)


def _files(source: _Source, train: bool) -> dict[str, str | None]:
    """The files that torchvision reads, unpacked, and the MD5 of each as it is published, packed by gzip."""
    from torchvision import datasets

    if source.kind == "EMNIST":  # published as one archive of all splits
        split, part = dict(source.options)["split"], "train" if train else "test"
        return {f"emnist-{split}-{part}-{what}-ubyte": None for what in ("images-idx3", "labels-idx1")}
    return {name.removesuffix(".gz"): md5 for name, md5 in getattr(datasets, source.kind).resources}


def _read(name: str, source: _Source, train: bool, root: Path) -> Dataset:
    from torchvision import datasets

    cls = getattr(datasets, source.kind)
    remedy = "fetch it again with --download (download=True)"
    try:
        found = cls(root, train=train, download=False, **dict(source.options))
    except OSError as error:
        raise DataError(f"{source.kind} in {root} cannot be read: {error.strerror or error}") from error
    except Exception as error:
        if isinstance(error, RuntimeError) and "not found" in str(error):
            raise DataError(
                f"no {source.kind} in {root}: add --download (download=True) to fetch it, or name the folder that "
                f"holds {source.kind}/raw with --data-root or LENET_ZOO_DATA"
            ) from error
        # torchvision's reader of a damaged file fails in many ways, from KeyError to AssertionError.
        raise DataError(f"{source.kind} in {root} is damaged: {remedy}") from error
    images, labels, classes = found.data, found.targets, [str(label) for label in found.classes]
    if source.kind == "EMNIST" and classes[0] == "N/A":
        # EMNIST's letters count from 1, after a class that has none.
        classes, labels = classes[1:], labels - 1
    whole = images.shape[1:] == (28, 28) and len(images) == len(labels) > 0
    if not whole or labels.min() < 0 or labels.max() >= len(classes):
        raise DataError(
            f"{source.kind} in {root} is damaged ({len(labels)} labels for pictures {tuple(images.shape)}): {remedy}"
        )
    if source.kind == "EMNIST":  # its pictures are stored transposed
        images = images.transpose(1, 2).contiguous()
    if source.kind == "MNIST":
        classes = [label.split(" ")[0] for label in classes]
    preparation = Preparation("picture" if source.kind == "FashionMNIST" else "character")
    return Dataset(name, images, labels.long(), tuple(classes), preparation)


def _download(name: str, source: _Source, train: bool, root: Path) -> None:
    from torchvision import datasets

    def get(folder: Path) -> None:
        getattr(datasets, source.kind)(folder, train=train, download=True, **dict(source.options))

    fetch(source.kind, root, lambda: _read(name, source, train, root), get)


def _of_writers(files: Sequence[str], root: Path, download: bool) -> tuple[Tensor, Tensor]:
    """Pictures and labels of some of `writers.FILES`."""
    root = root_of("MNIST", root_of(writers.FOLDER, root))

    def read() -> None:
        for file in files:
            writers.numbers(file, root)

    try:
        read()
    except DataError:
        if not download:
            raise
        fetch(writers.FOLDER, root, read, lambda folder: writers.get(files, root, folder))
    parts = [writers.pictures_of(file, root) for file in files]
    images, labels = (torch.from_numpy(np.concatenate(each)) for each in zip(*parts, strict=True))
    return images, labels


def _pendigits(train: bool, root: Path, download: bool) -> Dataset:
    images, labels = _of_writers(["pendigits.tra" if train else "pendigits.tes"], root, download)
    return Dataset("pendigits", images, labels, DIGITS)


# What 'handwriting' has before MNIST's training pictures.
_OTHERS = ("optdigits.tra", "pendigits.tra", "semeion.data")


def _handwriting(train: bool, root: Path, download: bool) -> Dataset:
    """MNIST, and before its training pictures those of other writers: so the last 10,000 are MNIST's, as ever."""
    mnist = _from_torchvision("handwriting", _Source("MNIST"), train, root_of(writers.FOLDER, root), download)
    if not train:
        return mnist
    images, labels = _of_writers(_OTHERS, root, download)
    return replace(mnist, images=torch.cat([images, mnist.images]), labels=torch.cat([labels, mnist.labels]))


def other_writers(data: Dataset) -> int:
    """How many pictures, the first ones, are of other writers than MNIST's: of training digits of 'handwriting'."""
    others = sum(writers.FILES[file].rows for file in _OTHERS)
    return others if data.name == "handwriting" and len(data) > others else 0


def _script(name: str, train: bool, root: Path, download: bool) -> Dataset:
    root = root_of(cmaterdb.FOLDER, root)

    def read() -> tuple[Any, Any]:
        return cmaterdb.pictures_of(name, train, root)

    try:
        found = read()
    except DataError:
        if not download:
            raise
        fetch(cmaterdb.FOLDER, root, read, lambda folder: cmaterdb.get(name, train, root, folder))
        found = read()
    images, labels = found
    return Dataset(name, torch.from_numpy(images), torch.from_numpy(labels), SCRIPTS[name])


def _digits() -> Dataset:
    """scikit-learn's digits, 8×8 in 17 grey levels, brought to MNIST's form: 20×20 px in the centre of 28×28."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError(f"the data set 'digits' comes with scikit-learn: {to_install('examples')}") from error
    bunch = load_digits()
    images = torch.from_numpy(writers.enlarged(bunch.images))
    return Dataset("digits", images, torch.from_numpy(bunch.target).long(), DIGITS)
