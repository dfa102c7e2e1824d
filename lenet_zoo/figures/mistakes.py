"""The pictures that a network gets wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lenet_zoo.figures.canvas import blank, panel, show_picture
from lenet_zoo.figures.theme import check_theme

__all__ = ["Mistake", "mistakes", "worst_mistakes"]


@dataclass(frozen=True)
class Mistake:
    """A picture that a network got wrong.

    Attributes:
        index: in the data set, from 0.
        label, answer: the true class and the network's, from 0.
        confidence: in the wrong answer, the softmax over the logits, 0 to 1.
        loss: −log of the confidence in the right class, in nats; the larger, the worse.
    """

    index: int
    label: int
    answer: int
    confidence: float
    loss: float


def worst_mistakes(logits: np.ndarray, labels: np.ndarray) -> list[Mistake]:
    """Every mistake, the worst first.

    Args:
        logits: N×classes, float.
        labels: N integers, the true classes.
    """
    logits = logits.astype(np.float64)
    log_confidence = logits - logits.max(1, keepdims=True)
    log_confidence -= np.log(np.exp(log_confidence).sum(1, keepdims=True))
    answers = logits.argmax(1)
    found = [
        Mistake(
            index=int(i),
            label=int(labels[i]),
            answer=int(answers[i]),
            confidence=float(np.exp(log_confidence[i, answers[i]])),
            loss=float(-log_confidence[i, labels[i]]),
        )
        for i in np.flatnonzero(answers != labels)
    ]
    return sorted(found, key=lambda mistake: (-mistake.loss, mistake.index))


def mistakes(
    found: Sequence[Mistake],
    pictures: np.ndarray,
    labels: Sequence[str],
    marked: Mapping[int, Any] | None = None,
    count: int = 40,
    theme: str = "light",
) -> Figure:
    """A sheet of the worst mistakes: each picture with its index, its true class → the answer, and the confidence.

    Args:
        found: as `worst_mistakes` makes them.
        pictures: N×28×28 uint8, the whole data set; N×3×28×28 in colour.
        labels: the names of the classes.
        marked: indices whose pictures get a frame; for MNIST `paper_fig8()`, what the network of 1998 got wrong.
        count: how many are drawn.
        theme: 'light' or 'dark'.
    """
    t = check_theme(theme)
    columns, width, height = 10, 0.56, 0.56
    drawn = found[:count]
    rows = max(-(-len(drawn) // columns), 1)
    pitch_x, pitch_y, bottom = width + 0.14, height + 0.47, 0.1
    below, arrow, longest = 0.3, "→ ", max(map(len, labels))
    if longest > 2:  # each name gets a line of its own
        below, arrow = below + 0.13, "→\n"
        pitch_x, pitch_y = max(pitch_x, 0.066 * (longest + 2) + 0.1), pitch_y + 0.13
    figure = blank(columns * pitch_x + 0.1, bottom + rows * pitch_y + 0.5, t)
    for i, mistake in enumerate(drawn):
        left = 0.05 + i % columns * pitch_x + (pitch_x - width) / 2
        axes = panel(figure, t, left, bottom + (rows - 1 - i // columns) * pitch_y + below, width, height)
        show_picture(axes, pictures[mistake.index], t)
        if marked and mistake.index in marked:
            axes.spines[:].set(color=t.positive, linewidth=2)
        axes.set_title(str(mistake.index), fontsize=7, color=t.muted, pad=2)
        what = f"{labels[mistake.label]} {arrow}{labels[mistake.answer]}\n{100 * mistake.confidence:.0f} %"
        axes.set_xlabel(what, fontsize=8, color=t.ink, labelpad=2, linespacing=1.1)
    what = f"The worst {len(drawn)} of {len(found)} mistakes" if len(found) > len(drawn) else f"{len(found)} mistakes"
    lines: list[tuple[str, dict[str, Any]]] = [
        (f"{what} on {len(pictures):,} pictures", dict(fontsize=9, weight="bold", color=t.ink))
    ]
    if marked is not None:
        both = sum(mistake.index in marked for mistake in found)
        where = f"Framed: among the {len(marked)} of the paper's Fig. 8, as {both} of all {len(found)} are"
        lines.append((where, dict(fontsize=8, color=t.ink)))
    width, height = figure.get_size_inches()
    for above, (text, style) in zip((0.3, 0.13), lines, strict=False):
        figure.text(0.12 / width, (bottom + rows * pitch_y + above) / height, text, **style)
    return figure
