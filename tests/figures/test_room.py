"""Names of classes have room, those too that are written with more letters than they have."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

import lenet_zoo
from lenet_zoo import figures

# matplotlib's font has no characters for the first, which becomes U+4F60U+597D, and the second is all wide ones.
NAMES = ("你好", "MWMWMWMW", " ", "é")


def boxes(figure: Figure, texts: Iterable[Text]) -> list[Bbox]:
    """Where texts are drawn, in pixels."""
    figure.draw_without_rendering()
    return [text.get_window_extent() for text in texts if text.get_text().strip()]


@pytest.fixture
def states(picture: np.ndarray) -> dict[str, np.ndarray]:
    return figures.layer_states(lenet_zoo.create_model("lenet5_classic", num_classes=len(NAMES)), picture)


def test_confusion_cuts_no_name_off() -> None:
    figure = figures.confusion(np.eye(len(NAMES), dtype=int), NAMES)
    (axes,) = figure.axes
    labels = [axes.xaxis.label, axes.yaxis.label]
    for box in boxes(figure, [*axes.get_xticklabels(), *axes.get_yticklabels(), *labels]):
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1


@pytest.mark.parametrize("likeliest", range(2))  # its name is bold
def test_maps_write_no_name_across_f6(states: dict[str, np.ndarray], likeliest: int) -> None:
    states["output"] = np.eye(len(NAMES))[likeliest]
    figure = figures.maps(states, NAMES)
    *_, f6, _, answers = figure.axes
    assert f6.get_window_extent().width < 250  # the panel, not the key below
    assert min(box.x0 for box in boxes(figure, answers.get_yticklabels())) >= f6.get_window_extent().x1


@pytest.mark.parametrize("likeliest", range(2))
def test_f6_writes_no_name_across_another(states: dict[str, np.ndarray], likeliest: int) -> None:
    states["output"] = np.eye(len(NAMES))[likeliest]
    figure = figures.f6([states], np.ones((len(NAMES), 84)), NAMES)
    written = boxes(figure, (axes.title for axes in figure.axes))
    assert not any(left.overlaps(right) for left, right in itertools.combinations(written, 2))
    assert max(box.x1 for box in written) <= figure.bbox.x1


def test_mistakes_write_no_name_across_another() -> None:
    found = figures.worst_mistakes(np.eye(len(NAMES))[[1, 0]], np.array([0, 1]))
    figure = figures.mistakes(found, np.zeros((2, 28, 28), np.uint8), NAMES)
    left, right = boxes(figure, (axes.xaxis.label for axes in figure.axes))
    assert not left.overlaps(right)


@pytest.mark.parametrize("smallest", [0.05, 0.021, 0.5])  # per cent
def test_no_error_at_all_has_a_mark_of_its_own(smallest: float) -> None:
    records = [dict(epoch=1, accuracy=1 - smallest / 100), dict(epoch=2, accuracy=1.0)]
    figure = figures.curves({"run": records})
    marks = [text for text in figure.axes[0].get_yticklabels() if text.get_text()]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes(figure, marks), 2))
    assert "0" in [text.get_text() for text in marks]


@pytest.mark.parametrize("columns", [28, 104, 150])
def test_a_short_line_cuts_no_legend_off(columns: int) -> None:
    figure = figures.line(np.zeros((28, columns), np.uint8), np.zeros((5, 2)), ["7", "none"], ())
    (box,) = boxes(figure, [figure.axes[1].xaxis.label])
    assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
