"""`train`, `recipes` and `bench training`."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from lenet_zoo.cli._app import (
    DataRoot,
    Download,
    Json,
    NamedByOption,
    Threads,
    app,
    console,
    messages,
    print_json,
    print_line,
    print_table,
    say,
    sigterm_as_ctrl_c,
)
from lenet_zoo.cli.bench import bench
from lenet_zoo.errors import InputError, did_you_mean


@app.command(epilog="Example: lenet-zoo train lenet5_modern --recipe best --out runs/best")
def train(
    name: Annotated[str, typer.Argument(metavar="NAME", help="lenet5_modern or lenet5_classic.")],
    # A text: as a Path, an empty one would be the working directory.
    out: Annotated[
        str, typer.Option("--out", metavar="PATH", help="Folder for checkpoint, log, curves, weights and card.")
    ],
    dataset: Annotated[str, typer.Option("--dataset", help="mnist, handwriting, fashion_mnist, emnist-….")] = "mnist",
    recipe: Annotated[str, typer.Option("--recipe", help="A shipped recipe (`lenet-zoo recipes`) or a .toml file.")] = (
        "best"
    ),
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of the recipe; repeatable.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of weights, order and (without views) distortions.")] = 0,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=1000, help="That many runs, from --seed on; mean ± sd.")
    ] = 1,
    val: Annotated[
        bool,
        typer.Option(
            "--val", help="Hold out the last 10,000 training pictures (of few: a sixth) and evaluate on them."
        ),
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
    """Train a network; its weights and its card end up in the folder."""
    from lenet_zoo.training.processes import job
    from lenet_zoo.training.run import train as run

    with (
        job(device) as on_rank_zero,
        sigterm_as_ctrl_c(),
        Display(quiet=not on_rank_zero, overwrite=overwrite) as display,
    ):
        card = run(
            name,
            dataset=dataset,
            recipe=recipe,
            out=out,
            changes=dict(field_and_value(text) for text in set_ or []),
            seeds=range(seed, seed + seeds),
            validate=val,
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
        print_json(card)
        return
    for split, figures in card["metrics"].items():
        console.print(
            f"{split}: average loss {figures['loss']:.4f}, "
            f"accuracy {figures['correct']}/{figures['total']} ({100 * figures['accuracy']:.2f} %)",
        )
    many = card["seeds"]
    if many["n"] > 1:
        console.print(f"{many['n']} seeds, {many['split']}: {100 * many['mean']:.3f} ± {100 * many['sd']:.3f} %")


def field_and_value(text: str) -> tuple[str, str]:
    field, equals, value = text.partition("=")
    if not equals or not field:
        raise InputError(f"--set {text}: give FIELD=VALUE, such as --set epochs=5")
    return field.strip(), value.strip()


# Where there is no terminal, and so no bar, a long epoch says this often that it goes on.
_SECONDS_BETWEEN_LINES = 30.0


class Display:
    """The progress bar of the running epoch, a line for each that is over, and one for what an interruption leaves."""

    def __init__(self, quiet: bool, overwrite: bool = False) -> None:
        from lenet_zoo.training.monitor import Monitor

        display = self
        self.again = "--resume and without --overwrite" if overwrite else "--resume"
        self.quiet, self.epochs, self.done, self.said = quiet, 0, 0, time.monotonic()
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            TextColumn(
                "loss {task.fields[loss]:.4f}  accuracy {task.fields[accuracy]:.2%}  {task.fields[rate]:,.0f}/s"
            ),
            TimeRemainingColumn(),
            console=messages,
            transient=True,
            disable=quiet or not messages.is_terminal,
        )

        class Show(Monitor):
            def begin(self, epochs: int, done: int, pictures: int) -> None:
                display.begin(epochs, done, pictures)

            def step(self, epoch: int, pictures: int, loss: float, accuracy: float, rate: float) -> None:
                display.step(epoch, pictures, loss, accuracy, rate)

            def epoch(self, record: dict[str, Any]) -> None:
                display.done, display.said = record["epoch"], time.monotonic()
                if not quiet:
                    messages.print(_line(record))

            def say(self, text: str) -> None:
                messages.print(text, soft_wrap=True)

        self.monitor = Show()

    def begin(self, epochs: int, done: int, pictures: int) -> None:
        if not self.progress.disable:
            self.progress.start()
        for old in self.progress.task_ids:
            self.progress.remove_task(old)
        self.pictures, self.epochs, self.done, self.said = pictures, epochs, done, time.monotonic()
        self.task = self.progress.add_task(
            "", total=epochs * pictures, completed=done * pictures, epoch="", loss=0.0, accuracy=0.0, rate=0.0
        )

    def step(self, epoch: int, pictures: int, loss: float, accuracy: float, rate: float) -> None:
        completed = (epoch - 1) * self.pictures + pictures
        self.progress.update(self.task, completed=completed, epoch=epoch, loss=loss, accuracy=accuracy, rate=rate)
        if self.progress.disable and not self.quiet and time.monotonic() - self.said > _SECONDS_BETWEEN_LINES:
            self.said = time.monotonic()
            say(
                f"epoch {epoch} of {self.epochs}: {pictures:,} of {self.pictures:,} pictures, loss {loss:.4f}, "
                f"accuracy {100 * accuracy:.2f} %, {rate:,.0f} pictures/s"
            )

    def __enter__(self) -> Display:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self.progress.disable:
            self.progress.stop()
        if kind is not None and issubclass(kind, KeyboardInterrupt) and self.epochs and not self.quiet:
            when = f"after epoch {self.done} of {self.epochs}" if self.done else "before the first epoch was over"
            say(f"stopped {when}: the same command with {self.again} goes on from there")


def _line(record: dict[str, Any]) -> str:
    text = f"epoch {record['epoch']}: loss {record['loss']:.4f}, accuracy {100 * record['accuracy']:.2f} %"
    for name in ("validation", "test"):
        if f"{name}_accuracy" in record:
            text += f", {name} {100 * record[f'{name}_accuracy']:.2f} %"
    return text + f", {record['pictures_per_second']:,} pictures/s"


@app.command(cls=NamedByOption, epilog="Example: lenet-zoo recipes best")
def recipes(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Show every field of this one.")] = None,
    model: Annotated[str, typer.Option("--model", help="As it is for this network.")] = "lenet5_modern",
    dataset: Annotated[str, typer.Option("--dataset", help="As it is for this data set.")] = "mnist",
    json: Json = False,
) -> None:
    """The shipped training recipes, or the fields of one."""
    from lenet_zoo.datasets.loading import DATASETS
    from lenet_zoo.registry import list_models
    from lenet_zoo.training.recipe import load_recipe, recipe_names
    from lenet_zoo.training.teachers import TEACHERS

    for option, word, known in (("--model", model, [*list_models(), *TEACHERS]), ("--dataset", dataset, [*DATASETS])):
        if word not in known:
            raise InputError(f"{option} {word}: unknown.{did_you_mean(word, known)} One of {', '.join(known)}")
    if name is None:
        found = {one: load_recipe(one, architecture=model, dataset=dataset).description for one in recipe_names()}
        if json:
            print_json(found)
            return
        table = Table("recipe", "what it is")
        for one, text in found.items():
            table.add_row(one, text)
        print_table(table)
        return
    chosen = load_recipe(name, architecture=model, dataset=dataset)
    if json:
        print_json(chosen.as_dict())
        return
    print_line(f"{name}, for {model} on {dataset} (others by --model and --dataset)")
    table = Table("field", "value", "what it means")
    for field, value in chosen.as_dict().items():
        table.add_row(field, str(value), chosen.documented()[field])
    print_table(table)


@bench.command("training", epilog="Example: lenet-zoo bench training --rounds 1")
def bench_training(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="lenet5_modern or lenet5_classic.")] = "lenet5_modern",
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Runs of each side.")] = 3,
    threads: Annotated[int, typer.Option("--threads", min=0, help="Of torch, on both sides; 0: its own choice.")] = 0,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Change a field of `fast`; repeatable.")
    ] = None,
    data_root: DataRoot = None,
    download: Download = False,
    json: Json = False,
) -> None:
    """Time to 98.25 % on MNIST: the recipe `fast` against the DataLoader loop, evaluation left out on both sides."""
    import torch

    from lenet_zoo.bench.training import time_training

    if threads:
        torch.set_num_threads(threads)
    with messages.status("reading MNIST") as status:
        result = time_training(
            name,
            rounds=rounds,
            root=data_root,
            download=download,
            changes=dict(field_and_value(text) for text in set_ or []),
            progress=status.update,
        )
    if json:
        print_json(asdict(result))
        return
    table = Table("seed", "who")
    for heading in ("epochs", "seconds", "test accuracy"):
        table.add_column(heading, justify="right")
    for slow, fast in zip(result.baseline, result.fast, strict=True):
        for who, race in (("fast", fast), ("DataLoader loop", slow)):
            accuracy = f"{100 * race.accuracy:.2f} %" + ("" if race.reached else ", not reached")
            table.add_row(str(race.seed), who, str(race.epochs), f"{race.seconds:.2f}", accuracy)
    print_table(table)
    if result.ratio is None:
        found = "no ratio, since a run of fast did not reach it"
    else:
        found = f"{'at least ' if result.at_least else ''}{result.ratio:.1f} × faster"
    console.print(f"to {100 * result.target:.2f} %, medians of {rounds}, {result.threads} threads: {found}")
    if result.compiling is None:
        console.print("fast went through torch's own layers: there is no C++ compiler here")
    else:
        console.print(f"fast's layers were compiled before, in {result.compiling:.1f} s, not counted")
