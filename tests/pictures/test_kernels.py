"""The loops over windows give what their definition gives."""

from __future__ import annotations

import numpy as np
import pytest

from lenet_zoo.pictures.kernels import opened, ranges, scale_to, spread, window_mean


@pytest.mark.parametrize("shape", [(1, 7), (2, 3), (9, 30), (31, 12)])
@pytest.mark.parametrize("radius", [1, 2, 5, 40])
def test_windows_reach_as_far_as_the_picture_goes(shape: tuple[int, int], radius: int) -> None:
    picture = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)

    def over(values: np.ndarray, choose: object) -> np.ndarray:
        for _ in range(2):  # rows, then columns
            rows = [values[max(0, row - radius) : row + radius + 1] for row in range(len(values))]
            values = np.stack([choose(window) for window in rows]).T  # type: ignore[operator]
        return values

    def mean(window: np.ndarray) -> np.ndarray:
        return window.sum(0, dtype=np.int64) // len(window)

    def least(window: np.ndarray) -> np.ndarray:
        return window.min(0)

    def most(window: np.ndarray) -> np.ndarray:
        return window.max(0)

    np.testing.assert_array_equal(window_mean(picture, radius), over(picture, mean))
    np.testing.assert_array_equal(opened(picture, radius), over(over(picture, least), most))
    np.testing.assert_array_equal(ranges(picture, radius), over(picture, most) - over(picture, least))


def test_the_largest_sums_fit_their_types() -> None:
    white = np.full((700, 3), 255, np.uint8)
    for radius in (128, 129, 400):
        assert (window_mean(white, radius) == 255).all()
    assert (scale_to(white, 96) == 255).all()
    assert (scale_to(white[:5], 96) == 255).all()
    assert spread(np.array([0.0, 3.0])) == spread(np.array([0, 3])) == 9
