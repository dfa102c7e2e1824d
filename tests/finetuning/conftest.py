"""Short runs, and the data that they train on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from lenet_zoo import finetuning
from lenet_zoo.datasets.loading import Dataset, load_dataset
from lenet_zoo.training.monitor import Monitor

QUICK: dict[str, Any] = dict(epochs=2, warmup=0)


class Listener(Monitor):
    def __init__(self, stop_after: int | None = None) -> None:
        self.said: list[str] = []
        self.epochs = 0
        self.stop_after = stop_after

    def say(self, text: str) -> None:
        self.said.append(text)

    def epoch(self, record: dict[str, Any]) -> None:
        self.epochs += 1
        if self.epochs == self.stop_after:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetuning, "_LEAST_PER_EPOCH", 1)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits", train=True)


@pytest.fixture(autouse=True)
def _digits_are_made_once(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lenet_zoo.datasets.loading._digits", lambda: digits)


@pytest.fixture(scope="session")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of each of three classes: real digits under other names, '1' among them."""
    folder = tmp_path_factory.mktemp("data") / "letters"
    bunch = load_digits()
    for name, digit in (("1", 1), ("a", 0), ("b", 8)):
        (folder / name).mkdir(parents=True)
        for i in np.flatnonzero(bunch.target == digit)[:12]:
            paper = Image.new("L", (140, 140), 255)
            paper.paste(Image.fromarray((255 - bunch.images[i] * 15).astype("uint8")).resize((80, 80)), (30, 30))
            paper.save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares and discs in red and blue, whose grey is the same: only colour tells the classes apart."""
    folder = tmp_path_factory.mktemp("data") / "colours"
    random = np.random.default_rng(0)
    for name, channel in (("blue", 2), ("red", 0)):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            pixels = np.zeros((40, 40, 3), np.uint8)
            top, left = random.integers(2, 18, 2)
            pixels[top : top + 20, left : left + 20, channel] = 220 if channel else 84  # the same luma
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


def few(classes: str = "0123456789", of: Dataset | None = None) -> Dataset:
    images = of.images[:30] if of else torch.zeros(len(classes), 28, 28, dtype=torch.uint8)
    labels = of.labels[:30] if of else torch.arange(len(classes))
    return Dataset("few", images, labels, tuple(classes))
