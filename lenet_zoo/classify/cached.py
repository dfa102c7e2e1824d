"""The tags of the zoo as ONNX files in the user's cache: written once, so that answering needs no torch."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lenet_zoo import cards
from lenet_zoo._files import user_cache, write_atomic
from lenet_zoo._version import __version__
from lenet_zoo.classify.onnx import OnnxClassifier
from lenet_zoo.errors import ArtifactError

__all__ = ["cached_classifier"]


def cached_classifier(tag: str, write: Callable[[Path], None]) -> OnnxClassifier:
    """The classifier of a tag, from the cache or, where that has no whole file of these weights, newly written to it.

    A file is named after the tag, the version that wrote it, the SHA-256 of its card (which names that of the weights)
    and its own, which is compared with its content. Where the cache cannot be written, the answers are the same and
    take longer.

    Args:
        tag: `architecture.tag`.
        write: writes the ONNX file to the path that it is given.

    Raises: WeightsError for a card that is missing; what `write` raises.
    """
    card = cards.load(tag)
    weights = card.sha256 or ""
    stem = f"{tag}-{__version__}-{_sha256(card.text().encode())}"
    with suppress(OSError, RuntimeError):  # RuntimeError: a user without a home
        for path in (user_cache() / "networks").glob(f"{stem}-*.onnx"):
            classifier = _opened(path, weights)
            if classifier is not None and path.name == f"{stem}-{_sha256(path.read_bytes())}.onnx":
                return classifier
            path.unlink()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{tag}.onnx"
        write(path)
        content = path.read_bytes()
        classifier = OnnxClassifier(path)
    with suppress(OSError, RuntimeError):
        cache = user_cache() / "networks"
        cache.mkdir(parents=True, exist_ok=True)
        write_atomic(cache / f"{stem}-{_sha256(content)}.onnx", content)
    return classifier


def _opened(path: Path, weights: str) -> OnnxClassifier | None:
    try:
        classifier = OnnxClassifier(path)
    except ArtifactError:  # damaged
        return None
    return classifier if classifier.metadata["weights_sha256"] == weights else None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
