"""A training job from names to a card: what `lenet-zoo train` does.

A folder holds, for one seed, `model.safetensors`, `card.json`, `log.jsonl`, `curves.png` and `checkpoint.pt`; for
several, a folder `seed-0`, `seed-1`, … of each and the first seed's weights with a card over all. A run on the
validation split goes to `validation/` beside them, and its figures enter the card of the run on the whole training set.
Of several processes the main one alone touches these folders.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from lenet_zoo import cards
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.loading import Dataset, load_dataset, validation_split
from lenet_zoo.errors import InputError, MissingExtraError, TrainingError, did_you_mean
from lenet_zoo.evaluation import Evaluation, evaluate
from lenet_zoo.registry import create_model, list_models
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.engine import Monitor, Result, check, fit
from lenet_zoo.training.online import fit_online
from lenet_zoo.training.processes import accelerator_for, on_main
from lenet_zoo.training.recipe import Recipe, Recipe1998, load_recipe
from lenet_zoo.training.teachers import TEACHERS, Answers, JointAnswers, Teacher, load_teacher

__all__ = ["install", "train"]

# MNIST's licence allows weights of any licence; these are the package's.
_LICENCE = "Apache-2.0"


def train(
    architecture: str,
    *,
    dataset: str,
    recipe: str,
    out: str | os.PathLike[str],
    changes: Mapping[str, Any] | None = None,
    seeds: Sequence[int] = (0,),
    validate: bool = False,
    resume: bool = False,
    device: str = "auto",
    tensorboard: bool = False,
    data_root: str | os.PathLike[str] | None = None,
    download: bool = False,
    monitor: Monitor | None = None,
    command: str | None = None,
) -> dict[str, Any]:
    """Train a network and write its weights and its card to `out`.

    Args:
        architecture: 'lenet5_modern', 'lenet5_classic', or one of the networks that they may learn from: 'teacher',
            'teacher_large'.
        dataset: one of `lenet_zoo.datasets.loading.DATASETS` that has a training set.
        recipe: a shipped recipe or the path of a TOML file.
        out: the folder.
        changes: fields of the recipe to set.
        seeds: one run each.
        validate: train without the last 10,000 training pictures and evaluate on them, not on the test set: for
            choosing a recipe. Goes to `out`/validation.
        resume: go on with what `out` holds.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        tensorboard: also write scalars for TensorBoard, to the folder `tensorboard` of each run.
        data_root, download: as in `load_dataset`.
        monitor: told of the progress, in the main process.
        command: what the card says made it; by default the command line of this process.

    Returns: the card, in every process.

    Raises: InputError, DataError, TrainingError, MissingExtraError (TensorBoard), each naming what was wrong and what
        would be right.
    """
    known = [*list_models(), *TEACHERS]
    if architecture not in known:
        raise InputError(f"no network {architecture!r}.{did_you_mean(architecture, known)} One of {', '.join(known)}")
    if dataset == "digits":
        raise InputError("the data set 'digits' has no training set of its own: take mnist, or `lenet-zoo finetune`")
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"seeds {list(seeds)}: give at least one, and each once")
    chosen = load_recipe(recipe, architecture=architecture, dataset=dataset, changes=changes)
    accelerator = accelerator_for(device)
    if isinstance(chosen, Recipe1998) and accelerator.num_processes > 1:
        raise InputError("the 1998 method updates after every pattern: start it in one process")
    if monitor is None or not accelerator.is_main_process:
        monitor = Monitor()
    base = Path(out)
    home = base / "validation" if validate else base
    with accelerator.local_main_process_first() if download else nullcontext():
        training = load_dataset(dataset, train=True, root=data_root, download=download)
        held_out = load_dataset(dataset, train=False, root=data_root, download=download)
    if validate:
        training, held_out = validation_split(training)
    split = "validation" if validate else "test"
    classes = len(training.classes)
    build: Callable[[], nn.Module]
    if architecture in TEACHERS:
        build = partial(TEACHERS[architecture], classes)
    else:
        build = partial(create_model, architecture, num_classes=classes)
    # The 1998 recipe is the paper's, so that nothing is chosen by the curve that its Fig. 5 shows.
    measured = {split: held_out} if validate or isinstance(chosen, Recipe1998) else {}
    # Whatever can be refused is refused before a folder is made or a teacher trained.
    teachers: list[str] = []
    if isinstance(chosen, Recipe):
        check(build, training, chosen, measured)
        teachers = [one.strip() for one in chosen.teacher.split(",")] if chosen.teacher else []
        if len(set(teachers)) < len(teachers) or not all(teachers):
            raise InputError(f"teacher={chosen.teacher!r}: give each once, with one comma between two")
        on_main(accelerator, lambda: [load_teacher(one) for one in teachers if one not in TEACHERS])
    places = [home / f"seed-{seed}" if len(seeds) > 1 else home for seed in seeds]
    told: list[Monitor] = [monitor] * len(seeds)
    if tensorboard and accelerator.is_main_process:
        told = [_TensorBoard(monitor, place / "tensorboard") for place in places]
    folders = on_main(accelerator, lambda: _folders(home, places, resume, monitor))
    answers: Answers | JointAnswers | None = None
    taught_by: list[dict[str, Any]] = []
    if isinstance(chosen, Recipe) and teachers:
        for i, one in enumerate(teachers):
            if one in TEACHERS:
                own = train(
                    one, dataset=dataset, recipe="teacher", out=base / one, validate=validate, resume=True,
                    device=device, data_root=data_root, monitor=monitor,
                )  # fmt: skip
                monitor.say(f"the teacher is ready: {100 * own['metrics'][split]['accuracy']:.2f} % on {split}")
                teachers[i] = str(base / one / ("validation" if validate else "") / "model.safetensors")
        loaded = on_main(accelerator, lambda: [load_teacher(one) for one in teachers])
        taught_by = on_main(accelerator, lambda: [_teacher_record(*one) for one in zip(teachers, loaded, strict=True)])
        each = []
        for teacher in loaded:
            if (knows := teacher.num_classes) != classes:
                raise InputError(f"the teacher knows {knows} classes, {dataset} has {classes}")
            teacher = teacher.to(accelerator.device)
            each.append(Answers(teacher, training.images, chosen.augmentation, base / "answers", accelerator))
        answers = each[0] if len(each) == 1 else JointAnswers(each)

    def write(seed: int, folder: RunFolder, result: Result) -> dict[str, Any]:
        folder.save_weights(result.model.state_dict())
        found = evaluate(logits_of(result.model), held_out)
        card = _card(architecture, training, chosen, recipe, taught_by, result, found, split)
        card["seeds"] = dict(n=1, values=[seed])
        card["command"] = command or command_line()
        card["sha256"] = hashlib.sha256(folder.weights.read_bytes()).hexdigest()
        before = cards.Card.read(folder.card).as_dict() if folder.card.is_file() else {}
        if before.get("sha256") == card["sha256"]:  # resumed when all was done: this process trained nothing
            card["created_with"] = before["created_with"]
        if not validate:
            _add_validation(card, base)
        folder.save_card(card)
        _draw_curves(f"{architecture}, {Path(recipe).stem}", result, folder, monitor)
        return card

    def summarize(cards: list[dict[str, Any]]) -> dict[str, Any]:
        card = _summary(cards, list(seeds), split)
        whole = RunFolder(home)
        whole.write(whole.weights, folders[0].weights.read_bytes())
        whole.save_card(card)
        return card

    cards = []
    for seed, folder, listener in zip(seeds, folders, told, strict=True):
        common: dict[str, Any] = dict(
            seed=seed, measured=measured, resume=resume, monitor=listener,
            identity=dict(architecture=architecture, dataset=dataset),
        )  # fmt: skip
        if isinstance(chosen, Recipe1998):
            result = fit_online(build, training, chosen, folder, **common)
        else:
            result = fit(build, training, chosen, folder, accelerator=accelerator, answers=answers, **common)
        cards.append(on_main(accelerator, partial(write, seed, folder, result)))
    return cards[0] if len(cards) == 1 else on_main(accelerator, lambda: summarize(cards))


def _folders(home: Path, places: Sequence[Path], resume: bool, monitor: Monitor) -> list[RunFolder]:
    """The folder of each run; nothing of another run is overwritten."""
    begun = {place for place in places if (place / "checkpoint.pt").is_file()}
    if begun and home not in places:
        begun.add(home)  # it sums them up
    if home not in places and (home / "checkpoint.pt").is_file():
        raise TrainingError(f"{home} holds one run, and several seeds were asked for: name another folder")
    for place in {home, *places} - begun:
        for name in ("model.safetensors", "card.json"):
            if (place / name).exists():
                raise TrainingError(f"{place} holds a {name} that is not of this run: name another folder")
    folders = [RunFolder(place) for place in places]
    if not resume:
        for folder in folders:
            folder.load_checkpoint({}, resume, monitor.say)  # refuses one that is there
    return folders


class _TensorBoard(Monitor):
    """Passes everything on, and writes each epoch's figures for TensorBoard."""

    def __init__(self, to: Monitor, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("TensorBoard is not installed: pip install 'lenet-zoo[tensorboard]'") from error
        self.to, self.folder, self.writer_of = to, folder, SummaryWriter
        self.step, self.say = to.step, to.say  # type: ignore[method-assign]

    def begin(self, epochs: int, done: int, pictures: int) -> None:
        # What an interrupted run wrote after its last checkpoint is taken back.
        self.writer = self.writer_of(os.fspath(self.folder), purge_step=done + 1)
        self.to.begin(epochs, done, pictures)

    def epoch(self, record: dict[str, Any]) -> None:
        for name, value in record.items():
            if name != "epoch":
                self.writer.add_scalar(name, value, record["epoch"])
        self.writer.flush()
        self.to.epoch(record)


def _draw_curves(name: str, result: Result, folder: RunFolder, monitor: Monitor) -> None:
    try:
        from lenet_zoo import figures
    except ImportError:
        monitor.say(f"no {folder.curves.name}: the curves need matplotlib, pip install 'lenet-zoo[plots]'")
        return
    figures.save(figures.curves({name: result.history}), folder.curves)


def command_line() -> str:
    """This process's command line, without the folder that the program lies in and without the meeting point."""
    ours = Path(sys.argv[0]).name in ("lenet-zoo", "__main__.py")
    program = ["lenet-zoo"] if ours else [Path(sys.argv[0]).name]
    processes, here = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if processes > 1:
        machines = ["--nnodes", str(processes // here)] if processes > here else []
        program = ["torchrun", *machines, "--nproc-per-node", str(here), *(["-m", "lenet_zoo"] if ours else program)]
    return shlex.join([*program, *sys.argv[1:]])


def _card(
    architecture: str,
    data: Dataset,
    recipe: Any,
    recipe_name: str,
    taught_by: Sequence[dict[str, Any]],
    result: Result,
    found: Evaluation,
    split: str,
) -> dict[str, Any]:
    fields = recipe.as_dict()
    if taught_by:
        fields["teacher"] = taught_by[0] if len(taught_by) == 1 else list(taught_by)
    return dict(
        architecture=architecture,
        tag=data.name,
        params=sum(p.numel() for p in result.model.parameters()),
        dataset=data.name,
        preparation=data.preparation.kind,
        labels=list(data.classes),
        recipe={"name": Path(recipe_name).stem, **fields},
        metrics={split: figures_of(found, data.classes)},
        licence=_LICENCE,
        seconds=round(result.seconds, 1),
        created_with=versions(),
    )


def figures_of(found: Evaluation, classes: Sequence[str]) -> dict[str, Any]:
    figures = found.as_dict()
    figures["per_class"] = {
        name: dict(correct=right, total=total, accuracy=right / total if total else None)
        for name, (right, total) in zip(classes, found.per_class, strict=True)
    }
    return figures


def _teacher_record(file: str, teacher: Teacher) -> dict[str, Any]:
    """What a card says of the teacher: its hash and, from a card of its own, its figures, not where it lay."""
    record: dict[str, Any] = dict(
        architecture=next(name for name, kind in TEACHERS.items() if kind is type(teacher)),
        params=sum(p.numel() for p in teacher.parameters()),
        sha256=hashlib.sha256(Path(file).read_bytes()).hexdigest(),
    )
    try:
        card = json.loads(Path(file).with_name("card.json").read_bytes())
        if card["sha256"] == record["sha256"]:
            record["accuracy"] = {split: figures["accuracy"] for split, figures in card["metrics"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none, or another program's
    return record


def versions() -> dict[str, str]:
    return {
        **{name: version(name) for name in ("lenet-zoo", "torch", "torchvision", "timm", "numpy", "accelerate")},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads"
        + (f" in each of {dist.get_world_size()} processes" if dist.is_initialized() else ""),
    }


def _summary(cards: list[dict[str, Any]], seeds: list[int], split: str) -> dict[str, Any]:
    """The first seed's card, with mean and standard deviation over all: that seed ships, whatever the others reach."""
    accuracies = [card["metrics"][split]["accuracy"] for card in cards]
    card = dict(cards[0])
    card["seeds"] = dict(
        n=len(seeds),
        values=seeds,
        split=split,
        accuracy=accuracies,
        mean=statistics.fmean(accuracies),
        sd=statistics.stdev(accuracies),
        seconds=[one["seconds"] for one in cards],
    )
    return card


def _add_validation(card: dict[str, Any], base: Path) -> None:
    """Take over the figures of a validation run in `base`, if it was of the same recipe."""
    try:
        other = json.loads((base / "validation" / "card.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    # Its teacher was trained without the validation pictures, too, so it was another one.
    recipes = [{**one["recipe"], "name": "", "teacher": ""} for one in (other, card)]
    same = all(other[key] == card[key] for key in ("architecture", "dataset"))
    if same and recipes[0] == recipes[1]:
        card["metrics"]["validation"] = other["metrics"]["validation"]


def install(folder: str | os.PathLike[str], name: str) -> Path:
    """Make the result of a run the shipped weights of `name` (architecture.tag), with its card.

    The tag itself stands in `default_cfgs` of the network's module. Weights first, card last: until both are there, the
    hash in the card refuses the mixture.

    Raises: InputError when `name` is another network than the folder's; TrainingError when the folder holds no result.
    """
    run = Path(folder)
    architecture, _, tag = name.partition(".")
    try:
        card = json.loads((run / "card.json").read_text(encoding="utf-8"))
        content = (run / "model.safetensors").read_bytes()
    except FileNotFoundError as error:
        raise TrainingError(f"{run} holds no finished run: {Path(error.filename).name} is missing") from None
    if card["architecture"] != architecture or not tag:
        raise InputError(f"{name!r} for weights of {card['architecture']}: give {card['architecture']}.TAG")
    if hashlib.sha256(content).hexdigest() != card["sha256"]:
        raise TrainingError(f"the weights in {run} are not those of its card")
    from lenet_zoo._files import write_atomic

    target = cards.weight_path(name)
    write_atomic(target, content)
    write_atomic(cards.card_path(name), json.dumps(card | {"tag": tag}, ensure_ascii=False, indent=1) + "\n")
    return target
