"""Prepared arrays: blank, full and noise are named, and nothing that is a picture."""

from __future__ import annotations

import numpy as np
import pytest

from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.pictures.refusals import refuse_blank

TONE, FULL, NOISE = (f"no digit: the picture is {what}" for what in ("of one tone", "full", "noise"))


def test_the_kinds_have_the_words_of_the_pictures_files() -> None:
    random = np.random.default_rng(0)
    full = np.full((28, 28), 255, np.uint8)
    full[:2] = 0
    ink = np.zeros((28, 28), np.uint8)
    ink[4:24, 12:16] = 255
    static = random.integers(0, 256, (28, 28)).astype(np.uint8)
    sparse = np.where(random.random((28, 28)) < 0.1, 255, 0).astype(np.uint8)
    pixels = np.stack([np.zeros_like(ink), np.full_like(ink, 130), full, static, sparse, ink, ink // 10])
    assert refuse_blank(pixels) == [TONE, TONE, FULL, NOISE, NOISE, None, None]
    assert refuse_blank(pixels, noise=False) == [TONE, TONE, FULL, None, None, None, None]
    assert refuse_blank(pixels[:0]) == []


@pytest.mark.parametrize("turns", [1, 4])
def test_smoothed_noise_has_no_ground(turns: int) -> None:
    smooth = np.random.default_rng(2).normal(size=(100, 28, 28))
    for _ in range(turns):
        for axis in (1, 2):
            smooth = smooth + np.roll(smooth, 1, axis)
    smooth -= smooth.min((1, 2), keepdims=True)
    pixels = (255 * smooth / smooth.max((1, 2), keepdims=True)).astype(np.uint8)
    reason = "no digit: the picture has no dark ground"
    assert refuse_blank(pixels).count(reason) >= 95
    pixels[:, [0, -1]] = pixels[:, :, [0, -1]] = 0
    assert reason not in refuse_blank(pixels)


@pytest.mark.parametrize("shape", [(8, 8), (32, 32), (64, 40)])
def test_any_size_and_many_at_a_time(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (600, *shape)).astype(np.uint8)
    pixels[1::2] = 0
    pixels[1::2, 2:-2, 3] = 200
    reasons = refuse_blank(pixels)
    assert reasons[1::2] == [None] * 300
    assert sum(reason == NOISE for reason in reasons[::2]) >= (250 if shape == (8, 8) else 300)


def test_no_digit_of_mnist_is_refused(mnist_train: Dataset, mnist_test: Dataset) -> None:
    for part in (mnist_train, mnist_test):
        assert set(refuse_blank(part.images.numpy().reshape(-1, 28, 28))) == {None}


def test_no_clothes_are_refused(fashion_train: Dataset, fashion_test: Dataset) -> None:
    for part in (fashion_train, fashion_test):
        assert set(refuse_blank(part.images.numpy().reshape(-1, 28, 28))) == {None}
