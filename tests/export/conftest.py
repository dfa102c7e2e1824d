"""Networks to export, and what an exported file is compared with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import lenet_zoo

NAMES = ("lenet5_modern", "lenet5_classic")
Build = Callable[..., nn.Module]


@pytest.fixture
def network() -> Build:
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


def run(path: Path, x: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def reference(model: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(x)).numpy()


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)


def normalized(model: nn.Module, pixels: np.ndarray) -> np.ndarray:
    cfg = model.pretrained_cfg
    return ((pixels.astype(np.float32) / 255 - np.float32(cfg["mean"][0])) / np.float32(cfg["std"][0])).astype(
        np.float32
    )
