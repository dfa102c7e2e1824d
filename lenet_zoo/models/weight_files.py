"""Weight files as people have them: a network's tensors, found within whatever a training script saved."""

from __future__ import annotations

import argparse
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lenet_zoo.cards import refuse_folder
from lenet_zoo.errors import WeightsError

__all__ = ["FIRST_KEYS", "UNREADABLE", "check_finite", "check_intact", "read_state"]

# What torch, timm and safetensors raise for a file that is cut off, is no weight file, or holds no dictionary. The
# second line is what unpickling arbitrary bytes may raise.
UNREADABLE = (
    *(OSError, RuntimeError, SafetensorError, UnpicklingError, EOFError, AttributeError),
    *(ValueError, LookupError, AssertionError, TypeError, ArithmeticError, struct.error),
)

# The first layer as our networks and the reference implementation call it. What stands before it in a checkpoint was
# added by wrappers (DDP's `module.`, Lightning's `model.`, …) and by the dictionaries around the state dict.
FIRST_KEYS = ("C1.weight", "conv_layer1.0.weight")
# Of several networks in a checkpoint, the one to take: averaged weights first, as timm does.
_PREFERRED = ("state_dict_ema", "model_ema", "state_dict", "model", "model_state_dict")
_DEEPEST = 4  # dictionaries within each other
# Beside tensors, training scripts save options and figures. These types hold plain values and run no code. numpy 1 and
# 2 call the maker of its scalars by different names.
_SCALAR = np.float64(0).__reduce__()[0]
_PLAIN: list[Any] = [
    *(argparse.Namespace, np.dtype),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")),
]


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict of one network in a file, without the prefixes that wrappers added to its keys.

    Args:
        path: a .safetensors file; or one saved by torch, of a state dict, or of a checkpoint that holds one. Read with
            weights_only, so that no code in it runs.

    Raises: WeightsError for a file that is missing, damaged or no weight file, that holds a pickled object, or the
    weights of several networks.
    """
    refuse_folder(path)
    if not path.is_file():
        raise WeightsError(f"no weight file {path}")
    try:
        found = load_file(path) if path.suffix == ".safetensors" else _load(path)
        tensors = dict(_flat(found))
    except WeightsError:
        raise
    except UNREADABLE as error:
        raise WeightsError(
            f"{path} cannot be read as weights: give a .safetensors file or a state dict saved by torch"
        ) from error
    if not tensors:
        raise WeightsError(f"{path} holds no tensors: give a .safetensors file or a state dict saved by torch")
    prefix = _prefix(tensors, path)
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def check_intact(path: Path) -> None:
    """Compare what torch saved in a file with the CRC-32 of each part that it wrote beside it; `torch.load` does not.

    Files without them pass: those of torch before 1.6, and of one that was told to leave them out
    (`torch.serialization.set_crc32_options`).

    Raises: WeightsError for a damaged file; OSError.
    """
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip() if any(part.CRC for part in archive.infolist()) else None
    except OSError:
        raise
    except Exception as error:  # what a damaged directory of the archive may raise
        raise WeightsError(f"{path} is damaged: {' '.join(str(error).split())}") from None
    if damaged is not None:
        raise WeightsError(
            f"{path} is damaged: the checksum of its part {damaged!r} is another: take a whole copy of it"
        )


def check_finite(state: Mapping[str, Tensor]) -> None:
    """Raises: WeightsError that names a tensor in which a value is nan or inf."""
    for name, value in state.items():
        bad = int((~torch.isfinite(value)).sum())
        if bad:
            raise WeightsError(f"{name} has {bad} values that are not finite (nan or inf): train it again")


def _load(path: Path) -> Any:
    check_intact(path)
    try:
        with torch.serialization.safe_globals(_PLAIN):
            return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        pickled = re.search(r"Unsupported (?:global: GLOBAL|class) (\S+)", str(error))
        if pickled is None or not zipfile.is_zipfile(path):  # another file may spell such an instruction by chance
            raise
        raise WeightsError(
            f"{path} holds a pickled {pickled[1]}, which could run any code and is not read: save the weights alone, "
            f"torch.save(model.state_dict(), {path.name!r})"
        ) from None


def _flat(found: Mapping[Any, Any], depth: int = 1) -> Iterator[tuple[str, Tensor]]:
    """The tensors of dictionaries within each other, their keys joined by dots."""
    for key, value in found.items():
        if isinstance(value, Tensor):
            yield str(key), value
        elif isinstance(value, Mapping) and depth < _DEEPEST:
            yield from ((f"{key}.{inner}", tensor) for inner, tensor in _flat(value, depth + 1))


def _prefix(tensors: Mapping[str, Tensor], path: Path) -> str:
    """What stands before the keys of the network to take; '' where none is known by its first layer."""
    prefixes = [key.removesuffix(first) for key in tensors for first in FIRST_KEYS if f".{key}".endswith(f".{first}")]
    if len(prefixes) < 2:
        return "".join(prefixes)
    for preferred in _PREFERRED:
        within = [prefix for prefix in prefixes if prefix.split(".")[0] == preferred]
        if len(within) == 1:
            return within[0]
        if within:
            prefixes = within
            break
    named = ", ".join(repr(prefix.rstrip(".")) for prefix in prefixes)
    raise WeightsError(f"{path} holds the weights of several networks, {named}: save one state dict alone")
