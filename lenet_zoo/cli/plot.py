"""`plot`: pictures of the networks, of what they do, and of how they were trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from lenet_zoo.cards import Card
from lenet_zoo.cli._app import (
    DataDir,
    DataRoot,
    Download,
    NamedByOption,
    app,
    check_one_source,
    is_onnx,
    say,
    warn_of_other_classes,
)
from lenet_zoo.cli._plotting import Network, Picture, Target, draws, full, line_of, pixels_of, plain
from lenet_zoo.errors import InputError, did_you_mean
from lenet_zoo.pictures.preparation import LINE


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


def _refuse_lines(card: Card, name: str) -> None:
    if card.preparation.kind == LINE:
        raise InputError(f"{name} reads lines: take `lenet-zoo plot line`")


@plot.command(epilog="Example: lenet-zoo plot architecture lenet5_classic -o architecture.svg")
@draws
def architecture(target: Target, name: Network) -> None:
    """The network as the paper draws it, made from the network itself."""
    from lenet_zoo import figures
    from lenet_zoo.models.layers import layer_table
    from lenet_zoo.registry import load_network

    model = load_network(name)
    layers, side = layer_table(model), figures.input_side(model)
    target.finish(
        "The layers of " + full(name),
        lambda: figures.architecture(layers, model.card.architecture, side, model.in_chans, target.theme),
        lambda: [asdict(layer) for layer in layers],
        titled=False,
        letters=1.0,  # they stand close
    )


@plot.command(epilog="Example: lenet-zoo plot filters lenet5_modern -o filters.svg")
@draws
def filters(target: Target, name: Network) -> None:
    """The kernels of C1 and C3."""
    from lenet_zoo import figures
    from lenet_zoo.registry import load_network

    found = figures.kernels(load_network(name))
    target.finish(
        "The kernels of " + full(name),
        lambda: figures.filters(found, target.theme),
        lambda: {layer: plain(weights) for layer, weights in found.items()},
    )


@plot.command(epilog="Example: lenet-zoo plot maps lenet5_modern digits:0 -o maps.svg")
@draws
def maps(
    target: Target,
    name: Network,
    picture: Picture,
    data_root: DataRoot = None,
    download: Download = False,
) -> None:
    """A picture on its way through the layers to the answer."""
    from lenet_zoo import figures
    from lenet_zoo.registry import load_network

    model = load_network(name)
    _refuse_lines(model.card, name)
    labels = list(model.card.labels)
    states = figures.layer_states(model, pixels_of(model, picture, data_root, download))
    target.finish(
        f"{full(name)} reads {Path(picture).name}",
        lambda: figures.maps(states, labels, target.theme, model.card.confidence),
        lambda: {"labels": labels, **{layer: plain(values) for layer, values in states.items()}},
    )


@plot.command(epilog="Example: lenet-zoo plot f6 lenet5_classic.lecun1998_mnist digits:0 -o f6.svg")
@draws
def f6(
    target: Target,
    name: Network,
    pictures: Annotated[
        list[str],
        typer.Argument(metavar="PICTURE...", help="Picture files, or DATASET:INDEX for test pictures: mnist:247."),
    ],
    data_root: DataRoot = None,
    download: Download = False,
) -> None:
    """The classic's F6 as a bitmap, beside those of the classes.

    Only weights trained by a loss of 1998 make F6 look like a bitmap, as lenet5_classic.lecun1998_mnist do.
    """
    from lenet_zoo import figures
    from lenet_zoo.registry import load_network

    model = load_network(name)
    _refuse_lines(model.card, name)
    labels, codes = model.card.labels, figures.bitmaps(model)
    states = [figures.layer_states(model, pixels_of(model, picture, data_root, download)) for picture in pictures]
    nearest = min(float(-state["output"].max()) for state in states)
    if target.output is not None and nearest > figures.ZERO_STATE:
        say(
            f"F6 resembles no bitmap: the nearest is at y = {nearest:.0f}, and an F6 of zeros would be at "
            f"{figures.ZERO_STATE:g}. Cross-entropy looks at differences of y only; the losses of 1998, by which "
            "lenet5_classic.lecun1998_mnist was trained, draw F6 to the bitmaps"
        )
    target.finish(
        "F6 and the bitmaps of " + full(name),
        lambda: figures.f6(states, codes, labels, target.theme),
        lambda: [
            {
                "picture": picture,
                "F6": plain(state["F6"]),
                "y": dict(zip(labels, plain(-state["output"]), strict=True)),
            }
            for picture, state in zip(pictures, states, strict=True)
        ],
    )


@plot.command(epilog="Example: lenet-zoo plot confusion lenet5_modern -o confusion.svg")
@draws
def confusion(
    target: Target,
    name: Network,
    dataset: Annotated[
        str, typer.Option("--dataset", help="Run the network on it; else the matrix is the card's.")
    ] = "",
    data_dir: DataDir = None,
    data_root: DataRoot = None,
    download: Download = False,
) -> None:
    """The confusion matrix on a test set or on your own pictures."""
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
            warn_of_other_classes(name, classifier.labels, data.name, data.classes)
        on, labels, matrix = data.name, data.classes, evaluate(classifier.predict_logits, data).confusion
    else:
        card = card_of(name)
        _refuse_lines(card, name)
        tested = card.metrics.get("test")
        on, labels, matrix = card.dataset, card.labels, tested.get("confusion") if isinstance(tested, Mapping) else None
        if matrix is None:
            raise InputError(f"the card of {name} has no confusion matrix: name a data set to run it on with --dataset")
    target.finish(
        f"{full(name)} on {on}",
        lambda: figures.confusion(np.array(matrix), labels, target.theme),
        lambda: {"labels": labels, "confusion": matrix},
    )


@plot.command(epilog="Example: lenet-zoo plot mistakes lenet5_modern --dataset digits -o mistakes.svg")
@draws
def mistakes(
    target: Target,
    name: Network,
    dataset: Annotated[str, typer.Option("--dataset", help="The data set whose test pictures are read.")] = "",
    data_root: DataRoot = None,
    download: Download = False,
    count: Annotated[int, typer.Option("--count", min=1, help="How many are drawn, the worst first.")] = 40,
) -> None:
    """The worst mistakes on a test set, beside those of 1998.

    Of MNIST, a picture is framed where the network of 1998 erred too (the paper's Fig. 8).
    """
    from lenet_zoo import figures
    from lenet_zoo.classify.torch import logits_of
    from lenet_zoo.datasets.loading import DATASETS, load_dataset
    from lenet_zoo.registry import load_network

    model = load_network(name)
    _refuse_lines(model.card, name)
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
    warn_of_other_classes(name, model.card.labels, dataset, data.classes)
    pictures = data.images.numpy()
    found = figures.worst_mistakes(logits_of(model)(pictures), data.labels.numpy(), model.card.confidence)
    paper = figures.paper_fig8() if data.name == "mnist" else None
    target.finish(
        f"{full(name)} on {dataset}",
        lambda: figures.mistakes(found, pictures, data.classes, paper, count, target.theme, figures.has_bitmaps(model)),
        lambda: {
            "pictures": len(data),
            "mistakes": [asdict(mistake) | ({"fig8": mistake.index in paper} if paper else {}) for mistake in found],
        },
    )


@plot.command(cls=NamedByOption, epilog="Example: lenet-zoo plot line cheque.png -o line.svg")
@draws
def line(
    target: Target,
    picture: Annotated[
        str,
        typer.Argument(
            metavar="PICTURE", help="A picture file, or DATASET:I,J,… for test digits side by side: mnist:7,2,1."
        ),
    ],
    model: Annotated[
        str, typer.Option("--model", metavar="NAME_OR_ONNX", help="A tag that reads numbers, or an .onnx file of one.")
    ] = "lenet5_modern.numbers",
    data_root: DataRoot = None,
    download: Download = False,
) -> None:
    """A line of digits, the outputs along it, and the number that is read: the paper's Fig. 25."""
    import numpy as np

    from lenet_zoo import figures
    from lenet_zoo.pictures.line import line_from_image
    from lenet_zoo.tags import reader_of

    reader = reader_of(model)
    strip = line_from_image(line_of(picture, data_root, download))
    answers = reader.log_probabilities(strip.pixels)
    reading = reader.decode(answers, strip)
    labels = reader.card.labels
    classes = [labels.index(one.label) for one in reading.characters]
    target.finish(
        f"{model if is_onnx(model) else full(model)} reads {Path(picture).name}",
        lambda: figures.line(strip.pixels, answers, labels, classes, target.theme),
        lambda: {
            "labels": labels,
            "text": reading.text,
            "confidence": reading.confidence,
            "pixels": plain(strip.pixels),
            "probabilities": plain(np.exp(answers)),
        },
    )


@plot.command(epilog="Example: lenet-zoo plot curves runs/best -o curves.svg")
@draws
def curves(
    target: Target,
    logs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Folders that `train` or `finetune` wrote, or log.jsonl files."),
    ],
    paper: Annotated[bool, typer.Option("--paper", help="With the values of the paper's Fig. 5.")] = False,
) -> None:
    """The error after each epoch of training runs."""
    from lenet_zoo import figures

    runs: dict[str, Any] = {}
    for path in [log for each in logs for log in _logs_in(each)]:
        name = path.parent.name if path.name == "log.jsonl" else path.name.removesuffix(".jsonl")
        runs[str(path) if name in runs else name] = figures.read_log(path)
    target.finish(
        "Error after each epoch",
        lambda: figures.curves(runs, paper, target.theme),
        lambda: runs | ({"fig5": figures.paper_fig5()} if paper else {}),
        titled=False,
    )


def _logs_in(run: Path) -> list[Path]:
    """A run's folder or log, or the folders of the runs that `train` with --seeds or --val made in it."""
    for pattern in ("log.jsonl", "seed-*/log.jsonl", "validation/log.jsonl", "validation/seed-*/log.jsonl"):
        if found := sorted(run.glob(pattern)):
            return [run] if pattern == "log.jsonl" else [log.parent for log in found]
    return [run]


@plot.command(epilog="Example: lenet-zoo plot curvature lenet5_classic.lecun1998_mnist -o curvature.svg")
@draws
def curvature(
    target: Target,
    name: Network,
    dataset: Annotated[str, typer.Option("--dataset", help="Whose test pictures the loss is taken on.")] = "digits",
    data_root: DataRoot = None,
    download: Download = False,
) -> None:
    """The second derivatives, by each layer's weights, of the loss of 1998 (its equation 8), on 500 pictures."""
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
    warn_of_other_classes(name, model.card.labels, dataset, data.classes)
    found = estimate(model, normalized(model, data.images[:500]), data.labels[:500], PenaltyLoss())
    h = {key: found[parameter].numpy() for key, parameter in model.named_parameters()}
    target.finish(
        f"Curvature in {full(name)}, on {dataset}",
        lambda: figures.curvature(h, theme=target.theme),
        lambda: {key: plain(values) for key, values in h.items()},
    )


@plot.command(epilog="Example: lenet-zoo plot bench bench.json -o bench.svg")
@draws
def bench(
    target: Target,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `bench inference --json` printed.")],
) -> None:
    """The bars of a benchmark."""
    from lenet_zoo import figures

    document = figures.read_bench(file)
    target.finish("Pictures per second", lambda: figures.bench(document, target.theme), lambda: document, titled=False)


@plot.command(epilog="Example: lenet-zoo plot ablation ablation.json -o ablation.svg")
@draws
def ablation(
    target: Target,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `python examples/ablate.py --out FILE` wrote.")],
) -> None:
    """The networks between 1998 and today, one switch at a time."""
    from lenet_zoo import figures

    document = figures.read_ablation(file)
    target.finish(
        "From lenet5_classic to lenet5_modern, one switch at a time",
        lambda: figures.ablation(document, target.theme),
        lambda: document,
    )
