"""What is made to be no digit: always the same, placed as digits are, and of no digit alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lenet_zoo.datasets import no_digits as module
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.datasets.no_digits import no_digits, with_no_digits


def test_they_are_placed_as_digits_are_and_follow_the_seed(few: Dataset) -> None:
    images, labels = few.images.numpy(), few.labels.numpy()
    made = no_digits(images, labels, 200)
    assert (made.dtype, made.shape) == (np.uint8, (200, 28, 28))
    assert (made.max((1, 2)) == 255).all()
    for one in made:
        rows, columns = (np.flatnonzero(one.any(axis)) for axis in (1, 0))
        assert max(np.ptp(rows), np.ptp(columns)) in (18, 19)  # the longer side is 20 px
    assert np.array_equal(made, no_digits(images, labels, 200))
    assert not np.array_equal(made, no_digits(images, labels, 200, seed=1))


def test_no_sign_is_as_straight_as_a_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def width(strokes: list[NDArray[np.float64]]) -> float:
        points = np.concatenate(strokes)
        long, wide = np.linalg.svd(points - points.mean(0), compute_uv=False)
        return float(wide / long)

    random = np.random.default_rng(4)
    assert min(width(module._strokes(random)) for _ in range(200)) < 0.1
    widths: list[float] = []
    monkeypatch.setattr(module, "drawn", lambda strokes, pen: widths.append(width(strokes)))
    for _ in range(200):
        module._sign(random)
    assert min(widths) > 0.2


def test_a_data_set_that_lacks_digits_gives_scribbles(few: Dataset) -> None:
    eights = few.labels == 8
    made = no_digits(few.images[eights].numpy(), few.labels[eights].numpy(), 40)
    assert (made.max((1, 2)) == 255).all()


def test_they_follow_the_digits_with_a_label_of_their_own(few: Dataset) -> None:
    both = with_no_digits(few, 0.1)
    assert torch.equal(both.images[:300], few.images)
    assert both.labels[:300].tolist() == few.labels.tolist()
    assert both.labels[300:].tolist() == [10] * 30
    assert both.classes == few.classes
