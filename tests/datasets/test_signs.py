"""Signs of a few strokes: none is a 1, and the digits of the same pen are what they are meant to be."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets import signs
from lenet_zoo.pictures.placing import place
from lenet_zoo.registry import create_model


def test_no_sign_is_as_straight_as_a_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def width(strokes: list[NDArray[np.float64]]) -> float:
        points = np.concatenate(strokes)
        long, wide = np.linalg.svd(points - points.mean(0), compute_uv=False)
        return float(wide / long)

    random = np.random.default_rng(4)
    assert min(width(signs._strokes(random)) for _ in range(200)) < 0.1
    widths: list[float] = []
    monkeypatch.setattr(signs, "drawn", lambda strokes, pen: widths.append(width(strokes)))
    for _ in range(200):
        signs.sign(random)
    assert min(widths) > 0.2


def test_a_network_that_never_saw_them_reads_most_digits_of_bars_and_arcs() -> None:
    logits = logits_of(create_model("lenet5_modern.mnist", pretrained=True))
    random = np.random.default_rng(2)
    for label in range(10):
        drawn = np.stack([place(signs.digit(label, random), 28) for _ in range(60)])
        assert (logits(drawn).argmax(1) == label).mean() > 0.5, label
