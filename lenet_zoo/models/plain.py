"""The parts of `model.plain()`: a network as a chain of torch's own layers, for tools that know no others.

Quantizers, converters and accelerators look for Conv2d, Linear, ReLU, Tanh and MaxPool2d by their types. What a network
has beside these is folded into their weights, in float64.
"""

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn
from torch.ao.nn.quantized import FloatFunctional

__all__ = ["WithSquares", "chain", "convolution", "head", "linear", "scaling", "squared_distances", "wide"]


class WithSquares(nn.Module):
    """N×C… → N×2C…: the states, and their squares after them. Squared distances are linear in both together.

    The operations are modules, so that torch's eager quantization can observe and convert them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.square, self.join = FloatFunctional(), FloatFunctional()

    def forward(self, x: Tensor) -> Tensor:
        return self.join.cat([x, self.square.mul(x, x)], dim=1)


def wide(tensor: Tensor) -> Tensor:
    """A parameter's values to fold, float64 and without a graph."""
    return tensor.detach().to(torch.float64)


def convolution(
    weight: Tensor, bias: Tensor, like: Tensor, stride: Any = 1, padding: int = 0, groups: int = 1, dilation: Any = 1
) -> nn.Conv2d:
    """weight out×in/groups×k×k and bias → a layer on the device and in the dtype of `like`."""
    out, part, k, _ = weight.shape
    layer = nn.Conv2d(part * groups, out, k, stride, padding, dilation, groups, device="meta")
    return _filled(layer, weight, bias, like)  # type: ignore[return-value]


def linear(weight: Tensor, bias: Tensor, like: Tensor) -> nn.Linear:
    """weight out×in and bias → a layer on the device and in the dtype of `like`."""
    return _filled(nn.Linear(weight.shape[1], weight.shape[0], device="meta"), weight, bias, like)  # type: ignore[return-value]


def squared_distances(
    codes: Tensor, factor: float, like: Tensor, j: Tensor | None = None
) -> list[tuple[str, nn.Module]]:
    """From t to −Σ(factor·t − w)² for each row w of `codes`, which is Σ 2·factor·w·t − factor²·t² − w²; and to −j."""
    weight = torch.cat([2 * factor * codes, torch.full_like(codes, -(factor**2))], dim=1)
    bias = -codes.square().sum(1)
    if j is not None:
        weight, bias = torch.cat([weight, torch.zeros_like(weight[:1])]), torch.cat([bias, -wide(j)])
    return [("squares", WithSquares()), ("output", linear(weight, bias, like))]


def scaling(width: int, factor: float, like: Tensor) -> nn.Linear:
    """From t to factor·t, of so many numbers."""
    weight = factor * torch.eye(width, dtype=torch.float64, device=like.device)
    return linear(weight, torch.zeros_like(weight[0]), like)


def _filled(layer: nn.Module, weight: Tensor, bias: Tensor, like: Tensor) -> nn.Module:
    for name, value in (("weight", weight), ("bias", bias)):
        setattr(layer, name, nn.Parameter(value.to(like.device, like.dtype).clone(), requires_grad=False))
    return layer


def head(global_pool: str, layers: list[tuple[str, nn.Module]], like: Tensor) -> list[tuple[str, nn.Module]]:
    """What follows C5: pooling, and `layers`; without pooling they run at every position, as convolutions of 1×1."""
    if global_pool:
        pool = nn.AdaptiveAvgPool2d(1) if global_pool == "avg" else nn.AdaptiveMaxPool2d(1)
        return [("pool", pool), ("flatten", nn.Flatten()), *layers]
    return [
        (name, convolution(layer.weight[:, :, None, None], layer.bias, like) if isinstance(layer, nn.Linear) else layer)
        for name, layer in layers
    ]


def chain(layers: list[tuple[str, nn.Module]]) -> nn.Sequential:
    """The layers in order, in evaluation mode."""
    return nn.Sequential(OrderedDict(layers)).eval()
