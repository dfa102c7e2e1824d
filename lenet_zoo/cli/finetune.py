"""`finetune`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table

from lenet_zoo.cli._app import (
    DataRoot,
    Download,
    Json,
    NamedByOption,
    Threads,
    app,
    check_one_source,
    print_json,
    print_table,
    sigterm_as_ctrl_c,
)
from lenet_zoo.cli.train import Display, field_and_value

__all__ = ["finetune"]


@app.command(cls=NamedByOption, epilog="Example: lenet-zoo finetune --data-dir letters/ --out runs/letters")
def finetune(
    # A text: as a Path, an empty one would be the working directory.
    out: Annotated[
        str, typer.Option("--out", metavar="PATH", help="The folder to make: weights, card, ONNX file, figures.")
    ],
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            help="digits (scikit-learn's, no download; the default), fashion_mnist, kmnist, emnist-….",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir", metavar="FOLDER", help="Your own pictures: a folder per class, or train/ val/ test/."
        ),
    ] = None,
    model: Annotated[
        str, typer.Option("--model", help="Where to start: lenet5_modern, lenet5_classic.mnist, local-dir:FOLDER, ….")
    ] = "lenet5_modern",
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="Weights of your own to start from.")
    ] = None,
    scratch: Annotated[bool, typer.Option("--scratch", help="Start from random weights, to compare.")] = False,
    in_chans: Annotated[int, typer.Option("--in-chans", help="1 (grey), or 3 for pictures in colour.")] = 1,
    prepare: Annotated[
        Literal["character", "picture"] | None,
        typer.Option(
            "--as", help="How --data-dir is read: find the character and centre it, or take the picture as it is."
        ),
    ] = None,
    freeze: Annotated[
        str,
        typer.Option("--freeze", metavar="LAYERS", help="Layers not to train, such as c1,c3; body: all but the last."),
    ] = "",
    layer_decay: Annotated[
        float | None, typer.Option("--layer-decay", help="Learning rate × this for each layer below the output.")
    ] = None,
    few_shot: Annotated[
        int | None, typer.Option("--few-shot", metavar="K", help="Train on K pictures of each class.")
    ] = None,
    test_part: Annotated[
        float | None, typer.Option("--test-part", help="Part held out for testing, if the data have no test set.")
    ] = None,
    val_part: Annotated[
        float, typer.Option("--val-part", help="Part of the training pictures held out for validation.")
    ] = 0.1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of draws, order, distortions and new weights.")] = 0,
    recipe: Annotated[str, typer.Option("--recipe", help="A shipped recipe or a .toml file.")] = "finetune",
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the recipe; repeatable.")
    ] = None,
    amp: Annotated[bool, typer.Option("--amp", help="Mixed precision, bfloat16.")] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Stop at the first picture that cannot be used, in place of leaving it out."),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what the folder holds.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove the folder's run, and begin anew.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    threads: Threads = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write the figures of each epoch for TensorBoard.")
    ] = False,
    data_root: DataRoot = None,
    download: Download = False,
    json: Json = False,
) -> None:
    """Fine-tune a network to your classes; weights, card, ONNX file and figures end up in the folder."""
    from lenet_zoo.finetuning import finetune as run
    from lenet_zoo.training.processes import job

    check_one_source(dataset, data_dir)
    with (
        job(device) as on_rank_zero,
        sigterm_as_ctrl_c(),
        Display(quiet=not on_rank_zero, overwrite=overwrite) as display,
    ):
        done = run(
            out,
            dataset=dataset or "digits",
            data_dir=data_dir,
            model=model,
            weights=weights,
            scratch=scratch,
            in_chans=in_chans,
            prepare=prepare,
            freeze=freeze,
            layer_decay=layer_decay,
            few_shot=few_shot,
            test_part=test_part,
            val_part=val_part,
            seed=seed,
            recipe=recipe,
            changes=dict(field_and_value(text) for text in set_ or []),
            amp=amp,
            strict=strict,
            resume=resume,
            overwrite=overwrite,
            device=device,
            threads=threads,
            tensorboard=tensorboard,
            data_root=data_root,
            download=download,
            monitor=display.monitor,
        )
    if not on_rank_zero:
        return
    if json:
        print_json({"folder": str(done.folder), **done.card})
    else:
        _summary(done.folder, done.card)


def _summary(folder: Path, card: dict[str, Any]) -> None:
    def start() -> str:
        kept, frozen = card["start"]["classes_kept"], card["start"]["frozen"]
        known = f", {kept} of {len(card['labels'])} classes known" if kept else ""
        return f"{card['start']['model']}{known}" + (f", {', '.join(frozen)} frozen" if frozen else "")

    def training() -> str:
        epochs = card["epochs"]
        return f"{epochs} epoch{'s' * (epochs != 1)}, {card['seconds']:g} s"

    def accuracy() -> str:
        test = card["metrics"]["test"]
        return f"{100 * test['accuracy']:.2f} %, {test['correct']:,} of {test['total']:,}"

    def onnx() -> str:
        same, pictures = card["onnx"]["same_answer"], card["onnx"]["pictures"]
        return f"the same answer on {same:,} of {pictures:,} test pictures"

    rows: dict[str, Callable[[], str]] = {
        "start": start,
        "classes": lambda: f"{len(card['labels'])} of {card['dataset']}",
        "pictures": lambda: ", ".join(f"{count:,} {name}" for name, count in card["pictures"].items()),
        "training": training,
        "test accuracy": accuracy,
        "weakest class": lambda: _weakest(card["metrics"]["test"]["per_class"]),
        "ONNX file": onnx,
        "folder": lambda: str(folder),
    }
    table = Table(show_header=False, box=None, pad_edge=False)
    for key, fill in rows.items():
        with suppress(LookupError, TypeError, ValueError, AttributeError):  # the card of a finished run may lack it
            table.add_row(key, fill())
    print_table(table)


def _weakest(per_class: dict[str, dict[str, Any]]) -> str:
    tested = {name: figures for name, figures in per_class.items() if figures["total"]}
    name, figures = min(tested.items(), key=lambda item: item[1]["accuracy"])
    return f"{name}, {figures['correct']:,} of {figures['total']:,}"
