"""`read`, and `evaluate` of networks that read numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Column, Table

from lenet_zoo import cards
from lenet_zoo.cli._app import (
    Json,
    MinConfidence,
    ReadsPictures,
    answer_each,
    app,
    console,
    is_onnx,
    messages,
    percent,
    pictures_of,
    print_json,
    print_table,
    say,
)
from lenet_zoo.errors import DataError, InputError

if TYPE_CHECKING:
    from lenet_zoo.evaluation import LineEvaluation, NumberEvaluation


@app.command(cls=ReadsPictures, epilog=r"Example: lenet-zoo read lenet5_modern.numbers meter.jpg --expect 5")
def read(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME_OR_ONNX",
            help="lenet5_modern.numbers, lenet5_classic.numbers, or an .onnx file of such a network.",
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="Pictures; a folder counts as those in it, without its subfolders."),
    ],
    expect: Annotated[
        str | None,
        typer.Option("--expect", help=r"How many digits, or a regular expression for all of them, such as '\d{5}'."),
    ] = None,
    min_confidence: MinConfidence = 0.0,
    json: Json = False,
) -> None:
    """The number on each picture of a line of digits: text, confidence and, with --json, the place of each digit.

    Of a few lines each has its own answer.
    """
    from lenet_zoo.classify.reader import Reading, expected
    from lenet_zoo.tags import reader_of

    pattern = expected(expect)
    paths = pictures_of(images)
    reader = reader_of(name)
    answer_each(
        paths, lambda path: reader.read(path, min_confidence, pattern)[0], Reading(None, 0.0, ()), _answers, json
    )


def _answers(row: dict[str, Any]) -> list[str]:
    lines = row["lines"]
    return [_answer({**line, "path": f"{row['path']}, line {i}"}) for i, line in enumerate(lines, 1)] or [_answer(row)]


def _answer(row: dict[str, Any]) -> str:
    if row["text"] is None:
        return f"{row['path']}: rejected: {row['reason']}"
    return f"{row['path']}: {row['text']} ({percent(row['confidence'])})"


def reads_numbers(name: str) -> bool:
    """Whether a tag or an ONNX file is of a network that reads lines; of an unknown one, not."""
    from lenet_zoo.classify import read_metadata
    from lenet_zoo.pictures.preparation import LINE
    from lenet_zoo.registry import is_foreign, resolve

    if is_onnx(name):
        return read_metadata(name).get("preparation") == LINE
    return not is_foreign(name) and cards.load(resolve(name)).preparation.kind == LINE


def evaluate_on_lines(name: str, dataset: str, train: bool, root: Any, download: bool, json: bool) -> None:
    """Print the figures of a network that reads numbers on lines of 5 of a data set's digits."""
    from lenet_zoo.datasets.lines import MEASURED, lines_of_five
    from lenet_zoo.datasets.loading import load_dataset
    from lenet_zoo.evaluation import evaluate_lines
    from lenet_zoo.tags import reader_of

    reader, data = reader_of(name), load_dataset(dataset, train=train, root=root, download=download)
    temperature = reader.card.confidence.temperature if reader.card.confidence else 1.0
    found, count = {}, 10_000
    with Progress(console=messages, transient=True) as progress:
        for style, how in MEASURED.items():
            batches: Any = lines_of_five(data, how, count)  # of 100
            batches = progress.track(batches, total=count // 100, description=f"reading lines: {style}")
            found[style] = evaluate_lines(reader.logits, batches, temperature)
    if json:
        split = "train" if train else "test"
        figures = {style: one.as_dict() for style, one in found.items()}
        print_json({"name": name, "dataset": dataset, "split": split, "lines": figures})
        return
    console.print(f"{name} on lines of 5 digits of {dataset}", highlight=False)
    table = Table("lines", *(Column(heading, justify="right") for heading in _HEADINGS))
    for style, one in found.items():
        table.add_row(style, *_figures(one))
    print_table(table)


_HEADINGS = ("correct", "of", "whole lines", "character errors", "at least 0.95 sure", "of these wrong")


def _figures(one: LineEvaluation | NumberEvaluation) -> list[str]:
    return [
        f"{one.correct:,}",
        f"{one.total:,}",
        f"{100 * one.accuracy:.2f} %",
        f"{100 * one.edits / one.characters:.2f} %",
        f"{one.sure:,}",
        f"{one.sure_wrong:,}",
    ]


def evaluate_on_pictures(name: str, folder: Path, json: bool) -> None:
    """Print the figures of a network that reads numbers on pictures of one's own."""
    from lenet_zoo.datasets.own_numbers import load_numbers
    from lenet_zoo.evaluation import evaluate_readings
    from lenet_zoo.tags import reader_of

    pictures, reader = load_numbers(folder), reader_of(name)
    found = []
    with Progress(console=messages, transient=True, disable=len(pictures) < 50) as progress:
        for path, number in progress.track(pictures, description="reading"):
            try:
                reading = reader.read(path)[0]
            except InputError as error:
                say(f"left out: {error}")
            else:
                found.append((reading.text, reading.confidence, number))
    if not found:
        raise DataError(f"none of {folder}'s pictures can be read")
    if len(found) < len(pictures):
        say(f"{len(pictures) - len(found):,} of {len(pictures):,} pictures in {folder} were left out")
    figures = evaluate_readings(found)
    if json:
        print_json({"name": name, "dataset": str(folder), "split": "all", "numbers": figures.as_dict()})
        return
    table = Table(*(Column(heading, justify="right") for heading in (*_HEADINGS, "refused")))
    table.add_row(*_figures(figures), f"{figures.refused:,}")
    console.print(f"{name} on the numbers of {folder}", highlight=False, soft_wrap=True)
    print_table(table)
