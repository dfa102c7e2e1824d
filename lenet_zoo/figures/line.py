"""A line of digits, the network's answers along it, and the number that is read from them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from lenet_zoo.classify.decoding import FIRST, STEP, spans
from lenet_zoo.figures.canvas import annotate, blank, drawable, panel, widest
from lenet_zoo.figures.theme import Theme, check_theme

__all__ = ["line"]

_PIXEL = 0.035  # inches, of the strip; less where it would be wider than a page
_WIDEST = 9.0
# Inches: room for the names of the classes, and below them; the height of one class.
_LEFT, _FOOT, _ROW = 0.5, 0.36, 0.13
_LEGEND = "the network's output every 2 px: a full colour is a probability of 1"


def line(
    pixels: NDArray[np.uint8],
    answers: NDArray[np.float64],
    labels: Sequence[str],
    classes: Sequence[int],
    theme: str = "light",
) -> Figure:
    """A line as a space displacement network reads it, after the paper's Fig. 25.

    From above: the digits that were read, with the probability of each; the strip that the network got; its output at
    every position, a row for each class, the last for "none", from paper (0) to orange (1). A frame marks where each
    digit of the answer stands.

    Args:
        pixels: the strip, uint8 28×W, 0 background and 255 ink.
        answers: T×classes logarithms of probabilities, one every 2 px, as `OnnxReader.log_probabilities` gives them.
        labels: the names of the classes, of which the last is "none".
        classes: the text that was read, in classes; empty for no number.
        theme: 'light' or 'dark'.
    """
    t = check_theme(theme)
    height, columns = pixels.shape
    scale = min(_PIXEL, _WIDEST / columns)
    width, strip, rows = columns * scale, height * scale, _ROW * len(labels)
    whole = max(_LEFT + width + 0.15, widest([_LEGEND], 8) + 0.5)  # a line of a few digits is not as wide as its legend
    left = max(_LEFT, (whole - width) / 2)
    figure = blank(whole, _FOOT + rows + 0.12 + strip + 0.5, t)
    above = panel(figure, t, left, _FOOT + rows + 0.12, width, strip)
    above.imshow(pixels, cmap=t.grey, vmin=0, vmax=255, interpolation="none", aspect="auto", extent=(0, columns, 28, 0))
    below = panel(figure, t, left, _FOOT, width, rows)
    edges = FIRST - STEP / 2 + STEP * np.array([0, len(answers)])
    below.imshow(
        np.exp(answers.T),
        cmap=t.heat,
        vmin=0,
        vmax=1,
        interpolation="none",
        aspect="auto",
        extent=(*edges, len(labels) - 0.5, -0.5),
    )
    below.set(xlim=(0, columns), ylim=(len(labels) - 0.5, -0.5))
    below.tick_params(labelleft=True)
    below.set_yticks(range(len(labels)), list(map(drawable, labels)), fontsize=7)
    below.set_xlabel(_LEGEND, fontsize=8, color=t.ink, labelpad=4)
    _mark(above, below, answers, labels, classes, t)
    return figure


def _mark(
    above: Axes, below: Axes, answers: NDArray[np.float64], labels: Sequence[str], classes: Sequence[int], theme: Theme
) -> None:
    """Frame each digit of the answer where it stands, and write it above the strip."""
    for label, (first, last) in zip(classes, spans(answers, classes) if classes else (), strict=True):
        left, right = (FIRST + STEP * at for at in (first - 0.5, last + 0.5))
        style: dict[str, object] = dict(fill=False, edgecolor=theme.ink, linewidth=0.8, clip_on=False)
        below.add_patch(Rectangle((left, label - 0.5), right - left, 1, **style))  # type: ignore[arg-type]
        place = ((left + right) / 2 / above.get_xlim()[1], 1.0)
        sure = float(np.exp(answers[first : last + 1, label].max()))
        annotate(above, drawable(labels[label]), place, (0, 15), ha="center", fontsize=13, color=theme.ink)
        written = "> 99 %" if sure > 0.99 else f"{100 * sure:.0f} %"  # never rounded up to a certainty
        annotate(above, written, place, (0, 5), ha="center", fontsize=6.5, color=theme.muted)
    if not classes:
        annotate(above, "no number", (0.5, 1.0), (0, 12), ha="center", fontsize=10, color=theme.ink)
