"""A training job from names to a card: what `lenet-zoo train` does.

A folder holds, for one seed, `model.safetensors`, `config.json` and `README.md` (which timm, transformers and the hub
want), `card.json`, `log.jsonl`, `curves.png` and `checkpoint.pt`; for several, a folder `seed-0`, `seed-1`, … of each
and the first seed's weights with a card over all. A run on the validation split goes to `validation/` beside them, and
its figures enter the card of the run on the whole training set. Of several ranks rank zero alone touches these folders.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lenet_zoo import cards
from lenet_zoo.cards import DIGITS, Card, sha256_of
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.loading import Dataset, load_dataset, validation_split
from lenet_zoo.datasets.no_digits import with_made_pictures
from lenet_zoo.errors import InputError, TrainingError, WeightsError, did_you_mean
from lenet_zoo.evaluation import evaluate
from lenet_zoo.hub import hub_files
from lenet_zoo.models._base import LeNet5
from lenet_zoo.models._card import attach
from lenet_zoo.models.lenet5_modern import LeNet5Modern
from lenet_zoo.pictures.preparation import LINE, Preparation
from lenet_zoo.registry import create_model, list_models
from lenet_zoo.training.checkpoint import RunFolder, check_folder, check_once, sole_writer
from lenet_zoo.training.distillation import TeacherLogits
from lenet_zoo.training.engine import check, diverged, fit, goes_through_compiled_layers
from lenet_zoo.training.lines import build_for_lines, fit_lines, line_figures
from lenet_zoo.training.monitor import Monitor, Result, TensorBoard
from lenet_zoo.training.online import fit_online
from lenet_zoo.training.processes import Ranks, find_ranks
from lenet_zoo.training.publish import (
    card_in,
    command_line,
    draw_curves,
    figures_of,
    summary_card,
    teacher_record,
    versions,
    warn_at_chance,
    with_validation,
)
from lenet_zoo.training.recipe import AnyRecipe, Recipe, Recipe1998, RecipeLines, check_seed, load_recipe
from lenet_zoo.training.teachers import TEACHERS, labels_of, load_teacher, penalty_in
from lenet_zoo.training.threads import check_threads, own_threads

__all__ = ["train"]

# MNIST's licence allows weights of any licence; these are the package's.
_LICENCE = "Apache-2.0"
# Fields of a recipe that are shares of pictures which are made, in the order of `with_made_pictures`.
_MADE = ("no_digits", "hurried", "printed")


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
    overwrite: bool = False,
    device: str = "auto",
    threads: int | None = None,
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
        validate: train without the last training pictures (see `validation_split`) and evaluate on them, not on the
            test set: for choosing a recipe. Goes to `out`/validation.
        resume: go on with what `out` holds.
        overwrite: begin anew, whatever run `out` holds; teachers that were trained there are kept.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        threads: of torch on the CPU; by default as many as pay, see `lenet_zoo.training.threads`.
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
    # Fail early: check everything before a folder is made or a teacher is trained.
    check_threads(threads)
    check_once(resume, overwrite)
    check_folder(out)
    known = [*list_models(), *TEACHERS]
    if architecture not in known:
        raise InputError(f"no network {architecture!r}.{did_you_mean(architecture, known)} One of {', '.join(known)}")
    if dataset == "digits":
        raise InputError("the data set 'digits' has no training set of its own: take mnist, or `lenet-zoo finetune`")
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(f"seeds {list(seeds)}: give at least one, and each once")
    for seed in seeds:
        check_seed(seed)
    ranks = find_ranks(device)
    chosen = load_recipe(recipe, architecture=architecture, dataset=dataset, changes=changes)
    if isinstance(chosen, Recipe1998) and ranks.world > 1:
        raise InputError("the 1998 method updates after every pattern: start it in one process")
    if isinstance(chosen, RecipeLines) and ranks.world > 1:
        raise InputError("training on lines runs in one process: start it without torchrun")
    with ranks.first_on_its_machine() if download else nullcontext():
        training = load_dataset(dataset, train=True, root=data_root, download=download)
        held_out = load_dataset(dataset, train=False, root=data_root, download=download)
    validation: Dataset | None = None
    if isinstance(chosen, RecipeLines):  # never trains on the tail, which sets the temperature
        training, validation = validation_split(training)
        held_out = validation if validate else held_out
    elif validate:
        training, held_out = validation_split(training)
    if isinstance(chosen, Recipe):
        training = _with_made_pictures(training, chosen)
    plan = _Plan(
        architecture, chosen, Path(recipe).stem, training, held_out, validate, Path(out), seeds, resume, tensorboard,
        ranks, monitor if monitor and ranks.rank == 0 else Monitor(), command or command_line(), validation, overwrite,
    )  # fmt: skip
    plan.check()
    saved = [folder / "checkpoint.pt" for folder in plan.places] if resume else []
    with (
        sole_writer(plan.out, plan.ranks),
        own_threads(threads, plan.build, training, chosen, ranks, saved, plan.monitor.say),
    ):
        return _carry_out(plan).as_dict()


def _with_made_pictures(training: Dataset, recipe: Recipe) -> Dataset:
    made = {field: getattr(recipe, field) for field in _MADE}
    if not any(made.values()):
        return training
    for field, share in made.items():
        if share and training.classes != DIGITS:
            raise InputError(
                f"{field}={share:g} is for data sets of digits, and {training.name} has others: set it to 0"
            )
    return with_made_pictures(training, *made.values())


@dataclass(frozen=True)
class _Plan:
    """What a job is to do. `held_out` is what its results are evaluated on: the test set, or with `validate` a part of
    the training set."""

    architecture: str
    recipe: AnyRecipe
    recipe_name: str
    training: Dataset
    held_out: Dataset
    validate: bool
    out: Path
    seeds: Sequence[int]
    resume: bool
    tensorboard: bool
    ranks: Ranks
    monitor: Monitor
    command: str
    validation: Dataset | None = None  # what a run on lines is measured on after each epoch
    overwrite: bool = False

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
        if self.validation is not None:
            return {"validation": self.validation}
        return {self.split: self.held_out} if self.validate or isinstance(self.recipe, Recipe1998) else {}

    @property
    def teachers(self) -> list[str]:
        """Names in `TEACHERS`, to be trained first, and files: for a tag of the zoo its own."""
        text = self.recipe.teacher if isinstance(self.recipe, Recipe) else ""
        known, names = cards.names(), [one.strip() for one in text.split(",")] if text else []
        return [str(cards.weight_path(one)) if one in known else one for one in names]

    def build(self) -> nn.Module:
        classes = len(self.training.classes)
        if isinstance(self.recipe, RecipeLines):
            return build_for_lines(self.architecture, classes, self.recipe.start)
        if self.architecture in TEACHERS:
            return TEACHERS[self.architecture](classes)
        if isinstance(self.recipe, Recipe) and self.recipe.start:
            model = create_model(self.recipe.start, pretrained=True, num_classes=classes)
            if isinstance(model, LeNet5Modern):
                # The odds between the classes stay; those to none of these begin as if its logit were 0.
                with torch.no_grad():
                    model.get_parameter("output.bias").sub_(self.recipe.j)
            return model
        return create_model(self.architecture, num_classes=classes)

    def check(self) -> None:
        """Raises: InputError, TrainingError, WeightsError, MissingExtraError."""
        if isinstance(self.recipe, Recipe):
            self._check_start(self.recipe.start)
            check(self.build, self.training, self.recipe, self.measured)
            if len(set(self.teachers)) < len(self.teachers) or not all(self.teachers):
                raise InputError(f"teacher={self.recipe.teacher!r}: give each once, with one comma between two")
            self.ranks.on_rank_zero(self._check_teachers)
        if isinstance(self.recipe, RecipeLines):
            self.build()
        if self.tensorboard:
            TensorBoard(self.monitor, self.home)  # is it installed?

    def _check_start(self, name: str) -> None:
        own = [one for one in list_models(pretrained=True) if one.startswith(f"{self.architecture}.")]
        tags = [one for one in own if cards.load(one).preparation.kind != LINE]  # one answer a picture
        if name and name not in tags:
            known = f"one of {', '.join(tags)}, or " if tags else ""
            raise InputError(
                f"start={name}: {self.architecture} does not start from that.{did_you_mean(name, tags)} Take {known}"
                "start= for random weights"
            )

    def _check_teachers(self) -> None:
        for one in self.teachers:
            if one not in TEACHERS:
                teacher, classes = load_teacher(one), self.training.classes
                if teacher.num_classes != len(classes):
                    raise InputError(
                        f"the teacher {one} knows {teacher.num_classes} classes, {self.training.name} has "
                        f"{len(classes)}"
                    )
                for theirs, ours in zip(labels_of(one), classes, strict=False):  # without a card nothing is known
                    if theirs != ours:
                        raise InputError(
                            f"the teacher {one} says {theirs!r} where {self.training.name} has {ours!r}: take a "
                            "teacher of the same classes in the same order"
                        )
                if self.none_of_these is not None:
                    penalty_in(one)

    @property
    def none_of_these(self) -> float | None:
        """−the logit of none of these, where that is an answer."""
        return self.recipe.j if isinstance(self.recipe, Recipe) and self.recipe.no_digits else None


def _carry_out(plan: _Plan) -> Card:
    """Train and publish every seed; gives the card over all."""
    ranks = plan.ranks
    folders = ranks.on_rank_zero(lambda: _folders(plan))
    logits, records = _teachers(plan)
    made = []
    for seed, folder in zip(plan.seeds, folders, strict=True):
        result = _train_seed(plan, seed, folder, logits, records)
        made.append(ranks.on_rank_zero(partial(_publish, plan, seed, folder, result, records)))
    return made[0] if len(made) == 1 else ranks.on_rank_zero(lambda: _publish_summary(plan, folders, made))


def _folders(plan: _Plan) -> list[RunFolder]:
    """The folder of each seed; nothing of another run is overwritten, unless that was asked for."""
    home, places = plan.home, plan.places
    if plan.overwrite:
        for place in {home, *places, *_of_seeds(home)}:
            RunFolder(place).clear(("config.json", "README.md"))
        for place in _of_seeds(home):
            with suppress(OSError):  # another's files are in it
                place.rmdir()
    begun = {place for place in places if (place / "checkpoint.pt").is_file()}
    if begun and home not in places:
        begun.add(home)  # it sums them up
    if home not in places and (home / "checkpoint.pt").is_file():
        raise TrainingError(f"{home} holds one run, and several seeds were asked for: name another folder")
    if places == [home] and any((place / "checkpoint.pt").is_file() for place in _of_seeds(home)):
        raise TrainingError(f"{home} holds runs of several seeds, and one was asked for: name another folder")
    others = [place.name for place in _of_seeds(home) if place not in places and (place / "checkpoint.pt").is_file()]
    if others:  # what sums them up would lose them
        raise TrainingError(f"{home} also holds {', '.join(sorted(others))}: ask for all seeds, or name another folder")
    for place in {home, *places} - begun:
        for name in ("model.safetensors", "config.json", "README.md", "card.json"):
            if (place / name).exists():
                raise TrainingError(f"{place} holds a {name} that is not of this run: name another folder")
    folders = [RunFolder(place) for place in places]
    if not plan.resume:
        for folder in folders:
            folder.load_checkpoint({}, plan.resume, plan.monitor.say)  # refuses one that is there
    return folders


def _of_seeds(home: Path) -> list[Path]:
    """The folders in it that runs of several seeds made."""
    return [place for place in home.glob("seed-*") if place.name[5:].isdecimal() and place.is_dir()]


def _teachers(plan: _Plan) -> tuple[TeacherLogits | None, list[dict[str, Any]]]:
    """The logits to learn from, if the recipe has a teacher, and what the card says of each teacher."""
    if not plan.teachers or not isinstance(plan.recipe, Recipe):
        return None, []
    ranks = plan.ranks
    files = [_train_teacher(plan, one) if one in TEACHERS else one for one in plan.teachers]
    teachers = ranks.on_rank_zero(lambda: [load_teacher(one) for one in files])
    records = ranks.on_rank_zero(
        lambda: [teacher_record(Path(one), teacher) for one, teacher in zip(files, teachers, strict=True)]
    )
    j = None
    if plan.none_of_these is not None:
        j = plan.none_of_these, ranks.on_rank_zero(lambda: [penalty_in(one) for one in files])
    logits = TeacherLogits(
        [one.to(ranks.device) for one in teachers], plan.training.images, plan.recipe.augmentation,
        plan.out / "answers", ranks, goes_through_compiled_layers(plan.recipe, len(plan.training)), j,
    )  # fmt: skip
    return logits, records


def _train_teacher(plan: _Plan, name: str) -> str:
    """Train the teacher `name` on the same pictures, or find it trained; gives the file of its weights."""
    # The pictures that were made for the learner are among them, and mean the same.
    made = {field: getattr(plan.recipe, field) for field in (*_MADE, "j")}
    recipe = load_recipe("teacher", architecture=name, dataset=plan.training.name, changes=made)
    own = replace(
        plan, architecture=name, recipe=recipe, recipe_name="teacher", out=plan.out / name, seeds=(0,), resume=True,
        tensorboard=False, overwrite=False,
    )  # fmt: skip
    with sole_writer(own.out, own.ranks):
        if card_in(own.home) is None:
            plan.monitor.say(f"first its teacher is trained, {name}, {own.recipe.epochs} epochs")
        card = _carry_out(own)
    accuracy = card.metrics[plan.split]["accuracy"]
    plan.monitor.say(f"the teacher is ready: {100 * accuracy:.2f} % on {plan.split}")
    return str(own.home / "model.safetensors")


def _train_seed(
    plan: _Plan, seed: int, folder: RunFolder, logits: TeacherLogits | None, teachers: Sequence[dict[str, Any]]
) -> Result:
    monitor = plan.monitor
    if plan.tensorboard and plan.ranks.rank == 0:
        monitor = TensorBoard(monitor, folder.path / "tensorboard")
    identity: dict[str, Any] = dict(architecture=plan.architecture, dataset=plan.training.name)
    if teachers:  # the recipe has their files, in which others may lie by now
        identity["teachers_sha256"] = [one["sha256"] for one in teachers]
    common: dict[str, Any] = dict(
        seed=seed, measured=plan.measured, resume=plan.resume, monitor=monitor, identity=identity
    )
    try:
        if isinstance(plan.recipe, Recipe1998):
            return fit_online(plan.build, plan.training, plan.recipe, folder, **common)
        if isinstance(plan.recipe, RecipeLines):
            return fit_lines(plan.build, plan.training, plan.recipe, folder, **common)
        return fit(plan.build, plan.training, plan.recipe, folder, ranks=plan.ranks, teacher_logits=logits, **common)
    finally:
        if plan.ranks.rank == 0:
            folder.drop_log_of_nothing()


def _publish(plan: _Plan, seed: int, folder: RunFolder, result: Result, teachers: Sequence[dict[str, Any]]) -> Card:
    """Write weights, card and curves of one seed; gives the card."""
    classes, preparation = plan.training.classes, plan.training.preparation
    if isinstance(plan.recipe, RecipeLines):
        classes, preparation = (*classes, "none"), Preparation(LINE)
        found = line_figures(result.model, plan.held_out)
        figures = {
            plan.split if style == "apart" else f"{plan.split}_{style}": one.as_dict() for style, one in found.items()
        }
    else:
        try:
            figures = {plan.split: figures_of(evaluate(logits_of(result.model), plan.held_out), classes)}
        except WeightsError as error:  # no loss was measured after the last update
            raise diverged("after the last update: no weights were written") from error
    folder.save_weights(result.model.state_dict())
    recipe = {"name": plan.recipe_name, **plan.recipe.as_dict()}
    if teachers:
        recipe["teacher"] = teachers[0] if len(teachers) == 1 else list(teachers)
    card = Card(
        architecture=plan.architecture,
        tag=plan.training.name,
        params=sum(p.numel() for p in result.model.parameters()),
        dataset=plan.training.name,
        preparation=preparation,
        labels=classes,
        recipe=recipe,
        metrics=figures,
        licence=_LICENCE,
        sha256=sha256_of(folder.weights),
        provenance=dict(
            seconds=round(result.seconds, 1),
            created_with=versions(),
            seeds=dict(n=1, values=[seed]),
            command=plan.command,
        ),
    )
    before = card_in(folder.path)
    if before and before.sha256 == card.sha256:  # resumed when all was done: this process trained nothing
        known = {key: before.provenance[key] for key in ("created_with", "command") if key in before.provenance}
        card = replace(card, provenance={**card.provenance, **known})
    if not plan.validate:
        card = with_validation(card, plan.out / "validation")
    if isinstance(result.model, LeNet5):  # and not a teacher
        attach(result.model, card)
        for name, text in hub_files(result.model, card).items():
            folder.write(folder.path / name, text)
    folder.save_card(card)
    warn_at_chance(card, plan.split, plan.monitor.say)
    draw_curves(f"{plan.architecture}, {plan.recipe_name}", result, folder, plan.monitor)
    return card


def _publish_summary(plan: _Plan, folders: Sequence[RunFolder], each: Sequence[Card]) -> Card:
    """Write the first seed's weights and a card over all seeds; gives that card."""
    card = summary_card(each, plan.seeds, plan.split)
    whole = RunFolder(plan.home)
    for name in ("model.safetensors", "config.json", "README.md"):
        if (folders[0].path / name).is_file():
            whole.write(whole.path / name, (folders[0].path / name).read_bytes())
    whole.save_card(card)
    return card
