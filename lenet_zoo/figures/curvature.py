"""How strongly the loss of 1998 bends along each layer's weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from lenet_zoo.figures.canvas import blank, panel
from lenet_zoo.figures.theme import check_theme

__all__ = ["curvature"]

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def curvature(h: Mapping[str, np.ndarray], eta: float = 5e-4, mu: float = 0.02, theme: str = "light") -> Figure:
    """The second derivatives of every layer's parameters, one line each: median, middle half, and 5 % to 95 %.

    The axis above has the step size that SDLM takes there, η/(μ + h).

    Args:
        h: the parameters' names → their second derivatives, ≥ 0, of any shape; as `lenet_zoo.paper1998.sdlm.curvature`
            estimates them.
        eta, mu: η and μ; by default those of the paper's first passes.
        theme: 'light' or 'dark'.
    """
    t = check_theme(theme)
    row = 0.27
    height = row * len(h)
    figure = blank(6.45, height + 1.25, t)
    axes = panel(figure, t, 1.45, 0.55, 4.8, height)
    least = mu * 1e-6  # a logarithmic axis has no place for weights that nothing depends on
    for place, values in enumerate(h.values()):
        low, left, middle, right, high = np.maximum(np.percentile(values, [5, 25, 50, 75, 95]), least)
        axes.plot([low, high], [place, place], color=t.muted, linewidth=1, solid_capstyle="butt")
        axes.plot([left, right], [place, place], color=t.series[0], linewidth=6, solid_capstyle="butt")
        axes.plot([middle], [place], marker="|", markersize=10, markeredgewidth=2, color=t.ink)
    axes.axvline(mu, color=t.positive, linewidth=1, linestyle="--")
    axes.annotate(
        "μ", (mu, 0), (3, -10), xycoords=("data", "axes fraction"), textcoords="offset points", color=t.positive
    )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(_power_of_ten))  # matplotlib's own would be a formula
    axes.xaxis.set_minor_formatter(ticker.NullFormatter())
    axes.set_ylim(len(h) - 0.4, -0.6)
    axes.set_yticks(range(len(h)), [f"{name} ({values.size:,})" for name, values in h.items()], fontsize=8)
    axes.grid(axis="x", color=t.muted, linewidth=0.4, alpha=0.4)
    axes.tick_params(labelleft=True, labelbottom=True, bottom=True, length=3)
    axes.set_xlabel("second derivative h", fontsize=9, color=t.ink)
    above = axes.twiny()
    above.set(xscale="log", xlim=axes.get_xlim(), facecolor="none")
    shown = [tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= axes.get_xlim()[1]]
    above.set_xticks(shown, [f"{eta / (mu + tick):.1g}" for tick in shown], fontsize=8, color=t.ink)
    above.minorticks_off()
    above.set_xlabel("step size η/(μ + h)", fontsize=9, color=t.ink)
    above.tick_params(length=3, colors=t.ink)
    for one in (axes, above):
        one.spines[:].set(color=t.muted, linewidth=0.5)
    return figure


def _power_of_ten(value: float, _: int) -> str:
    return "10" + f"{np.log10(value):.0f}".translate(_RAISED)
