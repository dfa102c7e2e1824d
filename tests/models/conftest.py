"""Both networks, and the classic with the paper's Table I."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from lenet_zoo.models._base import LeNet5
from lenet_zoo.models.lenet5_classic import LeNet5Classic

NAMES = ["lenet5_classic", "lenet5_modern"]

# Table I, p. 8: the rows are S2's maps 0-5, the columns C3's maps 0-15, as they are printed.
TABLE_I = [
    "X...XXX..XXXX.XX",
    "XX...XXX..XXXX.X",
    "XXX...XXX..X.XXX",
    ".XXX..XXXX..X.XX",
    "..XXX..XXXX.XX.X",
    "...XXX..XXXX.XXX",
]


@pytest.fixture
def model() -> LeNet5Classic:
    """The classic with weights, biases and coefficients that are all different from their initial values."""
    model = LeNet5Classic()
    model.init_weights(generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias") or name.startswith("S"):
                parameter.add_(torch.empty_like(parameter).uniform_(-0.2, 0.2))
    return model.eval()


def paper_pictures(*shape: int) -> torch.Tensor:
    """Values in the network's input range."""
    return torch.rand(*shape) * 1.275 - 0.1


def create(name: str, **kwargs: Any) -> LeNet5:
    return timm.create_model(name, **kwargs).eval()


def batch(n: int = 2, channels: int = 1, size: int = 28) -> Tensor:
    return torch.rand(n, channels, size, size)


def same_state(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)
