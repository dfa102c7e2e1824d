"""From a name on the command line to the network to export and the card that it travels with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from lenet_zoo.errors import WeightsError
from lenet_zoo.registry import create_model

__all__ = ["load_network"]

# As our own networks and the reference implementation call them.
_CLASSIFIERS = ("output.weight", "fc_layer2.weight")
_FIRST = ("C1.weight", "conv_layer1.0.weight")


def load_network(name: str, weights: Path | None = None) -> tuple[nn.Module, dict[str, Any] | None]:
    """A network with weights, and the card of those weights where they are the user's own.

    Args:
        name: as in `create_model`; with `weights`, what they are weights of.
        weights: a .safetensors file or a state dict; numbers of classes and of channels are the file's. A `card.json`
            beside it (what `lenet-zoo train` writes) or a file of the same name in .json is its card.

    Raises: WeightsError for a file that cannot be read, or a card that belongs to other weights.
    """
    if weights is None:
        return create_model(name, pretrained=True), None
    shapes = _shapes(weights)
    options: dict[str, Any] = {}
    for option, keys, axis in (("num_classes", _CLASSIFIERS, 0), ("in_chans", _FIRST, 1)):
        found = [shapes[key][axis] for key in keys if len(shapes.get(key, ())) > axis]
        if found:
            options[option] = found[0]
    return create_model(name, checkpoint_path=str(weights), **options), _card_beside(weights)


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as stored:
                return {key: tuple(stored.get_slice(key).get_shape()) for key in stored.keys()}  # noqa: SIM118
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("state_dict", state)
        return {key: tuple(value.shape) for key, value in state.items() if isinstance(value, torch.Tensor)}
    except FileNotFoundError:
        raise WeightsError(f"no weight file {path}") from None
    except (OSError, SafetensorError, UnpicklingError, EOFError, RuntimeError, AttributeError) as error:
        raise WeightsError(
            f"{path} cannot be read as weights: give a .safetensors file or a state dict saved by torch"
        ) from error


def _card_beside(weights: Path) -> dict[str, Any] | None:
    for path in (weights.with_suffix(".json"), weights.with_name("card.json")):
        try:
            card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            raise WeightsError(f"the card {path} cannot be read as JSON") from error
        if not isinstance(card, dict):
            raise WeightsError(f"the card {path} is not a JSON object")
        sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
        if card.get("sha256", sha256) != sha256:
            raise WeightsError(f"the card {path} belongs to other weights than {weights}: its SHA-256 is another")
        return card
    return None
