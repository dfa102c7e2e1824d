"""What answers in a job: a network for one character a picture, or one for a line of digits, behind one protocol.

The answers of both fill the same columns. Of a number, `label` is the whole of it, and `labels` and `confidences` are
its digits from left to right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lenet_zoo.classify import OnnxClassifier
from lenet_zoo.classify.confidence import none_of_these, refusal
from lenet_zoo.classify.reader import OnnxReader, expected
from lenet_zoo.errors import ArtifactError, InputError
from lenet_zoo.pictures.line import lines_from_image
from lenet_zoo.pictures.strip import Strip
from lenet_zoo.scoring.parts import Rows

__all__ = ["KINDS", "Answering", "Characters", "Numbers", "answering", "put_answers"]

KINDS = ("characters", "numbers")
_TOP_K = 3
_NO_NUMBER = "the network's answer is not a number"


class Answering(Protocol):
    """One network, and how its answers become rows.

    Attributes:
        size: height and width of the pixels that it takes, where the input is pixels; None when it takes pictures only.
        labels: all that `label` can be; None when there is no end of them.
        metadata: of the ONNX file.
        options: what the rows depend on, as job.json has it.
        batch: how many prepared pictures are answered at once.
    """

    size: tuple[int, int] | None
    labels: tuple[str, ...] | None
    metadata: dict[str, Any]
    options: dict[str, Any]
    batch: int

    def prepare(self, picture: bytes) -> Any:
        """An encoded picture as `answer` takes it.

        Raises: NoDigitError when there is nothing to read; InputError when it cannot be opened.
        """

    def answer(self, rows: Rows, found: dict[int, Any], as_pixels: set[int]) -> None:
        """Put the answers into `rows`.

        Args:
            found: by the number of the row, what `prepare` made, or pixels that came as such.
            as_pixels: the rows of the latter, in which nobody has looked for a character.
        """


def answering(path: Path, options: dict[str, Any]) -> Answering:
    """Open a network.

    Args:
        path: the ONNX file.
        options: of a job, with the key 'as' when it reads numbers; values that are None get their defaults.

    Raises: ArtifactError for a file that cannot be used; InputError for options out of range.
    """
    return Numbers(path, options) if options.get("as") == "numbers" else Characters(path, options)


class Characters:
    """One character a picture. Arguments and errors as of `answering`."""

    batch = 512

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        # Never an accelerator: the network is the least part of the work, and a CPU's rows are the same everywhere.
        self.classifier = OnnxClassifier(path, threads=1, providers=["CPUExecutionProvider"])
        self.size: tuple[int, int] | None = self.classifier.size
        self.labels: tuple[str, ...] | None = self.classifier.labels
        self.metadata = self.classifier.metadata
        if self.classifier.size[0] != self.classifier.size[1]:
            sides = "×".join(map(str, self.classifier.size))
            raise InputError(f"{path.name} takes {sides} pixels: pictures are square")
        top_k, self.least = options["top_k"], options["min_confidence"]
        classes = len(self.classifier.labels)
        self.top_k: int = min(_TOP_K, classes) if top_k is None else top_k
        if not isinstance(self.top_k, int) or not 1 <= self.top_k <= classes:
            raise InputError(f"top_k={top_k}: from 1 to the network's {classes} classes")
        self.options = {"top_k": self.top_k, "min_confidence": self.least}

    def prepare(self, picture: bytes) -> tuple[NDArray[np.uint8], bool]:
        return self.classifier.find(picture)

    def answer(self, rows: Rows, found: dict[int, Any], as_pixels: set[int]) -> None:
        found = {row: (one, False) if row in as_pixels else one for row, one in found.items()}
        if as_pixels:
            blank = self.classifier.blank(np.stack([pixels for pixels, _ in found.values()]))
            for row, why in zip(list(found), blank, strict=True):
                if why is not None and row in as_pixels:
                    rows.reject(row, why)
                    del found[row]
        if found:
            try:
                self._put(rows, found)
            except ArtifactError:  # one picture among a million must not end the job
                for row, one in found.items():
                    try:
                        self._put(rows, {row: one})
                    except ArtifactError:
                        rows.fail(row, _NO_NUMBER)

    def _put(self, rows: Rows, found: dict[int, tuple[NDArray[np.uint8], bool]]) -> None:
        pixels, at_edge = zip(*found.values(), strict=True)
        answers = self.classifier.predict_array(np.stack(pixels), np.array(at_edge))
        put_answers(rows, list(found), answers, self.classifier.labels, self.top_k, self.least)


def put_answers(
    rows: Rows,
    places: Sequence[int],
    probabilities: NDArray[np.float32],
    labels: Sequence[str],
    top_k: int,
    min_confidence: float,
) -> None:
    """Put the answers of a network for single characters into `rows`.

    Args:
        places: the numbers of the rows.
        probabilities: float32 len(places)×classes.
        labels: one per class.
        top_k: answers per row.
        min_confidence: a row whose best answer is below this probability is rejected.
    """
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]
    confidences = np.take_along_axis(probabilities, best, axis=1)
    rejected = (confidences[:, 0].astype(np.float64) < min_confidence).tolist()
    refused = none_of_these(probabilities).tolist()
    for i, row in enumerate(places):
        each = [labels[one] for one in best[i]]
        if refused[i]:
            rows.reject(row, refusal(probabilities[i], each[0]))
        else:
            rows.answer(row, None if rejected[i] else each[0], confidences[i][0], each, confidences[i])


class Numbers:
    """A line of digits a picture, or a few. Arguments and errors as of `answering`."""

    size: tuple[int, int] | None = None
    labels: tuple[str, ...] | None = None
    batch = 16  # a prepared line has some 100 kB

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        if options.get("top_k") is not None:
            raise InputError(f"top_k={options['top_k']}: a number has one answer; top_k is for single characters")
        self.reader = OnnxReader(path, threads=1, providers=["CPUExecutionProvider"])
        self.metadata = self.reader.metadata
        self.least, expect = options["min_confidence"], options.get("expect")
        self.expect: re.Pattern[str] | None = expected(expect)
        self.options = {"as": "numbers", "min_confidence": self.least, "expect": expect}

    def prepare(self, picture: bytes) -> tuple[Strip, ...]:
        return lines_from_image(picture)

    def answer(self, rows: Rows, found: dict[int, tuple[Strip, ...]], as_pixels: set[int]) -> None:
        for row, strips in found.items():
            try:
                reading = self.reader.read_strips(strips, self.least, self.expect)
            except ArtifactError:  # one line among a million must not end the job
                rows.fail(row, _NO_NUMBER)
                continue
            digits, why = reading.characters, reading.reason or "no number"
            if digits and (reading.text is not None or not why.startswith("no number")):
                each, sure = [one.label for one in digits], [one.confidence for one in digits]
                rows.answer(row, reading.text, reading.confidence, each, sure)
            else:
                rows.reject(row, why)
