"""Networks to export. Those that need no trained weights are drawn at random, with logits of a trained one's size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import lenet_zoo


@pytest.fixture
def network() -> Callable[..., nn.Module]:
    """Build a network by name with random weights, the same ones in every run."""

    def build(name: str, **options: Any) -> nn.Module:
        torch.manual_seed(1)
        model = lenet_zoo.create_model(name, **options)
        if name.startswith("lenet5_modern") and model.num_classes:
            with torch.no_grad():
                # PyTorch's small initial weights give logits of 0.1, and no comparison of such means much.
                for parameter in model.parameters():
                    parameter.mul_(2.5)
        return model

    return build
