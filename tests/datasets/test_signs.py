"""Signs of a few strokes: none is a 1."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lenet_zoo.datasets import signs


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
