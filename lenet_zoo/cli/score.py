"""`score`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lenet_zoo.cli._app import Json, MinConfidence, NamedByOption, app, console, messages, print_json, sigterm_as_ctrl_c
from lenet_zoo.errors import InputError

__all__ = ["score"]


@app.command(cls=NamedByOption, epilog="Example: lenet-zoo score scans/ --model lenet5_modern.handwriting --out labels")
def score(
    source: Annotated[
        Path, typer.Argument(metavar="INPUT", help="A folder of pictures, or Parquet or IDX files; or one such file.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for the answers: new, empty, or of the same job.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME_OR_ONNX",
            help="A network of the zoo, local-dir:FOLDER, or an .onnx file; default: lenet5_modern.mnist, or "
            "lenet5_modern.numbers.",
        ),
    ] = None,
    as_: Annotated[
        str, typer.Option("--as", help="characters, one a picture; or numbers, a line of digits a picture.")
    ] = "characters",
    expect: Annotated[
        str | None,
        typer.Option("--expect", help=r"Of numbers: how many digits, or a regular expression such as '\d{5}'."),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option("--top-k", min=1, help="Answers per picture, best first; default: 3.")
    ] = None,
    min_confidence: MinConfidence = 0.0,
    kind: Annotated[
        str | None, typer.Option("--kind", help="pictures, parquet or idx, where a folder holds several.")
    ] = None,
    column: Annotated[
        str | None, typer.Option("--column", help="Of Parquet files: the pictures or pixels; default: the only one.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Of Parquet files: what names a row; default: FILE#ROW.")
    ] = None,
    engine: Annotated[str, typer.Option("--engine", help="local or ray.")] = "local",
    address: Annotated[
        str | None, typer.Option("--address", help="Of a running Ray cluster, HOST:PORT or auto; default: start one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Parts that are done at once; default: one per core.")
    ] = None,
    part_rows: Annotated[
        int | None, typer.Option("--part-rows", min=1, help="Rows of a part at most; default: for some 64 parts.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove the folder's job, and begin anew.")] = False,
    json: Json = False,
) -> None:
    """Label a large collection; started again, go on with what is missing."""
    from lenet_zoo.scoring import score as run

    if expect is not None and as_ != "numbers":
        raise InputError(f"--expect {expect} is for numbers: add --as numbers")
    with sigterm_as_ctrl_c(), _Bar() as bar:
        result = run(
            source,
            out,
            model=model,
            as_=as_,
            expect=expect,
            top_k=top_k,
            min_confidence=min_confidence,
            kind=kind,
            column=column,
            key=key,
            part_rows=part_rows,
            engine=engine,
            address=address,
            workers=workers,
            overwrite=overwrite,
            progress=bar.show,
        )
    if json:
        print_json(result)
        return
    for line in _lines(result):
        console.print(line, soft_wrap=True)


def _lines(result: dict[str, Any]) -> list[str]:
    run = result["run"]
    rows, were = ("1 row", "was") if result["rows"] == 1 else (f"{result['rows']:,} rows", "were")
    how = f"{were} there already" if result["already_complete"] else f"in {run['seconds']:,.1f} s"
    if 0 < run["rows"] < result["rows"]:
        how = f"{run['rows']:,} of them {how}"
    parts = [f"{result['labelled']:,} labelled"]
    for name, text in (
        ("below_min_confidence", "rejected below the least confidence"),
        ("no_digit", f"rejected without a {'number' if 'lengths' in result else 'digit'}"),
        ("unreadable", "not readable"),
    ):
        if result[name]:
            parts.append(f"{result[name]:,} {text}")
    lines = [f"{result['out']}: {rows}, {how}: {', '.join(parts)}"]
    if run["rows"]:
        spent = {name: seconds for name, seconds in run["stages"].items() if name != "list"}
        total = sum(spent.values()) or 1.0
        shares = ", ".join(f"{name} {100 * seconds / total:.0f} %" for name, seconds in spent.items())
        lines.append(f"{_rate(run['rows_per_second'])}; time of the workers: {shares}")
    return lines


def _rate(rows_per_second: float) -> str:
    """A speed, which for large pictures may be less than one row a second."""
    return f"{rows_per_second:,.0f} rows/s" if rows_per_second >= 10 else f"{rows_per_second:.2g} rows/s"


class _Bar:
    """The progress bar: rows, rows per second, time left."""

    def __init__(self) -> None:
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=messages,
            transient=True,
            disable=not messages.is_terminal,
        )
        self.task = self.progress.add_task("listing", total=None, rate="")

    def show(self, done: int, total: int) -> None:
        """Called after the listing with the rows that earlier runs did, and then after each part."""
        task = self.progress.tasks[0]
        if task.total is None:
            # Speed and time left are measured on this run alone.
            self.progress.reset(self.task, total=total, completed=done, description="scoring", rate="")
            self.first = done
            return
        elapsed = task.elapsed or 1e-9
        self.progress.update(self.task, completed=done, rate=_rate((done - self.first) / elapsed))

    def __enter__(self) -> _Bar:
        self.progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.progress.stop()
