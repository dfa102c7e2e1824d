"""Time to train to 98.25 %: the recipe `fast` against the training loop that tutorials show.

That loop, the baseline: torchvision's MNIST with ToTensor, a shuffling DataLoader with batches of 1,024 in the main
process, SGD without momentum at the rate of the recipe `baseline`, at most 20 epochs. Both sides run in turn in this
process, with the same number of threads. The time to build the network and the data set, and to evaluate, counts on
neither side.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.by_hand import root_of
from lenet_zoo.datasets.loading import Dataset, data_root, load_dataset
from lenet_zoo.errors import InputError, did_you_mean
from lenet_zoo.evaluation import evaluate
from lenet_zoo.registry import create_model, list_models
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.engine import fit
from lenet_zoo.training.fused import fuse
from lenet_zoo.training.monitor import Monitor
from lenet_zoo.training.processes import ALONE
from lenet_zoo.training.recipe import Recipe, load_recipe
from lenet_zoo.training.stages import is_compiled

__all__ = ["TARGET", "Race", "Training", "time_training"]

TARGET = 0.9825
EPOCHS = 20


@dataclass(frozen=True)
class Race:
    """One run of one side.

    Attributes:
        seed: of weights and order.
        epochs: trained; the baseline stops after the first that reaches the target, `fast` runs its recipe to the end.
        seconds: of training.
        accuracy: on the test set afterwards, 0 to 1.
        reached: whether that is the target or more.
    """

    seed: int
    epochs: int
    seconds: float
    accuracy: float
    reached: bool


@dataclass(frozen=True)
class Training:
    """What `time_training` measured.

    Attributes:
        target: accuracy on the test set.
        threads: of torch, on both sides.
        compiling: seconds to compile the layers of `fast`, which no run's time includes; None without a C++ compiler:
            then `fast` ran through torch's own layers.
        baseline, fast: the runs of each side, one per round.
        ratio: median over the baseline's times ÷ median over those of `fast`; None when a run of `fast` did not reach
            the target.
        at_least: whether a run of the baseline did not reach the target, so that the ratio is a lower bound.
    """

    target: float
    threads: int
    compiling: float | None
    baseline: list[Race]
    fast: list[Race]
    ratio: float | None
    at_least: bool


def time_training(
    name: str = "lenet5_modern",
    *,
    rounds: int = 3,
    target: float = TARGET,
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    changes: Mapping[str, Any] | None = None,
    progress: Callable[[str], object] = lambda text: None,
) -> Training:
    """Train a network on MNIST both ways, in turn, with the seeds 0, 1, ….

    Args:
        name: 'lenet5_modern' or 'lenet5_classic'.
        rounds: runs of each side.
        target: accuracy to reach on the test set, 0 to 1.
        root, download: as in `load_dataset`.
        changes: fields of the recipe `fast` to set.
        progress: called with one line of text before each run.

    Raises: DataError when MNIST is missing; InputError for fewer than one round, or another network.
    """
    if name not in (known := list_models()):
        raise InputError(f"no network {name!r}.{did_you_mean(name, known)} One of {', '.join(known)}")
    if rounds < 1:
        raise InputError(f"rounds={rounds}: at least 1")
    train = load_dataset("mnist", train=True, root=root, download=download)
    test = load_dataset("mnist", train=False, root=root)
    recipe, plain = (
        load_recipe(of, architecture=name, dataset="mnist", changes=changed)
        for of, changed in (("fast", changes), ("baseline", None))
    )
    if not isinstance(recipe, Recipe) or not isinstance(plain, Recipe):
        raise InputError("the recipes fast and baseline are not both of mini-batches")
    build = partial(create_model, name)
    start = time.perf_counter()
    compiled = is_compiled(fuse(build(), recipe.batch_norm, compiled=True))
    compiling = time.perf_counter() - start if compiled else None
    # A first run, not timed, warms up both sides: torch, and the files in memory.
    _fast(build, train, test, recipe, 0, target)
    baseline, fast = [], []
    for seed in range(rounds):
        progress(f"round {seed + 1} of {rounds}: fast")
        fast.append(_fast(build, train, test, recipe, seed, target))
        progress(f"round {seed + 1} of {rounds}: the DataLoader loop, {EPOCHS} epochs at most")
        baseline.append(_baseline(build, test, root_of("MNIST", data_root(root)), plain.lr, seed, target))
    times = [statistics.median(race.seconds for race in races) for races in (baseline, fast)]
    ratio = times[0] / times[1] if all(race.reached for race in fast) else None
    at_least = not all(race.reached for race in baseline)
    return Training(target, torch.get_num_threads(), compiling, baseline, fast, ratio, at_least)


def _accuracy(model: nn.Module, test: Dataset) -> float:
    return evaluate(logits_of(model), test).accuracy


def _fast(
    build: Callable[[], nn.Module], train: Dataset, test: Dataset, recipe: Recipe, seed: int, target: float
) -> Race:
    """One run of the recipe, checkpoints included. Always to the end, which the learning rate's schedule needs."""

    class Clock(Monitor):
        # The network is built before, as in the baseline.
        def begin(self, epochs: int, done: int, pictures: int) -> None:
            self.start = time.perf_counter()

        def epoch(self, record: dict[str, Any]) -> None:
            self.end = time.perf_counter()

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        result = fit(build, train, recipe, RunFolder(folder), seed=seed, ranks=ALONE, monitor=clock, compiled=True)
    accuracy = _accuracy(result.model, test)
    return Race(seed, recipe.epochs, clock.end - clock.start, accuracy, accuracy >= target)


def _baseline(
    build: Callable[[], nn.Module], test: Dataset, root: os.PathLike[str], lr: float, seed: int, target: float
) -> Race:
    """One run of the baseline, up to the first epoch that reaches the target."""
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        data = datasets.MNIST(os.fspath(root), train=True, transform=transforms.ToTensor())
        loader = DataLoader(data, batch_size=1024, shuffle=True, num_workers=0)
        model = build()
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        seconds, accuracy = 0.0, 0.0
        for epoch in range(1, EPOCHS + 1):
            model.train()
            start = time.perf_counter()
            for x, y in loader:
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            seconds += time.perf_counter() - start
            accuracy = _accuracy(model, test)
            if accuracy >= target:
                return Race(seed, epoch, seconds, accuracy, True)
        return Race(seed, EPOCHS, seconds, accuracy, False)
