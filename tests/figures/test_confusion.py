"""The confusion matrix shows every count."""

from __future__ import annotations

import numpy as np
import pytest

from lenet_zoo import figures
from lenet_zoo.errors import InputError

from .conftest import texts


def test_confusion_writes_every_count_and_the_error_of_each_class() -> None:
    matrix = np.array([[97, 2, 1], [0, 50, 0], [11, 4, 185]])
    written = texts(figures.confusion(matrix, ["ant", "bee", "cat"]))
    assert {"97", "2", "1", "50", "11", "4", "185", "3.00 %", "0.00 %", "7.50 %"} <= {*written}
    assert "18 mistakes of 350" in written


def test_confusion_of_empty_classes_and_of_no_mistakes() -> None:
    written = texts(figures.confusion(np.array([[5, 0], [0, 0]]), ["a", "b"]))
    assert "–" in written
    assert "0 mistakes of 5" in written
    with pytest.raises(InputError, match=r"\(2, 2\) for 3 classes"):
        figures.confusion(np.eye(2, dtype=int), ["a", "b", "c"])
