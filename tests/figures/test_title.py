"""A figure gets its title without a change of what it shows, on a page and on a slide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from lenet_zoo import figures

from .conftest import texts


@pytest.fixture
def figure() -> Figure:
    return figures.confusion(np.array([[9, 1], [2, 8]]), ["a", "b"])


def places(figure: Figure) -> list[tuple[float, ...]]:
    """Width, height and distance from the lower left corner of the first, in inches, of each panel."""
    width, height = figure.get_size_inches()
    boxes = [axes.get_position().bounds for axes in figure.axes]
    x0, y0 = boxes[0][:2]
    return [((x - x0) * width, (y - y0) * height, w * width, h * height) for x, y, w, h in boxes]


@pytest.mark.parametrize("title", [figures.titled, figures.slide])
def test_a_title_is_written_and_the_panels_keep_their_size(figure: Figure, title: object) -> None:
    before = places(figure)
    assert title(figure, "the $x^{2$ network", "dark") is figure  # no formula, whatever the name
    assert "the $x^{2$ network" in texts(figure)
    assert places(figure) == [pytest.approx(place) for place in before]


def test_a_slide_is_a_full_screen(figure: Figure, tmp_path: Path) -> None:
    with Image.open(figures.save(figures.slide(figure, "title"), tmp_path / "slide.png")) as image:
        assert image.size == (1920, 1080)


@pytest.mark.parametrize("title", [figures.titled, figures.slide])
def test_a_long_title_stays_on_the_figure(figure: Figure, title: object) -> None:
    title(figure, "local-dir:/home/somebody/networks/" + "digits-" * 12)
    figure.draw_without_rendering()
    assert figure.texts[-1].get_window_extent().x1 <= figure.bbox.x1


def test_letters_of_a_slide_are_larger(figure: Figure) -> None:
    (error,) = [text for text in figure.axes[0].texts if text.get_text() == "error"]
    before = error.get_fontsize()
    figures.slide(figure, "title")
    assert error.get_fontsize() == pytest.approx(1.25 * before)
