"""The 1998 method (`lecun1998`) as a run: recipe in, checkpoint after each pass, log, result."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import InputError
from lenet_zoo.models import LeNet5Classic
from lenet_zoo.paper1998.distortions import Distortions
from lenet_zoo.paper1998.losses import MAPLoss, PenaltyLoss
from lenet_zoo.paper1998.online import SCHEDULE, OnlineTraining, PassReport, initialize
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.engine import measure
from lenet_zoo.training.monitor import Monitor, Result
from lenet_zoo.training.recipe import Recipe1998

__all__ = ["fit_online"]


@torch.random.fork_rng(devices=[])  # what builds the network draws from the caller's generator
def fit_online(
    build: Callable[[], nn.Module],
    data: Dataset,
    recipe: Recipe1998,
    folder: RunFolder,
    *,
    seed: int = 0,
    measured: Mapping[str, Dataset] | None = None,
    resume: bool = False,
    identity: dict[str, Any] | None = None,
    monitor: Monitor | None = None,
) -> Result:
    """Train `lenet5_classic` as in 1998; on the CPU, in one process.

    Args, and what is raised: as in `engine.fit`. `measured` data sets are evaluated after every pass, as in the paper's
    Fig. 5; nothing is chosen by them.
    """
    monitor = monitor or Monitor()
    model = build()
    if not isinstance(model, LeNet5Classic):
        name = getattr(model, "architecture", "another network")
        raise InputError(f"the 1998 method trains lenet5_classic: for {name} take another recipe, such as best")
    initialize(model, seed, literal=recipe.literal_init)
    run = OnlineTraining(
        model,
        data.images,
        data.labels,
        seed=seed,
        loss=MAPLoss(recipe.j) if recipe.equation == 9 else PenaltyLoss(),
        distortions=Distortions() if recipe.distortions else None,
        schedule=SCHEDULE[: recipe.passes],
        mu=recipe.mu,
        curvature_patterns=recipe.curvature_patterns,
    )
    about = {**(identity or {}), "seed": seed, "pictures": len(data), **recipe.as_dict()}
    history: list[dict[str, Any]] = []
    seconds = 0.0
    state = folder.load_checkpoint(about, resume, monitor.say)
    if state is not None:
        run.load_state_dict(state["online"])
        history, seconds = state["history"], state["seconds"]
    folder.start_log(history)
    monitor.begin(recipe.passes, len(history), len(data))
    while not run.finished:
        start = time.perf_counter()

        def tell(report: PassReport, start: float = start) -> None:
            rate = report.patterns / (time.perf_counter() - start)
            monitor.step(report.number, report.patterns, report.loss, 1 - report.error, rate)

        report = run.run_pass(tell)
        took = time.perf_counter() - start
        seconds += took
        record: dict[str, Any] = dict(
            epoch=report.number,
            lr=report.lr,
            smallest_step=report.smallest_step,
            largest_step=report.largest_step,
            loss=report.loss,
            accuracy=1 - report.error,
            seconds=round(took, 3),
            pictures_per_second=round(report.patterns / took),
        )
        record |= measure(model, measured or {})
        history.append(record)
        folder.save_checkpoint(about, len(history), dict(seconds=seconds, history=history, online=run.state_dict()))
        folder.append_log(record)
        monitor.epoch(record)
    return Result(model.eval(), history, seconds)
