"""What an exported file says about itself, in ONNX's `metadata_props`: text keys and text values.

No path, user or host name of the exporting machine and no time of day is among it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import onnx
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lenet_zoo import cards
from lenet_zoo._version import __version__
from lenet_zoo.errors import InputError, LenetZooError
from lenet_zoo.export.graph import InputSpec

__all__ = ["attach", "facts_of", "weights_sha256"]

# Of a card, what belongs into a file that travels alone. (The card's `labels` and `sha256` have keys of their own.)
_FROM_CARD = ("tag", "dataset", "metrics", "licence", "preparation")


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of the weights as a safetensors file without metadata, which has one form only."""
    return hashlib.sha256(save({key: value.contiguous() for key, value in state.items()})).hexdigest()


def facts_of(
    architecture: str, state: Mapping[str, Tensor], num_classes: int, card: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Labels, tag, data set, metrics, licence and the recipe's name of these weights.

    A model object remembers the tag that it was built under even when other weights were put in later, or none. So a
    shipped card is claimed only for weights that equal the shipped ones; a network of the user's own has what its
    `card` says, and without one no more than numbered classes.

    Raises: InputError for a card whose labels are not num_classes distinct texts.
    """
    if card is None:
        card = _shipped_card(architecture, state) or {}
    labels = card.get("labels") or [str(i) for i in range(num_classes)]
    if len(labels) != num_classes or not all(isinstance(label, str) for label in labels):
        raise InputError(f"{len(labels)} labels for {num_classes} classes: give one text per class")
    if len(set(labels)) != num_classes:
        raise InputError("the labels repeat one: two classes could not be told apart by name")
    facts = {key: card[key] for key in _FROM_CARD if card.get(key) is not None}
    if isinstance(facts.get("metrics"), dict):
        facts["metrics"] = {split: _figures(value) for split, value in facts["metrics"].items()}
    recipe = card.get("recipe")
    if isinstance(recipe, dict):
        recipe = recipe.get("name")
    return dict(facts, labels=list(labels)) | ({"recipe": recipe} if recipe else {})


def _figures(value: Any) -> Any:
    """The single numbers of a split: tables per class and confusion matrices are the card's own business."""
    if not isinstance(value, dict):
        return value
    return {key: figure for key, figure in value.items() if not isinstance(figure, dict | list)}


def _shipped_card(architecture: str, state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    for name in cards.names():
        if name.split(".")[0] != architecture:
            continue
        try:
            with safe_open(cards.weight_path(name), framework="pt") as stored:
                same = set(stored.keys()) == set(state) and all(
                    stored.get_tensor(key).equal(state[key]) for key in state
                )
            if same:
                return cards.load_card(name)
        except (OSError, SafetensorError, LenetZooError):
            continue  # a damaged installation names no network; it does not stop the export of another
    return None


def attach(
    model: onnx.ModelProto,
    architecture: str,
    spec: InputSpec,
    precision: str,
    facts: Mapping[str, Any],
    sha256: str,
    packages: Sequence[str] = ("onnx", "numpy", "torch"),
) -> None:
    """Write the metadata; lists and mappings as JSON."""
    convention = {
        "name": spec.name,
        "dtype": spec.dtype,
        "shape": ["batch", spec.channels, spec.height, spec.width],
        "pixels": "0 background, 255 ink",
        "mean": list(spec.mean),
        "std": list(spec.std),
        "normalized": "inside the graph" if spec.name == "pixels" else "before the graph: (pixels / 255 - mean) / std",
    }
    created_with = {"lenet_zoo": __version__} | {package: version(package) for package in packages}
    properties = {
        "format": "lenet_zoo/1",
        "model": architecture,
        "input": convention,
        "precision": precision,
        "weights_sha256": sha256,
        "created_with": created_with,
        **facts,
    }
    onnx.helper.set_model_props(model, {key: _text(properties[key]) for key in sorted(properties)})
    model.producer_version = __version__


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
