"""What an exported file says about itself: text keys and text values, in ONNX's `metadata_props` or a C comment.

No path, user or host name of the exporting machine and no time of day is among it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import onnx

from lenet_zoo._version import __version__
from lenet_zoo.cards import Card
from lenet_zoo.errors import InputError
from lenet_zoo.export.graph import InputSpec

__all__ = ["attach", "facts"]


def attach(
    model: onnx.ModelProto,
    card: Card,
    spec: InputSpec,
    precision: str,
    sha256: str,
) -> None:
    """Write the facts into a graph."""
    onnx.helper.set_model_props(model, facts(card, spec, precision, sha256, ("onnx", "numpy", "torch")))
    model.producer_version = __version__


def facts(card: Card, spec: InputSpec, precision: str, sha256: str, packages: Sequence[str]) -> dict[str, str]:
    """Key → text, sorted by key; lists and mappings as JSON.

    From the card come labels, preparation, confidence, looks, tag, data set, licence, the recipe's name, and the
    figures that are single numbers.

    Args:
        card: of the network.
        spec: the file's input.
        precision: 'fp32', 'fp16' or 'int8'.
        sha256: of the weights.
        packages: whose versions the file depends on.

    Raises: InputError for a value that is neither text nor JSON.
    """
    convention = {
        "name": spec.name,
        "dtype": spec.dtype,
        "shape": spec.shape,
        "pixels": "0 background, 255 ink",
        "mean": list(spec.mean),
        "std": list(spec.std),
        "normalized": "inside the graph" if spec.name == "pixels" else "before the graph: (pixels / 255 - mean) / std",
    }
    properties = {
        "format": "lenet_zoo/1",
        "model": card.architecture,
        "labels": list(card.labels),
        "preparation": card.preparation.kind,
        "tag": card.tag,
        "dataset": card.dataset,
        "confidence": card.confidence.as_dict() if card.confidence else None,
        "looks": str(card.looks) if card.looks > 1 else None,
        "metrics": {split: _figures(value) for split, value in card.metrics.items()} or None,
        "licence": card.licence,
        "recipe": (card.recipe or {}).get("name"),
        "input": convention,
        "precision": precision,
        "weights_sha256": sha256,
        "created_with": {"lenet_zoo": __version__} | {name: version(name) for name in packages},
    }
    return {key: _text(key, properties[key]) for key in sorted(properties) if properties[key] is not None}


def _figures(value: Any) -> Any:
    """The single numbers of a split; tables per class and confusion matrices stay in the card."""
    if not isinstance(value, dict):
        return value
    return {key: figure for key, figure in value.items() if not isinstance(figure, dict | list)}


def _text(key: str, value: Any) -> str:
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
        text.encode()
    except (TypeError, ValueError) as error:  # of a card made in Python: numpy's numbers, or half of a surrogate pair
        raise InputError(f"the card's {key!r} cannot be written as JSON in UTF-8: {error}") from error
    return text
