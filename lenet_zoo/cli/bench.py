"""`bench inference`, `bench pictures` and `bench lines`: ratios measured in one run on this machine."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from lenet_zoo.cli._app import Json, app, console, messages, print_json, print_table

__all__ = ["bench", "inference", "lines", "pictures"]

bench = typer.Typer(
    name="bench", help="Ratios measured in one run on this machine.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(bench)


@bench.command(epilog="Example: lenet-zoo bench inference --json")
def inference(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="A network of the zoo.")] = "lenet5_modern",
    threads: Annotated[
        list[int] | None, typer.Option("--threads", min=1, help="Repeat for several; default: 1 and all cores.")
    ] = None,
    batch: Annotated[
        list[int] | None, typer.Option("--batch", min=1, help="Repeat for several; default: 1, 64 and 1024.")
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Turns of each contestant.")] = 15,
    compiled: Annotated[bool, typer.Option("--compile/--no-compile", help="Let torch.compile take part.")] = True,
    json: Json = False,
) -> None:
    """Time torch, a plain ONNX export and ours in turn, and compare with this machine's matrix-product rate."""
    from lenet_zoo.bench.inference import time_inference

    with messages.status("exporting") as status:
        result = time_inference(
            name,
            threads=threads or None,
            batches=batch or (1, 64, 1024),
            rounds=rounds,
            compiled=compiled,
            progress=status.update,
        )
    if json:
        print_json(asdict(result))
        return
    console.print(", ".join(f"{key} {value}" for key, value in result.machine.items()))
    console.print(f"{name}: {result.multiply_adds:,} multiply-adds a picture; {rounds} rounds")
    for count, rate in result.ceiling.items():
        console.print(f"float32 matrix product, threads {count}: {rate / 1e9:.1f} G multiply-adds/s")
    table = Table("threads", "batch")
    table.add_column("who", no_wrap=True)
    for heading in ("µs/picture", "pictures/s", "÷ ours", "of product"):
        table.add_column(heading, justify="right")
    for row in result.rows:
        table.add_row(
            str(row.threads),
            f"{row.batch:,}",
            row.name,
            f"{row.microseconds:.2f}",
            f"{row.pictures_per_second:,.0f}",
            f"{row.ratio:.2f}",
            f"{100 * row.share:.0f} %",
        )
    print_table(table)
    for who, why in result.absent.items():
        console.print(f"{who} did not take part: {why}")


@bench.command(epilog="Example: lenet-zoo bench pictures --rounds 5")
def pictures(
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Turns of each stage.")] = 15,
    json: Json = False,
) -> None:
    """Time the way from a picture's file to an answer, stage by stage, beside the plain Otsu box."""
    from lenet_zoo.bench.pictures import time_pictures

    with messages.status("exporting") as status:
        result = time_pictures(rounds, status.update)
    if json:
        print_json(asdict(result))
        return
    console.print(", ".join(f"{key} {value}" for key, value in result.machine.items()))
    table = Table("picture", title=f"ms a picture, one core, medians of {rounds} rounds", title_justify="left")
    for heading in ("decoding", "to a digit", "÷ decoding", "Otsu box", "network"):
        table.add_column(heading, justify="right")
    for row in result.rows:
        cells = [f"{row.decoding:.2f}", f"{row.digit:.2f}", f"{row.ratio:.2f}", f"{row.otsu:.2f}", f"{row.network:.3f}"]
        table.add_row(row.picture, *cells)
    print_table(table)


@bench.command(epilog="Example: lenet-zoo bench lines --digits 8")
def lines(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="A network of the zoo.")] = "lenet5_modern.numbers",
    digits: Annotated[
        list[int] | None, typer.Option("--digits", min=1, help="Repeat for several; default: 1, 4, 8 and 16.")
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Turns of each stage.")] = 15,
    json: Json = False,
) -> None:
    """Time what it takes to read a line of digits: picture to strip, the network, and the decoding."""
    from lenet_zoo.bench.lines import time_lines

    with messages.status("exporting") as status:
        result = time_lines(name, digits or (1, 4, 8, 16), rounds, status.update)
    if json:
        print_json(asdict(result))
        return
    console.print(", ".join(f"{key} {value}" for key, value in result.machine.items()))
    table = Table("digits", title=f"µs a line, one core, medians of {rounds} rounds", title_justify="left")
    for heading in ("strip in px", "picture to strip", "network", "decoding"):
        table.add_column(heading, justify="right")
    for row in result.rows:
        table.add_row(
            *map(str, (row.digits, row.width)), *(f"{v:,.0f}" for v in (row.strip, row.network, row.decoding))
        )
    print_table(table)
