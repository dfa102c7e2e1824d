"""The pictures that a network gets wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from lenet_zoo.cards import Confidence
from lenet_zoo.classify.confidence import probabilities
from lenet_zoo.figures.canvas import blank, drawable, panel, show_picture, widest
from lenet_zoo.figures.theme import check_theme

__all__ = ["Mistake", "mistakes", "worst_mistakes"]


@dataclass(frozen=True)
class Mistake:
    """A picture that a network got wrong.

    Attributes:
        index: in the data set, from 0.
        label, answer: the true class and the network's, from 0.
        confidence: in the wrong answer, 0 to 1.
        loss: cross-entropy of the softmax over the logits, in nats; the larger, the worse.
        penalty: of the wrong answer, y of the paper's Eq. 7: its negative logit.
        margin: by how much the penalty of the next best class is larger.
    """

    index: int
    label: int
    answer: int
    confidence: float
    loss: float
    penalty: float | None = None
    margin: float | None = None


def worst_mistakes(logits: np.ndarray, labels: np.ndarray, confidence: Confidence | None = None) -> list[Mistake]:
    """Every mistake, the worst first.

    Args:
        logits: N×classes, float, of at least two classes.
        labels: N integers, the true classes.
        confidence: the card's, by which logits become probabilities; None for the plain softmax.
    """
    logits = logits.astype(np.float64)
    answers = logits.argmax(1)
    next_best, best = np.sort(logits, 1)[:, -2:].T
    sure = probabilities(logits.copy(), confidence)
    losses = np.log(np.exp(logits - best[:, None]).sum(1, keepdims=True)) + best[:, None] - logits
    found = [
        Mistake(
            index=int(i),
            label=int(labels[i]),
            answer=int(answers[i]),
            confidence=float(sure[i, answers[i]]),
            loss=float(losses[i, labels[i]]),
            penalty=float(-best[i]),
            margin=float(best[i] - next_best[i]),
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
    penalties: bool = False,
) -> Figure:
    """A sheet of the worst mistakes: each picture with its index, its true class → the answer, and how sure it is.

    Args:
        found: as `worst_mistakes` makes them.
        pictures: N×28×28 uint8, the whole data set; N×3×28×28 in colour.
        labels: the names of the classes.
        marked: indices whose pictures get a frame; for MNIST `paper_fig8()`, what the network of 1998 got wrong.
        count: how many are drawn.
        theme: 'light' or 'dark'.
        penalties: for an RBF output: below each picture stand y, the penalty of the answer, and by how much that of the
            next best class is larger, in place of the confidence.
    """
    t = check_theme(theme)
    columns, width, height = 10, 0.56, 0.56
    drawn = found[:count]
    rows = max(-(-len(drawn) // columns), 1)
    pitch_x, pitch_y, bottom = width + 0.14, height + 0.47, 0.1
    below, arrow, longest = 0.3, "→ ", max(len(drawable(name)) for name in labels)
    if longest > 2:  # each name gets a line of its own
        below, arrow = below + 0.13, "→\n"
        pitch_x, pitch_y = max(pitch_x, widest((f"{name} →" for name in labels), 8) + 0.1), pitch_y + 0.13
    figure = blank(columns * pitch_x + 0.1, bottom + rows * pitch_y + (0.67 if penalties else 0.5), t)
    for i, mistake in enumerate(drawn):
        left = 0.05 + i % columns * pitch_x + (pitch_x - width) / 2
        axes = panel(figure, t, left, bottom + (rows - 1 - i // columns) * pitch_y + below, width, height)
        show_picture(axes, pictures[mistake.index], t)
        if marked and mistake.index in marked:
            axes.spines[:].set(color=t.positive, linewidth=2)
        axes.set_title(str(mistake.index), fontsize=7, color=t.muted, pad=2)
        sure = f"{100 * mistake.confidence:.0f} %"
        if penalties:
            sure = f"{mistake.penalty:.0f}, +{mistake.margin:.0f}"
        what = f"{labels[mistake.label]} {arrow}{labels[mistake.answer]}\n{sure}"
        axes.set_xlabel(what, fontsize=8, color=t.ink, labelpad=2, linespacing=1.1)
    width, height = figure.get_size_inches()
    for line, (text, style) in enumerate(_heading(found, len(drawn), len(pictures), marked, penalties)):
        figure.text(0.12 / width, 1 - (0.2 + 0.17 * line) / height, text, color=t.ink, **style)
    return figure


def _heading(
    found: Sequence[Mistake], drawn: int, total: int, marked: Mapping[int, Any] | None, penalties: bool
) -> list[tuple[str, dict[str, Any]]]:
    """The lines above the sheet, and how each is written."""
    what = f"The worst {drawn} of {len(found)} mistakes" if len(found) > drawn else f"{len(found)} mistakes"
    lines: list[tuple[str, dict[str, Any]]] = [(f"{what} on {total:,} pictures", dict(fontsize=9, weight="bold"))]
    if marked is not None:
        both = sum(mistake.index in marked for mistake in found)
        where = f"Framed: among the {len(marked)} of the paper's Fig. 8, as {both} of all {len(found)} are"
        lines.append((where, dict(fontsize=8)))
    if penalties:
        lines.append(("Below: y of the answer, and how much larger y of the next best class is", dict(fontsize=8)))
    return lines
