"""The course of training: its log, and the error after each epoch."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lenet_zoo._files import parse_json, read_regular
from lenet_zoo.errors import DataError
from lenet_zoo.figures.canvas import blank, panel
from lenet_zoo.figures.paper import paper_fig5
from lenet_zoo.figures.theme import Theme, check_theme

__all__ = ["curves", "read_log"]

_MOST_EPOCHS = 2**31 - 1


def read_log(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The records of a training log, one per epoch.

    Args:
        path: the folder of a run, or its log.jsonl. A last line that is still being written is left out.

    Raises: DataError for a missing or empty log, or lines that are no records of epochs.
    """
    path = Path(path)
    file = path / "log.jsonl" if path.is_dir() else path
    try:
        text = read_regular(file).decode("utf-8")
    except FileNotFoundError:
        raise DataError(f"there is no training log {file}: name a folder that `lenet-zoo train --out` made") from None
    except UnicodeDecodeError:
        raise DataError(f"{file} is no training log: it is not text") from None
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None
    records = []
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), 1):
        try:
            record = parse_json(line)
            _check_record(record)
        except (ValueError, TypeError, KeyError):
            raise DataError(f"{file}, line {number}: not a record of an epoch as `lenet-zoo train` writes it") from None
        records.append(record)
    if not records:
        raise DataError(f"{file}: no epoch is over yet")
    return records


def _check_record(record: Any) -> None:
    """Raises: KeyError, TypeError, ValueError unless it holds what `curves` draws."""
    numbers = [record["accuracy"], *(record[key] for key in ("validation_accuracy", "test_accuracy") if key in record)]
    if type(record["epoch"]) is not int or not 1 <= record["epoch"] <= _MOST_EPOCHS:
        raise ValueError("epoch")
    if any(isinstance(number, bool) or not 0 <= number <= 1 for number in numbers):
        raise ValueError("accuracy")


def curves(logs: Mapping[str, Sequence[Mapping[str, Any]]], paper: bool = False, theme: str = "light") -> Figure:
    """The error after each epoch: on the training set while it trains (dashed), and on whatever was held out.

    The axis is logarithmic. An error of 0 % has no place on it, and stands on the lower edge, which is then marked "0".

    Args:
        logs: name → records, as `read_log` gives them: `epoch`, `accuracy`, and where there is one
            `validation_accuracy` or `test_accuracy`.
        paper: with the values of the paper's Fig. 5.
        theme: 'light' or 'dark'.
    """
    t = check_theme(theme)
    lines = 2 * paper + sum(len(_errors(records)) for records in logs.values())
    legend = 0.1 + 0.19 * -(-lines // 2)  # inches above the axes, in two columns
    figure = blank(5.6, 3.3 + legend, t)
    axes = panel(figure, t, 0.6, 0.5, 4.8, 2.7)
    axes.set_prop_cycle(color=t.series)
    positive = [error for records in logs.values() for line in _errors(records).values() for error in line if error > 0]
    if paper:
        positive += [error for _, *both in paper_fig5() for error in both]
    bottom = 0.8 * min(positive, default=100.0)
    zero = any(0 in line for records in logs.values() for line in _errors(records).values())
    bottom *= 0.5 if zero else 1  # room between the smallest error and none
    last = 0
    for name, records in logs.items():
        _draw_run(axes, name, records, bottom)
        last = max(last, *(record["epoch"] for record in records))
    if paper:
        passes, test, train = zip(*paper_fig5(), strict=True)
        squares: dict[str, Any] = dict(color=t.ink, linewidth=0.8, markersize=5, marker="s")
        axes.plot(passes, test, label="the paper's Fig. 5, test", **squares)
        hollow: dict[str, Any] = dict(linestyle="--", markerfacecolor=t.paper)
        axes.plot(passes, train, label="the paper's Fig. 5, training", **squares, **hollow)
        last = max(last, *passes)
    axes.set_xlim(0, last + 1)
    _dress(axes, bottom, zero, t)
    return figure


def _errors(records: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """The error in % after each epoch, NaN where it was not measured, of all that was: by the name in the log."""
    found = {
        key: [100 * (1 - record[key]) if key in record else math.nan for record in records]
        for key in ("validation_accuracy", "test_accuracy", "accuracy")
    }
    return {key: errors for key, errors in found.items() if not all(map(math.isnan, errors))}


def _draw_run(axes: Axes, name: str, records: Sequence[Mapping[str, Any]], bottom: float) -> None:
    """The lines of one run, in one colour; errors of 0 lie at `bottom`."""
    epochs = [record["epoch"] for record in records]
    colour = None
    for key, errors in _errors(records).items():
        drawn = [bottom if error == 0 else error for error in errors]
        split = key.partition("_")[0] if key != "accuracy" else "training"
        marker = "o" if len(epochs) <= 30 else ""
        style_of: dict[str, Any] = dict(linestyle="--" if split == "training" else "-", markersize=3, linewidth=1.4)
        (line,) = axes.plot(
            epochs, drawn, label=f"{name}, {split}", color=colour, marker=marker, clip_on=False, **style_of
        )
        colour = line.get_color()


def _dress(axes: Axes, bottom: float, zero: bool, theme: Theme) -> None:
    """Scales, ticks, labels and legend; the lines must be drawn before. With `zero`, `bottom` is marked so."""
    axes.set_yscale("log")
    ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]
    above = 1.3 * bottom if zero else bottom  # where "0" leaves room
    texts = {tick: f"{tick:g}" for tick in ticks if tick > above} | ({bottom: "0"} if zero else {})
    axes.yaxis.set_major_locator(ticker.FixedLocator([*texts]))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda tick, _: texts.get(tick, "")))
    axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_ylim(bottom=bottom)
    axes.grid(axis="y", color=theme.muted, linewidth=0.4, alpha=0.4)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(left=True, bottom=True, labelleft=True, labelbottom=True, length=3)
    axes.set_xlabel("epoch", fontsize=9, color=theme.ink)
    axes.set_ylabel("error, %", fontsize=9, color=theme.ink)
    axes.legend(
        fontsize=8, frameon=False, labelcolor=theme.ink, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0
    )
