"""`plot`: pictures of the networks, of what they do, and of how they were trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
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


def _check(output: Path | None, json: bool, theme: str) -> None:
    """Fail early: check theme and target before the work."""
    from lenet_zoo import figures

    figures.check_theme(theme)
    if output is not None:
        figures.check_target(output)
    elif not json:
        raise InputError("nothing to draw to: name a file with -o FILE (.svg, .pdf or .png), or ask for --json")


def _finish(output: Path | None, json: bool, draw: Callable[[], Figure], numbers: Callable[[], Any]) -> None:
    if output is not None:
        from lenet_zoo.figures import save

        path = save(draw(), output)
        say(f"{path}: {path.stat().st_size / 1000:.0f} kB")
    if json:
        print_json(numbers())


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
def architecture(name: Network, output: Output = None, theme: Theme = "light", json: Json = False) -> None:
    """The network as the paper draws it, made from the network itself."""
    _check(output, json, theme)
    from lenet_zoo import figures
    from lenet_zoo.models.layers import layer_table
    from lenet_zoo.registry import load_network

    model = load_network(name)
    layers, side = layer_table(model), figures.input_side(model)
    _finish(
        output,
        json,
        lambda: figures.architecture(layers, model.card.architecture, side, model.in_chans, theme),
        lambda: [asdict(layer) for layer in layers],
    )


@plot.command(epilog="Example: lenet-zoo plot filters lenet5_modern -o filters.svg")
def filters(name: Network, output: Output = None, theme: Theme = "light", json: Json = False) -> None:
    """The kernels of C1 and C3."""
    _check(output, json, theme)
    from lenet_zoo import figures
    from lenet_zoo.registry import load_network

    found = figures.kernels(load_network(name))
    _finish(
        output,
        json,
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
    json: Json = False,
) -> None:
    """A picture on its way through the layers to the answer."""
    _check(output, json, theme)
    from lenet_zoo import figures
    from lenet_zoo.registry import load_network

    model = load_network(name)
    labels = list(model.card.labels)
    states = figures.layer_states(model, _pixels(model, picture, data_root, download))
    _finish(
        output,
        json,
        lambda: figures.maps(states, labels, theme),
        lambda: {"labels": labels, **{layer: _plain(values) for layer, values in states.items()}},
    )


@plot.command(epilog="Example: lenet-zoo plot f6 lenet5_classic digits:0 -o f6.svg")
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
    json: Json = False,
) -> None:
    """The classic's F6 as a bitmap, beside those of the classes."""
    _check(output, json, theme)
    from lenet_zoo import figures
    from lenet_zoo.registry import load_network

    model = load_network(name)
    labels, codes = model.card.labels, figures.bitmaps(model)
    states = [figures.layer_states(model, _pixels(model, picture, data_root, download)) for picture in pictures]
    _finish(
        output,
        json,
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
    json: Json = False,
) -> None:
    """The confusion matrix on a test set or on your own pictures."""
    _check(output, json, theme)
    check_one_source(dataset, data_dir)
    import numpy as np

    from lenet_zoo import figures
    from lenet_zoo.registry import card_of, load_network

    matrix: Any
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
        labels, matrix = data.classes, evaluate(classifier.predict_logits, data).confusion
    else:
        card = card_of(name)
        tested = card.metrics.get("test")
        labels, matrix = card.labels, tested.get("confusion") if isinstance(tested, Mapping) else None
        if matrix is None:
            raise InputError(f"the card of {name} has no confusion matrix: name a data set to run it on with --dataset")
    _finish(
        output,
        json,
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
    json: Json = False,
) -> None:
    """The worst mistakes on a test set, beside those of 1998.

    Of MNIST, a picture is framed where the network of 1998 erred too (the paper's Fig. 8).
    """
    _check(output, json, theme)
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
    found = figures.worst_mistakes(logits_of(model)(pictures), data.labels.numpy())
    paper = figures.paper_fig8() if data.name == "mnist" else None
    _finish(
        output,
        json,
        lambda: figures.mistakes(found, pictures, data.classes, paper, count, theme),
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
    json: Json = False,
) -> None:
    """The error after each epoch of training runs."""
    _check(output, json, theme)
    from lenet_zoo import figures

    runs: dict[str, Any] = {}
    for path in logs:
        name = (path.parent if path.name == "log.jsonl" else path).name
        runs[str(path) if name in runs else name] = figures.read_log(path)
    _finish(
        output,
        json,
        lambda: figures.curves(runs, paper, theme),
        lambda: runs | ({"fig5": figures.paper_fig5()} if paper else {}),
    )


@plot.command(epilog="Example: lenet-zoo plot bench bench.json -o bench.svg")
def bench(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `bench inference --json` printed.")],
    output: Output = None,
    theme: Theme = "light",
    json: Json = False,
) -> None:
    """The bars of a benchmark."""
    _check(output, json, theme)
    from lenet_zoo import figures

    document = figures.read_bench(file)
    _finish(output, json, lambda: figures.bench(document, theme), lambda: document)
