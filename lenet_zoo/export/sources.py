"""From a name on the command line to the network to export and the card that it travels with."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from timm.models import load_state_dict
from torch import nn

from lenet_zoo.cards import read_card
from lenet_zoo.errors import WeightsError
from lenet_zoo.models._base import UNREADABLE
from lenet_zoo.registry import create_model

__all__ = ["load_network"]

# As our own networks and the reference implementation call them.
_CLASSIFIERS = ("output.weight", "fc_layer2.weight")
_FIRST = ("C1.weight", "conv_layer1.0.weight")


def load_network(name: str, weights: Path | None = None) -> tuple[nn.Module, dict[str, Any] | None]:
    """A network with weights, and the card of those weights where they are the user's own.

    Args:
        name: as in `create_model`; with `weights`, what they are weights of. A 'local-dir:FOLDER' brings the
            `card.json` in it, if it has one.
        weights: a .safetensors file or a state dict; numbers of classes and of channels are the file's. A `card.json`
            beside it (what `lenet-zoo train` writes) or a file of the same name in .json is its card.

    Raises: WeightsError for a file that cannot be read, or a card that belongs to other weights.
    """
    if weights is None:
        inside = Path(name.removeprefix("local-dir:"), "model.safetensors")
        own = name.startswith("local-dir:") and inside.is_file()
        return create_model(name, pretrained=True), _card_beside(inside) if own else None
    shapes = _shapes(weights)
    options: dict[str, Any] = {}
    for option, keys, axis in (("num_classes", _CLASSIFIERS, 0), ("in_chans", _FIRST, 1)):
        found = [shapes[key][axis] for key in keys if len(shapes.get(key, ())) > axis]
        if found:
            options[option] = found[0]
    return create_model(name, checkpoint_path=str(weights), **options), _card_beside(weights)


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    if not path.is_file():
        raise WeightsError(f"no weight file {path}")
    try:
        # As timm will read it: unpacked from a training checkpoint, and without the prefixes that wrappers add to keys.
        state = load_state_dict(str(path), weights_only=True)
        return {key: tuple(value.shape) for key, value in state.items() if isinstance(value, torch.Tensor)}
    except UNREADABLE as error:
        raise WeightsError(
            f"{path} cannot be read as weights: give a .safetensors file or a state dict saved by torch"
        ) from error


def _card_beside(weights: Path) -> dict[str, Any] | None:
    for path in (weights.with_suffix(".json"), weights.with_name("card.json")):
        try:
            card = read_card(path)
        except FileNotFoundError:
            continue
        sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
        if card.get("sha256", sha256) != sha256:
            raise WeightsError(f"the card {path} belongs to other weights than {weights}: its SHA-256 is another")
        return card
    return None
