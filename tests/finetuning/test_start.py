"""Where fine-tuning starts, which layers it trains, and when it stops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lenet_zoo
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import TrainingError
from lenet_zoo.evaluation import evaluate
from lenet_zoo.finetuning import Splits, Start, learn
from lenet_zoo.models import LeNet5Classic
from lenet_zoo.models.lenet5_classic import glyphs
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.recipe import Recipe

from .conftest import few

pytest.importorskip("matplotlib")


def test_rows_of_classes_with_known_names_are_kept() -> None:
    old = lenet_zoo.create_model("lenet5_modern.mnist", pretrained=True).output
    new = Start.named("lenet5_modern").build(few("x7a0")).output
    assert torch.equal(new.weight[1], old.weight[7])
    assert torch.equal(new.bias[3], old.bias[0])
    assert not any(torch.equal(new.weight[0], row) for row in old.weight)
    assert Start.named("lenet5_modern", scratch=True).kept("x7a0") == 0


def test_the_classic_takes_the_bitmaps_of_its_classes() -> None:
    network = Start.named("lenet5_classic").build(few("QZ7"))
    assert isinstance(network, LeNet5Classic)
    assert network.output.weight.tolist() == [glyphs()[c] for c in "QZ7"]
    named = replace(few("ab"), classes=("left", "right"))
    codes = Start.named("lenet5_classic").build(named).output.weight.tolist()
    assert codes == [glyphs()[c] for c in "01"]


@pytest.mark.parametrize(
    ("model", "freeze", "frozen"),
    [
        ("lenet5_modern", "c1,C3", {"C1", "C3"}),
        ("lenet5_modern", "body", {"C1", "S2", "C3", "S4", "C5", "F6"}),
        ("lenet5_classic", "body", {"C1", "S2", "C3", "S4", "C5"}),
        ("lenet5_classic", ["S2", "f6"], {"S2", "F6"}),
        ("lenet5_modern", "", set()),
    ],
)
def test_frozen_layers_stay_and_the_others_move(
    model: str, freeze: Any, frozen: set[str], digits: Dataset, tmp_path: Path
) -> None:
    start = Start.named(model, freeze=freeze)
    assert start.freeze == frozen
    data = Splits(few(of=digits), None, few(of=digits))
    for decay in (1.0, 0.7):
        recipe = Recipe(epochs=1, batch_size=10, lr=0.01, weight_decay=0.1, layer_decay=decay)
        before = start.build(data.train).state_dict()
        after = learn(start, data, recipe, RunFolder(tmp_path / f"{decay}"), device="cpu").model
        for name, parameter in after.named_parameters():
            assert torch.equal(parameter, before[name]) == (name.split(".")[0] in frozen), name


def test_lower_layers_move_less_with_layer_decay(digits: Dataset, tmp_path: Path) -> None:
    start = Start.named("lenet5_modern")
    data = Splits(few(of=digits), None, few(of=digits))
    before = start.build(data.train).state_dict()

    def moved(decay: float) -> dict[str, float]:
        # Adam's first step is ± the learning rate, whatever the gradient.
        recipe = Recipe(epochs=1, batch_size=30, lr=0.01, layer_decay=decay)
        after = learn(start, data, recipe, RunFolder(tmp_path / f"{decay}"), device="cpu").model.state_dict()
        return {layer: (after[f"{layer}.bias"] - before[f"{layer}.bias"]).abs().max().item() for layer in LAYERS}

    assert moved(1.0) == pytest.approx(dict.fromkeys(LAYERS, 0.01), rel=1e-3)
    # timm's groups from the output down: output, F6, C5, C3, C1.
    assert moved(0.5) == pytest.approx(
        {"output": 0.01, "F6": 0.005, "C5": 0.0025, "C3": 0.00125, "C1": 0.000625}, rel=1e-3
    )


LAYERS = ("C1", "C3", "C5", "F6", "output")


def test_patience_stops_and_keeps_the_best_epoch(digits: Dataset, tmp_path: Path) -> None:
    start = Start.named("lenet5_modern")
    part = few(of=digits)
    data = Splits(part, replace(part, labels=part.labels.roll(1)), part)  # the better it learns, the worse it validates
    recipe = Recipe(epochs=50, batch_size=30, lr=0.003, patience=4)
    result = learn(start, data, recipe, RunFolder(tmp_path), device="cpu")
    losses = [record["validation_loss"] for record in result.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 4
    found = evaluate(logits_of(result.model), data.validation)  # type: ignore[arg-type]
    assert found.loss == pytest.approx(losses[best])
    with pytest.raises(TrainingError, match="patience needs a validation set"):
        learn(start, Splits(part, None, part), recipe, RunFolder(tmp_path / "other"), device="cpu")
