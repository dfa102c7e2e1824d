"""The pictures of a fine-tuning run: for training, for validation and for testing."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from functools import partial

import torch

from lenet_zoo.datasets.folders import few_per_class, load_folder, split_by_class
from lenet_zoo.datasets.loading import Dataset, load_dataset
from lenet_zoo.errors import InputError
from lenet_zoo.pictures.preparation import Preparation
from lenet_zoo.training.monitor import Monitor

__all__ = ["Splits", "load_splits"]

# Of fewer training pictures of a class, a part held out would be too small to measure anything.
_LEAST_TO_VALIDATE = 10


@dataclass(frozen=True)
class Splits:
    """Pictures for training, for validation after each epoch (None: there are none), and for testing."""

    train: Dataset
    validation: Dataset | None
    test: Dataset

    def fingerprint(self) -> str:
        """A hash of pictures, labels, classes and split."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            if part is not None:
                digest.update(json.dumps(part.classes).encode())
                digest.update(part.images.contiguous().numpy().tobytes() + part.labels.numpy().tobytes())
            digest.update(b"|")
        return digest.hexdigest()[:16]


def load_splits(
    dataset: str = "digits",
    data_dir: str | os.PathLike[str] | None = None,
    *,
    preparation: Preparation | None = None,
    few_shot: int | None = None,
    test_part: float | None = None,
    val_part: float = 0.1,
    seed: int = 0,
    strict: bool = False,
    data_root: str | os.PathLike[str] | None = None,
    download: bool = False,
    monitor: Monitor | None = None,
) -> Splits:
    """The pictures to train on, to validate on and to test on. Arguments and errors as in `finetune`."""
    monitor = monitor or Monitor()
    if not 0 <= val_part < 1:
        raise InputError(f"val_part={val_part:g}: a part of the training pictures, 0 (none) up to 1")
    if data_dir is not None:
        found = load_folder(data_dir, preparation=preparation, strict=strict, say=monitor.say)
    else:
        read = partial(load_dataset, dataset, root=data_root, download=download)
        found = {"train": read(train=True)}
        if dataset != "digits":  # which has no split of its own
            found["test"] = read(train=False)
    train, validation, test = found["train"], found.get("validation"), found.get("test")
    if test is None:
        if test_part is None:
            test_part = 0.5 if data_dir is None else 0.2
        train, test = split_by_class(train, test_part)
    elif test_part is not None:
        raise InputError(f"test_part={test_part:g}: the data have a test set of their own")
    if few_shot is not None:
        train = few_per_class(train, few_shot, seed)
    elif validation is None and val_part:
        fewest = int(torch.bincount(train.labels, minlength=len(train.classes)).min())
        if fewest >= _LEAST_TO_VALIDATE:
            train, validation = split_by_class(train, val_part, seed)
        else:
            monitor.say(
                f"a class has {fewest} pictures to train on: nothing is held out for validation, all epochs are trained"
            )
    return Splits(train, validation, test)
