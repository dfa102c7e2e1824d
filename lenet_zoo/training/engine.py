"""Training by mini-batches: the loop, and what it needs to go on after an interruption.

A run is a function of its recipe, its seed and its data. Order and distortions of an epoch are drawn from the seed and
the epoch's number, so that the state after an epoch is all that a resumed run needs; and each picture's draw is its
own, so that several ranks share an epoch without changing it.

`torchrun --nproc-per-node 2 -m lenet_zoo train …` splits every batch over two ranks. All of them call `fit` alike; rank
zero alone writes.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import InputError, TrainingError, WeightsError
from lenet_zoo.evaluation import evaluate
from lenet_zoo.training.batches import Batches, stream
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.distillation import TeacherLogits, distillation_loss
from lenet_zoo.training.fused import fold, fuse
from lenet_zoo.training.monitor import Monitor, Result
from lenet_zoo.training.optim import Average, learning_rate, optimizer_for, towards
from lenet_zoo.training.processes import ALONE, Ranks, connected, find_ranks, has_bf16
from lenet_zoo.training.recipe import Recipe
from lenet_zoo.training.stages import is_compiled
from lenet_zoo.training.whole_batch import Gradients, WholeBatchDropout, normalise_whole_batches

__all__ = ["check", "diverged", "fit", "goes_through_compiled_layers", "measure"]

# Compiling takes 4 s of a core (AMD EPYC), which 50,000 pictures get back.
_WORTH_COMPILING = 80_000


def goes_through_compiled_layers(recipe: Recipe, pictures: int) -> bool:
    """Whether a run on a training set of so many pictures compiles the network's layers, unless it is told."""
    return recipe.epochs * math.ceil(pictures * recipe.portion) >= _WORTH_COMPILING


def diverged(where: str) -> TrainingError:
    """The error of a run whose figures are no longer numbers; `where` says since when, and what is left of it."""
    return TrainingError(f"the loss is no longer a finite number, {where}; take a lower lr or set clip_norm")


def measure(model: nn.Module, data: Mapping[str, Dataset], ranks: Ranks = ALONE) -> dict[str, float]:
    """Loss and accuracy of a network on each data set, as they stand in the log. Ranks share the pictures."""
    logits = logits_of(model)

    def together(pixels: np.ndarray) -> np.ndarray:
        parts = [pixels[start : start + 1_000] for start in range(0, len(pixels), 1_000)]
        return np.concatenate(ranks.map(logits, parts))

    record: dict[str, float] = {}
    for name, one in data.items():
        found = evaluate(together, one)
        record |= {f"{name}_loss": found.loss, f"{name}_accuracy": found.accuracy}
    return record


def check(
    build: Callable[[], nn.Module], data: Dataset, recipe: Recipe, measured: Mapping[str, Dataset] | None = None
) -> None:
    """Fail early, before anything is trained, where a recipe does not suit network and data. Arguments as in `fit`.

    Raises: InputError, TrainingError, as `fit`.
    """
    if recipe.batch_norm or recipe.layer_decay != 1:
        with torch.random.fork_rng(devices=[]):
            model = fuse(build(), recipe.batch_norm)
        if recipe.layer_decay != 1 and not hasattr(model, "group_matcher"):
            raise InputError(
                f"layer_decay={recipe.layer_decay:g} is for lenet5_modern and lenet5_classic: a teacher's layers are "
                "in no order; set layer_decay=1"
            )
    if recipe.batch_norm:
        pictures = math.ceil(len(data) * recipe.portion)
        if (pictures - 1) % recipe.batch_size == 0:
            raise InputError(
                f"batch_norm=true needs two pictures in every batch: of {pictures:,} pictures in batches of "
                f"{recipe.batch_size} one is left over; take another batch_size"
            )
    if recipe.no_digits and not (data.labels == len(data.classes)).any():
        raise InputError("no_digits: only `lenet-zoo train` makes such pictures; set no_digits=0 j=0")
    if recipe.patience and "validation" not in (measured or {}):
        raise TrainingError("patience needs a validation set to watch: train with --val, or set patience=0")


def fit(
    build: Callable[[], nn.Module],
    data: Dataset,
    recipe: Recipe,
    folder: RunFolder,
    *,
    seed: int = 0,
    measured: Mapping[str, Dataset] | None = None,
    ranks: Ranks | None = None,
    teacher_logits: TeacherLogits | None = None,
    resume: bool = False,
    identity: dict[str, Any] | None = None,
    monitor: Monitor | None = None,
    compiled: bool | None = None,
) -> Result:
    """Train a network by a recipe.

    Args:
        build: makes the network with fresh weights, from torch's global generator, which is seeded before.
        data: the training set.
        recipe: how.
        folder: where checkpoint and log go; used by rank zero alone.
        seed: of weights, order, dropout and, unless the recipe has `views`, distortions.
        measured: data sets that are evaluated after every epoch, by their names in the log; never trained on.
        ranks: where this process computes, and with whom; by default on this machine's best device.
        teacher_logits: of the teachers that the network learns from when the recipe has distill > 0.
        resume: go on from the folder's checkpoint, if it has one.
        identity: what else must be the same for a resumed run (network, data set).
        monitor: told of the progress, on rank zero.
        compiled: whether the network goes through compiled stages on a CPU, and pictures are distorted by a compiled
            function, where there is a compiler; by default in a run that shows 80,000 pictures or more.

    Raises:
        InputError: `batch_norm` or `layer_decay` for a teacher; `batch_norm` with a batch of one picture; distill > 0
            without `teacher_logits`.
        TrainingError: patience without a validation set; the loss is no longer a finite number; the folder holds
            another run's checkpoint, or one and `resume` is False; the disk is full; another process was lost.
    """
    ranks = ranks or find_ranks()
    measured = measured or {}
    check(build, data, recipe, measured)
    if recipe.distill and teacher_logits is None:
        raise InputError(
            f"the recipe learns from a teacher (distill={recipe.distill:g}), and here is none: set teacher= "
            "distill=0 temperature=1"
        )
    if monitor is None or ranks.rank > 0:
        monitor = Monitor()
    identity = {**recipe.as_dict(), **(identity or {}), "seed": seed, "pictures": len(data)}
    with _own_randomness(ranks), connected():
        run = _Run(build, data, recipe, folder, seed, measured, ranks, teacher_logits, identity, monitor, compiled)
        return run.finish(resume)


@contextmanager
def _own_randomness(ranks: Ranks) -> Iterator[None]:
    """A run seeds the global generators; leave the caller's as they were."""
    with torch.random.fork_rng(devices=[ranks.device] if ranks.device.type == "cuda" else []):
        yield


class _Run:
    def __init__(
        self,
        build: Callable[[], nn.Module],
        data: Dataset,
        recipe: Recipe,
        folder: RunFolder,
        seed: int,
        measured: Mapping[str, Dataset],
        ranks: Ranks,
        teacher_logits: TeacherLogits | None,
        identity: dict[str, Any],
        monitor: Monitor,
        compiled: bool | None,
    ) -> None:
        self.build, self.recipe, self.folder, self.seed, self.measured = build, recipe, folder, seed, measured
        self.ranks, self.teacher_logits, self.identity, self.monitor = ranks, teacher_logits, identity, monitor
        device = ranks.device
        if compiled is None:
            compiled = goes_through_compiled_layers(recipe, len(data))
        torch.manual_seed(seed)
        self.model = fuse(build(), recipe.batch_norm, compiled and device.type == "cpu").to(device).train()
        self.compiled = is_compiled(self.model)
        self.start = None
        if recipe.start_share:
            self.start = {key: value.detach().clone() for key, value in self.model.state_dict().items()}
        self.model.drop_rate = recipe.drop_rate  # type: ignore[assignment]
        if recipe.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        cfg: Any = self.model.pretrained_cfg
        self.batches = Batches(data, recipe, seed, cfg["mean"][0], cfg["std"][0], ranks, compiled)
        self.gradients: Gradients | None = None
        if ranks.world > 1:
            normalise_whole_batches(self.model)
            self.gradients = Gradients(self.model)
        self.average = Average(self.model, recipe.ema) if recipe.ema else None
        self.optimizer = optimizer_for(self.model, recipe)
        self.bf16 = recipe.precision == "bf16" or (recipe.precision == "auto" and has_bf16(device))
        self.class_weights = None
        if recipe.class_weights == "balanced":
            counts = torch.bincount(data.labels, minlength=len(data.classes)).clamp(min=1).float()
            self.class_weights = (len(data) / (len(data.classes) * counts)).to(device)
        self.epochs_done, self.seconds = 0, 0.0
        self.best: dict[str, Tensor] | None = None  # with patience, the weights of the best epoch so far
        self.history: list[dict[str, Any]] = []

    # -- the loop -----------------------------------------------------------------------------------------------

    def finish(self, resume: bool) -> Result:
        self._restore(resume)
        self.ranks.on_rank_zero(lambda: self.folder.start_log(self.history))
        self.monitor.begin(self.recipe.epochs, self.epochs_done, self.batches.pictures)
        while self.epochs_done < self.recipe.epochs and not self._out_of_patience():
            record = self._epoch(self.epochs_done + 1)
            self.history.append(record)
            self.epochs_done += 1
            if self.recipe.patience and self._best_epoch() == self.epochs_done:
                self.best = {key: value.detach().clone() for key, value in self._result().state_dict().items()}
            self.ranks.on_rank_zero(self._save)
            self.monitor.epoch(record)
        state = fold(self.best or self._result().state_dict())
        if self.start:
            # What the start knew and the training data do not ask for comes back (Wortsman et al., Robust fine-tuning
            # of zero-shot models, CVPR 2022).
            state = towards(state, self.start, self.recipe.start_share)
        result = self.build()
        result.load_state_dict(state)
        return Result(result.eval(), self.history, self.seconds)

    def _epoch(self, number: int) -> dict[str, Any]:
        torch.manual_seed(stream(self.seed, number) + 2**50)  # dropout
        self.model.train()
        teacher = self.teacher_logits.view(self.recipe.view(number)) if self.teacher_logits else None
        start = reported = time.perf_counter()
        total, updates = len(self.batches), (number - 1) * len(self.batches)
        # Loss, right answers, pictures; MPS has no float64.
        exact = torch.float32 if self.ranks.device.type == "mps" else torch.float64
        sums = torch.zeros(3, device=self.ranks.device, dtype=exact)
        rate = self.recipe.lr
        batches = self.batches.epoch(number)
        following: Any = next(batches)
        for step in range(total):
            x, y, index, whole = following
            rate = learning_rate(self.recipe, (updates + step) / (total * self.recipe.epochs))
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group.get("lr_scale", 1.0)
            logits, loss = self._loss(x, y, None if teacher is None else teacher[index].to(x.device), whole)
            if self.gradients:
                self.gradients.clear()
            else:
                self.optimizer.zero_grad()
            (loss * (1 / whole)).backward()
            if self.gradients:
                self.gradients.send()
            following = next(batches, None)  # made while the gradients are on their way
            with torch.no_grad():
                correct = (logits.argmax(1) == y).sum()
                sums += torch.stack([loss.detach(), correct.to(loss.dtype), torch.full_like(loss, len(y))])
            if self.gradients:
                self.gradients.receive()
            if self.recipe.clip_norm:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
            self.optimizer.step()
            if self.average:
                self.average.update(updates + step)
            now = time.perf_counter()
            if now - reported > 0.2 or step + 1 == total:
                reported = now
                self._report(number, sums, now - start)
        seconds = time.perf_counter() - start
        self.seconds += seconds
        lost, right, seen = (float(value) for value in self.ranks.sum(sums))
        self._check_finite(lost if self._finite_weights() else math.nan, number)
        record: dict[str, Any] = dict(
            epoch=number,
            lr=rate,
            loss=lost / seen,
            accuracy=right / seen,
            seconds=round(seconds, 3),
            pictures_per_second=round(seen / seconds),
        )
        # The same on every rank, so that all see when patience ends.
        try:
            return record | measure(self._result(), self.measured, self.ranks)
        except WeightsError:  # the last update was too far, and no loss was measured after it
            self._check_finite(math.nan, number)
            raise

    def _report(self, epoch: int, sums: Tensor, seconds: float) -> None:
        lost, right, seen = (float(value) for value in sums)
        self._check_finite(lost, epoch)
        if seen:  # of a batch of fewer pictures than ranks, some ranks have none
            on_all = seen * self.ranks.world
            self.monitor.step(epoch, round(on_all), lost / seen, right / seen, on_all / seconds)

    def _best_epoch(self) -> int:
        # By loss: a small validation set gives many epochs the same accuracy.
        return int(min(self.history, key=lambda record: record["validation_loss"])["epoch"])

    def _out_of_patience(self) -> bool:
        return bool(
            self.recipe.patience and self.history and self.epochs_done - self._best_epoch() >= self.recipe.patience
        )

    def _loss(self, x: Tensor, y: Tensor, teacher: Tensor | None, whole: int) -> tuple[Tensor, Tensor]:
        """The logits, and the loss summed over the pictures, which are this rank's part of a batch of `whole`."""
        dropout: Any = nullcontext()
        if self.recipe.drop_rate and self.ranks.world > 1:
            dropout = WholeBatchDropout(whole, self.ranks.rank, self.ranks.world)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16), dropout:
            logits = self.model(x)
        logits = logits.float()
        if self.recipe.no_digits:  # none of these is a class of its own, with a logit that never changes
            logits = F.pad(logits, (0, 1), value=-self.recipe.j)
            teacher = None if teacher is None else F.pad(teacher, (0, 1), value=-self.recipe.j)
        loss = F.cross_entropy(
            logits, y, self.class_weights, reduction="sum", label_smoothing=self.recipe.label_smoothing
        )
        if teacher is not None:
            far = distillation_loss(logits, teacher, self.recipe.temperature)
            loss = (1 - self.recipe.distill) * loss + self.recipe.distill * far
        return logits, loss

    def _check_finite(self, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            kept = f"the checkpoint after epoch {epoch - 1} is the last good one" if epoch > 1 else "nothing was saved"
            raise diverged(f"in epoch {epoch}: {kept}")

    def _finite_weights(self) -> bool:
        return all(bool(torch.isfinite(p).all()) for p in self.model.parameters())

    def _result(self) -> nn.Module:
        return self.average.model if self.average else self.model

    # -- the checkpoint -----------------------------------------------------------------------------------------

    def _save(self) -> None:
        state = dict(
            seconds=self.seconds,
            history=self.history,
            model=self.model.state_dict(),
            average=self.average.model.state_dict() if self.average else None,
            optimizer=self.optimizer.state_dict(),
            best=self.best,
            compiled=self.compiled,
        )
        self.folder.save_checkpoint(self.identity, self.epochs_done, state)
        self.folder.append_log(self.history[-1])

    def _restore(self, resume: bool) -> None:
        state = self.ranks.on_rank_zero(lambda: self.folder.load_checkpoint(self.identity, resume, self.monitor.say))
        if state is None:
            return
        if state.get("compiled", self.compiled) != self.compiled:
            self.monitor.say(
                "the saved run and this one differ in the compiled layers: the final weights will differ in rounding"
            )
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.model.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best = state["best"]
        self.epochs_done, self.seconds, self.history = state["epochs"], state["seconds"], state["history"]
