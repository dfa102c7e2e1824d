"""The kernels of C1 and C3."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from lenet_zoo.figures.canvas import annotate, blank, frame_tiles, panel, sheet, show
from lenet_zoo.figures.theme import Theme, check_theme

__all__ = ["filters"]


def filters(kernels: Mapping[str, np.ndarray], theme: str = "light") -> Figure:
    """C1's kernels, and C3's laid out as Table I is: a column for each of its maps, a row for each map of S2.

    Args:
        kernels: as `kernels` makes them. Each layer has a colour scale of its own.
        theme: 'light' or 'dark'.
    """
    t = check_theme(theme)
    c1, c3 = kernels["C1"], kernels["C3"]
    channels = c1.shape[1]
    cell = 0.36  # inches
    left, c3_bottom = 0.75, 0.2
    c1_bottom = c3_bottom + 6 * cell + 0.62
    figure = blank(left + 16 * cell + 1.0, c1_bottom + channels * cell + 0.45, t)
    for name, weights, bottom, columns, rows in (("C1", c1, c1_bottom, 6, channels), ("C3", c3, c3_bottom, 16, 6)):
        axes = panel(figure, t, left, bottom, columns * cell, rows * cell)
        limit = float(np.nanmax(np.abs(weights)))
        tiles = weights.transpose(1, 0, 2, 3).reshape(-1, 5, 5)
        show(axes, sheet(tiles, columns), t.signed, -limit, limit)
        present = [i for i in range(len(tiles)) if not np.isnan(tiles[i, 0, 0])]
        frame_tiles(axes, t, present, rows, columns, 5, linewidth=0.4)
        axes.tick_params(labeltop=True, labelleft=True, pad=1)
        axes.set_xticks([24 * i + 9.5 for i in range(columns)], [str(i) for i in range(columns)])
        axes.set_yticks([24 * i + 9.5 for i in range(rows)], [str(i) for i in range(rows)])
        axes.set_ylabel("S2's map" if name == "C3" else "channel", fontsize=8, color=t.ink)
        heading = f"{name}: {len(present)} kernels 5×5" + (", one column a map" if name == "C3" else "")
        annotate(axes, heading, (0, 1), (0, 15), fontsize=9, weight="bold", color=t.ink)
        _colour_bar(figure, panel(figure, t, left + columns * cell + 0.2, bottom, 0.1, rows * cell), limit, t)
    return figure


def _colour_bar(figure: Figure, axes: Axes, limit: float, theme: Theme) -> None:
    bar = figure.colorbar(mpl.cm.ScalarMappable(Normalize(-limit, limit), theme.signed), cax=axes)
    bar.outline.set(color=theme.muted, linewidth=0.5)
    bar.set_ticks([-limit, 0, limit], labels=[f"−{limit:.2f}", "0", f"+{limit:.2f}"])
    bar.ax.tick_params(length=2, labelsize=7, colors=theme.ink, labelright=True, right=True)
