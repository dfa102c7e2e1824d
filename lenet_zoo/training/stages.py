"""The lower stages of both networks for training, each one compiled function each way; equal to torch's up to rounding.

Convolution, normalisation where asked for, activation and subsampling are one step here. `lower.cpp` has both stages of
the modern network in one function, `stage.cpp` has each with normalisation, and `stage_classic.cpp` has those of the
classic network, with and without. `fused.fuse` puts them in.
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
# The stages of a file, and what their functions forward and backward take before the numbers of groups and of threads.
_FUNCTIONS: dict[str, tuple[list[str], list[Any], list[Any]]] = {
    "lower.cpp": (["lower"], [_POINTER] * 9, [_POINTER] * 10),
    "stage.cpp": (
        ["C1", "C3"],
        [*[_POINTER] * 4, ctypes.c_float, *[_POINTER] * 4],
        [*[_POINTER] * 4, ctypes.c_float, *[_POINTER] * 8],
    ),
    "stage_classic.cpp": (
        ["C1", "C3"],
        [*[_POINTER] * 7, ctypes.c_float, *[_POINTER] * 6],
        [*[_POINTER] * 6, ctypes.c_float, *[_POINTER] * 13],
    ),
}


@dataclass(frozen=True)
class _Library:
    """A compiled file: how many pictures a group has, and the functions forward and backward of each stage."""

    lanes: int
    stages: dict[str, tuple[Callable[..., None], Callable[..., None]]]


@lru_cache(maxsize=len(_FUNCTIONS))
def library_of(file: str) -> _Library | None:
    """Compiled when it is first asked for; None after a warning without a compiler."""
    library = load_library(Path(__file__).with_name(file), "training goes on through torch alone, about half as fast")
    if library is None:
        return None
    stages: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {}
    names, *arguments_of_both = _FUNCTIONS[file]
    for name in names:
        both = library[f"{name}_forward"], library[f"{name}_backward"]
        for function, arguments in zip(both, arguments_of_both, strict=True):
            function.argtypes = [*arguments, _INTEGER, _INTEGER]
            function.restype = None
        stages[name] = both
    library.lanes.restype = _INTEGER
    return _Library(library.lanes(), stages)


def _pointer(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()


class _Lower(torch.autograd.Function):
    """C1 to S4 without normalisation in one: N×1×28×28 → N×400."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, first: Tensor, first_bias: Tensor, second: Tensor, second_bias: Tensor, library: _Library
    ) -> Tensor:
        groups = len(x) // library.lanes
        given = [one.contiguous() for one in (x, first, first_bias, second, second_bias)]
        pooled = x.new_empty(groups, 6, 14, 14, library.lanes)
        winners = [x.new_empty(groups, *shape, library.lanes, dtype=torch.int8) for shape in ((6, 14, 14), (16, 5, 5))]
        features = x.new_empty(len(x), 400)
        forward, ctx.function = library.stages["lower"]
        forward(*map(_pointer, [*given, pooled, *winners, features]), groups, torch.get_num_threads())
        ctx.save_for_backward(*given, pooled, *winners)
        return features

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
        x, *parameters, pooled, which1, which3 = ctx.saved_tensors
        made = [torch.empty_like(one) for one in parameters]
        ctx.function(
            *map(_pointer, [x, parameters[2], pooled, which1, which3, slopes.contiguous(), *made]), len(pooled),
            torch.get_num_threads(),
        )  # fmt: skip
        return (None, *made, None)


class _Stage(torch.autograd.Function):
    """Convolution, normalisation and pooling in one, of N pictures in G groups of L lanes.

    G×in×H×W×L → G×out×h×w×L, and mean and variance of each map's sums without bias.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor, eps: float,
        forward: Callable[..., None], backward: Callable[..., None],
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        groups, maps, size, lanes = len(x), len(kernel), x.shape[2] - 4, x.shape[-1]
        x, kernel = x.contiguous(), kernel.contiguous()
        sums = x.new_empty(groups, maps, size, size, lanes)
        pooled = x.new_empty(groups, maps, size // 2, size // 2, lanes)
        mean, var = x.new_zeros(maps), x.new_zeros(maps)
        given = [x, kernel, gamma, beta]
        made = [sums, pooled, mean, var]
        forward(*map(_pointer, given), eps, *map(_pointer, made), groups, torch.get_num_threads())
        ctx.save_for_backward(*given, bias, mean, var, sums)
        ctx.eps, ctx.function = eps, backward
        ctx.mark_non_differentiable(mean, var)
        return pooled, mean, var

    @staticmethod
    def backward(ctx: Any, slopes: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, kernel, gamma, beta, bias, mean, var, sums = ctx.saved_tensors
        slopes = slopes.contiguous()
        given = [x, kernel, gamma, beta]
        wanted = [*given[1:], x if ctx.needs_input_grad[0] else None]
        made = [None if one is None else torch.empty_like(one) for one in wanted]
        ctx.function(
            *map(_pointer, given), ctx.eps, *map(_pointer, [mean, var, sums, slopes, *made]), len(x),
            torch.get_num_threads(),
        )  # fmt: skip
        kernels, scales, shifts, below = made
        # Normalisation takes a bias away again.
        return below, kernels, torch.zeros_like(bias), scales, shifts, None, None, None


class _ClassicStage(torch.autograd.Function):
    """Convolution to the second squashing in one, of N pictures in G groups of L lanes, normalised where γ is given.

    G×in×H×W×L → G×out×h×w×L, and mean and variance of each map's sums without bias (0 where nothing is normalised).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, kernel: Tensor, bias: Tensor, coefficient: Tensor, offset: Tensor, gamma: Tensor | None,
        beta: Tensor | None, eps: float, forward: Callable[..., None], backward: Callable[..., None],
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        groups, maps, size, lanes = len(x), len(kernel), x.shape[2] - 4, x.shape[-1]
        given = [x.contiguous(), kernel.contiguous(), bias, coefficient, offset, gamma, beta]
        sums = x.new_empty(groups, maps, size, size, lanes)
        inner = torch.empty_like(sums)
        outer = x.new_empty(groups, maps, size // 2, size // 2, lanes)
        out = torch.empty_like(outer)
        mean, var = x.new_zeros(maps), x.new_zeros(maps)
        made = [sums, inner, outer, out, mean, var]
        forward(*map(_pointer, given), eps, *map(_pointer, made), groups, torch.get_num_threads())
        ctx.save_for_backward(*given, mean, var, sums, inner, outer)
        ctx.eps, ctx.function = eps, backward
        ctx.mark_non_differentiable(mean, var)
        return out, mean, var

    @staticmethod
    def backward(ctx: Any, slopes: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, kernel, bias, coefficient, offset, gamma, beta, mean, var, sums, inner, outer = ctx.saved_tensors
        slopes = slopes.contiguous()
        # Normalisation takes a bias away again: its gradient stays 0.
        made: list[Tensor | None] = [torch.empty_like(kernel), torch.zeros_like(bias)]
        made += [None if one is None else torch.empty_like(one) for one in (coefficient, offset, gamma, beta)]
        below = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        ctx.function(
            *map(_pointer, [x, kernel, bias, coefficient, gamma, beta]), ctx.eps,
            *map(_pointer, [mean, var, sums, inner, outer, slopes, *made, below]), len(x), torch.get_num_threads(),
        )  # fmt: skip
        return (below, *made, None, None, None)


def _norms(model: LeNet5Modern | LeNet5Classic) -> list[Any]:
    """What normalises the sums of C1 and of C3; nothing in most networks."""
    return [act.norm for act in (model.act1, model.act3) if hasattr(act, "norm")]


def _library_for(model: LeNet5Modern | LeNet5Classic) -> _Library | None:
    if isinstance(model, LeNet5Classic):
        return library_of("stage_classic.cpp")
    return library_of("stage.cpp" if _norms(model) else "lower.cpp")


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


def _fifth(model: LeNet5Modern | LeNet5Classic, features: Tensor) -> Tensor:
    """C5 and its activation, of one place: N×400 → N×120×1×1."""
    y = F.linear(features, model.C5.weight.flatten(1), model.C5.bias)
    out: Tensor = model.act5(y[:, :, None, None])
    return out


def _features(y: Tensor) -> Tensor:
    """What S4 gives, as C5 takes it: G×16×5×5×L → N×400."""
    return y.permute(0, 4, 1, 2, 3).reshape(-1, 400)


def _is_local(norms: list[Any]) -> bool:
    """Over several ranks another layer normalises, which needs the statistics of all."""
    return all(type(norm) is nn.BatchNorm2d for norm in norms)


def _follow(norm: Any, layer: Any, x: Tensor, mean: Tensor, var: Tensor) -> None:
    """Move the running statistics towards those of a batch; `x` is what the layer saw, `mean` is without its bias."""
    count = x.shape[0] * (x.shape[2] - 4) ** 2 * x.shape[-1]
    with torch.no_grad():
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean + layer.bias, norm.momentum)
        norm.running_var.lerp_(var * (count / (count - 1)), norm.momentum)


class CompiledModern(LeNet5Modern):
    """The modern network, trained through `lower.cpp`, or with normalisation `stage.cpp`, where the batch allows it."""

    def forward_features(self, x: Tensor) -> Tensor:
        norms = _norms(self)
        library = _library_for(self)
        if library is None or not (self.training and _is_local(norms) and _suits(self, x, library.lanes)):
            return super().forward_features(x)
        if not norms:
            kernels = self.C1.weight, self.C1.bias, self.C3.weight, self.C3.bias
            return _fifth(self, _Lower.apply(x, *kernels, library))
        y = _field(x, library.lanes, 0.0)
        for layer, norm, name in zip((self.C1, self.C3), norms, ("C1", "C3"), strict=True):
            about = layer.weight, layer.bias, norm.weight, norm.bias, norm.eps
            out, mean, var = _Stage.apply(y, *about, *library.stages[name])
            _follow(norm, layer, y, mean, var)
            y = out  # G × 6 × 14 × 14 × L, then G × 16 × 5 × 5 × L
        return _fifth(self, _features(y))


class CompiledClassic(LeNet5Classic):
    """The classic network, trained through `stage_classic.cpp` where batch, device and precision allow it."""

    def forward_features(self, x: Tensor) -> Tensor:
        norms = _norms(self)
        library = _library_for(self)
        padded = self.pad.padding == (2, 2, 2, 2)
        if library is None or not (self.training and padded and _is_local(norms) and _suits(self, x, library.lanes)):
            return super().forward_features(x)
        y = _field(x, library.lanes, BACKGROUND)
        for layer, kernel, subsampling, norm, name in (
            (self.C1, self.C1.weight, self.S2, norms[0] if norms else None, "C1"),  # G × 6 × 14 × 14 × L
            (self.C3, self.C3.dense_weight(), self.S4, norms[1] if norms else None, "C3"),  # G × 16 × 5 × 5 × L
        ):
            about = (norm.weight, norm.bias, norm.eps) if norm else (None, None, 0.0)
            out, mean, var = _ClassicStage.apply(
                y, kernel, layer.bias, subsampling.weight, subsampling.bias, *about, *library.stages[name]
            )
            if norm:
                _follow(norm, layer, y, mean, var)
            y = out
        return _fifth(self, _features(y))


def compile_stages(model: nn.Module) -> None:
    """Let one of the zoo's networks train through its compiled stages, in place; any other stays as it is.

    Parameters, their names and all other methods stay. Compiling takes a few seconds, once in a process; without a
    compiler there is a warning, and the network stays as it is, too.
    """
    for plain, compiled in ((LeNet5Modern, CompiledModern), (LeNet5Classic, CompiledClassic)):
        if type(model) is plain and _library_for(model):
            model.__class__ = compiled


def is_compiled(model: nn.Module) -> bool:
    """Whether a network trains through compiled stages."""
    return isinstance(model, CompiledModern | CompiledClassic)
