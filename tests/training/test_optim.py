"""How weights move: the learning rate over a run, and what decays."""

import math

import pytest
import torch

from lenet_zoo import create_model
from lenet_zoo.training.optim import learning_rate, optimizer_for
from lenet_zoo.training.recipe import Recipe


def test_schedules():
    def at(progress, **fields):
        return learning_rate(Recipe(lr=2.0, **fields), progress)

    assert at(0.9, schedule="constant") == 2
    assert [at(p, schedule="linear") for p in (0, 0.5, 1)] == [2, 1, 0]
    assert [at(p, schedule="cosine") for p in (0, 0.5, 1)] == pytest.approx([2, 1, 0])
    assert at(0.25, schedule="cosine") == pytest.approx(1 + math.cos(math.pi / 4))
    assert [at(p, schedule="linear", final_lr=0.5) for p in (0, 0.5, 1)] == [2, 1.5, 1]
    assert [at(p, schedule="linear", warmup=0.2) for p in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 1, 2, 1, 0])
    assert [at(p, schedule="onecycle", warmup=0.5) for p in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx(
        [0.08, 1.04, 2, 1, 0]
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_kernels_alone_decay(optimizer):
    model = create_model("lenet5_modern")
    before = [p.detach().clone() for p in model.parameters()]
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer_for(model, Recipe(optimizer=optimizer, lr=0.1, weight_decay=0.5)).step()
    for (name, p), old in zip(model.named_parameters(), before, strict=True):
        torch.testing.assert_close(p, old * 0.95 if name.endswith("weight") else old, msg=name)
