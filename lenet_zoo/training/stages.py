"""The lower stages of both networks for training, each one compiled function each way; equal to torch's up to rounding.

Convolution, normalisation where asked for, activation and subsampling are one step here: `stage.cpp` has those of the
modern network, `stage_classic.cpp` those of the classic one. `fused.fuse` puts them in.
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

from lenet_zoo._compiled import load_library
from lenet_zoo.models.lenet5_classic import BACKGROUND, LeNet5Classic
from lenet_zoo.models.lenet5_modern import LeNet5Modern

__all__ = ["CompiledClassic", "CompiledModern", "compile_stages", "is_compiled", "library_of"]

_POINTER, _INTEGER = ctypes.c_void_p, ctypes.c_int64
# What the functions forward and backward of a file take, after which come the numbers of groups and threads.
_ARGUMENTS: dict[str, tuple[list[Any], list[Any]]] = {
    "stage.cpp": (
        [*[_POINTER] * 5, ctypes.c_float, *[_POINTER] * 4],
        [*[_POINTER] * 5, ctypes.c_float, *[_POINTER] * 9],
    ),
    "stage_classic.cpp": ([_POINTER] * 8, [_POINTER] * 11),
}


@dataclass(frozen=True)
class _Library:
    """A compiled file: how many pictures a group has, and the functions forward and backward of each stage."""

    lanes: int
    stages: dict[str, tuple[Callable[..., None], Callable[..., None]]]


@lru_cache(maxsize=2)
def library_of(file: str) -> _Library | None:
    """Compiled when it is first asked for; None after a warning without a compiler."""
    library = load_library(Path(__file__).with_name(file), "training goes on through torch alone, about half as fast")
    if library is None:
        return None
    stages: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {}
    for name in ("C1", "C3"):
        both = library[f"{name}_forward"], library[f"{name}_backward"]
        for function, arguments in zip(both, _ARGUMENTS[file], strict=True):
            function.argtypes = [*arguments, _INTEGER, _INTEGER]
            function.restype = None
        stages[name] = both
    library.lanes.restype = _INTEGER
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


class _ClassicStage(torch.autograd.Function):
    """Convolution to the second squashing in one, of N pictures in G groups of L lanes: G×in×H×W×L → G×out×h×w×L."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: Tensor, bias: Tensor, coefficient: Tensor, offset: Tensor,
        forward: Callable[..., None], backward: Callable[..., None],
    ) -> Tensor:  # fmt: skip
        groups, maps, size, lanes = len(x), len(kernel), x.shape[2] - 4, x.shape[-1]
        given = [x.contiguous(), kernel.contiguous(), bias, coefficient, offset]
        inner = x.new_empty(groups, maps, size, size, lanes)
        outer = x.new_empty(groups, maps, size // 2, size // 2, lanes)
        out = torch.empty_like(outer)
        forward(*map(_pointer, [*given, inner, outer, out]), groups, torch.get_num_threads())
        ctx.save_for_backward(*given[:4], inner, outer)
        ctx.function = backward
        return out

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
        x, kernel, bias, coefficient, inner, outer = ctx.saved_tensors
        slopes = slopes.contiguous()
        made = [torch.empty_like(one) for one in (kernel, bias, coefficient, coefficient)]
        below = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        ctx.function(
            *map(_pointer, [x, kernel, coefficient, inner, outer, slopes, *made, below]), len(x),
            torch.get_num_threads(),
        )  # fmt: skip
        return (below, *made, None, None)


def _suits(model: LeNet5Modern | LeNet5Classic, x: Tensor, lanes: int) -> bool:
    """Whether a batch is a whole number of groups of 28×28 pictures, in the one precision that is compiled."""
    return (
        x.shape[1:] == (1, 28, 28)
        and len(x) % lanes == 0 < len(x)
        and not x.requires_grad
        and all((one.device.type, one.dtype) == ("cpu", torch.float32) for one in (x, model.C1.weight))
        and not torch.is_autocast_enabled("cpu")
    )


def _field(x: Tensor, lanes: int, background: float) -> Tensor:
    """N×1×28×28 → G×1×32×32×L, with C1's border."""
    groups = len(x) // lanes
    field = x.new_full((groups, 1, 32, 32, lanes), background)
    field[:, :, 2:-2, 2:-2] = x.reshape(groups, lanes, 1, 28, 28).permute(0, 2, 3, 4, 1)
    return field


def _fifth(model: LeNet5Modern | LeNet5Classic, y: Tensor) -> Tensor:
    """C5 and its activation, of one place: G×16×5×5×L → N×120×1×1."""
    y = y.permute(0, 4, 1, 2, 3).reshape(-1, 400)
    y = F.linear(y, model.C5.weight.flatten(1), model.C5.bias)
    out: Tensor = model.act5(y[:, :, None, None])
    return out


class CompiledModern(LeNet5Modern):
    """The modern network, trained through `stage.cpp` when a batch is a whole number of groups of 28×28 pictures."""

    def forward_features(self, x: Tensor) -> Tensor:
        library = library_of("stage.cpp")
        if library is None or not (self.training and self._suits(x, library.lanes)):
            return super().forward_features(x)
        field = _field(x, library.lanes, 0.0)
        y = self._stage(self.C1, self.act1, field, *library.stages["C1"])  # G × 6 × 14 × 14 × L
        y = self._stage(self.C3, self.act3, y, *library.stages["C3"])  # G × 16 × 5 × 5 × L
        return _fifth(self, y)

    def _suits(self, x: Tensor, lanes: int) -> bool:
        norms = [act.norm for act in (self.act1, self.act3) if hasattr(act, "norm")]
        # Over several ranks another layer normalises, which needs the statistics of all.
        return _suits(self, x, lanes) and all(type(norm) is nn.BatchNorm2d for norm in norms)

    def _stage(self, layer: nn.Conv2d, activation: nn.Module, x: Tensor, *functions: Callable[..., None]) -> Tensor:
        if not hasattr(activation, "norm"):
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


class CompiledClassic(LeNet5Classic):
    """The classic network, trained through `stage_classic.cpp` where batch, device and precision allow it."""

    def forward_features(self, x: Tensor) -> Tensor:
        library = library_of("stage_classic.cpp")
        if library is None or not (
            self.training and self.pad.padding == (2, 2, 2, 2) and _suits(self, x, library.lanes)
        ):
            return super().forward_features(x)
        y = _field(x, library.lanes, BACKGROUND)
        for convolution, kernel, subsampling, name in (
            (self.C1, self.C1.weight, self.S2, "C1"),  # G × 6 × 14 × 14 × L
            (self.C3, self.C3.dense_weight(), self.S4, "C3"),  # G × 16 × 5 × 5 × L
        ):
            y = _ClassicStage.apply(
                y, kernel, convolution.bias, subsampling.weight, subsampling.bias, *library.stages[name]
            )
        return _fifth(self, y)


def compile_stages(model: nn.Module) -> None:
    """Let one of the zoo's networks train through its compiled stages, in place; any other stays as it is.

    Parameters, their names and all other methods stay. Compiling takes a few seconds, once in a process; without a
    compiler there is a warning, and the network stays as it is, too.
    """
    if type(model) is LeNet5Modern and library_of("stage.cpp"):
        model.__class__ = CompiledModern
    elif type(model) is LeNet5Classic and library_of("stage_classic.cpp"):
        model.__class__ = CompiledClassic


def is_compiled(model: nn.Module) -> bool:
    """Whether a network trains through compiled stages."""
    return isinstance(model, CompiledModern | CompiledClassic)
