"""What a network is made of: the layer table."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from lenet_zoo.errors import InputError
from lenet_zoo.models._base import LeNet5
from lenet_zoo.models.lenet5_classic import RBF, FullConnection, PartialConv2d, Subsample2d

__all__ = ["Layer", "layer_table"]


@dataclass(frozen=True)
class Layer:
    """One row of the layer table.

    Attributes:
        name: the paper's name (C1, S2, C3, S4, C5, F6) or 'output'.
        kind: what it does.
        output: the shape of its output for one picture, without the batch.
        parameters: trainable ones.
        connections: counted as the paper counts them: one per input that a unit reads, and one per bias.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    connections: int


def layer_table(model: nn.Module) -> list[Layer]:
    """The layers of a network of the zoo, for one picture of its nominal size.

    Raises: InputError for any other module.
    """
    if not isinstance(model, LeNet5):
        raise InputError(f"a layer table is made of the zoo's networks, not of {type(model).__name__}")
    like = model.C1.weight
    size = model.smallest_input
    x = torch.zeros(1, model.in_chans, size, size, device=like.device, dtype=like.dtype)
    rows = []
    with torch.no_grad():
        for name, modules in model.stages():
            for module in modules:
                x = module(x)
            core = next(module for module in modules if _kind(module))
            rows.append(_row(name, core, tuple(x.shape[1:])))
        hidden = model.forward_head(x, pre_logits=True)
        rows.append(_row("F6", model.F6, tuple(hidden.shape[1:])))
        if model.num_classes:
            rows.append(_row("output", model.output, (model.num_classes,)))
    return rows


def _kind(module: nn.Module) -> str:
    if isinstance(module, PartialConv2d):
        return f"convolution {module.kernel_size}×{module.kernel_size}, {module.weight.shape[0]} kernels"
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        return f"convolution {height}×{width}" + (f", padding {module.padding[0]}" if module.padding[0] else "")
    if isinstance(module, Subsample2d):
        return "subsampling 2×2, trainable"
    if isinstance(module, nn.MaxPool2d):
        return "max pooling 2×2"
    if isinstance(module, nn.Linear | FullConnection):
        return "full"
    if isinstance(module, RBF):
        return f"RBF, {module.weight.numel()} fixed"
    return ""


def _row(name: str, module: nn.Module, output: tuple[int, ...]) -> Layer:
    parameters = sum(p.numel() for p in module.parameters())
    positions = output[1] * output[2] if len(output) == 3 else 1
    if isinstance(module, Subsample2d):
        connections = (4 + 1) * output[0] * positions
    elif isinstance(module, nn.MaxPool2d):
        connections = 4 * output[0] * positions
    elif isinstance(module, RBF):
        connections = module.weight.numel()
    else:
        connections = parameters * positions
    return Layer(name, _kind(module), output, parameters, connections)
