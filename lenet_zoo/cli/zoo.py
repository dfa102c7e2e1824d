"""`list`, `info`, `predict` and `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE, SIMPLE_HEAD
from rich.table import Column, Table

from lenet_zoo import cards
from lenet_zoo.cli._app import (
    DataDir,
    DataRoot,
    Download,
    Json,
    MinConfidence,
    ReadsPictures,
    Trusted,
    answer_each,
    app,
    check_one_source,
    columns,
    console,
    is_onnx,
    percent,
    pictures_of,
    print_json,
    print_line,
    print_table,
    say,
    warn_of_other_classes,
)
from lenet_zoo.errors import InputError
from lenet_zoo.pictures.preparation import LINE

if TYPE_CHECKING:
    from lenet_zoo.cards import Card
    from lenet_zoo.classify import Classifier

Network = Annotated[
    str,
    typer.Argument(
        metavar="NAME_OR_ONNX", help="lenet5_modern, lenet5_classic.mnist, …, local-dir:FOLDER, or an .onnx file."
    ),
]


@app.command("list", epilog="Example: lenet-zoo list --json")
def list_(json: Json = False) -> None:
    """The networks and tags: parameters, data set, test accuracy, size."""
    shipped = {name: cards.load(name).as_dict() for name in cards.names()}
    sizes = {name: cards.weight_path(name).stat().st_size for name in shipped}
    if json:
        print_json([{"name": name, "bytes": sizes[name], **card} for name, card in shipped.items()])
        return
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("name", overflow="fold")
    wide = columns() >= 84  # a narrower terminal has no room for the data set, which the name ends in
    if wide:
        table.add_column("data set", no_wrap=True)
    for heading in ("params", "accuracy", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, card in shipped.items():
        test = card["metrics"]["test"]
        mark = "* " if card["preparation"] == LINE else ""
        table.add_row(
            name,
            *([card["dataset"]] if wide else []),
            f"{card['params']:,}",
            f"{mark}{100 * test['correct'] / test['total']:.2f} %",
            f"{sizes[name] / 1000:.0f} kB",
        )
    print_table(table)
    print_line("* of lines of five digits, each read as a whole; the others read single characters")


@app.command(epilog="Example: lenet-zoo info lenet5_classic")
def info(name: Network, json: Json = False) -> None:
    """The layer table and the card of a network; of an ONNX file, what it says of itself."""
    if is_onnx(name):
        from lenet_zoo.classify import read_metadata

        document: dict[str, Any] = dict(read_metadata(name))
        if json:
            print_json(document)
        else:
            _print_mapping(document)
        return

    from lenet_zoo.registry import layers_of, model_card

    card, layers = model_card(name), layers_of(name)
    if json:
        print_json({"layers": layers, "card": card})
        return
    table = Table("layer", "what", box=SIMPLE, collapse_padding=True, pad_edge=False, show_footer=True)
    for heading, footer in (
        ("output", "total"),
        ("parameters", f"{sum(layer['parameters'] for layer in layers):,}"),
        ("connections", f"{sum(layer['connections'] for layer in layers):,}"),
    ):
        table.add_column(heading, footer, justify="right")
    for layer in layers:
        shape = "×".join(map(str, layer["output"]))
        table.add_row(layer["name"], layer["kind"], shape, f"{layer['parameters']:,}", f"{layer['connections']:,}")
    print_table(table)
    _print_mapping({key: value for key, value in card.items() if key not in ("metrics", "recipe")})
    _print_recipe(card.get("recipe"))
    for split, figures in card.get("metrics", {}).items():
        if isinstance(figures, dict) and "correct" in figures:
            console.print(f"{split}: {_accuracy(figures['correct'], figures['total'])}")


def _print_mapping(document: dict[str, Any]) -> None:
    table = Table("", Column(overflow="fold"), show_header=False, box=None, pad_edge=False)
    for key, value in document.items():
        table.add_row(key, _in_words(value))
    print_table(table)


_PAIR = 25  # columns of the terminal that a field of a recipe takes, with its value


def _print_recipe(recipe: Mapping[str, Any] | None) -> None:
    """The name and the purpose of a recipe, and below them its fields in columns, without those that are empty."""
    if not recipe:
        return
    head = ": ".join(str(recipe[key]) for key in ("name", "description") if recipe.get(key))
    print_line(f"recipe {head}")
    fields = {
        key: value for key, value in recipe.items() if key not in ("name", "description") and value not in ("", None)
    }
    nested = {key: value for key, value in fields.items() if isinstance(value, dict | list | tuple)}
    short = [text for key, value in fields.items() if key not in nested for text in (key, _in_words(value))]
    pairs = max(min(columns() // _PAIR, 4), 1)
    short += [""] * (-len(short) % (2 * pairs))
    table = Table(show_header=False, box=None, pad_edge=False)
    for start in range(0, len(short), 2 * pairs):
        table.add_row(*short[start : start + 2 * pairs])
    print_table(table)
    _print_mapping(nested)


def _in_words(value: Any, brackets: bool = False) -> str:
    """A value of a card or of a file's metadata as text; values within another are in brackets."""
    if isinstance(value, dict):
        text = ", ".join(f"{key} {_in_words(inner, brackets=True)}" for key, inner in value.items())
        return f"({text})" if brackets else text
    if isinstance(value, list | tuple):
        text = ", ".join(_in_words(inner, brackets=True) for inner in value)
        return f"[{text}]" if brackets else text
    if isinstance(value, bool):
        return str(value).lower()  # as in the recipe's file
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _accuracy(correct: int, total: int) -> str:
    return f"{correct:,}/{total:,} correct, {100 * correct / total:.2f} %"


@app.command(cls=ReadsPictures, epilog="Example: lenet-zoo predict lenet5_modern.handwriting scans/ --top-k 3")
def predict(
    name: Network,
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="Pictures; a folder counts as those in it, without its subfolders."),
    ],
    top_k: Annotated[int, typer.Option("--top-k", min=1, help="Answers per picture, best first.")] = 1,
    min_confidence: MinConfidence = 0.0,
    trusted: Trusted = False,
    json: Json = False,
) -> None:
    """Label and confidence of each picture of one character."""
    from lenet_zoo.classify import Prediction

    paths = pictures_of(images)
    classifier = _fast_classifier(name, trusted)
    classifier.check_answers(top_k, min_confidence)  # the loop would repeat the error for every picture
    answer_each(
        paths, lambda path: classifier.predict(path, top_k, min_confidence)[0], Prediction(None, 0.0, ()), _answer, json
    )


def _answer(row: dict[str, Any]) -> list[str]:
    if row["label"] is None:
        return [f"{row['path']}: rejected: {row['reason']}"]
    return [f"{row['path']}: " + ", ".join(f"{top['label']} ({percent(top['confidence'])})" for top in row["top"])]


def _fast_classifier(name: str, trusted: bool) -> Classifier:
    """A tag's classifier, from an ONNX file in the user's cache, so that torch is loaded once to write it."""
    from lenet_zoo.registry import is_foreign, resolve

    if is_onnx(name) or is_foreign(name):
        return _classifier(name, trusted)
    from lenet_zoo.classify.cached import cached_classifier
    from lenet_zoo.tags import writer_of

    tag = resolve(name)
    return cached_classifier(tag, writer_of(tag))


def _classifier(name: str, trusted: bool = False) -> Classifier:
    """The classifier of an .onnx file, or of a network by name."""
    if is_onnx(name):
        from lenet_zoo.classify import OnnxClassifier

        return OnnxClassifier(name, trusted=trusted)
    from lenet_zoo.classify.torch import TorchClassifier
    from lenet_zoo.registry import load_network

    return TorchClassifier(load_network(name))


def _test_set_of(card: Card) -> str:
    """The data set of a card, where it has a test set of its own, else MNIST, which tests `handwriting`, too."""
    from lenet_zoo.datasets.loading import DATASETS

    name = card.dataset or ""
    return name if name in DATASETS and name not in ("digits", "handwriting") else "mnist"


@app.command(epilog="Example: lenet-zoo evaluate lenet5_modern --dataset mnist --download")
def evaluate(
    name: Network,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", help="mnist, fashion_mnist, digits, …; default: the card's if it has a test set, else mnist."
        ),
    ] = None,
    data_dir: DataDir = None,
    data_root: DataRoot = None,
    download: Download = False,
    train: Annotated[bool, typer.Option("--train", help="The training set in place of the test set.")] = False,
    trusted: Trusted = False,
    json: Json = False,
) -> None:
    """Average loss, accuracy and accuracy per class on a data set or on your own pictures."""
    from lenet_zoo.cli.read import evaluate_on_lines, evaluate_on_pictures, reads_numbers
    from lenet_zoo.datasets.folders import load_labelled
    from lenet_zoo.datasets.loading import load_dataset
    from lenet_zoo.evaluation import evaluate as run_evaluation

    check_one_source(dataset, data_dir)
    if reads_numbers(name):
        if data_dir is not None:
            if train:
                raise InputError("a folder of numbers has no training set: leave --train out")
            evaluate_on_pictures(name, data_dir, json)
            return
        evaluate_on_lines(name, dataset or "mnist", train, data_root, download, json)
        return
    classifier = _classifier(name, trusted)
    split = "train" if train else "test"
    if data_dir is not None:
        data, split = load_labelled(data_dir, classifier.labels, classifier.preparation, train=train, say=say)
        dataset = str(data_dir)
    else:
        dataset = dataset or _test_set_of(classifier.card)
        data = load_dataset(dataset, train=train, root=data_root, download=download)
        warn_of_other_classes(name, classifier.labels, dataset, data.classes)
    result = run_evaluation(classifier.predict_logits, data, classifier.card.confidence)
    if json:
        print_json({"name": name, "dataset": dataset, "split": split, **result.as_dict()})
        return
    looks = classifier.card.looks
    console.print(
        f"{name} on {dataset}: average loss {result.loss:.4f}, accuracy {_accuracy(result.correct, result.total)}, "
        f"expected calibration error {100 * result.calibration_error:.2f} %"
        + (f", {result.none_of_these:,} rejected as none of the network's classes" if result.none_of_these else "")
        + (f"; at one look a picture, where predict takes {looks}" if looks > 1 else ""),
        soft_wrap=True,
    )
    table = Table("class")
    for heading in ("correct", "of", "accuracy"):
        table.add_column(heading, justify="right")
    for label, (correct, total) in zip(data.classes, result.per_class, strict=True):
        table.add_row(label, str(correct), str(total), f"{100 * correct / total:.2f} %" if total else "")
    print_table(table)
