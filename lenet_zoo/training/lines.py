"""Training on lines of digits: a network of single characters becomes one that reads numbers (`method = "lines"`).

The network runs over the whole line and answers every 2 px. The loss is that of connectionist temporal classification,
which needs no places; a second one wants each digit at the answer whose window has it in the middle, since that is
where a network of single digits is best, and where its box is then found.

Lines are made of the training digits as they are needed (`datasets.lines`). The last 10,000 training digits make the
lines of the validation set, in every run.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lenet_zoo.classify.torch import normalized
from lenet_zoo.datasets import forms
from lenet_zoo.datasets.alone import Alone, alone
from lenet_zoo.datasets.lines import (
    AMOUNT,
    MEASURED,
    MILD,
    SIGNED,
    TOUCHING,
    WRITTEN,
    LineMaker,
    Lines,
    LineStyle,
    lines_of_five,
)
from lenet_zoo.datasets.loading import Dataset, other_writers
from lenet_zoo.errors import InputError, TrainingError
from lenet_zoo.evaluation import LineEvaluation, evaluate_lines
from lenet_zoo.models._base import LeNet5
from lenet_zoo.models.lenet5_classic import J_OF_NUMBERS, LeNet5Classic
from lenet_zoo.pictures.preparation import LINE
from lenet_zoo.registry import create_model
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.fused import fuse
from lenet_zoo.training.monitor import Monitor, Result
from lenet_zoo.training.optim import Average, learning_rate, optimizer_for, towards
from lenet_zoo.training.recipe import RecipeLines

__all__ = ["answers_of", "build_for_lines", "fit_lines", "line_figures"]

# Digits of the lines of an update, least and most. Lines of one update are alike, since shorter ones are filled up.
_LENGTHS = ((1, 1), (2, 2), (3, 3), (4, 4), (4, 5), (5, 5), (5, 6), (6, 7), (7, 8), (9, 11), (12, 14), (16, 20))
_PITCH = 18  # columns of a line per digit, about
_ALONE = 96  # characters of an update that are cut out and placed alone, about
_GLANCE = 200  # lines that are looked at after each epoch


def build_for_lines(architecture: str, classes: int, start: str) -> nn.Module:
    """A network that answers every 2 px of a line: `classes` and "none"; with the weights of the tag `start`.

    A start that reads lines already is taken as it is.

    Raises: InputError for another network, and for a start of another one or of other classes.
    """
    model = create_model(architecture, num_classes=classes + 1, global_pool="", **_none_of(architecture))
    assert isinstance(model, LeNet5)
    if start:
        known = create_model(start, pretrained=True)
        reads_lines = isinstance(known, LeNet5) and known.card.preparation.kind == LINE
        if not isinstance(known, type(model)) or known.num_classes != classes + reads_lines:
            raise InputError(f"start={start!r}: give a tag of {architecture} with {classes} classes")
        state = known.state_dict()
        if isinstance(model, LeNet5Classic):
            state["output.j"] = model.get_buffer("output.j")
        elif not reads_lines:
            # "None" begins with no opinion of the features, and as likely as the average class.
            state["output.weight"] = F.pad(state["output.weight"], (0, 0, 0, 1))
            state["output.bias"] = torch.cat([state["output.bias"], state["output.bias"].mean()[None]])
        model.load_state_dict(state)
    return model.answer_every_2_px()


def _none_of(architecture: str) -> dict[str, Any]:
    """What makes the last class "none", if a network has more to it than one more logit."""
    return dict(j=J_OF_NUMBERS) if architecture == LeNet5Classic.architecture else {}


def _along(model: nn.Module, images: Tensor) -> Tensor:
    """uint8 lines N×28×W → logits N×T×classes. Widths are brought to a few, 2 px over multiples of 16."""
    logits: Tensor = model(normalized(model, F.pad(images, (0, -images.shape[2] % 16 + 2))))
    return logits[:, :, 0].transpose(1, 2)


def answers_of(model: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """The network as `evaluate_lines` calls it: uint8 lines N×28×W → logits N×T×classes, one every 2 px."""
    assert isinstance(model, LeNet5)
    along = copy.deepcopy(model).answer_every_2_px()

    def run(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return _along(along, torch.from_numpy(pixels)).numpy()

    return run


def line_figures(
    model: nn.Module, data: Dataset, count: int = 10_000, styles: Mapping[str, LineStyle] = MEASURED
) -> dict[str, LineEvaluation]:
    """Figures on `count` lines of 5 of a data set's digits, by style.

    Args:
        model: from `build_for_lines`.
        data: digits that it was not trained on.
        count: lines of each style.
        styles: how they are written.
    """
    model.eval()
    return {
        name: evaluate_lines(answers_of(model), lines_of_five(data, style, count)) for name, style in styles.items()
    }


@torch.random.fork_rng(devices=[])  # what builds the network draws from the caller's generator
def fit_lines(
    build: Callable[[], nn.Module],
    data: Dataset,
    recipe: RecipeLines,
    folder: RunFolder,
    *,
    seed: int = 0,
    measured: Mapping[str, Dataset] | None = None,
    resume: bool = False,
    identity: dict[str, Any] | None = None,
    monitor: Monitor | None = None,
) -> Result:
    """Train a network of `build_for_lines`; on the CPU, in one process.

    Args, and what is raised: as in `engine.fit`. `measured` are digits that lines are made of after every epoch.
    """
    monitor = monitor or Monitor()
    torch.manual_seed(seed)
    model = build()
    assert isinstance(model, LeNet5)
    descent = recipe.descent
    model.C1.to(memory_format=torch.channels_last)  # three times as fast: torch's other kernels are for more maps
    twin = _twin(model)
    optimizer, average = optimizer_for(model, descent), Average(model, recipe.ema)
    about = {**(identity or {}), "seed": seed, "pictures": len(data), **recipe.as_dict()}
    writers = _with_drawn(data, recipe)
    others = other_writers(data) + len(writers) - len(data)
    history: list[dict[str, Any]] = []
    seconds = 0.0
    state = folder.load_checkpoint(about, resume, monitor.say)
    if state is not None:
        model.load_state_dict(state["model"])
        average.model.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        history, seconds = state["history"], state["seconds"]
    folder.start_log(history)
    monitor.begin(recipe.epochs, len(history), recipe.updates)
    for epoch in range(len(history) + 1, recipe.epochs + 1):
        start = time.perf_counter()
        model.train()
        lost = right = lines = 0.0
        for step, batch in enumerate(_batches(writers, others, recipe, seed, epoch)):
            done = (epoch - 1) * recipe.updates + step
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(descent, done / (recipe.updates * recipe.epochs))
            loss, aligned = _loss(model, batch[0], recipe.align)
            if recipe.alone:
                loss = loss + recipe.alone * _loss_alone(twin, *batch[1])
            optimizer.zero_grad()
            loss.backward()
            if recipe.clip_norm:
                nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            optimizer.step()
            average.update(done)
            lost, right, lines = lost + float(loss.detach()), right + aligned, lines + len(batch[0].texts)
            monitor.step(epoch, step + 1, lost / (step + 1), right / (step + 1), lines / (time.perf_counter() - start))
        if not np.isfinite(lost):
            raise TrainingError(f"the loss is no longer a finite number, in epoch {epoch}: take a lower lr")
        took = time.perf_counter() - start
        seconds += took
        record: dict[str, Any] = dict(
            epoch=epoch,
            lr=optimizer.param_groups[0]["lr"],
            loss=lost / recipe.updates,
            accuracy=right / recipe.updates,
            seconds=round(took, 3),
            pictures_per_second=round(lines / took),
        )
        for name, digits in (measured or {}).items():
            for style, found in line_figures(average.model, digits, count=_GLANCE).items():
                of = name if style == "apart" else f"{name}_{style}"
                record |= {f"{of}_loss": found.loss, f"{of}_accuracy": found.accuracy}
        history.append(record)
        saved = dict(model=model.state_dict(), average=average.model.state_dict(), optimizer=optimizer.state_dict())
        folder.save_checkpoint(about, epoch, dict(seconds=seconds, history=history, **saved))
        folder.append_log(record)
        monitor.epoch(record)
    result = build()
    result.load_state_dict(towards(average.model.state_dict(), result.state_dict(), recipe.start_share))
    return Result(result.eval(), history, seconds)


def _with_drawn(data: Dataset, recipe: RecipeLines) -> Dataset:
    """With the digits of quick hands and of type before all others."""
    hurried = forms.digits(forms.hurried, int(recipe.hurried * len(data)), seed=3)
    printed = forms.digits(forms.printed, int(recipe.printed * len(data)), seed=5)
    images, labels = ([torch.from_numpy(part) for part in parts] for parts in zip(hurried, printed, strict=True))
    return replace(data, images=torch.cat([*images, data.images]), labels=torch.cat([*labels, data.labels]))


def _batches(data: Dataset, others: int, recipe: RecipeLines, seed: int, epoch: int) -> list[tuple[Lines, Alone]]:
    """The lines of an epoch, in the order of its updates, and characters of each: a function of seed and epoch."""
    random = np.random.default_rng((seed, epoch))
    # Half is as clean as what figures are given for: noise alone teaches caution where none is needed. The other half
    # has more of other writers than MNIST's: their 1, 4 and 7 are those of other countries.
    usual = [WRITTEN, WRITTEN, AMOUNT, MILD, MILD, TOUCHING]
    foreign = (WRITTEN, AMOUNT, SIGNED)
    makers = [
        LineMaker(data, style, int(random.integers(2**31)), (others, recipe.others if style in foreign else 0.0))
        for style in usual + [SIGNED] * bool(recipe.signs)
    ]
    made = []
    for _ in range(-(-recipe.updates // recipe.reuse)):
        least, most = (min(number, recipe.most) for number in _LENGTHS[random.integers(len(_LENGTHS))])
        signed = recipe.signs > 0 and random.random() < recipe.signs
        maker = makers[-1] if signed else makers[random.integers(len(usual))]
        lines = maker.make(max(2, round(recipe.columns / (_PITCH * (least + most) / 2 + 20))), (least, most))
        made.append((lines, alone(lines, _ALONE if recipe.alone else 0, len(data.classes), random)))
    order = random.permutation(np.repeat(np.arange(len(made)), recipe.reuse))
    return [made[i] for i in order[: recipe.updates]]


def _loss(model: LeNet5, batch: Lines, align: float) -> tuple[Tensor, float]:
    """The loss per digit, and the share of digits that the answer in their middle gives."""
    none = model.num_classes - 1
    answers = F.log_softmax(_along(model, batch.images), 2)
    count, length = answers.shape[:2]
    lengths = torch.tensor([len(text) for text in batch.texts])
    labels = torch.tensor([label for text in batch.texts for label in text], dtype=torch.long)
    loss = F.ctc_loss(
        answers.transpose(0, 1), labels, torch.full((count,), length), lengths, none, "sum", zero_infinity=True
    ) / max(1, len(labels))
    if not len(labels):
        return loss, 1.0
    middles = torch.tensor([middle for line in batch.centres for middle in line])
    places = ((middles - 14) / 2).round().long().clamp(0, length - 1)
    at = answers[torch.repeat_interleave(torch.arange(count), lengths), places]
    right = float((at.argmax(1) == labels).float().mean())
    return loss + align * F.nll_loss(at, labels), right


def _twin(model: LeNet5) -> nn.Module:
    """The same weights as a network of single characters, which has compiled stages to train through."""
    twin = create_model(model.architecture, num_classes=model.num_classes, **_none_of(model.architecture))
    for name, parameter in model.named_parameters():
        layer, _, part = name.rpartition(".")
        setattr(twin.get_submodule(layer), part, parameter)
    return fuse(twin, compiled=True).train()


def _loss_alone(twin: nn.Module, pictures: np.ndarray, classes: np.ndarray) -> Tensor:
    """The cross-entropy of characters that stand alone."""
    answers = twin(normalized(twin, torch.from_numpy(pictures)))
    return F.cross_entropy(answers, torch.from_numpy(classes), reduction="sum") / max(1, len(classes))
