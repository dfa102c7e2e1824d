"""Tags of the zoo as ONNX files, written to the user's cache when they are first asked, and `lenet_zoo.read`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from lenet_zoo.classify.reader import OnnxReader, Reading
from lenet_zoo.pictures.reading import PictureSource
from lenet_zoo.registry import load_network, resolve

__all__ = ["read", "reader_of", "writer_of"]


def writer_of(tag: str) -> Callable[[Path], None]:
    """What writes a tag's ONNX file; torch is loaded when it does."""

    def write(path: Path) -> None:
        from lenet_zoo.export import export_onnx

        export_onnx(load_network(tag), path, input="pixels")

    return write


def reader_of(name: str) -> OnnxReader:
    """The reader of an .onnx file or of a tag that reads numbers.

    Raises: ArtifactError for a file of another kind; InputError for a tag that reads single characters.
    """
    if name.endswith(".onnx"):
        return OnnxReader(name)
    from lenet_zoo.classify.cached import cached_reader

    tag = resolve(name)
    return cached_reader(tag, writer_of(tag))


_readers: dict[str, OnnxReader] = {}


def read(
    picture: PictureSource,
    *,
    name: str = "lenet5_modern.numbers",
    min_confidence: float = 0.0,
    expect: int | str | re.Pattern[str] | None = None,
) -> Reading:
    """The number on a picture: a line of handwritten digits.

    Args:
        picture: a path, the bytes of a file, an open binary file or a PIL image.
        name: a tag that reads numbers, or an .onnx file of one.
        min_confidence: a number below this probability is rejected.
        expect: how many digits it has, or a regular expression that the whole of it matches, such as '\\d{5}'.

    Returns:
        Text, confidence, and each character with its box in pixels of the picture; `text` is None, and `reason` says
        why, where there is no number or too little confidence in it. Of several lines, each has its answer in `lines`.

    Raises: InputError for a picture that cannot be opened and for arguments out of range; ArtifactError for a file of
        another kind.
    """
    if name not in _readers:
        _readers[name] = reader_of(name)
    return _readers[name].read(picture, min_confidence, expect)[0]
