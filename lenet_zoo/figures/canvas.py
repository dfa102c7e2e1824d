"""What the figures are drawn with: panels placed in inches, sheets of small pictures, and headings."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.textpath import text_to_path

from lenet_zoo.errors import printable
from lenet_zoo.figures.theme import Theme

__all__ = ["annotate", "blank", "drawable", "frame_tiles", "panel", "sheet", "show", "show_picture", "widest"]

# Each pixel of a picture is drawn this many times as large: a viewer that smooths then softens only its edges.
_ZOOM = 4
_GAP = 1  # pixels between the tiles of a sheet


class _Page(Figure):
    """A figure whose texts are data: a class called `$x^{2$` is no formula, and control characters are escaped.

    Labels of ticks are made anew whenever they are drawn, so they are escaped where they are set.
    """

    def draw(self, renderer: Any) -> None:
        for text in self.findobj(Text):
            text.set_parse_math(False)
            text.set_text("\n".join(map(drawable, text.get_text().split("\n"))))
        super().draw(renderer)


def drawable(text: str) -> str:
    """A text from elsewhere as one line, in characters that the fonts of matplotlib's `font.family` have.

    A digit of a script that they lack is written as 0 to 9, and another character as its code point, as U+0BF0.
    """
    known = _characters(tuple(rcParams["font.family"]))
    return "".join(c if c.isascii() or ord(c) in known else _named(c) for c in printable(text))


@lru_cache(maxsize=8)
def _characters(families: tuple[str, ...]) -> frozenset[int]:
    """What the fonts of these families can write, as code points."""
    return frozenset().union(*(get_font(findfont(FontProperties(family=[one]))).get_charmap() for one in families))


def _named(character: str) -> str:
    digit = unicodedata.digit(character, None)
    return f"U+{ord(character):04X}" if digit is None else str(digit)


def widest(names: Iterable[str], size: float) -> float:
    """Inches that the widest of these names takes in bold letters of `size` points, written as `drawable` has them."""
    bold = FontProperties(family=rcParams["font.family"], weight="bold", size=size)
    return max(text_to_path.get_text_width_height_descent(drawable(name), bold, ismath=False)[0] for name in names) / 72


def blank(width: float, height: float, theme: Theme) -> Figure:
    """An empty figure, in inches, on the theme's paper."""
    return _Page(figsize=(width, height), facecolor=theme.paper, dpi=200)


def panel(figure: Figure, theme: Theme, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes without ticks, at a place in inches from the figure's lower left corner."""
    whole_width, whole_height = figure.get_size_inches()
    place = (left / whole_width, bottom / whole_height, width / whole_width, height / whole_height)
    axes = figure.add_axes(place, facecolor="none")
    axes.tick_params(left=False, bottom=False, labelleft=False, labelbottom=False, labelsize=8, colors=theme.ink)
    for spine in axes.spines.values():
        spine.set(color=theme.muted, linewidth=0.5)
    return axes


def show(axes: Axes, values: np.ndarray, cmap: Colormap, low: float, high: float) -> None:
    """Fill the axes with a height×width array, coloured by `cmap` from `low` to `high`."""
    large = np.kron(values, np.ones((_ZOOM, _ZOOM)))
    axes.imshow(large, cmap=cmap, vmin=low, vmax=high, interpolation="none", aspect="auto")


def show_picture(axes: Axes, picture: np.ndarray, theme: Theme) -> None:
    """Fill the axes with a uint8 picture: height×width, from paper (0) to ink (255), or RGB, 3×height×width."""
    if picture.ndim == 3:
        axes.imshow(picture.transpose(1, 2, 0), interpolation="none", aspect="auto")
    else:
        show(axes, picture, theme.grey, 0, 255)


def sheet(tiles: np.ndarray, columns: int) -> np.ndarray:
    """N×h×w tiles, row by row, as one array with NaN between them."""
    count, height, width = tiles.shape
    rows = -(-count // columns)
    found = np.full((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP), np.nan)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + _GAP), i % columns * (width + _GAP)
        found[top : top + height, left : left + width] = tile
    return found


def frame_tiles(
    axes: Axes, theme: Theme, tiles: Iterable[int], rows: int, columns: int, side: int, linewidth: float = 0.3
) -> None:
    """Draw a line around each of the `tiles`, given by their numbers, of a sheet shown by `show`."""
    pitch = (side + _GAP) * _ZOOM
    for i in tiles:
        corner = (i % columns * pitch - 0.5, i // columns * pitch - 0.5)
        size, style = side * _ZOOM, dict[str, Any](fill=False, color=theme.muted, clip_on=False)
        axes.add_patch(Rectangle(corner, size, size, linewidth=linewidth, **style))
    axes.spines[:].set_visible(False)
    axes.set(xlim=(-1, columns * pitch - _GAP * _ZOOM), ylim=(rows * pitch - _GAP * _ZOOM, -1))


def annotate(axes: Axes, text: str, corner: tuple[float, float], offset: tuple[float, float], **style: Any) -> None:
    """Write `text` at `offset` points from a corner of the axes, whose lower left is (0, 0) and upper right (1, 1)."""
    axes.annotate(text, corner, offset, xycoords="axes fraction", textcoords="offset points", **style)
