"""`plot`: pictures of the networks, of what they do, and of how they were trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lenet_zoo.cli._app import (
    DataDir,
    DataRoot,
    Download,
    Json,
    app,
    check_one_source,
    print_json,
    say,
)
from lenet_zoo.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from lenet_zoo.models._base import LeNet5


class _Whats(typer.core.TyperGroup):
    """The subcommands of `plot`; an unknown one is answered with the nearest name."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            raise InputError(
                f"no picture called {args[0]!r}.{did_you_mean(args[0], known)} There are {', '.join(known)}"
            )
        return super().resolve_command(ctx, args)


plot = typer.Typer(cls=_Whats, no_args_is_help=True, rich_markup_mode=None)
app.add_typer(plot, name="plot", help="Pictures of filters, feature maps, mistakes, training and benchmarks.")

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


@dataclass(frozen=True)
class _Target:
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


def _full(name: str) -> str:
    """A network's name with its tag, or as it was typed for one of the user's own."""
    from lenet_zoo.registry import is_foreign, resolve

    return name if is_foreign(name) else resolve(name)


def _plain(values: np.ndarray) -> Any:
    """An array as JSON takes it: nested lists, with null for NaN."""
    if values.ndim:
        return [_plain(value) for value in values]
    number = values.item()
    return None if isinstance(number, float) and math.isnan(number) else number


def _pixels(model: LeNet5, picture: str, data_root: Path | None, download: bool) -> np.ndarray:
    """uint8 pixels of a picture file, as `model` reads it, or of a test picture named as DATASET:INDEX."""
    from lenet_zoo.datasets.loading import DATASETS, load_dataset

    dataset, colon, index = picture.rpartition(":")
    if colon and index.isdecimal() and not Path(picture).exists():
        data = load_dataset(dataset, train=False, root=data_root, download=download)
        if int(index) >= len(data):
            raise InputError(f"{picture}: {dataset} has {len(data):,} test pictures, from 0 to {len(data) - 1}")
        return data.images[int(index)].numpy()
    if picture in DATASETS and not Path(picture).exists():
        raise InputError(f"{picture} has many pictures: name a test picture by its place in the set, as {picture}:0")
    return model.card.preparation.pixels(picture)


@plot.command(epilog="Example: lenet-zoo plot architecture lenet5_classic -o architecture.svg")
def architecture(
    name: Network, output: Output = None, theme: Theme = "light", slide: Slide = False, json: Json = False
) -> None:
    """The network as the paper draws it, made from the network itself."""
    target = _Target(output, json, theme, slide)
    from lenet_zoo import figures
    from lenet_zoo.models.layers import layer_table
    from lenet_zoo.registry import load_network

    model = load_network(name)
    layers, side = layer_table(model), figures.input_side(model)
    target.finish(
        "The layers of " + _full(name),
        lambda: figures.architecture(layers, model.card.architecture, side, model.in_chans, theme),
        lambda: [asdict(layer) for layer in layers],
        titled=False,
        letters=1.0,  # they stand close
    )


@plot.command(epilog="Example: lenet-zoo plot filters lenet5_modern -o filters.svg")
def filters(
    name: Network, output: Output = None, theme: Theme = "light", slide: Slide = False, json: Json = False
) -> None:
    """The kernels of C1 and C3."""
    target = _Target(output, json, theme, slide)
    from lenet_zoo import figures
    from lenet_zoo.registry import load_network

    found = figures.kernels(load_network(name))
    target.finish(
        "The kernels of " + _full(name),
        lambda: figures.filters(found, theme),
        lambda: {layer: _plain(weights) for layer, weights in found.items()},
    )


@plot.command(epilog="Example: lenet-zoo plot maps lenet5_modern digits:0 -o maps.svg")
def maps(
    name: Network,
    picture: Picture,
    data_root: DataRoot = None,
    download: Download = False,
    output: Output = None,
    theme: Theme = "light",
    slide: Slide = False,
    json: Json = False,
) -> None:
    """A picture on its way through the layers to the answer."""
    target = _Target(output, json, theme, slide)
    from lenet_zoo import figures
    from lenet_zoo.registry import load_network

    model = load_network(name)
    labels = list(model.card.labels)
    states = figures.layer_states(model, _pixels(model, picture, data_root, download))
    target.finish(
        f"{_full(name)} reads {Path(picture).name}",
        lambda: figures.maps(states, labels, theme, model.card.confidence),
        lambda: {"labels": labels, **{layer: _plain(values) for layer, values in states.items()}},
    )


@plot.command(epilog="Example: lenet-zoo plot f6 lenet5_classic.lecun1998_mnist digits:0 -o f6.svg")
def f6(
    name: Network,
    pictures: Annotated[
        list[str],
        typer.Argument(metavar="PICTURE...", help="Picture files, or DATASET:INDEX for test pictures: mnist:247."),
    ],
    data_root: DataRoot = None,
    download: Download = False,
    output: Output = None,
    theme: Theme = "light",
    slide: Slide = False,
    json: Json = False,
) -> None:
    """The classic's F6 as a bitmap, beside those of the classes.

    Only weights trained by a loss of 1998 make F6 look like a bitmap, as lenet5_classic.lecun1998_mnist do.
    """
    target = _Target(output, json, theme, slide)
    from lenet_zoo import figures
    from lenet_zoo.registry import load_network

    model = load_network(name)
    labels, codes = model.card.labels, figures.bitmaps(model)
    states = [figures.layer_states(model, _pixels(model, picture, data_root, download)) for picture in pictures]
    nearest = min(float(-state["output"].max()) for state in states)
    if output is not None and nearest > figures.ZERO_STATE:
        say(
            f"F6 resembles no bitmap: the nearest is at y = {nearest:.0f}, and an F6 of zeros would be at "
            f"{figures.ZERO_STATE:g}. Cross-entropy looks at differences of y only; the losses of 1998, by which "
            "lenet5_classic.lecun1998_mnist was trained, draw F6 to the bitmaps"
        )
    target.finish(
        "F6 and the bitmaps of " + _full(name),
        lambda: figures.f6(states, codes, labels, theme),
        lambda: [
            {
                "picture": picture,
                "F6": _plain(state["F6"]),
                "y": dict(zip(labels, _plain(-state["output"]), strict=True)),
            }
            for picture, state in zip(pictures, states, strict=True)
        ],
    )


@plot.command(epilog="Example: lenet-zoo plot confusion lenet5_modern -o confusion.svg")
def confusion(
    name: Network,
    dataset: Annotated[
        str, typer.Option("--dataset", help="Run the network on it; else the matrix is the card's.")
    ] = "",
    data_dir: DataDir = None,
    data_root: DataRoot = None,
    download: Download = False,
    output: Output = None,
    theme: Theme = "light",
    slide: Slide = False,
    json: Json = False,
) -> None:
    """The confusion matrix on a test set or on your own pictures."""
    target = _Target(output, json, theme, slide)
    check_one_source(dataset, data_dir)
    import numpy as np

    from lenet_zoo import figures
    from lenet_zoo.registry import card_of, load_network

    matrix: Any
    on: str | None
    if dataset or data_dir is not None:
        from lenet_zoo.classify.torch import TorchClassifier
        from lenet_zoo.datasets.folders import load_labelled
        from lenet_zoo.datasets.loading import load_dataset
        from lenet_zoo.evaluation import evaluate

        classifier = TorchClassifier(load_network(name))
        if data_dir is not None:
            data, _ = load_labelled(data_dir, classifier.labels, classifier.preparation, say=say)
        else:
            data = load_dataset(dataset, train=False, root=data_root, download=download)
        on, labels, matrix = data.name, data.classes, evaluate(classifier.predict_logits, data).confusion
    else:
        card = card_of(name)
        tested = card.metrics.get("test")
        on, labels, matrix = card.dataset, card.labels, tested.get("confusion") if isinstance(tested, Mapping) else None
        if matrix is None:
            raise InputError(f"the card of {name} has no confusion matrix: name a data set to run it on with --dataset")
    target.finish(
        f"{_full(name)} on {on}",
        lambda: figures.confusion(np.array(matrix), labels, theme),
        lambda: {"labels": labels, "confusion": matrix},
    )


@plot.command(epilog="Example: lenet-zoo plot mistakes lenet5_modern --dataset digits -o mistakes.svg")
def mistakes(
    name: Network,
    dataset: Annotated[str, typer.Option("--dataset", help="The data set whose test pictures are read.")] = "",
    data_root: DataRoot = None,
    download: Download = False,
    count: Annotated[int, typer.Option("--count", min=1, help="How many are drawn, the worst first.")] = 40,
    output: Output = None,
    theme: Theme = "light",
    slide: Slide = False,
    json: Json = False,
) -> None:
    """The worst mistakes on a test set, beside those of 1998.

    Of MNIST, a picture is framed where the network of 1998 erred too (the paper's Fig. 8).
    """
    target = _Target(output, json, theme, slide)
    from lenet_zoo import figures
    from lenet_zoo.classify.torch import logits_of
    from lenet_zoo.datasets.loading import DATASETS, load_dataset
    from lenet_zoo.registry import load_network

    model = load_network(name)
    if not dataset:
        dataset = model.card.dataset or ""
        if dataset not in DATASETS:  # none, or the user's own folder
            raise InputError(
                f"the card of {name} names no data set that can be loaded: name one with --dataset "
                f"({', '.join(DATASETS)})"
            )
    data = load_dataset(dataset, train=False, root=data_root, download=download)
    if model.num_classes != len(data.classes):
        raise InputError(
            f"{name} has {model.num_classes} classes and {dataset} has {len(data.classes)}: they must be equal"
        )
    pictures = data.images.numpy()
    found = figures.worst_mistakes(logits_of(model)(pictures), data.labels.numpy(), model.card.confidence)
    paper = figures.paper_fig8() if data.name == "mnist" else None
    target.finish(
        f"{_full(name)} on {dataset}",
        lambda: figures.mistakes(found, pictures, data.classes, paper, count, theme, figures.has_bitmaps(model)),
        lambda: {
            "pictures": len(data),
            "mistakes": [asdict(mistake) | ({"fig8": mistake.index in paper} if paper else {}) for mistake in found],
        },
    )


@plot.command(epilog="Example: lenet-zoo plot curves runs/best -o curves.svg")
def curves(
    logs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Folders that `train` wrote, or their log.jsonl.")
    ],
    paper: Annotated[bool, typer.Option("--paper", help="With the values of the paper's Fig. 5.")] = False,
    output: Output = None,
    theme: Theme = "light",
    slide: Slide = False,
    json: Json = False,
) -> None:
    """The error after each epoch of training runs."""
    target = _Target(output, json, theme, slide)
    from lenet_zoo import figures

    runs: dict[str, Any] = {}
    for path in logs:
        name = path.parent.name if path.name == "log.jsonl" else path.name.removesuffix(".jsonl")
        runs[str(path) if name in runs else name] = figures.read_log(path)
    target.finish(
        "Error after each epoch",
        lambda: figures.curves(runs, paper, theme),
        lambda: runs | ({"fig5": figures.paper_fig5()} if paper else {}),
        titled=False,
    )


@plot.command(epilog="Example: lenet-zoo plot curvature lenet5_classic.lecun1998_mnist -o curvature.svg")
def curvature(
    name: Network,
    dataset: Annotated[str, typer.Option("--dataset", help="Whose test pictures the loss is taken on.")] = "digits",
    data_root: DataRoot = None,
    download: Download = False,
    output: Output = None,
    theme: Theme = "light",
    slide: Slide = False,
    json: Json = False,
) -> None:
    """The second derivatives of the loss of 1998 (Eq. 8) by each layer's weights, on 500 pictures."""
    target = _Target(output, json, theme, slide)
    from lenet_zoo import figures
    from lenet_zoo.classify.torch import normalized
    from lenet_zoo.datasets.loading import load_dataset
    from lenet_zoo.paper1998.losses import PenaltyLoss
    from lenet_zoo.paper1998.sdlm import curvature as estimate
    from lenet_zoo.registry import load_network

    model = load_network(name)
    if not figures.has_bitmaps(model):
        raise InputError("the loss of 1998 needs the bitmaps of lenet5_classic: name one of its tags")
    data = load_dataset(dataset, train=False, root=data_root, download=download)
    if model.num_classes != len(data.classes):
        raise InputError(
            f"{name} has {model.num_classes} classes and {dataset} has {len(data.classes)}: they must be equal"
        )
    found = estimate(model, normalized(model, data.images[:500]), data.labels[:500], PenaltyLoss())
    h = {key: found[parameter].numpy() for key, parameter in model.named_parameters()}
    target.finish(
        f"Curvature in {_full(name)}, on {dataset}",
        lambda: figures.curvature(h, theme=theme),
        lambda: {key: _plain(values) for key, values in h.items()},
    )


@plot.command(epilog="Example: lenet-zoo plot bench bench.json -o bench.svg")
def bench(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `bench inference --json` printed.")],
    output: Output = None,
    theme: Theme = "light",
    slide: Slide = False,
    json: Json = False,
) -> None:
    """The bars of a benchmark."""
    target = _Target(output, json, theme, slide)
    from lenet_zoo import figures

    document = figures.read_bench(file)
    target.finish("Pictures per second", lambda: figures.bench(document, theme), lambda: document, titled=False)
