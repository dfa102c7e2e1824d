"""How many threads a run on a CPU takes: as many as pay.

Threads of a small batch wait for each other after every layer. On cores that other processes use as well they wait for
one that does not run: two threads on a busy machine with two cores took 33 s for a fine-tuning that one did in 10. What
pays can be seen neither from the network nor from the number of cores, so it is tried.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from lenet_zoo._cores import cores
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import InputError
from lenet_zoo.training.batches import Batches
from lenet_zoo.training.checkpoint import threads_in
from lenet_zoo.training.engine import goes_through_compiled_layers
from lenet_zoo.training.fused import fuse
from lenet_zoo.training.processes import ALONE, Ranks
from lenet_zoo.training.recipe import AnyRecipe, Recipe, Recipe1998

__all__ = ["check_threads", "own_threads"]

# Each number of threads takes so many turns, one after the other, of at least so long.
_TURNS = 5
_TURN_SECONDS = 0.02
# More threads have to save this part of the time: they may take it from somebody else.
_GAIN = 0.1


def check_threads(threads: int | None) -> None:
    """Raises: InputError for fewer than one."""
    if threads is not None and threads < 1:
        raise InputError(f"threads={threads}: 1 or more, or leave it out for as many as pay")


@contextmanager
def own_threads(
    threads: int | None,
    build: Callable[[], nn.Module],
    data: Dataset,
    recipe: AnyRecipe,
    ranks: Ranks,
    checkpoints: list[Path],
    say: Callable[[str], None],
) -> Iterator[None]:
    """Let torch use as many threads as a run wants; afterwards its setting is what it was before.

    Args:
        threads: how many; by default those of the first checkpoint, so that a resumed run rounds as it did, else as
            many as pay. These are looked for among the cores that this process may use, and never more than torch was
            set to (OMP_NUM_THREADS): on an accelerator, in several processes and by the method of 1998, which updates
            after every pattern, that setting stays, and so it does in a new run on lines.
        build, data, recipe, ranks: as in `fit`.
        checkpoints: of the runs to come.
        say: told when there are fewer threads than there could be.
    """
    before = torch.get_num_threads()
    most = min(before, cores())
    wanted = threads
    try:
        alone = ranks.device.type == "cpu" and ranks.world == 1 and not isinstance(recipe, Recipe1998)
        if wanted is None and alone and most > 1:
            saved = next(filter(None, map(threads_in, checkpoints)), None)
            if saved:
                wanted = min(saved, most)
            elif isinstance(recipe, Recipe):
                wanted = _that_pay(build, data, recipe, most)
            if wanted is not None and wanted < most:
                one = "1 thread" if wanted == 1 else f"{wanted} threads"
                say(f"training on {one}: {'as the run so far' if saved else 'more do not pay here now'} (--threads N)")
        if wanted is not None:
            torch.set_num_threads(wanted)
        yield
    finally:
        torch.set_num_threads(before)


def _that_pay(build: Callable[[], nn.Module], data: Dataset, recipe: Recipe, most: int) -> int:
    """The number of threads, 1, 2, 4, … or `most`, beyond which steps of this run do not get faster."""
    counts = [2**power for power in range(most.bit_length()) if 2**power < most] + [most]
    with torch.random.fork_rng(devices=[]):
        step = _step(build, data, recipe)
        seconds: dict[int, list[float]] = {}
        torch.set_num_threads(1)
        step()
        _, steps = _time(step, 1)
        for _ in range(_TURNS):
            for count in counts:
                torch.set_num_threads(count)
                step()  # the threads are made
                seconds.setdefault(count, []).append(_time(step, steps)[0])
    return fewest_that_pay({count: sorted(turns)[len(turns) // 2] for count, turns in seconds.items()})


def fewest_that_pay(seconds: dict[int, float]) -> int:
    """Of numbers of threads, in rising order, with the seconds of a step each, the one to take."""
    best = 1
    for count, took in seconds.items():
        if took < (1 - _GAIN) * seconds[best]:
            best = count
    return best


def _time(step: Callable[[], None], steps: int) -> tuple[float, int]:
    """The mean seconds of `steps` steps, and how many of them fill a turn."""
    start = time.perf_counter()
    for _ in range(steps):
        step()
    took = (time.perf_counter() - start) / steps
    return took, max(1, math.ceil(_TURN_SECONDS / took))


def _step(build: Callable[[], nn.Module], data: Dataset, recipe: Recipe) -> Callable[[], None]:
    """A step of the run without its update, on its first pictures."""
    compiled = goes_through_compiled_layers(recipe, len(data))
    model = fuse(build(), recipe.batch_norm, compiled).train()
    size = max(2, recipe.batch_size)  # batch normalisation needs two pictures
    few = replace(data, images=data.images[:size], labels=data.labels[:size])
    batches = Batches(few, replace(recipe, portion=1.0, batch_size=size), 0, 0, 1, ALONE)

    def step() -> None:
        x, y, _, _ = next(batches.epoch(1))
        # The label of "none of these" is one more than there are classes.
        F.cross_entropy(F.pad(model(x), (0, 1 if recipe.no_digits else 0)), y).backward()

    return step
