"""One picture on its way through a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lenet_zoo.cards import Confidence
from lenet_zoo.classify.confidence import probabilities
from lenet_zoo.figures.canvas import annotate, blank, drawable, frame_tiles, panel, sheet, show, show_picture, widest
from lenet_zoo.figures.theme import Theme, check_theme

__all__ = ["maps"]

_HEIGHT = 1.7
# (layer, columns, width in inches, height in inches)
_PANELS = (
    ("input", 1, 0.9, 0.9),
    ("C1", 2, 1.13, _HEIGHT),
    ("S2", 2, 0.8, 1.2),
    ("C3", 4, 1.25, 1.25),
    ("S4", 4, 0.9, 0.9),
    ("C5", 8, 0.8, 1.5),
    ("F6", 7, 0.99, _HEIGHT),
)


def maps(
    states: Mapping[str, np.ndarray],
    labels: Sequence[str],
    theme: str = "light",
    confidence: Confidence | None = None,
) -> Figure:
    """One picture on its way through a network: the maps of C1 … S4, C5's and F6's units, and the answer.

    F6's 84 units stand in 12 rows of 7, as the bitmaps do that the classic network compares them with. Each layer is
    drawn on its own scale, from −m to m, where m, which stands below it, is its largest magnitude. A picture in colour
    is shown in its colours.

    Args:
        states: as `layer_states` makes them.
        labels: the names of the classes.
        theme: 'light' or 'dark'.
        confidence: the card's, by which logits become the probabilities of the answer; None for the plain softmax.
    """
    t = check_theme(theme)
    low, gap = 0.5, 0.17
    bars = 0.9
    label_width = max(widest(labels, 8) - 0.05, 0.1)  # of the gap before them they may take a little
    width = 0.1 + sum(panel_width + gap for _, _, panel_width, _ in _PANELS) + label_width + bars + 0.35
    figure = blank(width, low + _HEIGHT + 0.45, t)
    left = 0.1
    for name, columns, panel_width, panel_height in _PANELS:
        values = states[name]
        axes = panel(figure, t, left, low + (_HEIGHT - panel_height) / 2, panel_width, panel_height)
        size = "×".join(map(str, values.shape[-2:]))
        if values.ndim == 3:
            size = f"{len(values)}@{size}"
        limit = float(np.abs(values).max()) or 1.0
        if name == "input":
            show_picture(axes, values, t)
        elif values.ndim == 3:
            show(axes, sheet(values, columns), t.signed, -limit, limit)
            frame_tiles(axes, t, range(len(values)), -(-len(values) // columns), columns, values.shape[1])
        else:
            show(axes, values.reshape(-1, columns), t.signed, -limit, limit)
        if name != "input":
            annotate(axes, f"±{limit:.2g}", (0.5, 0), (0, -9), ha="center", fontsize=7, color=t.muted)
        for line, above in ((name, 14), (size, 4)):
            annotate(axes, line, (0.5, 1), (0, above), ha="center", fontsize=8, color=t.ink)
        left += panel_width + gap
    _key(panel(figure, t, 0.1, 0.26, 0.9, 0.1), t)
    _answer_bars(panel(figure, t, left + label_width, low, bars, _HEIGHT), states["output"], labels, t, confidence)
    return figure


def _key(axes: Axes, theme: Theme) -> None:
    """What the colours of the layers stand for."""
    axes.imshow(np.linspace(-1, 1, 101)[None], cmap=theme.signed, interpolation="none", aspect="auto")
    for place, text in ((0, "−m"), (0.5, "0"), (1, "+m")):
        annotate(axes, text, (place, 0), (0, -9), ha="center", fontsize=7, color=theme.ink)


def _answer_bars(
    axes: Axes,
    logits: np.ndarray,
    labels: Sequence[str],
    theme: Theme,
    confidence: Confidence | None,
    most: int = 12,
) -> None:
    """The confidence in each class; of more than `most` classes, in the `most` likeliest."""
    shown = np.sort(np.argsort(-logits, kind="stable")[:most])
    confidences = probabilities(logits.astype(np.float64)[None], confidence)[0, shown]
    best = int(confidences.argmax())
    colours = [theme.positive if i == best else theme.muted for i in range(len(shown))]
    axes.barh(range(len(shown)), confidences, color=colours, height=0.7)
    axes.set(xlim=(0, 1), ylim=(len(shown) - 0.5, -0.5))
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(labelleft=True, labelbottom=True, bottom=True, length=2)
    axes.set_yticks(range(len(shown)), [drawable(labels[i]) for i in shown], fontsize=8)
    axes.get_yticklabels()[best].set_fontweight("bold")
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"], fontsize=7)
    axes.set_title("confidence", fontsize=8, color=theme.ink, pad=4)
