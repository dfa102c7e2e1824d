"""F6's state beside the bitmaps that the classic network compares it with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lenet_zoo.figures.canvas import annotate, blank, panel, show, show_picture, widest
from lenet_zoo.figures.theme import check_theme

__all__ = ["ZERO_STATE", "f6"]

ZERO_STATE = 84.0  # y of an F6 of zeros, whatever the bitmap: 84 squares of 1


def f6(
    states: Sequence[Mapping[str, np.ndarray]], codes: np.ndarray, labels: Sequence[str], theme: str = "light"
) -> Figure:
    """F6's state as a 7×12 bitmap beside the bitmaps that the output layer compares it with, one row a picture.

    Below each bitmap stands y, its squared distance to the state (Eq. 7): the smallest is the answer, and is framed.

    Args:
        states: as `layer_states` makes them, of a network with an RBF output.
        codes: classes×84, the bitmaps (±1). Of more than ten classes the ten nearest are drawn.
        labels: the names of the classes.
        theme: 'light' or 'dark'.
    """
    t = check_theme(theme)
    width, height = 0.49, 0.84
    row_height = height + 0.45
    drawn, pitch = min(10, len(codes)), max(width + 0.13, widest(labels, 8) + 0.08)
    figure = blank(0.35 + 0.84 + 0.25 + width + 0.35 + drawn * pitch, row_height * len(states) + 0.3, t)
    for row, state in enumerate(states):
        bottom = row_height * (len(states) - 1 - row) + 0.3
        axes = panel(figure, t, 0.15, bottom, height, height)
        show_picture(axes, state["input"], t)
        left = 0.15 + height + 0.25
        axes_f6 = panel(figure, t, left, bottom, width, height)
        show(axes_f6, state["F6"].reshape(12, 7), t.grey, -1, 1)
        if row == 0:
            axes.set_title("picture", fontsize=8, color=t.ink, pad=4)
            axes_f6.set_title("F6", fontsize=8, color=t.ink, pad=4)
        left += width + 0.35 + (pitch - width - 0.13) / 2
        distances = -state["output"]
        nearest = np.sort(np.argsort(distances, kind="stable")[:drawn])
        for place, i in enumerate(nearest):
            axes = panel(figure, t, left + place * pitch, bottom, width, height)
            show(axes, codes[i].reshape(12, 7), t.grey, -1, 1)
            style: dict[str, Any] = dict(fontsize=8, weight="normal", color=t.ink)
            if i == distances.argmin():
                axes.spines[:].set(color=t.positive, linewidth=2)
                style |= dict(weight="bold", color=t.positive)
            axes.set_title(str(labels[i]), pad=4, **style)
            axes.set_xlabel(f"{distances[i]:.1f}", labelpad=3, **style)
            if place == 0:
                annotate(axes, "y", (0, 0), (-6, -3), va="top", ha="right", fontsize=8, style="italic", color=t.muted)
    return figure
