"""From 1998 to today, one switch at a time: the file that `examples/ablate.py` writes, and its picture."""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from lenet_zoo._files import parse_json, read_regular
from lenet_zoo.errors import DataError
from lenet_zoo.figures.canvas import blank, drawable, panel
from lenet_zoo.figures.theme import check_theme

__all__ = ["ablation", "read_ablation"]


def read_ablation(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `examples/ablate.py` wrote.

    Raises: DataError for a missing file, and for another document.
    """
    remedy = "`python examples/ablate.py --out FILE` makes one"
    try:
        document = parse_json(read_regular(Path(path)))
        rows = document["rows"]
        if not rows or not isinstance(document["machine"], str):
            raise ValueError
        for row in rows.values():
            if not isinstance(row["switch"], str) or not row["errors"]:
                raise ValueError
            if not all(type(error) in (int, float) and 0 <= error <= 100 for error in row["errors"]):
                raise ValueError
    except FileNotFoundError:
        raise DataError(f"there is no table of switches {path}: {remedy}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DataError(f"{path} is no table of switches: {remedy}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    return document


def ablation(document: Mapping[str, Any], theme: str = "light") -> Figure:
    """The test error of each network: a dot for each seed, a tick at the mean, and a line one deviation to each side.

    Args:
        document: as `read_ablation` gives it.
        theme: 'light' or 'dark'.
    """
    t = check_theme(theme)
    rows = list(document["rows"].values())
    pitch, names = 0.25, 3.6
    height = pitch * len(rows)
    figure = blank(names + 3.5, height + 0.75, t)
    axes = panel(figure, t, names, 0.6, 3.3, height)
    for place, row in enumerate(rows):
        errors = row["errors"]
        mean, spread = statistics.fmean(errors), statistics.stdev(errors) if len(errors) > 1 else 0.0
        axes.plot([mean - spread, mean + spread], [place, place], color=t.series[0], linewidth=4, alpha=0.45)
        axes.plot(errors, [place] * len(errors), "o", color=t.muted, markersize=3, alpha=0.8, linestyle="none")
        axes.plot([mean], [place], marker="|", markersize=11, markeredgewidth=2, color=t.ink)
    axes.set(xlim=(0, None), ylim=(len(rows) - 0.4, -0.6))
    axes.set_yticks(range(len(rows)), [drawable(row["switch"].replace("`", "")) for row in rows], fontsize=8)
    axes.grid(axis="x", color=t.muted, linewidth=0.4, alpha=0.4)
    axes.tick_params(labelleft=True, labelbottom=True, bottom=True, length=3)
    axes.set_xlabel("test error in %; each row keeps the switches above it", fontsize=8, color=t.ink)
    return figure
