"""The figure of a line shows the network's own answers where they stand."""

from __future__ import annotations

import numpy as np
import pytest

from lenet_zoo import figures

from .conftest import texts

LABELS = (*"0123456789", "none")


@pytest.fixture
def answers() -> np.ndarray:
    """A 4 at positions 2 and 3, a 7 at 9; elsewhere none."""
    sure = np.full((15, 11), 0.001)
    sure[:, 10] = 0.99
    for at, label in ((2, 4), (3, 4), (9, 7)):
        sure[at, [label, 10]] = 0.97, 0.021
    return np.log(sure)


def test_each_digit_is_framed_where_it_stands(answers: np.ndarray) -> None:
    pixels = np.arange(28 * 56, dtype=np.uint8).reshape(28, 56)
    figure = figures.line(pixels, answers, LABELS, (4, 7))
    above, below = figure.axes
    assert np.array_equal(above.images[0].get_array(), pixels)
    assert np.allclose(below.images[0].get_array(), np.exp(answers.T))
    assert list(below.images[0].get_extent()) == [13, 43, 10.5, -0.5]  # the first window's middle is column 14
    assert [(*patch.get_xy(), patch.get_width()) for patch in below.patches] == [(17, 3.5, 4), (31, 6.5, 2)]
    assert [text for text in texts(figure) if text in {"4", "7"}].count(
        "4"
    ) == 3  # a class (matplotlib has two labels a tick), and the answer
    assert texts(figure).count("97 %") == 2


def test_a_line_without_a_digit_says_so_and_certainty_is_not_rounded_up(answers: np.ndarray) -> None:
    pixels = np.zeros((28, 56), np.uint8)
    assert "no number" in texts(figures.line(pixels, answers, LABELS, ()))
    answers[9] = np.log(np.where(np.arange(11) == 7, 0.998, 0.0002))
    assert "> 99 %" in texts(figures.line(pixels, answers, LABELS, (4, 7)))


def test_a_long_line_is_no_wider_than_a_page() -> None:
    pixels = np.zeros((28, 2000), np.uint8)
    figure = figures.line(pixels, np.log(np.full((987, 11), 1 / 11)), LABELS, ())
    assert figure.get_size_inches()[0] < 10
