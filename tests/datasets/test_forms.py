"""Digits drawn by a pen: always the same, never two alike, placed as digits are, and what they are meant to be."""

from __future__ import annotations

import numpy as np
import pytest

from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets import forms
from lenet_zoo.pictures.components import components, filled
from lenet_zoo.registry import create_model
from lenet_zoo.training.lines import answers_of


@pytest.mark.parametrize("pen", [forms.plain, forms.hurried, forms.printed])
def test_they_are_placed_as_digits_are_and_follow_the_seed(pen: forms.Pen) -> None:
    made, labels = forms.digits(pen, 95, seed=4)
    assert (made.dtype, made.shape) == (np.uint8, (95, 28, 28))
    assert labels.tolist() == [i % 10 for i in range(95)]
    for one in made:
        rows, columns = (np.flatnonzero(one.any(axis)) for axis in (1, 0))
        assert max(np.ptp(rows), np.ptp(columns)) in (18, 19)  # the longer side is 20 px
    assert np.array_equal(made, forms.digits(pen, 95, seed=4)[0])
    assert len(np.unique(np.concatenate([made, forms.digits(pen, 95, seed=5)[0]]), axis=0)) == 190


def test_a_network_that_never_saw_them_reads_most_digits_of_bars_and_arcs() -> None:
    made, labels = forms.digits(forms.plain, 600, seed=2)
    right = logits_of(create_model("lenet5_modern.mnist", pretrained=True))(made).argmax(1) == labels
    for label in range(10):
        assert right[labels == label].mean() > 0.5, label


def test_type_has_thick_and_thin_strokes_and_outlines_and_most_of_it_is_read() -> None:
    made, labels = forms.digits(forms.printed, 1000, seed=7)  # other pictures than those of training
    right = logits_of(create_model("lenet5_modern.handwriting", pretrained=True))(made).argmax(1) == labels
    for label in range(10):
        assert right[labels == label].mean() > 0.5, label
    ones = forms.digits(forms.printed, 1000, seed=8)[0][1::10] >= 128
    # The outline of a 1 would be a 0: no 1 has a hole.
    assert all((filled(one) == one).all() for one in ones)
    zeros = forms.digits(forms.printed, 1000, seed=8)[0][::10] >= 128
    assert any(components(~zero).count > 2 for zero in zeros)  # an outline, a dot or a slash


def test_quick_hands_write_what_mnist_hardly_has_and_numbers_reads() -> None:
    made, labels = forms.digits(forms.hurried, 1000, seed=9)  # other pictures than those of training
    mnist = logits_of(create_model("lenet5_modern.mnist", pretrained=True))(made).argmax(1) == labels
    assert mnist.mean() < 0.9
    answers = answers_of(create_model("lenet5_modern.numbers", pretrained=True).eval())(made)[:, 0]
    for label in range(10):
        assert (answers.argmax(1) == label)[labels == label].mean() > 0.85, label


@pytest.mark.parametrize("label", range(10))
def test_no_two_forms_of_quick_hands_are_the_same(label: int) -> None:
    drawn = {np.concatenate(strokes).round(3).tobytes() for strokes in forms._HURRIED[label]}
    assert len(drawn) == len(forms._HURRIED[label]) >= 5
