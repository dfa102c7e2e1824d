"""A finished figure with its title, on a page or on a slide."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text

from lenet_zoo.figures.theme import check_theme

__all__ = ["slide", "titled"]

_BAND = 0.3  # inches above a figure for its title
_BOLD = 0.62  # mean width of a bold letter, in parts of the size of the type
# Of a slide's height: the type of the title, the band that it stands in, and the margin around the figure. Of its
# width: what the figure may take.
_SLIDE_TYPE, _SLIDE_BAND, _SLIDE_MARGIN, _SLIDE_WIDTH = 0.055, 0.15, 0.04, 0.94
_SLIDE_PIXELS = 1920


def titled(figure: Figure, title: str, theme: str = "light") -> Figure:
    """A figure with its title above it, in place: the figure gets 0.3 inches higher. Returns it.

    Args:
        figure: as the functions of this package draw it.
        title: one line, such as the name of the network; smaller where it would be too wide.
        theme: that of the figure.
    """
    width, height = figure.get_size_inches()
    _enlarge(figure, width, height + _BAND, 0, 0)
    _write(figure, title, theme, 0.1, height + 0.1, width - 0.2, 9)
    return figure


def slide(figure: Figure, title: str, theme: str = "light", letters: float = 1.25) -> Figure:
    """A figure on a slide of 16:9 below a large title, in place; a .png has 1920×1080 pixels. Returns the figure.

    The slide is as small as the figure allows, in inches, so that its letters fill as much of the screen as they can.

    Args:
        figure, title, theme: as of `titled`.
        letters: how much larger than on a page the figure's own letters are.
    """
    width, height = figure.get_size_inches()
    slide_height = max(height / (1 - _SLIDE_BAND - _SLIDE_MARGIN), width / _SLIDE_WIDTH * 9 / 16)
    slide_width = slide_height * 16 / 9
    room = slide_height * (1 - _SLIDE_BAND - _SLIDE_MARGIN)
    left, bottom = (slide_width - width) / 2, slide_height * _SLIDE_MARGIN + (room - height) / 2
    _enlarge(figure, slide_width, slide_height, left, bottom)
    figure.draw_without_rendering()  # makes the labels of the ticks
    for text in figure.findobj(Text):
        text.set_fontsize(letters * float(text.get_fontsize()))
        if isinstance(text, Annotation):  # keeps its distance, which is in points
            x, y = text.xyann
            text.xyann = (letters * x, letters * y)
    margin = slide_width * (1 - _SLIDE_WIDTH) / 2
    size = slide_height * _SLIDE_TYPE * 72
    _write(figure, title, theme, margin, slide_height * (1 - 0.65 * _SLIDE_BAND), slide_width - 2 * margin, size)
    figure.set_dpi(_SLIDE_PIXELS / slide_width)
    return figure


def _enlarge(figure: Figure, width: float, height: float, left: float, bottom: float) -> None:
    """Give a figure another size; what is drawn keeps its own, `left` and `bottom` from the corner. All in inches."""
    old_width, old_height = figure.get_size_inches()
    places = [(axes, axes.get_position(original=True).bounds) for axes in figure.axes]
    figure.set_size_inches(width, height)
    for axes, (x, y, w, h) in places:
        x, y = (left + x * old_width) / width, (bottom + y * old_height) / height
        axes.set_position((x, y, w * old_width / width, h * old_height / height))
    for text in figure.texts:
        x, y = text.get_position()
        text.set_position(((left + x * old_width) / width, (bottom + y * old_height) / height))


def _write(figure: Figure, title: str, theme: str, left: float, bottom: float, room: float, size: float) -> None:
    whole_width, whole_height = figure.get_size_inches()
    size = min(size, 72 * room / (_BOLD * max(len(title), 1)))
    # Names are the user's: a dollar sign in one is no formula.
    style: dict[str, Any] = dict(fontsize=size, weight="bold", color=check_theme(theme).ink, parse_math=False)
    figure.text(left / whole_width, bottom / whole_height, title, **style)
