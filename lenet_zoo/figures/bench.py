"""A benchmark: its file, and its bars."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any

from matplotlib.figure import Figure

from lenet_zoo._files import parse_json, read_regular
from lenet_zoo.errors import DataError
from lenet_zoo.figures.canvas import blank, drawable, panel
from lenet_zoo.figures.theme import check_theme

__all__ = ["bench", "read_bench"]

_MOST = 2**31 - 1  # threads, and pictures of a batch


def read_bench(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `lenet-zoo bench inference --json` printed into a file.

    Raises: DataError for a missing file, and for another document.
    """
    path = Path(path)
    remedy = "`lenet-zoo bench inference --json > FILE` makes one"
    try:
        document = parse_json(read_regular(path))
        if not document["rows"] or not _is(document["machine"], dict) or not _is(document["rounds"], int):
            raise ValueError
        for row in document["rows"]:
            # Each number of threads and each batch size is a panel of its own.
            counts = [row["threads"], row["batch"]]
            if not all(_is(count, int) and 1 <= count <= _MOST for count in counts) or not _is(row["name"], str):
                raise ValueError
            if not _is(row["pictures_per_second"], int | float) or not 0 < row["pictures_per_second"] < 1e15:
                raise ValueError
        if not _is(document["model"], str) or len({(row["threads"], row["batch"]) for row in document["rows"]}) > 100:
            raise ValueError
    except FileNotFoundError:
        raise DataError(f"there is no benchmark {path}: {remedy}") from None
    except (ValueError, TypeError, KeyError):
        raise DataError(f"{path} is not a benchmark: {remedy}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    return document


def _is(value: object, kind: type | UnionType) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def bench(document: Mapping[str, Any], theme: str = "light") -> Figure:
    """Pictures per second of each contestant, a panel for each number of threads and batch size.

    Args:
        document: as `read_bench` gives it, or a `lenet_zoo.bench.inference.Inference` as a dictionary.
        theme: 'light' or 'dark'.
    """
    t = check_theme(theme)
    rows = document["rows"]
    threads, batches = (sorted({row[key] for row in rows}) for key in ("threads", "batch"))
    names = list(dict.fromkeys(row["name"] for row in rows))
    width, height, names_width = 1.75, 0.24 * len(names), 0.07 * max(map(len, map(drawable, names))) + 0.15
    figure = blank(names_width + len(batches) * (width + 0.2) + 0.1, len(threads) * (height + 0.45) + 0.7, t)
    all_rates = {(row["threads"], row["batch"], row["name"]): row["pictures_per_second"] for row in rows}
    colours = [t.positive if name.startswith("ours") else t.muted for name in names]
    for i, count in enumerate(threads):
        for j, batch in enumerate(batches):
            bottom = 0.5 + (len(threads) - 1 - i) * (height + 0.45)
            axes = panel(figure, t, names_width + j * (width + 0.2), bottom, width, height)
            rates = [all_rates.get((count, batch, name), 0.0) for name in names]
            bars = axes.barh(range(len(names)), rates, color=colours, height=0.7)
            written = [_thousands(rate) if rate else "–" for rate in rates]
            axes.bar_label(bars, written, padding=3, fontsize=8, color=t.ink)
            axes.set(xlim=(0, 1.3 * max(rates)), ylim=(len(names) - 0.5, -0.5))
            axes.spines[["top", "right", "bottom"]].set_visible(False)
            title = f"{count} thread{'s' * (count > 1)}, batch {batch:,}"
            axes.set_title(title, fontsize=8, color=t.ink, pad=4, loc="left")
            if j == 0:
                axes.tick_params(labelleft=True)
                axes.set_yticks(range(len(names)), list(map(drawable, names)))
    whole_width, whole_height = figure.get_size_inches()
    heading = f"{document['model']}: pictures per second"
    figure.text(0.1 / whole_width, 1 - 0.22 / whole_height, heading, fontsize=9, weight="bold", color=t.ink)
    machine = document["machine"]
    versions = ", ".join(f"{name} {machine[name]}" for name in ("torch", "onnxruntime") if name in machine)
    processor = machine.get("processor", "unknown processor")
    lines = f"{processor}, {versions}\nmedian of {document['rounds']} interleaved rounds"
    figure.text(0.1 / whole_width, 0.1 / whole_height, lines, fontsize=7.5, color=t.muted, va="bottom", linespacing=1.3)
    return figure


def _thousands(rate: float) -> str:
    return f"{rate / 1000:,.0f} k" if rate >= 9_950 else f"{rate / 1000:.1f} k" if rate >= 1_000 else f"{rate:.0f}"
