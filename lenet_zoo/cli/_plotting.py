"""What the subcommands of `plot` share: their options, where a picture goes, and the pictures that they look at."""

from __future__ import annotations

import functools
import inspect
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from lenet_zoo.cli._app import Json, print_json, say
from lenet_zoo.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure
    from PIL.Image import Image

    from lenet_zoo.models._base import LeNet5

__all__ = ["Network", "Picture", "Target", "draws", "full", "line_of", "pixels_of", "plain"]

_INK = 40  # of 255, where a digit begins

Network = Annotated[
    str, typer.Argument(metavar="NAME", help="lenet5_modern, lenet5_classic.mnist, local-dir:FOLDER, …")
]
Picture = Annotated[
    str,
    typer.Argument(metavar="PICTURE", help="A picture file, or DATASET:INDEX for a test picture: digits:0, mnist:247."),
]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to: .svg, .pdf or .png, by the suffix.")
]
Theme = Annotated[str, typer.Option("--theme", help="The page that the picture is for: light or dark.")]
Slide = Annotated[bool, typer.Option("--slide", help="A slide of 16:9 with a large title.")]

# The options of every subcommand, and their defaults.
_SHARED: dict[str, tuple[Any, Any]] = {
    "output": (Output, None),
    "theme": (Theme, "light"),
    "slide": (Slide, False),
    "json": (Json, False),
}


def draws(command: Callable[..., None]) -> Callable[..., None]:
    """A subcommand as Typer takes it: after its own parameters come those of `_SHARED`, which it gets as `target`."""
    hints = get_type_hints(command, include_extras=True)

    @functools.wraps(command)
    def run(**options: Any) -> None:
        target = Target(**{name: options.pop(name) for name in _SHARED})
        command(target, **options)

    own = [
        parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[name])
        for name, parameter in inspect.signature(command).parameters.items()
        if name != "target"
    ]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _SHARED.items()
    ]
    run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *shared)}
    return run


@dataclass(frozen=True)
class Target:
    """Where a picture goes, and in which form. Made before the work, it fails early.

    Raises: InputError for an unknown theme, a file that cannot be written, and nothing to draw to.
    """

    output: Path | None
    json: bool
    theme: str
    slide: bool

    def __post_init__(self) -> None:
        from lenet_zoo import figures

        figures.check_theme(self.theme)
        if self.output is not None:
            figures.check_target(self.output)
        elif not self.json:
            raise InputError("nothing to draw to: name a file with -o FILE (.svg, .pdf or .png), or ask for --json")

    def finish(
        self,
        title: str,
        draw: Callable[[], Figure],
        numbers: Callable[[], Any],
        titled: bool = True,
        letters: float = 1.25,
    ) -> None:
        """Draw and print what was asked for.

        Args:
            titled: whether the figure gets its title on a page, too.
            letters: how much larger its letters are on a slide.
        """
        if self.output is not None:
            from lenet_zoo import figures

            figure = draw()
            if self.slide:
                figure = figures.slide(figure, title, self.theme, letters)
            elif titled:
                figure = figures.titled(figure, title, self.theme)
            path = figures.save(figure, self.output)
            say(f"{path}: {path.stat().st_size / 1000:.0f} kB")
        if self.json:
            print_json(numbers())


def full(name: str) -> str:
    """A network's name with its tag, or as it was typed for one of the user's own."""
    from lenet_zoo.registry import is_foreign, resolve

    return name if is_foreign(name) else resolve(name)


def plain(values: np.ndarray) -> Any:
    """An array as JSON takes it: nested lists, with null for what is not finite."""
    if values.ndim:
        return [plain(value) for value in values]
    number = values.item()
    return None if isinstance(number, float) and not math.isfinite(number) else number


def pixels_of(model: LeNet5, picture: str, data_root: Path | None, download: bool) -> np.ndarray:
    """uint8 pixels of a picture file, as `model` reads it, or of a test picture named as DATASET:INDEX."""
    from lenet_zoo.datasets.loading import DATASETS

    found = _of_a_data_set(picture, data_root, download)
    if found is not None and len(found) == 1:
        return found[0]
    if picture in DATASETS and not Path(picture).exists():
        raise InputError(f"{picture} has many pictures: name a test picture by its place in the set, as {picture}:0")
    return model.card.preparation.pixels(picture)


def line_of(picture: str, data_root: Path | None, download: bool) -> str | Image:
    """A picture file as it is, or test digits named as DATASET:I,J,… in a row, their ink 3 px apart, white on black."""
    import numpy as np
    from PIL import Image

    found = _of_a_data_set(picture, data_root, download)
    if found is None:
        return picture
    row = [np.zeros((44, 12), np.uint8)]
    for pixels in found:
        ink = np.flatnonzero((pixels > _INK).any(0))
        row.append(np.pad(pixels[:, ink[0] : ink[-1] + 1], ((8, 8), (0, 3))))
    return Image.fromarray(np.concatenate([*row, row[0]], 1))


def _of_a_data_set(picture: str, data_root: Path | None, download: bool) -> list[np.ndarray] | None:
    """The test pictures that DATASET:I,J,… names; None for another text, and where a file has that name."""
    from lenet_zoo.datasets.loading import DATASETS, load_dataset

    dataset, colon, places = picture.rpartition(":")
    if not colon or os.path.exists(picture):  # that of a Path fails on many digits, as on a name that is too long
        return None
    if not all(place.isdecimal() for place in places.split(",")):
        if dataset in DATASETS:
            raise InputError(f"{picture}: places are whole numbers, such as {dataset}:7,2")
        return None
    data = load_dataset(dataset, train=False, root=data_root, download=download)
    if max(map(int, places.split(","))) >= len(data):
        raise InputError(f"{picture}: {dataset} has {len(data):,} test pictures, from 0 to {len(data) - 1}")
    return [data.images[int(place)].numpy() for place in places.split(",")]
