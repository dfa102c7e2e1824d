"""The course of training: its log, and the error after each epoch."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lenet_zoo.errors import DataError
from lenet_zoo.figures.canvas import blank, panel
from lenet_zoo.figures.paper import paper_fig5
from lenet_zoo.figures.theme import Theme, check_theme

__all__ = ["curves", "read_log"]


def read_log(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The records of a training log, one per epoch.

    Args:
        path: the folder of a run, or its log.jsonl. A last line that is still being written is left out.

    Raises: DataError for a missing or empty log, or lines that are no records of epochs.
    """
    path = Path(path)
    file = path / "log.jsonl" if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"there is no training log {file}: name a folder that `lenet-zoo train --out` made") from None
    except UnicodeDecodeError:
        raise DataError(f"{file} is no training log: it is not text") from None
    records = []
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), 1):
        try:
            record = json.loads(line)
            record["epoch"], record["accuracy"]
        except (ValueError, TypeError, KeyError):
            raise DataError(f"{file}, line {number}: not a record of an epoch as `lenet-zoo train` writes it") from None
        records.append(record)
    if not records:
        raise DataError(f"{file}: no epoch is over yet")
    return records


def curves(logs: Mapping[str, Sequence[Mapping[str, Any]]], paper: bool = False, theme: str = "light") -> Figure:
    """The error after each epoch: on the training set while it trains (dashed), and on whatever was held out.

    Args:
        logs: name → records, as `read_log` gives them: `epoch`, `accuracy`, and where there is one
            `validation_accuracy` or `test_accuracy`.
        paper: with the values of the paper's Fig. 5.
        theme: 'light' or 'dark'.
    """
    t = check_theme(theme)
    figure = blank(5.6, 3.4, t)
    axes = panel(figure, t, 0.6, 0.5, 4.8, 2.7)
    axes.set_prop_cycle(color=t.series)
    last, floor = 0, 100.0
    for name, records in logs.items():
        floor = min(floor, _draw_run(axes, name, records))
        last = max(last, *(record["epoch"] for record in records))
    if paper:
        passes, test, train = zip(*paper_fig5(), strict=True)
        squares: dict[str, Any] = dict(color=t.ink, linewidth=0.8, markersize=5, marker="s")
        axes.plot(passes, test, label="the paper's Fig. 5, test", **squares)
        hollow: dict[str, Any] = dict(linestyle="--", markerfacecolor=t.paper)
        axes.plot(passes, train, label="the paper's Fig. 5, training", **squares, **hollow)
        last, floor = max(last, *passes), min(floor, *train)
    axes.set_xlim(0, last + 1)
    _dress(axes, floor * 0.8, t)
    return figure


def _draw_run(axes: Axes, name: str, records: Sequence[Mapping[str, Any]]) -> float:
    """The lines of one run, in one colour; returns the smallest error in % that is not 0, at most 100."""
    epochs = [record["epoch"] for record in records]
    colour, floor = None, 100.0
    for key, style in (("validation_accuracy", "-"), ("test_accuracy", "-"), ("accuracy", "--")):
        errors = [100 * (1 - record[key]) if key in record else math.nan for record in records]
        if all(math.isnan(error) for error in errors):
            continue
        floor = min([floor, *(error for error in errors if error > 0)])
        # A logarithmic axis has no place for an error of 0.
        drawn = [error if error > 0 else math.nan for error in errors]
        split = key.partition("_")[0] if key != "accuracy" else "training"
        marker = "o" if len(epochs) <= 30 else ""
        style_of: dict[str, Any] = dict(linestyle=style, marker=marker, markersize=3, linewidth=1.4, color=colour)
        (line,) = axes.plot(epochs, drawn, label=f"{name}, {split}", **style_of)
        colour = line.get_color()
    return floor


def _dress(axes: Axes, bottom: float, theme: Theme) -> None:
    """Scales, ticks, labels and legend; the lines must be drawn before."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(ticker.FixedLocator([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]))
    axes.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_ylim(bottom=bottom)
    axes.grid(axis="y", color=theme.muted, linewidth=0.4, alpha=0.4)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(left=True, bottom=True, labelleft=True, labelbottom=True, length=3)
    axes.set_xlabel("epoch", fontsize=9, color=theme.ink)
    axes.set_ylabel("error, %", fontsize=9, color=theme.ink)
    axes.legend(fontsize=8, frameon=False, labelcolor=theme.ink, loc="upper right")
