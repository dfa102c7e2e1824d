"""What it costs to bring a picture to a network: decoding, finding the digit, and reading it."""

from __future__ import annotations

import io
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from lenet_zoo.bench.timing import interleave, machine
from lenet_zoo.classify import OnnxClassifier
from lenet_zoo.errors import InputError
from lenet_zoo.export import export_onnx
from lenet_zoo.pictures.character import digit_from_image
from lenet_zoo.pictures.kernels import box_of, otsu
from lenet_zoo.registry import create_model

__all__ = ["Pictures", "Row", "time_pictures"]

# Width and height in pixels, and the file's format.
_KINDS = (
    (28, 28, "PNG"),
    (200, 200, "PNG"),
    (200, 200, "JPEG"),
    (500, 500, "PNG"),
    (1200, 900, "JPEG"),
    (3500, 2600, "JPEG"),
)


@dataclass(frozen=True)
class Row:
    """One kind of picture; milliseconds a picture, each the median over the rounds.

    Attributes:
        picture: its size and format.
        decoding: by Pillow alone, whole.
        digit: `digit_from_image` from the file's bytes, its own decoding included.
        otsu: the plain way for comparison: decoding, Otsu's threshold, the box of the ink scaled to 20 px.
        network: `OnnxClassifier.predict_logits` of the result.
        ratio: `digit` ÷ `decoding`, median over the rounds.
    """

    picture: str
    decoding: float
    digit: float
    otsu: float
    network: float
    ratio: float


@dataclass(frozen=True)
class Pictures:
    """What `time_pictures` measured: the machine, the number of rounds, and a row for each kind of picture."""

    machine: dict[str, str]
    rounds: int
    rows: list[Row]


def time_pictures(rounds: int = 15, progress: Callable[[str], object] = lambda text: None) -> Pictures:
    """Time the way from a file's bytes to logits on one core, for small scans up to large photos.

    Args:
        rounds: turns of each stage.
        progress: called with a line of what is being done.

    Raises: InputError for fewer than one round.
    """
    if rounds < 1:
        raise InputError(f"rounds={rounds}: at least 1")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = export_onnx(create_model("lenet5_modern", pretrained=True), Path(folder) / "m.onnx", input="pixels")
        classifier = OnnxClassifier(path, threads=1)
        for width, height, kind in _KINDS:
            name = f"{width}×{height} {kind}"
            progress(name)
            data = _photo(width, height, kind)
            digit = digit_from_image(data)[None]
            times = interleave(
                {
                    "decoding": lambda data=data: Image.open(io.BytesIO(data)).load(),  # type: ignore[misc]
                    "digit": lambda data=data: digit_from_image(data),  # type: ignore[misc]
                    "otsu": lambda data=data: _otsu_box(data),  # type: ignore[misc]
                    "network": lambda digit=digit: classifier.predict_logits(digit),  # type: ignore[misc]
                },
                rounds,
            )
            ratio = statistics.median(a / b for a, b in zip(times["digit"], times["decoding"], strict=True))
            rows.append(Row(name, **{key: 1e3 * statistics.median(value) for key, value in times.items()}, ratio=ratio))
    return Pictures(machine(), rounds, rows)


def _photo(width: int, height: int, kind: str) -> bytes:
    """A 7 on paper with grain and a shadow, as a file."""
    grain = np.random.default_rng(0).normal(0, 4, (height, width))
    paper = Image.fromarray(np.clip(200 + grain + np.linspace(-30, 30, width), 0, 255).astype(np.uint8))
    side, pen = min(width, height), max(2, min(width, height) // 14)
    places = [(0.32, 0.25), (0.7, 0.25), (0.45, 0.78)]
    line = [((width - side) / 2 + x * side, (height - side) / 2 + y * side) for x, y in places]
    ImageDraw.Draw(paper).line(line, fill=40, width=pen, joint="curve")
    stream = io.BytesIO()
    paper.convert("RGB").save(stream, kind)
    return stream.getvalue()


def _otsu_box(data: bytes) -> Any:
    """What is written first: dark ink by Otsu's threshold, its box scaled to 20 px in the middle of 28×28."""
    grey = 255 - np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    threshold, _, _ = otsu(grey)
    top, bottom, left, right = box_of(grey >= threshold)
    ink = Image.fromarray(grey[top:bottom, left:right])
    ink.thumbnail((20, 20))
    field = Image.new("L", (28, 28))
    field.paste(ink, ((28 - ink.width) // 2, (28 - ink.height) // 2))
    return np.asarray(field)
