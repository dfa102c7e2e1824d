"""The confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from lenet_zoo.errors import InputError
from lenet_zoo.figures.canvas import annotate, blank, drawable, panel, widest
from lenet_zoo.figures.theme import DARK, Theme, check_theme, mix

__all__ = ["confusion"]

_MOST_WRITTEN = 30  # of more classes, the counts are only shaded: written, they would be too small to read


def confusion(matrix: np.ndarray, labels: Sequence[str], theme: str = "light") -> Figure:
    """A confusion matrix: a row for each true class, a column for each answer, and the error of each class.

    The mistakes are shaded by their number. The right answers are some hundred times as many: they are written but not
    shaded. Of more than 30 classes no count is written.

    Args:
        matrix: classes×classes integers, matrix[true, answer] pictures.
        labels: the names of the classes.
        theme: 'light' or 'dark'.

    Raises: InputError for a matrix that is not classes×classes.
    """
    t = check_theme(theme)
    count, names_of_classes = len(labels), list(map(drawable, labels))
    longest, names = max(map(len, names_of_classes)), max(widest(labels, 8), 0.085)
    if matrix.shape != (count, count):
        raise InputError(f"a confusion matrix of shape {matrix.shape} for {count} classes: it must be {count}×{count}")
    cell = 0.36 if count <= _MOST_WRITTEN else 0.2
    left, bottom, side = 0.45 + names, 0.25, count * cell
    head = 0.35 + (0.1 if longest <= 2 else names)
    figure = blank(left + side + 0.85, bottom + side + head, t)
    axes = panel(figure, t, left, bottom, side, side)
    wrong = matrix.astype(float)
    np.fill_diagonal(wrong, np.nan)
    most = max(float(np.nanmax(wrong)) if count > 1 else 0.0, 1.0)
    wrong_colours = LinearSegmentedColormap.from_list("wrong", [t.paper, t.positive])
    shades = wrong_colours.with_extremes(bad=mix(t.paper, t.muted, 0.2))
    axes.imshow(wrong, cmap=shades, vmin=0, vmax=most, interpolation="none", aspect="auto", extent=(0, count, count, 0))
    for edge in range(1, count):
        axes.axhline(edge, color=t.muted, linewidth=0.2)
        axes.axvline(edge, color=t.muted, linewidth=0.2)
    if count <= _MOST_WRITTEN:
        _write_counts(axes, matrix, most, t)
    axes.tick_params(labelleft=True, labeltop=True, pad=2)
    ticks = [i + 0.5 for i in range(count)]
    axes.set_xticks(ticks, names_of_classes, rotation=90 if longest > 2 else 0)
    axes.set_yticks(ticks, names_of_classes)
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("answer", fontsize=8, color=t.muted, labelpad=3)
    axes.set_ylabel("true class", fontsize=8, color=t.muted, labelpad=3)
    total, right = int(matrix.sum()), int(np.trace(matrix))
    annotate(axes, f"{total - right:,} mistakes of {total:,}", (0, 0), (0, -12), fontsize=8, color=t.ink)
    return figure


def _write_counts(axes: Axes, matrix: np.ndarray, most: float, theme: Theme) -> None:
    """Every count that is not 0, and beside each row the error of its class."""
    count = len(matrix)
    for (true, answer), number in np.ndenumerate(matrix):
        if number:
            style: dict[str, Any] = dict(ha="center", va="center", fontsize=8, color=theme.ink)
            if true != answer:
                # Of the dark page the cells with many mistakes are bright: dark letters are legible on them.
                bright = theme is DARK and number > 0.6 * most
                style |= dict(weight="bold", color=theme.paper if bright else theme.ink)
            axes.text(answer + 0.5, true + 0.5, str(int(number)), **style)
    for true in range(count):
        total = int(matrix[true].sum())
        share = f"{100 * (total - int(matrix[true, true])) / total:.2f} %" if total else "–"
        axes.text(count + 0.2, true + 0.5, share, va="center", fontsize=8, color=theme.ink)
    axes.text(count + 0.2, -0.2, "error", fontsize=8, color=theme.muted)
