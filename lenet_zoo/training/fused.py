"""Faster layers for training; the network that ships keeps its own.

Activation and subsampling after C1 and C3 are one step here, with a gradient written by hand. In torch they take half
of a training step, because its pooling walks 2×2 windows of 6 maps pixel by pixel; here whole rows are combined first
and columns after, which vectorises. Max pooling gives the same bits as torch's, and at a tie the same gradient, to the
upper left pixel; the trainable subsampling is equal up to the order of four summands. Parameters and their names stay.

A long run on a CPU goes further: convolution, normalisation, activation and subsampling are one compiled function each
way (`stages`), equal to the above up to rounding.

On request each hidden layer's sums are normalised over the batch (Ioffe, Szegedy, ICML 2015). After training this is a
fixed scale and shift of each map, and is folded into kernel and bias.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lenet_zoo.errors import InputError
from lenet_zoo.models.lenet5_classic import LeNet5Classic, ScaledTanh, Subsample2d
from lenet_zoo.models.lenet5_modern import LeNet5Modern
from lenet_zoo.training.stages import compile_stages

__all__ = ["MaxPoolReLU", "Normalized", "TanhSubsample2d", "fold", "fuse"]

# Where sums are normalised: in each hidden layer with kernels, before the activation that follows it.
_NORMALIZED = {"C1": "act1", "C3": "act3", "C5": "act5", "F6": "act6"}


def _rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """The upper and the lower row of each window: N×C×H×W → two of N×C×H/2×W."""
    n, c, h, w = x.shape
    upper, lower = x.reshape(n, c, h // 2, 2, w).unbind(3)
    return upper, lower


def _columns(x: Tensor) -> tuple[Tensor, Tensor]:
    """The left and the right column of each window: N×C×H×W → two of N×C×H×W/2."""
    n, c, h, w = x.shape
    left, right = x.reshape(n, c, h, w // 2, 2).unbind(4)
    return left, right


class _MaxPoolReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        upper, lower = _rows(x)
        rows = torch.maximum(upper, lower)
        left, right = _columns(rows)
        y = torch.maximum(left, right).clamp_(min=0)
        ctx.save_for_backward(upper >= lower, left >= right, y > 0)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        upper, left, positive = ctx.saved_tensors
        n, c, h, w = upper.shape
        grad = grad * positive
        columns = grad.new_empty(n, c, h, w // 2, 2)
        torch.mul(grad, left, out=columns[..., 0])
        torch.sub(grad, columns[..., 0], out=columns[..., 1])
        columns = columns.view(n, c, h, w)
        out = grad.new_empty(n, c, h, 2, w)
        torch.mul(columns, upper, out=out[:, :, :, 0])
        torch.sub(columns, out[:, :, :, 0], out=out[:, :, :, 1])
        return out.view(n, c, 2 * h, w)


class MaxPoolReLU(nn.Module):
    """ReLU and 2×2 max pooling, N×C×H×W → N×C×H/2×W/2 for even H and W."""

    def forward(self, x: Tensor) -> Tensor:
        return _MaxPoolReLU.apply(x)


class _TanhSum(torch.autograd.Function):
    """Scaled tanh, then the sum over 2×2 windows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        tanh = (x * ScaledTanh.S).tanh_()
        ctx.save_for_backward(tanh)
        upper, lower = _rows(tanh)
        left, right = _columns(upper + lower)
        return (left + right).mul_(ScaledTanh.A)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (tanh,) = ctx.saved_tensors
        n, c, h, w = grad.shape
        slope = torch.addcmul(grad.new_ones(()), tanh, tanh, value=-1)
        grad = (grad * (ScaledTanh.A * ScaledTanh.S)).repeat_interleave(2, 3)
        return slope.view(n, c, h, 2, 2 * w).mul_(grad.unsqueeze(3)).view(tanh.shape)


class TanhSubsample2d(Subsample2d):
    """Scaled tanh and trainable subsampling, N×C×H×W → N×C×H/2×W/2 for even H and W."""

    def __init__(self, like: Subsample2d) -> None:
        nn.Module.__init__(self)
        self.weight, self.bias = like.weight, like.bias

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = _TanhSum.apply(x)
        return torch.addcmul(self.bias[:, None, None], total, self.weight[:, None, None])


class Normalized(nn.Module):
    """Batch normalisation of N×C×H×W or N×C, then an activation."""

    def __init__(self, maps: int, activation: nn.Module) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(maps)  # for units, too, as maps of one pixel: ranks replace one kind of layer
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        normal = self.norm(x if x.ndim == 4 else x[:, :, None, None])
        out: Tensor = self.activation(normal.view_as(x))
        return out


def fuse(model: nn.Module, batch_norm: bool = False, compiled: bool = False) -> nn.Module:
    """Put the fused layers into one of the zoo's networks, in place; another network stays as it is.

    With `batch_norm`, also normalise the sums of each hidden layer with kernels; `fold` takes that back. With
    `compiled`, the network trains through compiled stages where batch, device and precision allow it; compiling takes a
    few seconds, once in a process.

    Raises: InputError for `batch_norm` with a teacher, which normalises by itself.
    """
    layers: dict[str, nn.Module] = {}
    if isinstance(model, LeNet5Modern):
        layers = dict(act1=nn.Identity(), S2=MaxPoolReLU(), act3=nn.Identity(), S4=MaxPoolReLU())
    elif isinstance(model, LeNet5Classic):
        layers = dict(
            act1=nn.Identity(), S2=TanhSubsample2d(model.S2), act3=nn.Identity(), S4=TanhSubsample2d(model.S4)
        )
    for name, layer in layers.items():
        setattr(model, name, layer)
    if batch_norm:
        if not layers:
            raise InputError("batch_norm=true is for lenet5_modern and lenet5_classic: a teacher does so by itself")
        for name, activation in _NORMALIZED.items():
            maps = len(model.get_parameter(f"{name}.bias"))
            setattr(model, activation, Normalized(maps, getattr(model, activation)))
    if compiled:
        compile_stages(model)
    return model


def fold(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the plain network that answers as the one with `batch_norm` does in evaluation mode.

    A state dict without normalised layers comes back as it is.
    """
    plain = {key: value for key, value in state.items() if ".norm." not in key}
    for name, activation in _NORMALIZED.items():
        if f"{activation}.norm.weight" in state:
            norm = [state[f"{activation}.norm.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
            mean, var, weight, bias = norm
            kernel, shift = state[f"{name}.weight"], state[f"{name}.bias"]
            scale = weight / (var + nn.BatchNorm2d(1).eps).sqrt()
            plain[f"{name}.bias"] = ((shift - mean) * scale + bias).detach()
            if f"{name}.connection" in state:  # a kernel for each pair of maps, and not for each map
                scale = scale[state[f"{name}.connection"] // len(state["C1.bias"])]
            plain[f"{name}.weight"] = (kernel * scale.view(-1, *[1] * (kernel.ndim - 1))).detach()
    return plain
