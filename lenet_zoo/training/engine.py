"""Training by mini-batches: the loop, and what it needs to go on after an interruption.

A run is a function of its recipe, its seed and its data. Order and distortions of an epoch are drawn from the seed and
the epoch's number, so that the state after an epoch is all that a resumed run needs; and each picture's draw is its
own, so that several processes share an epoch without changing it.

Devices and processes are Hugging Face Accelerate's: `torchrun --nproc-per-node 2 -m lenet_zoo train …` splits every
batch over two. All of them call `fit` alike; the main process alone writes.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn

from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.augment import Draws, augment, draw
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import InputError, TrainingError
from lenet_zoo.evaluation import evaluate
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.fused import fold, fuse, is_compiled
from lenet_zoo.training.processes import (
    Gradients,
    WholeBatchDropout,
    accelerator_for,
    connected,
    on_main,
    share_statistics,
    shared,
)
from lenet_zoo.training.recipe import Recipe

if TYPE_CHECKING:
    from lenet_zoo.training.teachers import Answers, JointAnswers

__all__ = ["Batches", "Monitor", "Result", "accelerator_for", "check", "fit", "learning_rate", "measure"]

# Compiling takes seconds, which a run of fewer pictures would not get back.
_WORTH_COMPILING = 2_000_000


class Monitor:
    """What a run tells while it goes on; the command line shows it. Every method may be left as it is."""

    def begin(self, epochs: int, done: int, pictures: int) -> None:
        """A run starts: how many epochs it has, how many of them are done, and the pictures of each."""

    def step(self, epoch: int, pictures: int, loss: float, accuracy: float, rate: float) -> None:
        """Some batches on: pictures seen in this epoch (from 1), their mean loss and accuracy, pictures per second."""

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch is over; `record` is its line in the log."""

    def say(self, text: str) -> None:
        """Something the user should know."""


@dataclass(frozen=True)
class Result:
    """What came out of a run.

    Attributes:
        model: the trained network on the CPU, in evaluation mode; with `ema`, the averaged weights.
        history: one record per epoch, as in the log.
        seconds: of training over all starts, evaluation and saving left out.
    """

    model: nn.Module
    history: list[dict[str, Any]] = field(repr=False)
    seconds: float


def learning_rate(recipe: Recipe, progress: float) -> float:
    """The learning rate when the part `progress` (0 … 1) of a run's updates is done."""
    if progress < recipe.warmup:
        rise = progress / recipe.warmup
        if recipe.schedule == "onecycle":
            return recipe.lr * (1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * rise)) / 2)
        return recipe.lr * rise
    if recipe.schedule == "constant":
        return recipe.lr
    left = 1 - (progress - recipe.warmup) / (1 - recipe.warmup) if recipe.warmup < 1 else 1.0
    if recipe.schedule != "linear":
        left = (1 - math.cos(math.pi * left)) / 2
    return recipe.lr * (recipe.final_lr + (1 - recipe.final_lr) * left)


class Batches:
    """The training set on its device, in a new order and with new distortions in every epoch.

    Args:
        data: the training set.
        recipe: batch size and distortions.
        seed: of order and distortions.
        mean, std: what the network's cfg says, of pixels in [0, 1].
        accelerator: with several processes, each gets an equal part of every batch.
    """

    def __init__(
        self, data: Dataset, recipe: Recipe, seed: int, mean: float, std: float, accelerator: Accelerator
    ) -> None:
        self.images = data.images.to(accelerator.device)
        self.labels = data.labels.to(accelerator.device)
        self.recipe, self.seed = recipe, seed
        self.mean, self.std = mean, std
        self.rank, self.world = accelerator.process_index, accelerator.num_processes
        self.pictures = math.ceil(len(self.labels) * recipe.portion)  # in an epoch

    def __len__(self) -> int:
        return -(-self.pictures // self.recipe.batch_size)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor, Tensor, int]]:
        """Batches of epoch `number`: pictures float N×1×28×28, normalised; labels and places in the training set, int64
        N; the size of the whole batch, of which N are this process's."""
        device = self.images.device
        order = torch.randperm(len(self.labels), generator=torch.Generator().manual_seed(_mix(self.seed, number)))
        # Views are shared by runs of every seed, so that a teacher answers each once.
        seed = 0 if self.recipe.views else self.seed
        draws = draw(self.recipe.augmentation, len(self.labels), seed, self.recipe.view(number), self.images.shape[-1])
        for whole in order[: self.pictures].split(self.recipe.batch_size):
            index = whole[self.rank :: self.world]
            x = self._distorted(index, draws)
            if (self.mean, self.std) != (0, 1):
                x = (x - self.mean) / self.std
            if self.recipe.channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
            yield x, self.labels[index.to(device)], index, len(whole)

    def _distorted(self, index: Tensor, draws: Draws) -> Tensor:
        device = self.images.device
        if not len(index):  # a batch smaller than the number of processes
            channels = self.images.shape[1:-2] or (1,)
            return torch.zeros(0, *channels, *self.images.shape[-2:], device=device)
        return augment(self.images[index.to(device)], draws[index].to(device))


def _mix(seed: int, epoch: int) -> int:
    # Another stream than the distortions', which use the same two numbers.
    return (seed * 1_000_003 + epoch) * 2 + 2**40


def measure(model: nn.Module, data: Mapping[str, Dataset], accelerator: Accelerator | None = None) -> dict[str, float]:
    """Loss and accuracy of a network on each data set, as they stand in the log. Processes share the pictures."""
    logits = logits_of(model)

    def together(pixels: np.ndarray) -> np.ndarray:
        parts = [pixels[start : start + 1_000] for start in range(0, len(pixels), 1_000)]
        return np.concatenate(shared(accelerator, parts, logits))

    record: dict[str, float] = {}
    for name, one in data.items():
        found = evaluate(together, one)
        record |= {f"{name}_loss": found.loss, f"{name}_accuracy": found.accuracy}
    return record


class _Average:
    """Exponential moving average of weights and running statistics."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay
        self._pairs = [
            (mine, theirs)
            for mine, theirs in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True)
            if mine.is_floating_point()
        ]

    def update(self, updates: int) -> None:
        # Early on the average is short, so that it does not remember the initial weights for long.
        decay = min(self.decay, (1 + updates) / (10 + updates))
        mine, theirs = ([pair[i] for pair in self._pairs] for i in (0, 1))
        torch._foreach_lerp_(mine, theirs, 1 - decay)


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    if recipe.layer_decay != 1:
        groups = param_groups_layer_decay(model, recipe.weight_decay, layer_decay=recipe.layer_decay)
    else:
        trained = [p for p in model.parameters() if p.requires_grad]
        kernels, rest = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
        groups = [dict(params=kernels, weight_decay=recipe.weight_decay), dict(params=rest, weight_decay=0.0)]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=_fused(model)
        )
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=_fused(model))


def _fused(model: nn.Module) -> bool:
    return next(model.parameters()).device.type in ("cpu", "cuda", "mps")


def has_bf16(device: torch.device) -> bool:
    """Whether bfloat16 is arithmetic there, and not an emulation."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


@contextmanager
def _own_randomness(accelerator: Accelerator) -> Iterator[None]:
    """A run seeds the global generators; leave the caller's as they were."""
    devices = [accelerator.device] if accelerator.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


def check(
    build: Callable[[], nn.Module], data: Dataset, recipe: Recipe, measured: Mapping[str, Dataset] | None = None
) -> None:
    """Refuse, before anything is trained, a recipe that does not suit network and data. Arguments as in `fit`.

    Raises: InputError, TrainingError, as `fit`.
    """
    if recipe.batch_norm:
        with torch.random.fork_rng(devices=[]):
            fuse(build(), recipe.batch_norm)
        pictures = math.ceil(len(data) * recipe.portion)
        if (pictures - 1) % recipe.batch_size == 0:
            raise InputError(
                f"batch_norm=true needs two pictures in every batch: of {pictures:,} pictures in batches of "
                f"{recipe.batch_size} one is left over; take another batch_size"
            )
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
    accelerator: Accelerator | None = None,
    answers: Answers | JointAnswers | None = None,
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
        folder: where checkpoint and log go; used by the main process alone.
        seed: of weights, order, dropout and, unless the recipe has `views`, distortions.
        measured: data sets that are evaluated after every epoch, by their names in the log; never trained on.
        accelerator: devices and processes; by default this machine's best device.
        answers: a teacher's, or several teachers', learnt from when the recipe has distill > 0.
        resume: go on from the folder's checkpoint, if it has one.
        identity: what else must be the same for a resumed run (network, data set).
        monitor: told of the progress, in the main process.
        compiled: whether lenet5_modern goes through compiled layers on a CPU, where there is a compiler; by default in
            a run that shows two million pictures or more.

    Raises:
        InputError: `batch_norm` for another network than lenet5_modern, or with a batch of one picture; distill > 0
            without answers.
        TrainingError: patience without a validation set; the loss is no longer a finite number; the folder holds
            another run's checkpoint, or one and `resume` is False; the disk is full; another process was lost.
    """
    accelerator = accelerator or accelerator_for()
    with _own_randomness(accelerator), connected():
        return _Run(
            build,
            data,
            recipe,
            folder,
            seed,
            measured or {},
            accelerator,
            answers,
            identity or {},
            monitor if monitor and accelerator.is_main_process else Monitor(),
            compiled,
        ).finish(resume)


class _Run:
    def __init__(
        self,
        build: Callable[[], nn.Module],
        data: Dataset,
        recipe: Recipe,
        folder: RunFolder,
        seed: int,
        measured: Mapping[str, Dataset],
        accelerator: Accelerator,
        answers: Answers | JointAnswers | None,
        identity: dict[str, Any],
        monitor: Monitor,
        compiled: bool | None,
    ) -> None:
        self.recipe, self.folder, self.seed, self.measured = recipe, folder, seed, measured
        self.accelerator, self.monitor = accelerator, monitor
        check(build, data, recipe, measured)
        if recipe.distill and answers is None:
            raise InputError(
                f"the recipe learns from a teacher (distill={recipe.distill:g}), and here is none: set teacher= "
                "distill=0 temperature=1"
            )
        self.identity = {**identity, "seed": seed, "pictures": len(data), **recipe.as_dict()}
        device = accelerator.device
        if compiled is None:
            compiled = recipe.epochs * math.ceil(len(data) * recipe.portion) >= _WORTH_COMPILING
        torch.manual_seed(seed)
        self.build = build
        self.model = fuse(build(), recipe.batch_norm, compiled and device.type == "cpu").to(device).train()
        self.compiled = is_compiled(self.model)
        self.model.drop_rate = recipe.drop_rate  # type: ignore[assignment]
        if recipe.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        cfg: Any = self.model.pretrained_cfg
        self.batches = Batches(data, recipe, seed, cfg["mean"][0], cfg["std"][0], accelerator)
        if accelerator.num_processes > 1:
            share_statistics(self.model)
        # The optimiser stays torch's own: with nothing to unscale, Accelerate's wrapper would only cost time.
        self.gradients = Gradients(self.model) if accelerator.num_processes > 1 else None
        self.average = _Average(self.model, recipe.ema) if recipe.ema else None
        self.optimizer = _optimizer(self.model, recipe)
        self.answers = answers
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
        on_main(self.accelerator, lambda: self.folder.start_log(self.history))
        self.monitor.begin(self.recipe.epochs, self.epochs_done, self.batches.pictures)
        while self.epochs_done < self.recipe.epochs and not self._out_of_patience():
            record = self._epoch(self.epochs_done + 1)
            self.history.append(record)
            self.epochs_done += 1
            if self.recipe.patience and self._best_epoch() == self.epochs_done:
                self.best = {key: value.detach().clone() for key, value in self._result().state_dict().items()}
            on_main(self.accelerator, self._save)
            self.monitor.epoch(record)
        result = self.build()
        result.load_state_dict(fold(self.best or self._result().state_dict()))
        return Result(result.eval(), self.history, self.seconds)

    def _epoch(self, number: int) -> dict[str, Any]:
        torch.manual_seed(_mix(self.seed, number) + 2**50)  # dropout
        self.model.train()
        if self.answers:
            taught = self.answers.view(self.recipe.view(number))
        start = told = time.perf_counter()
        total, updates = len(self.batches), (number - 1) * len(self.batches)
        # Loss, right answers, pictures; MPS has no float64.
        exact = torch.float32 if self.accelerator.device.type == "mps" else torch.float64
        sums = torch.zeros(3, device=self.accelerator.device, dtype=exact)
        rate = self.recipe.lr
        batches = self.batches.epoch(number)
        following: Any = next(batches)
        for step in range(total):
            x, y, index, whole = following
            rate = learning_rate(self.recipe, (updates + step) / (total * self.recipe.epochs))
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group.get("lr_scale", 1.0)
            logits, loss = self._loss(x, y, taught[index].to(x.device) if self.answers else None, whole)
            if self.gradients:
                self.gradients.clear()
            else:
                self.optimizer.zero_grad()
            self.accelerator.backward(loss * (1 / whole))
            if self.gradients:
                self.gradients.send()
            # While they are on their way:
            following = next(batches, None)
            with torch.no_grad():
                correct = (logits.argmax(1) == y).sum()
                sums += torch.stack([loss.detach(), correct.to(loss.dtype), torch.full_like(loss, len(y))])
            if self.gradients:
                self.gradients.receive()
            if self.recipe.clip_norm:
                self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
            self.optimizer.step()
            if self.average:
                self.average.update(updates + step)
            now = time.perf_counter()
            if now - told > 0.2 or step + 1 == total:
                told = now
                lost, right, seen = (float(value) for value in sums)
                self._check_finite(lost, number)
                if seen:  # of a batch smaller than the number of processes, some have nothing
                    by_all = seen * self.accelerator.num_processes
                    self.monitor.step(number, round(by_all), lost / seen, right / seen, by_all / (now - start))
        seconds = time.perf_counter() - start
        self.seconds += seconds
        lost, right, seen = (float(value) for value in self.accelerator.reduce(sums, "sum"))
        self._check_finite(lost if self._finite_weights() else math.nan, number)
        record: dict[str, Any] = dict(
            epoch=number,
            lr=rate,
            loss=lost / seen,
            accuracy=right / seen,
            seconds=round(seconds, 3),
            pictures_per_second=round(seen / seconds),
        )
        # The same in every process, so that all see when patience ends.
        return record | measure(self._result(), self.measured, self.accelerator)

    def _best_epoch(self) -> int:
        # The loss tells epochs apart where a small validation set gives them all the same accuracy.
        return int(min(self.history, key=lambda record: record["validation_loss"])["epoch"])

    def _out_of_patience(self) -> bool:
        return bool(
            self.recipe.patience and self.history and self.epochs_done - self._best_epoch() >= self.recipe.patience
        )

    def _loss(self, x: Tensor, y: Tensor, taught: Tensor | None, whole: int) -> tuple[Tensor, Tensor]:
        """The logits, and the loss summed over the pictures, which are this process's part of a batch of `whole`."""
        dropout: Any = nullcontext()
        if self.recipe.drop_rate and self.accelerator.num_processes > 1:
            dropout = WholeBatchDropout(whole, self.accelerator.process_index, self.accelerator.num_processes)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bf16), dropout:
            logits = self.model(x)
        logits = logits.float()
        loss = F.cross_entropy(
            logits, y, self.class_weights, reduction="sum", label_smoothing=self.recipe.label_smoothing
        )
        if taught is not None:
            t = self.recipe.temperature
            # T² keeps the gradient's size the same for every temperature (Hinton et al. 2015, section 2).
            far = (
                t
                * t
                * F.kl_div(F.log_softmax(logits / t, 1), F.log_softmax(taught / t, 1), reduction="sum", log_target=True)
            )
            loss = (1 - self.recipe.distill) * loss + self.recipe.distill * far
        return logits, loss

    def _check_finite(self, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            kept = f"the checkpoint after epoch {epoch - 1} is the last good one" if epoch > 1 else "nothing was saved"
            raise TrainingError(
                f"the loss is no longer a finite number, in epoch {epoch}: {kept}; take a lower lr or set clip_norm"
            )

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
        state = on_main(self.accelerator, lambda: self.folder.load_checkpoint(self.identity, resume, self.monitor.say))
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
