"""What it costs to read a line of digits: the way from a picture to the strip, the network, and the decoding."""

from __future__ import annotations

import io
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lenet_zoo.bench.timing import interleave, machine
from lenet_zoo.classify.reader import OnnxReader
from lenet_zoo.datasets.lines import TOUCHING, LineMaker
from lenet_zoo.datasets.loading import load_dataset
from lenet_zoo.errors import InputError
from lenet_zoo.export import export_onnx
from lenet_zoo.pictures.line import line_from_image
from lenet_zoo.pictures.preparation import LINE
from lenet_zoo.registry import load_network

__all__ = ["Line", "Lines", "time_lines"]


@dataclass(frozen=True)
class Line:
    """One line of digits; microseconds, each the median over the rounds, on one core.

    Attributes:
        digits: how many it has.
        width: of the strip in pixels.
        strip: from the bytes of a PNG file to the strip.
        network: over the strip, one answer every 2 px.
        decoding: from the answers to text, confidence and the place of each digit.
    """

    digits: int
    width: int
    strip: float
    network: float
    decoding: float


@dataclass(frozen=True)
class Lines:
    """What `time_lines` measured: the machine, the number of rounds, and a row for each length."""

    machine: dict[str, str]
    rounds: int
    rows: list[Line]


def time_lines(
    name: str = "lenet5_modern.numbers",
    digits: Sequence[int] = (1, 4, 8, 16),
    rounds: int = 15,
    progress: Callable[[str], object] = lambda text: None,
) -> Lines:
    """Time `OnnxReader` on one core, with lines of scikit-learn's digits, of which one pair in three touches.

    Args:
        name: a tag of the zoo, or another network of it that reads numbers.
        digits: the lengths of the lines.
        rounds: turns of each stage.
        progress: called with a line of what is being done.

    Raises: InputError for numbers below one, and for a network that reads single characters.
    """
    if rounds < 1 or min(digits, default=0) < 1:
        raise InputError(f"rounds={rounds}, digits={digits}: at least 1")
    network = load_network(name)
    if network.card.preparation.kind != LINE:
        raise InputError(f"{name} reads single characters: take `lenet-zoo bench inference {name}`")
    rows = []
    maker = LineMaker(load_dataset("digits", train=False), TOUCHING)
    with tempfile.TemporaryDirectory() as folder:
        reader = OnnxReader(export_onnx(network, Path(folder) / "m.onnx", input="pixels"), threads=1)
        for count in digits:
            progress(f"{count} digits")
            data = _picture(maker.make(1, (count, count)).images[0].numpy())
            strip = line_from_image(data)
            answers = reader.log_probabilities(strip.pixels)
            times = interleave(
                {
                    "strip": lambda data=data: line_from_image(data),  # type: ignore[misc]
                    "network": lambda strip=strip: reader.logits(strip.pixels[None]),  # type: ignore[misc]
                    "decoding": lambda strip=strip, answers=answers: reader.decode(answers, strip),  # type: ignore[misc]
                },
                rounds,
            )
            medians = {key: 1e6 * statistics.median(value) for key, value in times.items()}
            rows.append(Line(count, strip.pixels.shape[1], **medians))
    return Lines(machine(), rounds, rows)


def _picture(line: np.ndarray) -> bytes:
    """A line as a scan, dark on light, at three times its size."""
    stream = io.BytesIO()
    paper = np.pad(line, 8)
    Image.fromarray(235 - (np.kron(paper, np.ones((3, 3))) * 0.8).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()
