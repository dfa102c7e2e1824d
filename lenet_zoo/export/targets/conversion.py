"""What the converters of other projects need: a network of torch's own layers, and silence around them."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lenet_zoo.errors import MissingExtraError, to_install
from lenet_zoo.export.forms import array, check_whole, with_input
from lenet_zoo.export.graph import InputSpec
from lenet_zoo.models import LeNet5Classic, LeNet5Modern
from lenet_zoo.models.plain import chain, convolution

__all__ = ["Answers", "as_layers", "example", "in_batches", "missing", "quiet"]

# What the file takes, N×C×H×W → float32 N×classes.
Answers = Callable[[NDArray[Any]], NDArray[np.float32]]


class _Input(nn.Module):
    """uint8 or float32 → float32, less what the background is above 0."""

    shift: Tensor | None

    def __init__(self, shift: NDArray[np.float64]) -> None:
        super().__init__()
        # Not of a view by numpy: ExecuTorch takes no tensor with strides of 0.
        self.register_buffer("shift", torch.tensor(shift).float().reshape(-1, 1, 1) if shift.any() else None)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(torch.float32)
        return x if self.shift is None else x - self.shift


def as_layers(model: LeNet5Modern | LeNet5Classic, spec: InputSpec) -> nn.Sequential:
    """`model.plain()`, reading the file's own input, for pictures of one size.

    The normalisation is in C1's weights, and C5's map is not pooled where it is a single position.
    """
    check_whole(model)
    plain = model.plain()
    layers: dict[str, Any] = dict(plain.named_children())
    padding = layers.pop("pad", None)  # the classic's; the modern's C1 pads by itself, with 0
    pad, background = (int(padding.padding[0]), float(padding.value)) if padding else (2, 0.0)
    c1 = layers.pop("C1")
    weight, bias, shift = with_input(array(c1.weight), array(c1.bias), spec, pad, background)
    if (spec.height, spec.width) == (model.smallest_input,) * 2:
        layers.pop("pool", None)
    kernel = convolution(torch.from_numpy(weight), torch.from_numpy(bias), c1.weight, padding=pad)
    return chain([("input", _Input(shift)), ("C1", kernel), *layers.items()])


def example(spec: InputSpec) -> Tensor:
    """An empty batch of what the file takes."""
    return torch.zeros(spec.batch or 1, spec.channels, spec.height, spec.width, dtype=getattr(torch, spec.dtype))


def in_batches(pixels: NDArray[np.uint8], spec: InputSpec) -> list[NDArray[Any]]:
    """Pictures as the file takes them, in whole batches; the first ones are repeated to fill the last."""
    size = spec.batch or 1
    filled = np.resize(pixels, (-(-len(pixels) // size) * size, *pixels.shape[1:]))
    return [spec.feed(filled[i : i + size]) for i in range(0, len(filled), size)]


def missing(target: str, error: ImportError) -> MissingExtraError:
    """What to say when a converter, or something that it needs, is not installed."""
    what = error.name or str(error)
    return MissingExtraError(f"target={target!r} needs {what}, which is not installed: {to_install(target)}")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let nothing be written to stdout and stderr, by Python or by libraries in C++, nor any warning be shown."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        nowhere = stack.enter_context(open(os.devnull, "w"))
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            if stream is not None:
                stream.flush()
            with contextlib.suppress(OSError):  # closed: nothing can be written there
                kept = os.dup(number)
                stack.callback(os.close, kept)
                stack.callback(os.dup2, kept, number)
                os.dup2(nowhere.fileno(), number)
        stack.enter_context(contextlib.redirect_stdout(nowhere))
        stack.enter_context(contextlib.redirect_stderr(nowhere))
        yield
