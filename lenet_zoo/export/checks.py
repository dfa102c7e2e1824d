"""What an export is asked for: checked first, and made into what the work needs."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, SupportsIndex

import torch
from torch import nn

from lenet_zoo._files import why_not_writable
from lenet_zoo.cards import Card
from lenet_zoo.errors import ArtifactError, InputError, WeightsError
from lenet_zoo.export.graph import InputSpec
from lenet_zoo.models import LeNet5Classic, LeNet5Modern
from lenet_zoo.models._base import unwrapped
from lenet_zoo.models.weight_files import check_finite

__all__ = [
    "INPUTS",
    "card_for",
    "check_choice",
    "check_path",
    "check_ranges",
    "float_copy",
    "input_spec",
    "is_whole",
]

# Means over larger maps, in float32, are as far apart in two runtimes as an export may be from the network.
_MOST_PIXELS = 800 * 800
# Option → name and dtype of the graph's input.
INPUTS = {"normalized": ("input", "float32"), "pixels": ("pixels", "uint8"), "pixels_float": ("pixels", "float32")}


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name}={value!r}: one of {', '.join(map(repr, choices[:-1]))} and {choices[-1]!r}")


def is_whole(value: object) -> bool:
    """Whether it is an int, or numpy's."""
    return isinstance(value, SupportsIndex) and not isinstance(value, bool)


def check_ranges(values: Iterable[float]) -> None:
    """Refuse the ends of activations' ranges of which no scale can be made.

    Raises: ArtifactError.
    """
    if not all(map(math.isfinite, values)):
        raise ArtifactError("the model's states of the calibration pictures are not finite: nan or inf among them")


def check_path(path: Path) -> None:
    """Fail early: check that the target is writable before exporting."""
    why_not = why_not_writable(path)
    if why_not:
        raise ArtifactError(f"cannot write {path}: {why_not}")


def float_copy(model: nn.Module) -> LeNet5Modern | LeNet5Classic:
    """The network inside compiled and parallel wrappers, as a float32 copy on the CPU in evaluation mode.

    A copy, so that the model of a running training keeps its device, mode and graph.
    """
    inner = unwrapped(model)
    if not isinstance(inner, LeNet5Modern | LeNet5Classic):
        raise InputError(f"a {type(inner).__name__} cannot be exported: give lenet5_modern or lenet5_classic, whole")
    for name, value in inner.state_dict().items():
        if value.is_meta:
            raise WeightsError(f"{name} is on the meta device and has no values: load weights before exporting")
    check_finite(inner.state_dict())
    return copy.deepcopy(inner).to("cpu", torch.float32).eval()


def card_for(network: LeNet5Modern | LeNet5Classic, given: Card | Mapping[str, Any] | None) -> Card:
    """The card that the file is to carry: the network's, or what the user says of it."""
    if given is None:
        return network.card
    card = given if isinstance(given, Card) else Card.parse(given, "the card", error=InputError)
    classes = network.num_classes
    if card.labels and len(card.labels) != classes:
        raise InputError(f"{len(card.labels)} labels for {classes} classes: give one text per class")
    fitted = card.fitted(classes, network.in_chans, min(network.picture_size()))
    return replace(fitted, architecture=network.architecture)


def input_spec(
    network: LeNet5Modern | LeNet5Classic, input: str, batch: int | None, size: tuple[int, int | None] | None
) -> InputSpec:
    convention = network.card.input
    assert convention is not None  # a network's own card always has one
    least = network.smallest_input
    if size is None:
        size = convention.height, convention.width
    if not isinstance(size, tuple | list) or [one is None or is_whole(one) for one in size] != [True, True]:
        raise InputError(f"input_size={size!r}: (height, width), whole numbers; or (height, None) for any width")
    height, width = (one if one is None else int(one) for one in size)
    if height is None:
        raise InputError(f"input_size={size!r}: the height is fixed; (height, None) is for any width")
    any_width = width is None
    if width is None:
        width = convention.width
    if min(height, width) < least:
        raise InputError(f"input_size={(height, width)}: the network takes pictures of at least {least}×{least}")
    if height * width > _MOST_PIXELS:
        raise InputError(f"input_size={(height, width)}: pictures of up to {_MOST_PIXELS:,} pixels, as of 800×800")
    mean, std = convention.mean, convention.std
    if len(mean) != network.in_chans or len(std) != network.in_chans or min(std) <= 0:
        raise InputError(f"the cfg's mean {mean} and std {std} do not fit {network.in_chans} channels")
    return InputSpec(network.in_chans, height, width, mean, std, *INPUTS[input], batch, any_width)
