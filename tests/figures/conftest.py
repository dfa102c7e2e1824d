"""A picture, both networks, and what is written in a figure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import lenet_zoo

DIGITS = tuple("0123456789")


@pytest.fixture
def picture() -> np.ndarray:
    """Ink on a few pixels, none of them symmetric."""
    pixels = np.zeros((28, 28), np.uint8)
    pixels[6:22, 12:15] = 255
    pixels[6:9, 9:18] = 180
    return pixels


@pytest.fixture
def colour(picture: np.ndarray) -> np.ndarray:
    """The same in orange on blue, 3×28×28."""
    return np.stack([picture, picture // 2, 255 - picture])


@pytest.fixture(params=["lenet5_classic", "lenet5_modern"])
def network(request: pytest.FixtureRequest) -> torch.nn.Module:
    return lenet_zoo.create_model(request.param)


def texts(figure: Figure) -> list[str]:
    """Everything written in a figure."""
    figure.draw_without_rendering()
    found = [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]  # type: ignore[arg-type]
    return [text for text in found if text]
