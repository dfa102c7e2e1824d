"""Pictures of the networks and of what they do: data in, a matplotlib figure out, and `save` to put it in a file.

    from lenet_zoo import create_model, digit_from_image, figures

    model = create_model("lenet5_classic", pretrained=True)
    states = figures.layer_states(model, digit_from_image(PIL.Image.open("seven.png")))
    figures.save(figures.maps(states, model.card.labels), "maps.svg")

All figures share one colour code: zero has the colour of the page, negative is blue and positive is orange (from the
palette of Okabe and Ito, which colour-blind readers can tell apart). Every figure is made for a light or for a dark
page and paints its own background, so that it is legible on any page. The same data give the same bytes.
"""

from lenet_zoo.errors import MissingExtraError, to_install

try:
    import matplotlib  # noqa: F401
except ImportError as error:
    raise MissingExtraError(f"pictures are drawn by matplotlib: {to_install('plots')}") from error

from lenet_zoo.figures.ablation import ablation, read_ablation
from lenet_zoo.figures.architecture import architecture
from lenet_zoo.figures.bench import bench, read_bench
from lenet_zoo.figures.confusion import confusion
from lenet_zoo.figures.curvature import curvature
from lenet_zoo.figures.curves import curves, read_log
from lenet_zoo.figures.f6 import ZERO_STATE, f6
from lenet_zoo.figures.filters import filters
from lenet_zoo.figures.line import line
from lenet_zoo.figures.maps import maps
from lenet_zoo.figures.mistakes import Mistake, mistakes, worst_mistakes
from lenet_zoo.figures.networks import bitmaps, has_bitmaps, input_side, kernels, layer_states
from lenet_zoo.figures.paper import paper_fig5, paper_fig8
from lenet_zoo.figures.save import check_target, save
from lenet_zoo.figures.theme import DARK, LIGHT, THEMES, Theme, check_theme
from lenet_zoo.figures.title import slide, titled

__all__ = [
    "DARK",
    "LIGHT",
    "THEMES",
    "ZERO_STATE",
    "Mistake",
    "Theme",
    "ablation",
    "architecture",
    "bench",
    "bitmaps",
    "check_target",
    "check_theme",
    "confusion",
    "curvature",
    "curves",
    "f6",
    "filters",
    "has_bitmaps",
    "input_side",
    "kernels",
    "layer_states",
    "line",
    "maps",
    "mistakes",
    "paper_fig5",
    "paper_fig8",
    "read_ablation",
    "read_bench",
    "read_log",
    "save",
    "slide",
    "titled",
    "worst_mistakes",
]
