"""The colours of a light and of a dark page."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.colors import Colormap, LinearSegmentedColormap, to_rgb

from lenet_zoo.errors import InputError, did_you_mean

__all__ = ["DARK", "LIGHT", "THEMES", "Theme", "check_theme", "mix"]


@dataclass(frozen=True)
class Theme:
    """The colours of a page, as '#rrggbb'.

    Attributes:
        paper: the background.
        ink: text and strong lines.
        muted: text and lines of less weight.
        negative, positive: values below and above zero.
        series: the lines of a chart, in turn.
    """

    paper: str
    ink: str
    muted: str
    negative: str
    positive: str
    series: tuple[str, ...]

    @property
    def signed(self) -> Colormap:
        """From negative through zero to positive; NaN is transparent."""
        colours = LinearSegmentedColormap.from_list("signed", [self.negative, self.paper, self.positive], 255)
        return colours.with_extremes(bad="none")

    @property
    def heat(self) -> Colormap:
        """From paper to positive."""
        return LinearSegmentedColormap.from_list("heat", [self.paper, self.positive])

    @property
    def grey(self) -> Colormap:
        """From paper to ink."""
        return LinearSegmentedColormap.from_list("grey", [self.paper, self.ink])


LIGHT = Theme("#ffffff", "#1a1a1a", "#5c6066", "#0072b2", "#d55e00", ("#0072b2", "#d55e00", "#009e73", "#cc79a7"))
DARK = Theme("#131416", "#e8e8e8", "#a9adb3", "#56b4e9", "#e69f00", ("#56b4e9", "#e69f00", "#009e73", "#cc79a7"))
THEMES = {"light": LIGHT, "dark": DARK}


def check_theme(theme: str) -> Theme:
    """The theme of that name.

    Raises: InputError for another name than 'light' and 'dark'.
    """
    if theme not in THEMES:
        raise InputError(f"no theme called {theme!r}.{did_you_mean(theme, THEMES)} There are {' and '.join(THEMES)}")
    return THEMES[theme]


def mix(first: str, second: str, share: float) -> tuple[float, float, float]:
    """The first colour with a `share` (0 to 1) of the second in it, as RGB from 0 to 1."""
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(to_rgb(first), to_rgb(second), strict=True))
    return red, green, blue
