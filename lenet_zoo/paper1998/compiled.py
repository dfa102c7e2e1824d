"""The updates of a block of patterns as one compiled function, `lecun1998.cpp`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from lenet_zoo._compiled import load_library
from lenet_zoo.models.lenet5_classic import LeNet5Classic

__all__ = ["connections", "load_compiled_step"]


@lru_cache(maxsize=1)
def load_compiled_step() -> Callable[..., None] | None:
    """Compile `lecun1998.cpp`.

    Returns: the function `train` of that file, or None after a warning when it cannot be compiled.
    """
    library = load_library(
        Path(__file__).with_name("lecun1998.cpp"), "training goes on through autograd, some forty times slower"
    )
    if library is None:
        return None
    train = library.train
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    train.argtypes = [*[pointer] * 6, integer, ctypes.c_float, pointer, integer]
    train.restype = None
    compiled: Callable[..., None] = train
    return compiled


def connections(model: LeNet5Classic) -> Tensor:
    """C3's 60 connections as the compiled step reads them: the S2 map of each, the C3 map, and those of each S2 map."""
    output, source = model.C3.connection // 6, model.C3.connection % 6
    return torch.cat([source, output, source.argsort(stable=True)])
