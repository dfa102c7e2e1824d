"""The tags of the zoo as ONNX files in the user's cache: written once, so that answering needs no torch."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from lenet_zoo import cards
from lenet_zoo._files import user_cache, write_atomic
from lenet_zoo._version import __version__
from lenet_zoo.classify.onnx import OnnxClassifier
from lenet_zoo.classify.reader import OnnxReader
from lenet_zoo.errors import ArtifactError, InputError
from lenet_zoo.pictures.preparation import LINE

__all__ = ["cached_classifier", "cached_reader"]

_Opened = TypeVar("_Opened", OnnxClassifier, OnnxReader)


def cached_classifier(tag: str, write: Callable[[Path], None]) -> OnnxClassifier:
    """The classifier of a tag, from the cache or, where that has no whole file of these weights, newly written to it.

    A file is named after the tag, the version that wrote it, the SHA-256 of its card (which names that of the weights)
    and its own, which is compared with its content. Where the cache cannot be written, the answers are the same and
    take longer.

    Args:
        tag: `architecture.tag`.
        write: writes the ONNX file to the path that it is given.

    Raises: WeightsError for a card that is missing; InputError for a tag that reads numbers; what `write` raises.
    """
    if cards.load(tag).preparation.kind == LINE:
        raise InputError(f"{tag} reads numbers, not single characters: take `lenet-zoo read` or lenet_zoo.read")
    return _cached(tag, write, OnnxClassifier)


def cached_reader(tag: str, write: Callable[[Path], None]) -> OnnxReader:
    """The same of a tag that reads numbers.

    Raises: as `cached_classifier`, but InputError for a tag that reads single characters.
    """
    if cards.load(tag).preparation.kind != LINE:
        raise InputError(
            f"{tag} reads single characters, not numbers: take lenet5_modern.numbers, or `lenet-zoo predict` for one "
            "character"
        )
    return _cached(tag, write, OnnxReader)


def _cached(tag: str, write: Callable[[Path], None], kind: type[_Opened]) -> _Opened:
    card = cards.load(tag)
    weights = card.sha256 or ""
    stem = f"{tag}-{__version__}-{_sha256(card.text().encode())}"
    with suppress(OSError, RuntimeError):  # RuntimeError: a user without a home
        for path in (user_cache() / "networks").glob(f"{stem}-*.onnx"):
            found = _opened(path, weights, kind)
            if found is not None and path.name == f"{stem}-{_sha256(path.read_bytes())}.onnx":
                return found
            path.unlink()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{tag}.onnx"
        write(path)
        content = path.read_bytes()
        opened = kind(path)
    with suppress(OSError, RuntimeError):
        cache = user_cache() / "networks"
        cache.mkdir(parents=True, exist_ok=True)
        write_atomic(cache / f"{stem}-{_sha256(content)}.onnx", content)
    return opened


def _opened(path: Path, weights: str, kind: type[_Opened]) -> _Opened | None:
    try:
        found = kind(path)
    except ArtifactError:  # damaged
        return None
    return found if found.metadata["weights_sha256"] == weights else None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
