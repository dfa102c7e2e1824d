"""What is made to be no digit: always the same, placed as digits are, and of no digit alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lenet_zoo.datasets import forms
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.datasets.no_digits import no_digits, with_made_pictures
from lenet_zoo.errors import InputError
from lenet_zoo.training.recipe import load_recipe
from lenet_zoo.training.run import _with_made_pictures


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


def test_a_data_set_that_lacks_digits_gives_scribbles(few: Dataset) -> None:
    eights = few.labels == 8
    made = no_digits(few.images[eights].numpy(), few.labels[eights].numpy(), 40)
    assert (made.max((1, 2)) == 255).all()


def test_they_follow_the_digits_with_a_label_of_their_own(few: Dataset) -> None:
    both = with_made_pictures(few, 0.1, 0.025)
    assert torch.equal(both.images[:300], few.images)
    assert both.labels[:300].tolist() == few.labels.tolist()
    assert both.labels[300:330].tolist() == [10] * 30
    assert both.labels[330:333].tolist() == [0, 1, 2]  # of a school book
    assert both.labels[333:].tolist() == [0, 1, 2, 3, 4, 5, 6]  # of quick hands
    assert both.images[330:].dtype == torch.uint8
    assert (both.images[330:].amax((1, 2)) == 255).all()
    assert len(with_made_pictures(few, 0.01, 0)) == 303
    typed = with_made_pictures(few, 0, 0, 0.1)
    assert typed.labels[300:].tolist() == [i % 10 for i in range(30)]
    assert np.array_equal(typed.images[300:], forms.digits(forms.printed, 30, seed=4)[0])
    assert both.classes == few.classes


@pytest.mark.parametrize("field", ["no_digits", "hurried", "printed"])
def test_pictures_are_made_for_data_sets_of_digits_alone(field: str, few: Dataset) -> None:
    plain = load_recipe("baseline")
    recipe, letters = load_recipe("baseline", changes={field: 0.25}), replace(few, classes=tuple("abcdefghij"))
    assert len(_with_made_pictures(few, recipe)) > len(few)
    assert _with_made_pictures(letters, plain) is letters
    with pytest.raises(InputError) as refusal:
        _with_made_pictures(letters, recipe)
    assert str(refusal.value) == f"{field}=0.25 is for data sets of digits, and {few.name} has others: set it to 0"
