"""Characters cut out of made lines: their classes where they stand, none where they do not."""

from __future__ import annotations

import numpy as np
import pytest

from lenet_zoo.datasets.alone import alone
from lenet_zoo.datasets.lines import APART, LineMaker
from lenet_zoo.datasets.loading import Dataset

NONE = 10


@pytest.fixture(scope="module")
def cut(digits: Dataset) -> tuple[np.ndarray, np.ndarray]:
    lines = LineMaker(digits, APART, seed=1).make(60, (1, 6))
    return alone(lines, 150, NONE, np.random.default_rng(0))


def test_most_are_digits_and_some_are_none(cut: tuple[np.ndarray, np.ndarray]) -> None:
    pictures, classes = cut
    assert 120 < len(pictures) == len(classes) < 200
    assert pictures.shape[1:] == (28, 28)
    assert 0.05 < (classes == NONE).mean() < 0.6
    assert classes.min() >= 0
    assert set(range(10)) <= set(classes.tolist())


def test_a_digit_looks_more_like_its_class_than_like_another(
    cut: tuple[np.ndarray, np.ndarray], digits: Dataset
) -> None:
    pictures, classes = cut
    images, labels = digits.images.numpy().astype(float), digits.labels.numpy()
    means = np.stack([images[labels == label].mean(0).ravel() for label in range(10)])
    nearest = np.array([np.corrcoef(picture.ravel(), means)[0, 1:].argmax() for picture in pictures])
    assert (nearest == classes)[classes != NONE].mean() > 0.7


def test_they_are_a_function_of_lines_and_generator(digits: Dataset) -> None:
    made = [alone(LineMaker(digits, APART, seed=2).make(9), 20, NONE, np.random.default_rng(3)) for _ in range(2)]
    for one, other in zip(*made, strict=True):
        np.testing.assert_array_equal(one, other)
    random = np.random.default_rng(3)
    assert len(alone(LineMaker(digits, APART).make(2), 0, NONE, random)[0]) == 0
    assert random.random() == np.random.default_rng(3).random()  # none wanted, nothing drawn
