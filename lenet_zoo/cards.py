"""The weights that travel with the package: one safetensors file and one card (JSON) per `architecture.tag`.

Nothing here imports torch: `lenet-zoo list` and a deployment read cards without it.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from lenet_zoo.errors import WeightsError

__all__ = ["DIGITS", "FASHION", "card_path", "load_card", "names", "read_card", "verify", "weight_path"]

_FOLDER = Path(__file__).resolve().parent / "weights"

DIGITS: tuple[str, ...] = tuple("0123456789")
FASHION: tuple[str, ...] = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def names() -> list[str]:
    """Every `architecture.tag` that has a card, sorted."""
    return sorted(path.name.removesuffix(".json") for path in _FOLDER.glob("*.*.json"))


def weight_path(name: str) -> Path:
    """Where the weights of `architecture.tag` are, whether or not the file is there."""
    return _FOLDER / f"{name}.safetensors"


def card_path(name: str) -> Path:
    """Where the card of `architecture.tag` is, whether or not the file is there."""
    return _FOLDER / f"{name}.json"


def load_card(name: str) -> dict[str, Any]:
    """The card of `architecture.tag`.

    Raises: WeightsError when there is none, or it is damaged.
    """
    try:
        return json.loads(card_path(name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WeightsError(f"no card for {name!r} in {_FOLDER}: the known ones are {', '.join(names())}") from None
    except ValueError as error:
        raise WeightsError(f"the card {card_path(name)} is damaged ({error}): reinstall lenet-zoo") from error


def read_card(path: Path) -> dict[str, Any]:
    """A card that lies beside weights of one's own.

    Raises: FileNotFoundError when there is none, WeightsError when it is damaged.
    """
    try:
        card: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise WeightsError(f"the card {path} cannot be read as JSON") from error
    if not isinstance(card, dict):
        raise WeightsError(f"the card {path} is not a JSON object")
    return card


def verify(path: str | os.PathLike[str]) -> None:
    """Check that a weight file exists and, when it is one of ours, that its bytes are the card's.

    Raises: WeightsError with the file's name, and with both hashes when they differ.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise WeightsError(f"the weight file {path} is missing: reinstall lenet-zoo, or give a file that exists")
    if path.parent != _FOLDER:
        return
    wanted = load_card(path.name.removesuffix(".safetensors")).get("sha256")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != wanted:
        raise WeightsError(
            f"the weight file {path} is damaged or was altered: its SHA-256 is {found}, its card says {wanted}; "
            "reinstall lenet-zoo"
        )
