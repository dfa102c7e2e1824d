"""A training job from names to a card: what `lenet-zoo train` does.

A folder holds, for one seed, `model.safetensors`, `card.json`, `log.jsonl`, `curves.png` and `checkpoint.pt`; for
several, a folder `seed-0`, `seed-1`, … of each and the first seed's weights with a card over all. A run on the
validation split goes to `validation/` beside them, and its figures enter the card of the run on the whole training set.
Of several ranks rank zero alone touches these folders.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from lenet_zoo.cards import Card
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.loading import Dataset, load_dataset, validation_split
from lenet_zoo.errors import InputError, TrainingError, did_you_mean
from lenet_zoo.evaluation import evaluate
from lenet_zoo.registry import create_model, list_models
from lenet_zoo.training.checkpoint import RunFolder, sole_writer
from lenet_zoo.training.distillation import EnsembleLogits, TeacherLogits
from lenet_zoo.training.engine import check, fit
from lenet_zoo.training.monitor import Monitor, Result, TensorBoard
from lenet_zoo.training.online import fit_online
from lenet_zoo.training.processes import Ranks, find_ranks
from lenet_zoo.training.publish import (
    card_in,
    command_line,
    draw_curves,
    run_card,
    summary_card,
    teacher_record,
    with_validation,
)
from lenet_zoo.training.recipe import Recipe, Recipe1998, load_recipe
from lenet_zoo.training.teachers import TEACHERS, load_teacher

__all__ = ["train"]


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
        monitor: told of the progress, on rank zero.
        command: what the card says made it; by default the command line of this process.

    Returns: the card, on every rank.

    Raises:
        InputError: a name that does not exist, or a recipe that does not suit the network, the data or the device.
        DataError: data that are missing or damaged.
        TrainingError: `out` holds another run, or another job is at work there; the run cannot go on.
        MissingExtraError: TensorBoard is not installed.
    """
    plan = _plan(
        architecture, dataset, recipe, Path(out), changes, seeds, validate, resume, find_ranks(device), tensorboard,
        data_root, download, monitor, command,
    )  # fmt: skip
    with sole_writer(plan.out, plan.ranks):
        return _carry_out(plan).as_dict()


@dataclass(frozen=True)
class _Plan:
    """A job that was checked: whatever can be refused before a folder is made was refused.

    Attributes:
        held_out: what the result is evaluated on, the test set or, with `validate`, the validation pictures.
        teachers: names in `TEACHERS`, to be trained first, and files.
        monitors: one for each seed.
    """

    architecture: str
    dataset: str
    recipe: Recipe | Recipe1998
    recipe_name: str
    training: Dataset
    held_out: Dataset
    validate: bool
    out: Path
    seeds: Sequence[int]
    teachers: Sequence[str]
    resume: bool
    ranks: Ranks
    monitor: Monitor
    monitors: Sequence[Monitor]
    command: str

    @property
    def split(self) -> str:
        return "validation" if self.validate else "test"

    @property
    def home(self) -> Path:
        return self.out / "validation" if self.validate else self.out

    @property
    def places(self) -> list[Path]:
        """The folder of each seed."""
        return [self.home / f"seed-{seed}" if len(self.seeds) > 1 else self.home for seed in self.seeds]

    @property
    def measured(self) -> dict[str, Dataset]:
        """What is evaluated after each epoch.

        The test set may be measured each pass of 1998: the recipe was fixed beforehand, so nothing is tuned on it.
        """
        return {self.split: self.held_out} if self.validate or isinstance(self.recipe, Recipe1998) else {}

    def build(self) -> nn.Module:
        classes = len(self.training.classes)
        if self.architecture in TEACHERS:
            return TEACHERS[self.architecture](classes)
        return create_model(self.architecture, num_classes=classes)


# ---------------------------------------------------------------------------------------------------------------- plan


def _plan(
    architecture: str,
    dataset: str,
    recipe: str,
    out: Path,
    changes: Mapping[str, Any] | None,
    seeds: Sequence[int],
    validate: bool,
    resume: bool,
    ranks: Ranks,
    tensorboard: bool,
    data_root: str | os.PathLike[str] | None,
    download: bool,
    monitor: Monitor | None,
    command: str | None,
) -> _Plan:
    """Fail early: check everything before a folder is made or a teacher is trained. Arguments as in `train`."""
    known = [*list_models(), *TEACHERS]
    if architecture not in known:
        raise InputError(f"no network {architecture!r}.{did_you_mean(architecture, known)} One of {', '.join(known)}")
    if dataset == "digits":
        raise InputError("the data set 'digits' has no training set of its own: take mnist, or `lenet-zoo finetune`")
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"seeds {list(seeds)}: give at least one, and each once")
    chosen = load_recipe(recipe, architecture=architecture, dataset=dataset, changes=changes)
    if isinstance(chosen, Recipe1998) and ranks.world > 1:
        raise InputError("the 1998 method updates after every pattern: start it in one process")
    with ranks.first_on_its_machine() if download else nullcontext():
        training = load_dataset(dataset, train=True, root=data_root, download=download)
        held_out = load_dataset(dataset, train=False, root=data_root, download=download)
    if validate:
        training, held_out = validation_split(training)
    if monitor is None or ranks.rank > 0:
        monitor = Monitor()
    plan = _Plan(
        architecture, dataset, chosen, recipe, training, held_out, validate, out, seeds, _teachers_of(chosen), resume,
        ranks, monitor, [monitor] * len(seeds), command or command_line(),
    )  # fmt: skip
    if isinstance(chosen, Recipe):
        check(plan.build, training, chosen, plan.measured)
        ranks.on_rank_zero(lambda: _check_teachers(plan))
    if tensorboard and ranks.rank == 0:
        plan = replace(plan, monitors=[TensorBoard(monitor, place / "tensorboard") for place in plan.places])
    return plan


def _teachers_of(recipe: Recipe | Recipe1998) -> list[str]:
    if not isinstance(recipe, Recipe) or not recipe.teacher:
        return []
    teachers = [one.strip() for one in recipe.teacher.split(",")]
    if len(set(teachers)) < len(teachers) or not all(teachers):
        raise InputError(f"teacher={recipe.teacher!r}: give each once, with one comma between two")
    return teachers


def _check_teachers(plan: _Plan) -> None:
    for one in plan.teachers:
        if one not in TEACHERS:
            knows, classes = load_teacher(one).num_classes, len(plan.training.classes)
            if knows != classes:
                raise InputError(f"the teacher knows {knows} classes, {plan.dataset} has {classes}")


# --------------------------------------------------------------------------------------------------------------- steps


def _carry_out(plan: _Plan) -> Card:
    """Train and publish every seed; gives the card over all."""
    ranks = plan.ranks
    folders = ranks.on_rank_zero(lambda: _folders(plan))
    logits, records = _teachers(plan)
    made = []
    for seed, folder, monitor in zip(plan.seeds, folders, plan.monitors, strict=True):
        result = _train_seed(plan, seed, folder, logits, monitor)
        made.append(ranks.on_rank_zero(partial(_publish, plan, seed, folder, result, records)))
    return made[0] if len(made) == 1 else ranks.on_rank_zero(lambda: _publish_summary(plan, folders, made))


def _folders(plan: _Plan) -> list[RunFolder]:
    """The folder of each seed; nothing of another run is overwritten."""
    home, places = plan.home, plan.places
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
    if not plan.resume:
        for folder in folders:
            folder.load_checkpoint({}, plan.resume, plan.monitor.say)  # refuses one that is there
    return folders


def _teachers(plan: _Plan) -> tuple[TeacherLogits | EnsembleLogits | None, list[dict[str, Any]]]:
    """The logits to learn from, if the recipe has a teacher, and what the card says of each teacher."""
    if not plan.teachers or not isinstance(plan.recipe, Recipe):
        return None, []
    ranks = plan.ranks
    files = [_train_teacher(plan, one) if one in TEACHERS else one for one in plan.teachers]
    teachers = ranks.on_rank_zero(lambda: [load_teacher(one) for one in files])
    records = ranks.on_rank_zero(
        lambda: [teacher_record(Path(one), teacher) for one, teacher in zip(files, teachers, strict=True)]
    )
    each = [
        TeacherLogits(one.to(ranks.device), plan.training.images, plan.recipe.augmentation, plan.out / "answers", ranks)
        for one in teachers
    ]
    return each[0] if len(each) == 1 else EnsembleLogits(each), records


def _train_teacher(plan: _Plan, name: str) -> str:
    """Train the teacher `name` on the same pictures, or find it trained; gives the file of its weights."""
    own = replace(
        plan, architecture=name, recipe=load_recipe("teacher", architecture=name, dataset=plan.dataset),
        recipe_name="teacher", out=plan.out / name, seeds=(0,), teachers=(), resume=True, monitors=[plan.monitor],
    )  # fmt: skip
    with sole_writer(own.out, own.ranks):
        card = _carry_out(own)
    accuracy = card.metrics[plan.split]["accuracy"]
    plan.monitor.say(f"the teacher is ready: {100 * accuracy:.2f} % on {plan.split}")
    return str(own.home / "model.safetensors")


def _train_seed(
    plan: _Plan, seed: int, folder: RunFolder, logits: TeacherLogits | EnsembleLogits | None, monitor: Monitor
) -> Result:
    common: dict[str, Any] = dict(
        seed=seed, measured=plan.measured, resume=plan.resume, monitor=monitor,
        identity=dict(architecture=plan.architecture, dataset=plan.dataset),
    )  # fmt: skip
    if isinstance(plan.recipe, Recipe1998):
        return fit_online(plan.build, plan.training, plan.recipe, folder, **common)
    return fit(plan.build, plan.training, plan.recipe, folder, ranks=plan.ranks, teacher_logits=logits, **common)


def _publish(plan: _Plan, seed: int, folder: RunFolder, result: Result, teachers: Sequence[dict[str, Any]]) -> Card:
    """Write weights, card and curves of one seed; gives the card."""
    folder.save_weights(result.model.state_dict())
    found = evaluate(logits_of(result.model), plan.held_out)
    card = run_card(
        plan.architecture, plan.training, plan.recipe, plan.recipe_name, teachers, result, found, plan.split, seed,
        plan.command, folder.weights,
    )  # fmt: skip
    before = card_in(folder.path)
    if before and before.sha256 == card.sha256:  # resumed when all was done: this process trained nothing
        made_with = before.provenance.get("created_with", card.provenance["created_with"])
        card = replace(card, provenance={**card.provenance, "created_with": made_with})
    if not plan.validate:
        card = with_validation(card, plan.out / "validation")
    folder.save_card(card)
    draw_curves(f"{plan.architecture}, {Path(plan.recipe_name).stem}", result, folder, plan.monitor)
    return card


def _publish_summary(plan: _Plan, folders: Sequence[RunFolder], each: Sequence[Card]) -> Card:
    """Write the first seed's weights and a card over all seeds; gives that card."""
    card = summary_card(each, plan.seeds, plan.split)
    whole = RunFolder(plan.home)
    whole.write(whole.weights, folders[0].weights.read_bytes())
    whole.save_card(card)
    return card
