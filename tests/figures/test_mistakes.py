"""The worst mistakes come first, and those of 1998 are framed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lenet_zoo import figures
from lenet_zoo.cards import Confidence
from lenet_zoo.datasets.loading import Dataset

from .conftest import DIGITS, texts


def test_worst_mistakes_come_first_and_carry_softmax_figures() -> None:
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.3, 0.4, 0.3]]))
    found = figures.worst_mistakes(logits + 1000, np.array([2, 1, 1, 0]))
    assert [(m.index, m.label, m.answer) for m in found] == [(0, 2, 0), (1, 1, 0), (3, 0, 1)]
    assert found[0].confidence == pytest.approx(0.7)
    assert found[0].loss == pytest.approx(-math.log(0.1))
    assert [(m.penalty, m.margin) for m in found[:1]] == [pytest.approx((-1000 - math.log(0.7), math.log(3.5)))]
    assert figures.worst_mistakes(logits, logits.argmax(1)) == []
    sure = figures.worst_mistakes(logits, np.array([2, 1, 1, 0]), Confidence(temperature=0.5))
    assert [m.confidence for m in sure[:1]] == [pytest.approx(0.49 / 0.54)]
    assert [m.index for m in sure] == [m.index for m in found]


def test_fig_8_names_82_test_digits_by_their_true_labels(mnist_test: Dataset) -> None:
    found = figures.paper_fig8()
    assert len(found) == 82
    assert all(mnist_test.labels[index] == label != answer for index, (label, answer) in found.items())


def test_mistakes_frame_what_the_paper_got_wrong() -> None:
    found = [figures.Mistake(index, 1, 7, 0.9, 3.0 - i) for i, index in enumerate([4, 2, 9, 5])]
    figure = figures.mistakes(found, np.zeros((10, 28, 28), np.uint8), DIGITS, {2: (1, 7), 5: (1, 2), 8: (0, 0)}, 3)
    assert [axes.get_title() for axes in figure.axes] == ["4", "2", "9"]
    assert [axes.get_title() for axes in figure.axes if axes.spines["left"].get_linewidth() > 1] == ["2"]
    written = texts(figure)
    assert "The worst 3 of 4 mistakes on 10 pictures" in written
    assert "Framed: among the 3 of the paper's Fig. 8, as 2 of all 4 are" in written
    assert "1 → 7\n90 %" in written


def test_mistakes_of_an_rbf_output_show_y_and_the_distance_to_the_next_class() -> None:
    found = figures.worst_mistakes(np.array([[-5.2, -41.3, -90.0]]), np.array([1]))
    written = texts(figures.mistakes(found, np.zeros((1, 28, 28), np.uint8), DIGITS, penalties=True))
    assert "1 → 0\n5, +36" in written
    assert "Below: y of the answer, and how much larger y of the next best class is" in written


def test_no_mistakes_at_all_is_a_figure_too() -> None:
    assert "0 mistakes on 10 pictures" in texts(figures.mistakes([], np.zeros((10, 28, 28), np.uint8), DIGITS))
