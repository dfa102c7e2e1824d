"""Faster layers for training; the network that ships keeps its own.

Activation and subsampling after C1 and C3 are one step here, with a gradient written by hand. In torch they take half
of a training step, because its pooling walks 2×2 windows of 6 maps pixel by pixel; here whole rows are combined first
and columns after, which vectorises. Max pooling gives the same bits as torch's, and at a tie the same gradient, to the
upper left pixel; the trainable subsampling is equal up to the order of four summands. Parameters and their names stay.

A long run of the modern network on a CPU goes further: convolution, normalisation, activation and pooling are one
compiled function each way (`stage.cpp`), equal to the above up to rounding.

On request each hidden layer's sums are normalised over the batch (Ioffe, Szegedy, ICML 2015). After training this is a
fixed scale and shift of each map, and is folded into kernel and bias.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from lenet_zoo._compiled import load_library
from lenet_zoo.errors import InputError
from lenet_zoo.models.lenet5_classic import LeNet5Classic, ScaledTanh, Subsample2d
from lenet_zoo.models.lenet5_modern import LeNet5Modern

__all__ = ["MaxPoolReLU", "Normalized", "TanhSubsample2d", "fold", "fuse", "is_compiled"]

# Where the modern network's sums are normalised: each hidden layer, and the activation that follows it.
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


@dataclass(frozen=True)
class _Library:
    """`stage.cpp`: how many pictures lie side by side in a group, and the functions forward and backward of a stage."""

    lanes: int
    stages: dict[str, tuple[Callable[..., None], Callable[..., None]]]


@lru_cache(maxsize=1)
def _library() -> _Library | None:
    """Compiled when it is first asked for; None after a warning without a compiler."""
    library = load_library(
        Path(__file__).with_name("stage.cpp"), "training goes on through torch alone, about half as fast"
    )
    if library is None:
        return None
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    stages: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {}
    for name in ("C1", "C3"):
        forward, backward = library[f"{name}_forward"], library[f"{name}_backward"]
        forward.argtypes = [*[pointer] * 5, ctypes.c_float, *[pointer] * 4, integer, integer]
        backward.argtypes = [*[pointer] * 5, ctypes.c_float, *[pointer] * 9, integer, integer]
        forward.restype = backward.restype = None
        stages[name] = (forward, backward)
    library.lanes.restype = integer
    return _Library(library.lanes(), stages)


def _pointer(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


class _Stage(torch.autograd.Function):
    """Convolution to pooling in one, of N pictures in G groups of L lanes.

    G×in×H×W×L → G×out×h×w×L, and mean and variance of each map's sums without bias.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: Tensor, bias: Tensor, gamma: Tensor | None, beta: Tensor | None, eps: float,
        forward: Callable[..., None], backward: Callable[..., None],
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        groups, maps, size, lanes = len(x), len(kernel), x.shape[2] - 4, x.shape[-1]
        x, kernel = x.contiguous(), kernel.contiguous()
        sums = x.new_empty(groups, maps, size, size, lanes)
        pooled = x.new_empty(groups, maps, size // 2, size // 2, lanes)
        mean, var = x.new_zeros(maps), x.new_zeros(maps)
        given = [x, kernel, bias, gamma, beta]
        made = [sums, pooled, mean, var]
        forward(*map(_pointer, given), eps, *map(_pointer, made), groups, torch.get_num_threads())
        ctx.save_for_backward(*given, mean, var, sums)
        ctx.eps, ctx.function = eps, backward
        ctx.mark_non_differentiable(mean, var)
        return pooled, mean, var

    @staticmethod
    def backward(ctx: Any, slopes: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, kernel, bias, gamma, beta, mean, var, sums = ctx.saved_tensors
        slopes = slopes.contiguous()
        given = [x, kernel, bias, gamma, beta]
        wanted = [*given[1:], x if ctx.needs_input_grad[0] else None]
        made = [None if one is None else torch.empty_like(one) for one in wanted]
        ctx.function(
            *map(_pointer, given), ctx.eps, *map(_pointer, [mean, var, sums, slopes, *made]), len(x),
            torch.get_num_threads(),
        )  # fmt: skip
        return (made[-1], *made[:-1], None, None, None)


class _CompiledModern(LeNet5Modern):
    """The modern network, trained through `stage.cpp` when a batch is a whole number of groups of 28×28 pictures."""

    def forward_features(self, x: Tensor) -> Tensor:
        library = _library()
        if library is None or not (self.training and self._suits(x, library.lanes)):
            return super().forward_features(x)
        groups, lanes = len(x) // library.lanes, library.lanes
        field = x.new_zeros(groups, 1, 32, 32, lanes)  # with C1's border
        field[:, :, 2:-2, 2:-2] = x.reshape(groups, lanes, 1, 28, 28).permute(0, 2, 3, 4, 1)
        y = self._stage(self.C1, self.act1, field, *library.stages["C1"])  # G × 6 × 14 × 14 × L
        y = self._stage(self.C3, self.act3, y, *library.stages["C3"])  # G × 16 × 5 × 5 × L
        y = y.permute(0, 4, 1, 2, 3).reshape(len(x), 400)
        y = F.linear(y, self.C5.weight.flatten(1), self.C5.bias)
        out: Tensor = self.act5(y[:, :, None, None])  # N × 120 × 1 × 1
        return out

    def _suits(self, x: Tensor, lanes: int) -> bool:
        norms = [act.norm for act in (self.act1, self.act3) if isinstance(act, Normalized)]
        return (
            x.shape[1:] == (1, 28, 28)
            and len(x) % lanes == 0 < len(x)
            and not x.requires_grad
            and all((one.device.type, one.dtype) == ("cpu", torch.float32) for one in (x, self.C1.weight))
            and not torch.is_autocast_enabled("cpu")
            # Over several ranks another layer normalises, which needs the statistics of all.
            and all(type(norm) is nn.BatchNorm2d for norm in norms)
        )

    def _stage(self, layer: nn.Conv2d, activation: nn.Module, x: Tensor, *functions: Callable[..., None]) -> Tensor:
        if not isinstance(activation, Normalized):
            plain, _, _ = _Stage.apply(x, layer.weight, layer.bias, None, None, 0.0, *functions)
            return plain
        norm: Any = activation.norm
        out, mean, var = _Stage.apply(x, layer.weight, layer.bias, norm.weight, norm.bias, norm.eps, *functions)
        count = x.shape[0] * (x.shape[2] - 4) ** 2 * x.shape[-1]
        with torch.no_grad():
            norm.num_batches_tracked += 1
            norm.running_mean.lerp_(mean + layer.bias, norm.momentum)
            norm.running_var.lerp_(var * (count / (count - 1)), norm.momentum)
        return out


def fuse(model: nn.Module, batch_norm: bool = False, compiled: bool = False) -> nn.Module:
    """Put the fused layers into one of the zoo's networks, in place; another network stays as it is.

    With `batch_norm`, also normalise the sums of each hidden layer of the modern network; `fold` takes that back. With
    `compiled`, the modern network trains through `stage.cpp` where batch, device and precision allow it; compiling
    takes a few seconds, once in a process.

    Raises: InputError for `batch_norm` with another network.
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
        if not isinstance(model, LeNet5Modern):
            raise InputError("batch_norm=true is for lenet5_modern: leave it false for any other network")
        for name, activation in _NORMALIZED.items():
            maps = len(model.get_parameter(f"{name}.bias"))
            setattr(model, activation, Normalized(maps, getattr(model, activation)))
    if compiled and type(model) is LeNet5Modern and _library():
        model.__class__ = _CompiledModern  # parameters, names and all other methods stay
    return model


def is_compiled(model: nn.Module) -> bool:
    """Whether `fuse` has put the compiled layers into a network."""
    return isinstance(model, _CompiledModern)


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
            folded = fuse_conv_bn_weights(kernel, shift, mean, var, nn.BatchNorm2d(1).eps, weight, bias)
            plain[f"{name}.weight"], plain[f"{name}.bias"] = (part.detach() for part in folded)
    return plain
