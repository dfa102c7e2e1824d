"""Tags of the zoo as ONNX files, written to the user's cache when they are first asked, and `lenet_zoo.read`."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from lenet_zoo.classify.reader import OnnxReader, Reading
from lenet_zoo.pictures.reading import PictureSource
from lenet_zoo.registry import is_foreign, load_network, resolve

__all__ = ["read", "reader_of", "writer_of"]


def writer_of(tag: str) -> Callable[[Path], None]:
    """What writes a tag's ONNX file; torch is loaded when it does."""

    def write(path: Path) -> None:
        from lenet_zoo.export import export_onnx

        export_onnx(load_network(tag), path, input="pixels")

    return write


def reader_of(name: str) -> OnnxReader:
    """The reader of an .onnx file, of a tag that reads numbers, or of a network in a folder (local-dir:FOLDER).

    Raises: ArtifactError for a file of another kind; InputError for a tag that reads single characters.
    """
    if name.endswith(".onnx"):
        return OnnxReader(name)
    if is_foreign(name):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            writer_of(name)(path)
            return OnnxReader(path)
    from lenet_zoo.classify.cached import cached_reader

    tag = resolve(name)
    return cached_reader(tag, writer_of(tag))


@lru_cache(maxsize=8)
def _kept_reader(name: str, stamp: tuple[str, int, int] | None) -> OnnxReader:
    return reader_of(name)


def _stamp(name: str) -> tuple[str, int, int] | None:
    """What is another one when a file of that name is: where it is, when it was written, and its size."""
    if not name.endswith(".onnx") or not os.path.isfile(name):
        return None
    found = os.stat(name)
    return os.path.abspath(name), found.st_mtime_ns, found.st_size


def read(
    picture: PictureSource,
    *,
    name: str | os.PathLike[str] = "lenet5_modern.numbers",
    min_confidence: float = 0.0,
    expect: int | str | re.Pattern[str] | None = None,
) -> Reading:
    """The number on a picture: a line of handwritten digits.

    Args:
        picture: a path, the bytes of a file, an open binary file or a PIL image.
        name: a tag that reads numbers, an .onnx file of one, or local-dir:FOLDER.
        min_confidence: a number below this probability is rejected.
        expect: how many digits it has, or a regular expression that the whole of it matches, such as '\\d{5}'.

    Returns:
        Text, confidence, and each character with its box in pixels of the picture; `text` is None, and `reason` says
        why, where there is no number or too little confidence in it. Of several lines, each has its answer in `lines`.

    Raises: InputError for a picture that cannot be opened and for arguments out of range; ArtifactError for a file of
        another kind.
    """
    name = os.fspath(name)
    # What a folder holds may be another network by now.
    reader = reader_of(name) if is_foreign(name) else _kept_reader(name, _stamp(name))
    return reader.read([picture], min_confidence, expect)[0]
