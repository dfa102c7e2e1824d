"""A network as the paper's Fig. 2 draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle

from lenet_zoo.figures.canvas import blank, panel
from lenet_zoo.figures.theme import Theme, check_theme, mix

if TYPE_CHECKING:
    from lenet_zoo.models.layers import Layer

__all__ = ["architecture"]


@dataclass
class _Stack:
    """A layer in the drawing, in inches: planes or units that overlap, from the upper left to the lower right."""

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
        """Distance from the first plane to the last, along either axis."""
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
        """A square of `pixels`×`pixels` on the front plane, a little off its centre: its corner (x, y) and its edge."""
        edge = self.side * min(pixels / self.pixels, 1)
        x, y = self.corner(1)
        return x + 0.6 * (self.side - edge), y + 0.65 * (self.side - edge), edge

    def draw(self, axes: Axes, theme: Theme) -> None:
        style: dict[str, Any] = dict(facecolor=mix(theme.paper, self.colour, 0.28), edgecolor=theme.ink, linewidth=0.6)
        if self.pixels > 1:
            for plane in range(self.count):
                corner = self.corner(plane / max(self.count - 1, 1))
                axes.add_patch(Rectangle(corner, self.side, self.side, **style))
            return
        # Single units are too many to draw each: one bar from the first to the last.
        (x0, y0), (x1, y1), side = self.corner(0), self.corner(1), self.side
        outline = [(x0, y0), (x0, y0 + side), (x0 + side, y0 + side), (x1 + side, y1 + side), (x1 + side, y1), (x1, y1)]
        axes.add_patch(Polygon(outline, closed=True, **style))
        axes.add_patch(Rectangle((x1, y1), side, side, **style))


def _join(axes: Axes, before: _Stack, after: _Stack, field: int, theme: Theme) -> None:
    """Lines from what one unit reads, `field`×`field` pixels of the layer before or all of its units, to that unit."""
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
        side: height and width, in pixels, of what C1 sees: `input_side` of the network.
        channels: of the input.
        theme: 'light' or 'dark'.
    """
    t = check_theme(theme)
    width, height = 8.1, 2.85
    figure = blank(width, height, t)
    axes = panel(figure, t, 0, 0, width, height)
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
