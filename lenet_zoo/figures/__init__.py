"""Pictures of the networks and of what they do: data in, a matplotlib figure out, and `save` to put it in a file.

    from lenet_zoo import create_model, digit_from_image, figures

    model = create_model("lenet5_classic", pretrained=True)
    states = figures.layer_states(model, digit_from_image(PIL.Image.open("seven.png")))
    figures.save(figures.maps(states, model.pretrained_cfg["label_names"]), "maps.svg")

One colour code for all of them: zero is the paper's colour, blue is negative and orange positive (from the palette of
Okabe and Ito, which colour-blind readers can tell apart). Every figure is made for a light or for a dark page, with its
background painted, so that it is legible wherever it lands. The same data give the same bytes.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lenet_zoo._files import atomic_path
from lenet_zoo.errors import DataError, InputError, MissingExtraError, did_you_mean

try:
    import matplotlib as mpl
    import matplotlib.ticker
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize, to_rgb
    from matplotlib.figure import Figure
    from matplotlib.patches import Polygon, Rectangle
except ImportError as error:
    raise MissingExtraError("pictures are drawn by matplotlib: pip install 'lenet-zoo[plots]'") from error

if TYPE_CHECKING:
    from torch import nn

    from lenet_zoo.models._base import LeNet5
    from lenet_zoo.models.layers import Layer

__all__ = [
    "DARK",
    "LIGHT",
    "THEMES",
    "Mistake",
    "Theme",
    "architecture",
    "bench",
    "bitmaps",
    "check_target",
    "check_theme",
    "confusion",
    "curves",
    "f6",
    "filters",
    "input_side",
    "kernels",
    "layer_states",
    "maps",
    "mistakes",
    "paper_fig5",
    "paper_fig8",
    "read_bench",
    "read_log",
    "save",
    "worst_mistakes",
]

_PAPER = Path(__file__).parents[1] / "paper1998"
_SUFFIXES = (".svg", ".pdf", ".png")


@dataclass(frozen=True)
class Theme:
    """The colours of a page: its `paper`, the `ink` on it, `muted` ink, and what stands for values and series."""

    paper: str
    ink: str
    muted: str
    negative: str
    positive: str
    series: tuple[str, ...]


LIGHT = Theme("#ffffff", "#1a1a1a", "#5c6066", "#0072b2", "#d55e00", ("#0072b2", "#d55e00", "#009e73", "#cc79a7"))
DARK = Theme("#131416", "#e8e8e8", "#a9adb3", "#56b4e9", "#e69f00", ("#56b4e9", "#e69f00", "#009e73", "#cc79a7"))
THEMES = {"light": LIGHT, "dark": DARK}


def check_target(path: str | os.PathLike[str]) -> Path:
    """The path, if a figure can be meant to go there.

    Raises: InputError for another suffix than .svg, .pdf and .png, and for a folder that does not exist.
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        found = repr(path.suffix) if path.suffix else "no suffix"
        raise InputError(f"{path}: a figure is written as {', '.join(_SUFFIXES)}, and this name has {found}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}")
    return path


def check_theme(theme: str) -> Theme:
    """The theme of that name.

    Raises: InputError for another name than 'light' and 'dark'.
    """
    if theme not in THEMES:
        raise InputError(f"no theme called {theme!r}.{did_you_mean(theme, THEMES)} There are {' and '.join(THEMES)}")
    return THEMES[theme]


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as .svg, .pdf or .png, by the suffix, in one step; returns the path.

    Raises:
        InputError: see `check_target`.
        OSError: a target that cannot be written; an old file there stays as it was.
    """
    path = check_target(path)
    kind = path.suffix.lower().removeprefix(".")
    # Letters as outlines look the same on every machine. No date and no random ids: the same figure, the same bytes.
    fixed: Any = {"svg.hashsalt": "lenet-zoo", "svg.fonttype": "path", "pdf.fonttype": 42}
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    with mpl.rc_context(fixed), atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=200, metadata=metadata)
    return path


# ----------------------------------------------------------------------------------------------- data for the figures


def kernels(model: nn.Module) -> dict[str, np.ndarray]:
    """The kernels of C1 (6×channels×5×5) and C3 (16×6×5×5) as float32; NaN where Table I has no connection."""
    import torch

    from lenet_zoo.models import LeNet5Classic

    network = _network(model)
    c3: Any = network.C3
    if isinstance(network, LeNet5Classic):
        absent = torch.ones(16 * 6, dtype=torch.bool)
        absent[network.C3.connection.cpu()] = False
        kernels = network.C3.dense_weight().cpu().masked_fill(absent.view(16, 6, 1, 1), math.nan)
    else:
        kernels = c3.weight.cpu()
    return {"C1": network.C1.weight.detach().float().cpu().numpy(), "C3": kernels.detach().float().numpy()}


def layer_states(model: nn.Module, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """What every layer answers to one picture, after its squashing function.

    Args:
        model: a network of the zoo.
        pixels: uint8 28×28, 0 background and 255 ink.

    Returns: 'input' 28×28 uint8; float32 C1 6×28×28, S2 6×14×14, C3 16×10×10, S4 16×5×5, C5 120, F6 84; 'output', the
        logits.

    Raises: InputError for another module, or pixels of another shape or dtype.
    """
    import torch

    network = _network(model)
    if pixels.shape != (28, 28) or pixels.dtype != np.uint8:
        raise InputError(f"a picture of shape {pixels.shape} and dtype {pixels.dtype}: give one of 28×28 in uint8")
    cfg: Any = network.pretrained_cfg
    like = network.C1.weight
    mean, std = (torch.tensor(cfg[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    x = ((torch.from_numpy(pixels).float() / 255 - mean) / std).expand(1, network.in_chans, -1, -1)
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            features, layers = network.forward_intermediates(x.to(like.device, like.dtype))
            hidden = network.forward_head(features, pre_logits=True)
            tensors = dict(zip(("C1", "S2", "C3", "S4", "C5"), layers, strict=True))
            tensors |= {"F6": hidden, "output": network.forward_head(features)}
    finally:
        network.train(was_training)
    found = {name: tensor[0].float().cpu().numpy() for name, tensor in tensors.items()}
    found["C5"] = found["C5"].reshape(-1)
    return {"input": pixels, **found}


def bitmaps(model: nn.Module) -> np.ndarray:
    """The output layer's codes, classes×84 float32 of ±1.

    Raises: InputError for a network without an RBF output.
    """
    from lenet_zoo.models.lenet5_classic import RBF

    output = _network(model).output
    if not isinstance(output, RBF):
        raise InputError("F6 is compared with bitmaps in lenet5_classic alone: `maps` shows F6 of any network")
    return output.weight.float().cpu().numpy()


def input_side(model: nn.Module) -> int:
    """Height and width of the field that C1's kernels sweep, with the border that the classic network adds."""
    from lenet_zoo.models import LeNet5Classic

    network = _network(model)
    border = network.pad.padding[0] if isinstance(network, LeNet5Classic) else 0
    return network.smallest_input + 2 * border


def _network(model: nn.Module) -> LeNet5:
    from lenet_zoo.models._base import LeNet5

    if not isinstance(model, LeNet5):
        raise InputError(f"the figures are of the zoo's networks, not of {type(model).__name__}")
    return model


@dataclass(frozen=True)
class Mistake:
    """A picture that a network got wrong.

    Attributes:
        index: in the data set, from 0.
        label, answer: classes.
        confidence: of the wrong answer, the softmax over the logits.
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
        logits: N×classes.
        labels: N.
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


def paper_fig5() -> list[tuple[int, float, float]]:
    """Fig. 5 of the paper, training without distortions: (pass, test error in %, training error in %)."""
    return [(int(n), float(test), float(train)) for n, test, train in _table("fig5_errors.txt")]


def paper_fig8() -> dict[int, tuple[int, int]]:
    """Fig. 8 of the paper, the 82 test digits that its network got wrong: index → (label, the network's answer)."""
    return {int(index): (int(label), int(answer)) for index, label, answer in _table("fig8_mistakes.txt")}


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


def read_bench(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What `lenet-zoo bench inference --json` printed into a file.

    Raises: DataError for a missing file, and for another document.
    """
    path = Path(path)
    remedy = "`lenet-zoo bench inference --json > FILE` makes one"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        document["model"], document["rounds"], dict(document["machine"])
        for row in document["rows"]:
            _ = (row["name"], int(row["threads"]), int(row["batch"]), float(row["pictures_per_second"]))
    except FileNotFoundError:
        raise DataError(f"there is no benchmark {path}: {remedy}") from None
    except (ValueError, TypeError, KeyError):
        raise DataError(f"{path} is not a benchmark: {remedy}") from None
    return document


def _table(name: str) -> list[list[str]]:
    lines = (_PAPER / name).read_text(encoding="utf-8").splitlines()
    return [line.split() for line in lines if line and not line.startswith("#")]


# ------------------------------------------------------------------------------------------------- what they all share


def _figure(width: float, height: float, theme: Theme) -> Figure:
    """An empty figure, in inches, on the theme's paper."""
    return Figure(figsize=(width, height), facecolor=theme.paper)


def _panel(figure: Figure, theme: Theme, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place given in inches from the lower left corner, without ticks."""
    whole_width, whole_height = figure.get_size_inches()
    place = (left / whole_width, bottom / whole_height, width / whole_width, height / whole_height)
    axes = figure.add_axes(place, facecolor="none")
    axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False, labelsize=8, colors=theme.ink)
    for spine in axes.spines.values():
        spine.set(color=theme.muted, linewidth=0.5)
    return axes


def _signed(theme: Theme) -> Colormap:
    """Negative – zero – positive; what is absent (NaN) shows nothing."""
    found = LinearSegmentedColormap.from_list("signed", [theme.negative, theme.paper, theme.positive], 255)
    return found.with_extremes(bad="none")


def _grey(theme: Theme) -> Colormap:
    """Background – ink."""
    return LinearSegmentedColormap.from_list("grey", [theme.paper, theme.ink])


def _sheet(tiles: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """N×h×w tiles, row by row, as one array with NaN between them."""
    count, height, width = tiles.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap), np.nan)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return sheet


def _show(axes: Axes, values: np.ndarray, cmap: Colormap, low: float, high: float) -> None:
    # Every pixel four times as large: a viewer that smooths pictures then softens the edges alone.
    axes.imshow(np.kron(values, np.ones((4, 4))), cmap=cmap, vmin=low, vmax=high, interpolation="none", aspect="auto")


def _frame_tiles(axes: Axes, theme: Theme, count: int, columns: int, side: int, gap: int = 1) -> None:
    """A hairline around each tile of a sheet shown by `_show`."""
    for i in range(count):
        left, top = (i % columns * (side + gap)) * 4 - 0.5, (i // columns * (side + gap)) * 4 - 0.5
        axes.add_patch(
            Rectangle((left, top), side * 4, side * 4, fill=False, color=theme.muted, linewidth=0.3, clip_on=False)
        )
    axes.spines[:].set_visible(False)
    rows = -(-count // columns)
    axes.set_xlim(-1, (columns * (side + gap) - gap) * 4)
    axes.set_ylim((rows * (side + gap) - gap) * 4, -1)


def _heading(axes: Axes, text: str, theme: Theme, above: float = 4) -> None:
    """Bold text at the upper left corner, so many points above it."""
    place: dict[str, Any] = dict(xy=(0, 1), xycoords="axes fraction", xytext=(0, above), textcoords="offset points")
    axes.annotate(text, **place, fontsize=9, weight="bold", color=theme.ink)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return powers / powers.sum()


# ------------------------------------------------------------------------------------------------------------- figures


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
    figure = _figure(left + 16 * cell + 1.0, c1_bottom + channels * cell + 0.45, t)
    for name, weights, bottom, columns, rows in (("C1", c1, c1_bottom, 6, channels), ("C3", c3, c3_bottom, 16, 6)):
        axes = _panel(figure, t, left, bottom, columns * cell, rows * cell)
        limit = float(np.nanmax(np.abs(weights)))
        tiles = weights.transpose(1, 0, 2, 3).reshape(-1, 5, 5)
        _show(axes, _sheet(tiles, columns), _signed(t), -limit, limit)
        present = [i for i in range(len(tiles)) if not np.isnan(tiles[i, 0, 0])]
        for i in present:
            place = (i % columns * 24 - 0.5, i // columns * 24 - 0.5)
            axes.add_patch(Rectangle(place, 20, 20, fill=False, color=t.muted, linewidth=0.4, clip_on=False))
        axes.spines[:].set_visible(False)
        axes.set(xlim=(-1, columns * 24 - 4), ylim=(rows * 24 - 4, -1))
        axes.tick_params(labeltop=True, labelleft=True, pad=1)
        axes.set_xticks([24 * i + 9.5 for i in range(columns)], [str(i) for i in range(columns)])
        of = "S2's map" if name == "C3" else "channel"
        axes.set_yticks([24 * i + 9.5 for i in range(rows)], [str(i) for i in range(rows)])
        axes.set_ylabel(of, fontsize=8, color=t.ink)
        heading = f"{name}: {len(present)} kernels 5×5" + (", one column a map" if name == "C3" else "")
        _heading(axes, heading, t, above=15)
        bar = _panel(figure, t, left + columns * cell + 0.2, bottom, 0.1, rows * cell)
        _colour_bar(figure, bar, _signed(t), limit, t)
    return figure


def _colour_bar(figure: Figure, axes: Axes, cmap: Colormap, limit: float, theme: Theme) -> None:
    bar = figure.colorbar(mpl.cm.ScalarMappable(Normalize(-limit, limit), cmap), cax=axes)
    bar.outline.set(color=theme.muted, linewidth=0.5)
    bar.set_ticks([-limit, 0, limit], labels=[f"−{limit:.2f}", "0", f"+{limit:.2f}"])
    bar.ax.tick_params(length=2, labelsize=7, colors=theme.ink, labelright=True, right=True)


def maps(states: Mapping[str, np.ndarray], labels: Sequence[str], theme: str = "light") -> Figure:
    """One picture on its way through a network: the maps of C1 … S4, C5's and F6's units, and the answer.

    F6's 84 units stand in 12 rows of 7, as the bitmaps do that the classic network compares them with. Each layer is
    drawn on its own scale, from −m to m, where m is its largest magnitude.

    Args:
        states: as `layer_states` makes them.
        labels: the names of the classes.
        theme: 'light' or 'dark'.
    """
    t = check_theme(theme)
    height, low, gap = 1.7, 0.3, 0.17
    # (layer, columns, width in inches, height in inches)
    panels = (
        ("input", 1, 0.9, 0.9),
        ("C1", 2, 1.13, height),
        ("S2", 2, 0.8, 1.2),
        ("C3", 4, 1.25, 1.25),
        ("S4", 4, 0.9, 0.9),
        ("C5", 8, 0.8, 1.5),
        ("F6", 7, 0.99, height),
    )
    bars = 0.9
    label_width = max(0.06 * max(map(len, labels)), 0.1)
    width = 0.1 + sum(panel[2] + gap for panel in panels) + label_width + bars + 0.35
    figure = _figure(width, low + height + 0.45, t)
    left = 0.1
    for name, columns, panel_width, panel_height in panels:
        values = states[name]
        axes = _panel(figure, t, left, low + (height - panel_height) / 2, panel_width, panel_height)
        limit = float(np.abs(values).max()) or 1.0
        if name == "input":
            _show(axes, values, _grey(t), 0, 255)
            size = "28×28"
        elif values.ndim == 3:
            _show(axes, _sheet(values, columns), _signed(t), -limit, limit)
            _frame_tiles(axes, t, len(values), columns, values.shape[1])
            size = f"{len(values)}@{values.shape[1]}×{values.shape[2]}"
        else:
            _show(axes, values.reshape(-1, columns), _signed(t), -limit, limit)
            size = str(len(values))
        for line, above in ((name, 14), (size, 4)):
            place: dict[str, Any] = dict(
                xy=(0.5, 1), xycoords="axes fraction", xytext=(0, above), textcoords="offset points"
            )
            axes.annotate(line, **place, ha="center", fontsize=8, color=t.ink)
        left += panel_width + gap
    _answer_bars(_panel(figure, t, left + label_width, low, bars, height), states["output"], labels, t)
    return figure


def _answer_bars(axes: Axes, logits: np.ndarray, labels: Sequence[str], theme: Theme, most: int = 12) -> None:
    """The confidence in each class; of many classes, in the best `most`."""
    shown = np.sort(np.argsort(-logits, kind="stable")[:most])
    confidences = _softmax(logits)[shown]
    best = int(confidences.argmax())
    colours = [theme.positive if i == best else theme.muted for i in range(len(shown))]
    axes.barh(range(len(shown)), confidences, color=colours, height=0.7)
    axes.set(xlim=(0, 1), ylim=(len(shown) - 0.5, -0.5))
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.tick_params(labelleft=True, labelbottom=True, bottom=True, length=2)
    axes.set_yticks(range(len(shown)), [labels[i] for i in shown], fontsize=8)
    axes.get_yticklabels()[best].set_fontweight("bold")
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"], fontsize=7)
    axes.set_title("confidence", fontsize=8, color=theme.ink, pad=4)


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
    drawn = min(10, len(codes))
    figure = _figure(0.35 + 0.84 + 0.25 + width + 0.35 + drawn * (width + 0.13), row_height * len(states) + 0.3, t)
    for row, state in enumerate(states):
        bottom = row_height * (len(states) - 1 - row) + 0.3
        axes = _panel(figure, t, 0.15, bottom, height, height)
        _show(axes, state["input"], _grey(t), 0, 255)
        left = 0.15 + height + 0.25
        axes_f6 = _panel(figure, t, left, bottom, width, height)
        _show(axes_f6, state["F6"].reshape(12, 7), _grey(t), -1, 1)
        if row == 0:
            axes.set_title("picture", fontsize=8, color=t.ink, pad=4)
            axes_f6.set_title("F6", fontsize=8, color=t.ink, pad=4)
        left += width + 0.35
        distances = -state["output"]
        nearest = np.sort(np.argsort(distances, kind="stable")[:drawn])
        for place, i in enumerate(nearest):
            axes = _panel(figure, t, left + place * (width + 0.13), bottom, width, height)
            _show(axes, codes[i].reshape(12, 7), _grey(t), -1, 1)
            answer = i == distances.argmin()
            if answer:
                axes.spines[:].set(color=t.positive, linewidth=2)
            style: dict[str, Any] = dict(
                fontsize=8, weight="bold" if answer else "normal", color=t.positive if answer else t.ink
            )
            axes.set_title(str(labels[i]), pad=4, **style)
            axes.set_xlabel(f"{distances[i]:.1f}", labelpad=3, **style)
            if place == 0:
                name: dict[str, Any] = dict(
                    xy=(0, 0), xycoords="axes fraction", xytext=(-6, -3), textcoords="offset points", va="top"
                )
                axes.annotate("y", **name, fontsize=8, style="italic", ha="right", color=t.muted)
    return figure


def confusion(matrix: np.ndarray, labels: Sequence[str], theme: str = "light") -> Figure:
    """A confusion matrix: a row for each true class, a column for each answer, and the error of each class.

    The mistakes are shaded by their number; the right answers, some hundred times as many, are written but not shaded.

    Args:
        matrix: classes×classes integers, matrix[true, answer] pictures.
        labels: the names of the classes.
        theme: 'light' or 'dark'.

    Raises: InputError for a matrix that is not classes×classes.
    """
    t = check_theme(theme)
    count = len(labels)
    if matrix.shape != (count, count):
        raise InputError(f"a confusion matrix of shape {matrix.shape} for {count} classes: it must be {count}×{count}")
    cell = 0.36 if count <= 30 else 0.2
    names = 0.085 * max(map(len, labels))
    left, bottom, side = 0.45 + names, 0.25, count * cell
    head = 0.35 + (0.1 if max(map(len, labels)) <= 2 else names)
    figure = _figure(left + side + 0.85, bottom + side + head, t)
    axes = _panel(figure, t, left, bottom, side, side)
    wrong = matrix.astype(float)
    np.fill_diagonal(wrong, np.nan)
    most = max(float(np.nanmax(wrong)) if count > 1 else 0.0, 1.0)
    shades = LinearSegmentedColormap.from_list("wrong", [t.paper, t.positive]).with_extremes(
        bad=_mix(t.paper, t.muted, 0.2)
    )
    axes.imshow(wrong, cmap=shades, vmin=0, vmax=most, interpolation="none", aspect="auto", extent=(0, count, count, 0))
    for edge in range(1, count):
        axes.axhline(edge, color=t.muted, linewidth=0.2)
        axes.axvline(edge, color=t.muted, linewidth=0.2)
    if count <= 30:
        for true in range(count):
            for answer in range(count):
                number = int(matrix[true, answer])
                if number:
                    style: dict[str, Any] = dict(ha="center", va="center", fontsize=8, color=t.ink)
                    if true != answer:
                        # On a bright cell of the dark page dark letters are legible, not light ones.
                        style |= dict(weight="bold", color=t.paper if t is DARK and number > 0.6 * most else t.ink)
                    axes.text(answer + 0.5, true + 0.5, str(number), **style)
        for true in range(count):
            total = int(matrix[true].sum())
            share = f"{100 * (total - int(matrix[true, true])) / total:.2f} %" if total else "–"
            axes.text(count + 0.2, true + 0.5, share, va="center", fontsize=8, color=t.ink)
        axes.text(count + 0.2, -0.2, "error", fontsize=8, color=t.muted)
    axes.tick_params(labelleft=True, labeltop=True, pad=2)
    long = max(map(len, labels)) > 2
    ticks = [i + 0.5 for i in range(count)]
    axes.set_xticks(ticks, labels, rotation=90 if long else 0)
    axes.set_yticks(ticks, labels)
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("answer", fontsize=8, color=t.muted, labelpad=3)
    axes.set_ylabel("true class", fontsize=8, color=t.muted, labelpad=3)
    total, right = int(matrix.sum()), int(np.trace(matrix))
    summary = f"{total - right:,} mistakes of {total:,}"
    place: dict[str, Any] = dict(xy=(0, 0), xycoords="axes fraction", xytext=(0, -12), textcoords="offset points")
    axes.annotate(summary, **place, fontsize=8, color=t.ink)
    return figure


def _mix(first: str, second: str, share: float) -> tuple[float, float, float]:
    """A colour with `share` of the second in it."""
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(to_rgb(first), to_rgb(second), strict=True))
    return red, green, blue


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
    figure = _figure(columns * pitch_x + 0.1, bottom + rows * pitch_y + 0.5, t)
    for i, mistake in enumerate(drawn):
        left = 0.05 + i % columns * pitch_x + (pitch_x - width) / 2
        axes = _panel(figure, t, left, bottom + (rows - 1 - i // columns) * pitch_y + below, width, height)
        picture = pictures[mistake.index]
        if picture.ndim == 3:
            axes.imshow(picture.transpose(1, 2, 0), interpolation="none", aspect="auto")
        else:
            _show(axes, picture, _grey(t), 0, 255)
        if marked and mistake.index in marked:
            axes.spines[:].set(color=t.positive, linewidth=2)
        axes.set_title(str(mistake.index), fontsize=7, color=t.muted, pad=2)
        what = f"{labels[mistake.label]} {arrow}{labels[mistake.answer]}"
        axes.set_xlabel(
            f"{what}\n{100 * mistake.confidence:.0f} %", fontsize=8, color=t.ink, labelpad=2, linespacing=1.1
        )
    what = f"The worst {len(drawn)} of {len(found)} mistakes" if len(found) > len(drawn) else f"{len(found)} mistakes"
    bold: dict[str, Any] = dict(fontsize=9, weight="bold", color=t.ink)
    lines = [(f"{what} on {len(pictures):,} pictures", bold)]
    if marked is not None:
        both = sum(mistake.index in marked for mistake in found)
        where = f"Framed: among the {len(marked)} of the paper's Fig. 8, as {both} of all {len(found)} are"
        lines.append((where, {"fontsize": 8, "color": t.ink}))
    width, height = figure.get_size_inches()
    for above, (text, style) in zip((0.3, 0.13), lines, strict=False):
        figure.text(0.12 / width, (bottom + rows * pitch_y + above) / height, text, **style)
    return figure


def curves(logs: Mapping[str, Sequence[Mapping[str, Any]]], paper: bool = False, theme: str = "light") -> Figure:
    """The error after each epoch: on the training set while it trains (dashed), and on whatever was held out.

    Args:
        logs: name → records, as `read_log` gives them: `epoch`, `accuracy`, and where there is one
            `validation_accuracy` or `test_accuracy`.
        paper: with the values of the paper's Fig. 5.
        theme: 'light' or 'dark'.
    """
    t = check_theme(theme)
    figure = _figure(5.6, 3.4, t)
    axes = _panel(figure, t, 0.6, 0.5, 4.8, 2.7)
    axes.set_prop_cycle(color=t.series)
    last, floor = 0, 100.0
    for name, records in logs.items():
        epochs = [record["epoch"] for record in records]
        colour = None
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
        last = max(last, *epochs)
    if paper:
        passes, test, train = zip(*paper_fig5(), strict=True)
        squares: dict[str, Any] = dict(color=t.ink, linewidth=0.8, markersize=5, marker="s")
        axes.plot(passes, test, label="the paper's Fig. 5, test", **squares)
        hollow: dict[str, Any] = dict(linestyle="--", markerfacecolor=t.paper)
        axes.plot(passes, train, label="the paper's Fig. 5, training", **squares, **hollow)
        last, floor = max(last, *passes), min(floor, *train)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(mpl.ticker.FixedLocator([0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100]))
    axes.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    axes.yaxis.set_minor_locator(mpl.ticker.NullLocator())
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlim(0, last + 1)
    axes.set_ylim(bottom=floor * 0.8)
    axes.grid(axis="y", color=t.muted, linewidth=0.4, alpha=0.4)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(left=True, bottom=True, labelleft=True, labelbottom=True, length=3)
    axes.set_xlabel("epoch", fontsize=9, color=t.ink)
    axes.set_ylabel("error, %", fontsize=9, color=t.ink)
    axes.legend(fontsize=8, frameon=False, labelcolor=t.ink, loc="upper right")
    return figure


def bench(document: Mapping[str, Any], theme: str = "light") -> Figure:
    """Pictures per second of each contestant, a panel for each number of threads and batch size.

    Args:
        document: as `read_bench` gives it, or a `lenet_zoo.bench.Inference` as a dictionary.
        theme: 'light' or 'dark'.
    """
    t = check_theme(theme)
    rows = document["rows"]
    threads, batches = (sorted({row[key] for row in rows}) for key in ("threads", "batch"))
    names = list(dict.fromkeys(row["name"] for row in rows))
    width, height, names_width = 1.75, 0.24 * len(names), 0.07 * max(map(len, names)) + 0.15
    figure = _figure(names_width + len(batches) * (width + 0.2) + 0.1, len(threads) * (height + 0.45) + 0.7, t)
    for i, count in enumerate(threads):
        for j, batch in enumerate(batches):
            bottom = 0.5 + (len(threads) - 1 - i) * (height + 0.45)
            axes = _panel(figure, t, names_width + j * (width + 0.2), bottom, width, height)
            rates = {
                row["name"]: row["pictures_per_second"]
                for row in rows
                if (row["threads"], row["batch"]) == (count, batch)
            }
            drawn = [rates.get(name, 0.0) for name in names]
            colours = [t.positive if name.startswith("ours") else t.muted for name in names]
            bars = axes.barh(range(len(names)), drawn, color=colours, height=0.7)
            written = [_thousands(rate) if rate else "–" for rate in drawn]
            axes.bar_label(bars, written, padding=3, fontsize=8, color=t.ink)
            axes.set(xlim=(0, 1.3 * max(drawn)), ylim=(len(names) - 0.5, -0.5))
            axes.spines[["top", "right", "bottom"]].set_visible(False)
            axes.set_title(
                f"{count} thread{'s' * (count > 1)}, batch {batch:,}", fontsize=8, color=t.ink, pad=4, loc="left"
            )
            if j == 0:
                axes.tick_params(labelleft=True)
                axes.set_yticks(range(len(names)), names)
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


@dataclass
class _Stack:
    """A layer in the drawing: planes (or single units), one behind the other from the upper left to the lower right."""

    name: str
    count: int
    pixels: int  # along one edge of a plane
    colour: str
    left: float = 0.0
    middle: float = 0.0

    @property
    def side(self) -> float:
        return 1.05 * (self.pixels / 32) ** 0.75 if self.pixels > 1 else 0.09

    @property
    def spread(self) -> float:
        """From the first plane to the last, along either axis."""
        if self.pixels > 1:
            return min(0.06 * (self.count - 1), 0.5)
        return 0.75 * ((self.count - 1) / 119) ** 0.6

    @property
    def width(self) -> float:
        return self.side + self.spread

    def corner(self, plane: float) -> tuple[float, float]:
        """The lower left corner of a plane: 0 for the first, 1 for the last, which lies in front."""
        return self.left + plane * self.spread, self.middle + self.width / 2 - self.side - plane * self.spread

    def field(self, pixels: float) -> tuple[float, float, float]:
        """A square of so many pixels on the front plane, a little off its centre: its corner and its edge."""
        edge = self.side * min(pixels / self.pixels, 1)
        x, y = self.corner(1)
        return x + 0.6 * (self.side - edge), y + 0.65 * (self.side - edge), edge

    def draw(self, axes: Axes, theme: Theme) -> None:
        style: dict[str, Any] = dict(facecolor=_mix(theme.paper, self.colour, 0.28), edgecolor=theme.ink, linewidth=0.6)
        if self.pixels > 1:
            for plane in range(self.count):
                corner = self.corner(plane / max(self.count - 1, 1))
                axes.add_patch(Rectangle(corner, self.side, self.side, **style))
            return
        # So many units are drawn as one bar, from the first to the last.
        (x0, y0), (x1, y1), side = self.corner(0), self.corner(1), self.side
        outline = [(x0, y0), (x0, y0 + side), (x0 + side, y0 + side), (x1 + side, y1 + side), (x1 + side, y1), (x1, y1)]
        axes.add_patch(Polygon(outline, closed=True, **style))
        axes.add_patch(Rectangle((x1, y1), side, side, **style))


def _join(axes: Axes, before: _Stack, after: _Stack, field: int, theme: Theme) -> None:
    """What a unit of one layer reads of the layer before: `field` pixels square, or everything."""
    line: dict[str, Any] = dict(color=theme.muted, linewidth=0.5, solid_capstyle="round")
    if before.pixels == 1:
        for start in (0.0, 1.0):
            for end in (0.0, 1.0):
                (x0, y0), (x1, y1) = before.corner(start), after.corner(end)
                axes.plot([x0 + before.side, x1], [y0 + before.side / 2, y1 + after.side / 2], **line)
        return
    x, y, edge = before.field(field)
    if after.pixels > 1:
        unit_x, unit_y, unit = after.field(1)
    else:
        (unit_x, unit_y), unit = after.corner(0.5), after.side
    for corner in (0, 1):
        ends = [y + corner * edge, unit_y + corner * unit]
        axes.plot([x + edge, unit_x], ends, zorder=3, **line)
    for place, size in (((x, y), edge), ((unit_x, unit_y), unit)):
        axes.add_patch(Rectangle(place, size, size, fill=False, edgecolor=theme.ink, linewidth=0.7, zorder=4))


def architecture(layers: Sequence[Layer], name: str, side: int, channels: int = 1, theme: str = "light") -> Figure:
    """A network as the paper's Fig. 2 draws it: stacked planes, what joins them, and what each layer is made of.

    Args:
        layers: `lenet_zoo.models.layers.layer_table` of the network.
        name: of the network.
        side: height and width of the field that C1 sees: `input_side` of the network.
        channels: of the input.
        theme: 'light' or 'dark'.
    """
    t = check_theme(theme)
    width, height = 8.1, 2.85
    figure = _figure(width, height, t)
    axes = _panel(figure, t, 0, 0, width, height)
    axes.axis("off")
    axes.set(xlim=(0, width), ylim=(0, height))

    def write(x: float, y: float, text: str, muted: bool = False) -> None:
        axes.text(x, y, text, ha="center", fontsize=7.5, color=t.muted if muted else t.ink)

    stacks = [_Stack("input", channels, side, t.paper)]
    for layer in layers:
        colour = t.series[2 if len(layer.output) == 1 else 1 if layer.name.startswith("S") else 0]
        stacks.append(_Stack(layer.name, layer.output[0], layer.output[-1] if len(layer.output) == 3 else 1, colour))
    gap = (width - 0.6 - sum(stack.width for stack in stacks)) / (len(stacks) - 1)
    left = 0.25
    for stack in stacks:
        stack.left, stack.middle = left, 1.48
        left += stack.width + gap
        stack.draw(axes, t)
    (x, y), edge = stacks[0].corner(1), stacks[0].side
    axes.text(x + edge / 2, y + edge / 2, "5", fontsize=48, ha="center", va="center_baseline", color=t.muted, alpha=0.6)
    for before, after, layer in zip(stacks, stacks[1:], layers, strict=False):
        _join(axes, before, after, 2 if layer.name.startswith("S") else 5, t)
        what = layer.kind.partition(",")[0]
        what = {"full": "full connection", "RBF": "Gaussian connection"}.get(what, what)
        for y, line in zip((0.55, 0.42), what.rsplit(" ", 1), strict=True):
            write((before.left + before.width + after.left) / 2, y, line, muted=True)
    for stack, row in zip(stacks, [None, *layers], strict=True):
        x = stack.left + stack.width / 2
        kind = " feature maps" if stack.pixels > 1 else " layer"
        write(x, height - 0.45, stack.name + (f":{kind}" if row and stack.name != "output" else ""))
        size = f"{stack.pixels}×{stack.pixels}" if stack.pixels > 1 else ""
        write(x, height - 0.59, f"{stack.count}@{size}" if stack.count > 1 and size else size or str(stack.count))
        for y, counted in ((0.2, "parameters"), (0.06, "connections")):
            write(x, y, counted if row is None else f"{getattr(row, counted):,}", muted=row is None)
    parameters, connections = sum(layer.parameters for layer in layers), sum(layer.connections for layer in layers)
    heading = f"{name}: {parameters:,} parameters, {connections:,} connections"
    axes.text(0.25, height - 0.2, heading, fontsize=9, weight="bold", color=t.ink)
    return figure
