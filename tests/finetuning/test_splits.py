"""The pictures that are trained on, held out and tested on."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from lenet_zoo import finetuning
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.finetuning import finetune, load_splits

from .conftest import QUICK, Listener, few

pytest.importorskip("matplotlib")


def test_splits_are_disjoint_and_the_test_set_is_the_same_for_every_seed() -> None:
    one, other = (load_splits("digits", seed=seed) for seed in (0, 1))
    assert torch.equal(one.test.images, other.test.images)
    assert not torch.equal(one.train.images[:50], other.train.images[:50])
    assert one.validation is not None
    assert (len(one.train), len(one.validation), len(one.test)) == (809, 90, 898)
    assert one.fingerprint() != other.fingerprint()
    assert one.fingerprint() == load_splits("digits", seed=0).fingerprint()
    small = load_splits("digits", few_shot=5, seed=0)
    assert (len(small.train), small.validation) == (50, None)
    assert torch.equal(small.test.images, one.test.images)


def test_digits_are_made_as_mnist_is(digits: Dataset, mnist_train: Dataset) -> None:
    assert digits.images.shape == (1797, 28, 28)
    ours, theirs = digits.images.float(), mnist_train.images[:2000].float()
    assert (digits.images.amax((1, 2)) > 200).all()
    # Box within 20 px, and the centre of mass where MNIST has it.
    assert ((ours.amax(1) > 0).sum(1) <= 20).all()
    for images in (ours, theirs):
        rows = (images.sum(2) * (torch.arange(28) + 0.5)).sum(1) / images.sum((1, 2))
        assert rows.mean().item() == pytest.approx(14, abs=0.6)
    assert len(digits.images.unique()) > 100  # grey levels, not black and white


def test_few_pictures_are_repeated_within_an_epoch(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetuning, "_LEAST_PER_EPOCH", 100)
    data = finetuning._repeated(few(of=digits))
    assert len(data) == 120
    assert torch.equal(data.images[90:], digits.images[:30])
    assert finetuning._repeated(digits) is digits


def test_too_few_to_validate_is_said(letters: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    for source in letters.glob("*/*.png"):
        target = small / source.relative_to(letters)
        target.parent.mkdir(parents=True, exist_ok=True)
        if len(list(target.parent.iterdir())) < 4:
            shutil.copy(source, target)
    said = Listener()
    done = finetune(tmp_path / "out", data_dir=small, changes=QUICK, monitor=said)
    assert done.card["pictures"] == {"train": 9, "test": 3}
    assert said.said == [
        "a class has 3 pictures to train on: nothing is held out for validation, all epochs are trained"
    ]
