"""The distortions of `lenet_zoo.datasets.augment`, compiled for the machine: each picture in one go, in its cache.

Equal to `augment` up to rounding, at about a seventh of its time; `distort.cpp` holds the arithmetic.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from lenet_zoo._compiled import load_library
from lenet_zoo.datasets.augment import Draws, augment

__all__ = ["distorted"]


@lru_cache(maxsize=1)
def _library() -> Callable[..., None] | None:
    """Compiled when it is first asked for; None after a warning without a compiler."""
    library = load_library(
        Path(__file__).with_name("distort.cpp"), "distortions go through torch alone, about seven times as slow"
    )
    if library is None:
        return None
    function: Callable[..., None] = library.distort
    function.argtypes = [*[ctypes.c_void_p] * 9, ctypes.c_int64, ctypes.c_void_p, *[ctypes.c_int64] * 2]  # type: ignore[attr-defined]
    function.restype = None  # type: ignore[attr-defined]
    return function


def distorted(images: Tensor, draws: Draws, index: Tensor, compiled: bool = False) -> Tensor:
    """Some pictures of a data set, distorted.

    Args:
        images: the whole data set, uint8 N×28×28, or what else `augment` takes, on any device.
        draws: of all its pictures, on the CPU.
        index: int64, which pictures, on the CPU.
        compiled: through `distort.cpp`, where device, shape and a compiler allow it.

    Returns: float32, one picture for each index, in the form that `augment` gives.
    """
    device = images.device
    suits = device.type == "cpu" and images.dtype == torch.uint8 and images.shape[1:] == (28, 28)
    function = _library() if compiled and suits else None
    if function is None:
        return augment(images[index.to(device)], draws[index].to(device), images)
    images, index = images.contiguous(), index.contiguous()
    parts = [
        None if one is None else one.contiguous()
        for one in (draws.theta, draws.knots, draws.weight, draws.box, draws.tilt, draws.neighbours, draws.marks)
    ]
    grid = 3 if draws.knots is None else draws.knots.shape[-1]
    out = torch.empty(len(index), 1, 28, 28)
    given = [None if one is None else one.data_ptr() for one in (images, index, *parts)]
    function(*given, grid, out.data_ptr(), len(index), torch.get_num_threads())
    return out
