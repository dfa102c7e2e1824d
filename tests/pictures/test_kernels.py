"""The loops over windows give what their definition gives."""

from __future__ import annotations

import numpy as np
import pytest

from lenet_zoo.errors import NoDigitError
from lenet_zoo.pictures.ground import ink_is_bright, refuse_soft_light
from lenet_zoo.pictures.kernels import extreme, opened, ranges, scale_to, spread, window_mean


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


@pytest.mark.parametrize("before", [1, 5, 28, 95, 97, 144, 200, 255, 257, 300, 383, 700])
def test_a_row_of_a_scaled_picture_is_the_nearest_level(before: int) -> None:
    picture = np.random.default_rng(before).integers(0, 256, (before, 1), dtype=np.uint8)
    for rows in (20, 96):
        if rows < before:  # each old row counts as `rows`, each new one as `before` of the same height
            wanted = [row.sum(0) / before for row in np.split(picture.repeat(rows, 0).astype(np.int64), rows)]
        else:  # linear between the middles of rows
            at = ((np.arange(rows) + 0.5) * before / rows - 0.5).clip(0, before - 1)
            lower = at.astype(int)
            below, above = picture[lower].astype(float), picture[np.minimum(lower + 1, before - 1)]
            wanted = list(below + (above - below) * (at - lower)[:, None])
        far = np.abs(scale_to(picture, rows)[:, :1] - np.array(wanted))
        assert far.max() <= 0.5 + 1e-9


def test_the_largest_sums_fit_their_types() -> None:
    white = np.full((700, 3), 255, np.uint8)
    for radius in (128, 129, 400):
        assert (window_mean(white, radius) == 255).all()
    assert (scale_to(white, 96) == 255).all()
    assert (scale_to(white[:5], 96) == 255).all()
    assert spread(np.array([0.0, 3.0])) == spread(np.array([0, 3])) == 9


def blurred(rng: np.random.Generator, blur: int) -> np.ndarray:
    """A disc on paper, of any size, sharp or soft, and a little noise."""
    height, width = rng.integers(20, 60, 2)
    y, x = np.mgrid[:height, :width]
    far = np.hypot(y - rng.integers(height), x - rng.integers(width)) - rng.integers(3, 15)
    levels = 200 / (1 + np.exp(far / (0.1 + blur))) + rng.integers(0, 3, (height, width))
    return levels.astype(np.uint8)


def test_soft_light_is_found_by_the_ranges_of_all_windows() -> None:
    rng = np.random.default_rng(5)
    for turn in range(40):
        picture, radius = blurred(rng, turn // 4), int(rng.integers(1, 6))
        mask = picture >= 100
        climb = ranges(picture, radius)[mask & ~extreme(mask, 1, np.logical_and)].astype(np.int64)
        most = 4 * int(climb.sum()) // (3 * climb.size)  # the contrast of which the mean range is 3/4, just
        refuse_soft_light(picture, mask, most, radius)
        with pytest.raises(NoDigitError, match="light and shade"):
            refuse_soft_light(picture, mask, most + 1, radius)


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("paper", [0, 9])
def test_the_ink_is_what_both_skewnesses_say_also_where_one_says_enough(paper: int, negative: bool) -> None:
    def skewness(residual: np.ndarray) -> float:
        return float((residual**3).sum() / max(1.0, float((np.abs(residual) ** 3).sum())))

    rng = np.random.default_rng(6)
    for blur in range(12):
        picture = np.maximum(blurred(rng, blur), paper)
        picture[[0, -1]] = picture[:, [0, -1]] = paper  # so that the border's plane is this level
        picture = 255 - picture if negative else picture
        nearby = window_mean(picture, max(picture.shape) // 3).astype(np.int64)
        terms = picture.astype(np.int64) - picture[0, 0], window_mean(picture, 1).astype(np.int64) - nearby
        assert ink_is_bright(picture) == (sum(map(skewness, terms)) > 0)
