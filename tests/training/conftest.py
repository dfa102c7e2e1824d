"""Short runs on real digits, for the tests of training."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from lenet_zoo import create_model
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.engine import fit
from lenet_zoo.training.monitor import Result
from lenet_zoo.training.processes import ALONE
from lenet_zoo.training.recipe import Recipe


@pytest.fixture(scope="session")
def rich() -> Recipe:
    """Everything that has a state: momenta, averages, dropout, distortions, a schedule."""
    return Recipe(
        epochs=4, batch_size=64, lr=0.003, schedule="cosine", warmup=0.1, weight_decay=0.01, ema=0.9, drop_rate=0.2,
        clip_norm=1.0, label_smoothing=0.05, class_weights="balanced", rotation=10, shift=1, elastic=0.5, thickness=0.3,
    )  # fmt: skip


@pytest.fixture
def train(rich: Recipe) -> Callable[..., Result]:
    """`fit` in a folder, of `lenet5_modern` by the recipe `rich` unless told otherwise."""

    def run(data: Dataset, path: Path, recipe: Recipe = rich, build: Any = None, **more: Any) -> Result:
        build = build or partial(create_model, "lenet5_modern")
        return fit(build, data, recipe, RunFolder(path), ranks=ALONE, **more)

    return run


@pytest.fixture
def same() -> Callable[[torch.nn.Module, torch.nn.Module], bool]:
    """Whether two networks have the same weights, bit for bit."""

    def compare(one: torch.nn.Module, other: torch.nn.Module) -> bool:
        pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
        return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)

    return compare
