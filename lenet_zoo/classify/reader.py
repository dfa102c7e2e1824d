"""`OnnxReader`: a picture of a line of digits to its number, with an exported file. numpy and onnxruntime only."""

from __future__ import annotations

import itertools
import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet_zoo._cores import threads_of
from lenet_zoo.cards import Card
from lenet_zoo.classify.confidence import check_min_confidence
from lenet_zoo.classify.decoding import STEP, best_path, log_softmax, middles_of, spans
from lenet_zoo.classify.onnx import normalization_of
from lenet_zoo.classify.onnx_file import card_in, metadata_of, read_file
from lenet_zoo.classify.onnx_session import Provider, Running, cannot_run, refuse_unusual
from lenet_zoo.classify.second_look import likeliest
from lenet_zoo.errors import ArtifactError, InputError, NoDigitError
from lenet_zoo.pictures.line import lines_from_image
from lenet_zoo.pictures.preparation import LINE
from lenet_zoo.pictures.reading import PictureSource
from lenet_zoo.pictures.strip import HEIGHT, Strip

__all__ = ["Character", "OnnxReader", "Reader", "Reading", "expected"]

# A line is fed twice, and has hundreds of pixels: N × 1 × 28 × W, of which the memory of a file's maps is reckoned.
_USUAL_LINES = (2, 1, HEIGHT, 4_096)
# What looks like no number, as a line of letters: so many digits or more, and a probability of less than this for each,
# as a geometric mean. Chosen so that of validation lines that are read right one in a thousand is refused.
_MANY, _LIKELY = 3, 0.69


@dataclass(frozen=True)
class Character:
    """One digit of a number.

    Attributes:
        label: the digit.
        confidence: its probability where it stands.
        box: left, top, right, bottom of its ink, in pixels of the picture.
    """

    label: str
    confidence: float
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Reading:
    """The answer to one picture, or to one line of several on it.

    Attributes:
        text: the digits from left to right, or None when there is no number, or too little confidence in it. Of several
            lines, those that are numbers, each on a line of its own.
        confidence: how probable the whole text is, with caution (`second_look`); 0 when there was nothing to read.
        characters: of the likeliest text, from left to right, also when it was rejected. Of several lines, of those
            that are numbers, or of all where none is.
        reason: why there is no text, else None.
        lines: where there are several, the answer to each, from top to bottom; else empty. One may be sure enough
            alone where the whole text is not.
    """

    text: str | None
    confidence: float
    characters: tuple[Character, ...]
    reason: str | None = None
    lines: tuple[Reading, ...] = ()


def expected(expect: int | str | re.Pattern[str] | None) -> re.Pattern[str] | None:
    """`expect` as a pattern: a number of digits, or a regular expression for the whole text.

    Raises: InputError for another kind of value, a number below 1, a word, and text that is no regular expression.
    """
    if expect is None or isinstance(expect, re.Pattern):
        return expect
    if isinstance(expect, str) and re.fullmatch(r"-?\d+", expect):
        if len(expect) > 1_000:  # of which int() may refuse to make a number
            raise InputError(f"expect has {len(expect):,} digits: how many digits a number has, not the number")
        expect = int(expect)
    is_word = isinstance(expect, str) and not re.search(r"[\W\d]", expect)  # which is nothing, or such as 'five'
    is_count = isinstance(expect, int) and not isinstance(expect, bool) and expect > 0
    if is_word or not (isinstance(expect, str) or is_count):
        raise InputError(f"expect={expect!r}: how many digits, or a regular expression such as '\\d{{5}}'")
    try:
        return re.compile(rf"\d{{{expect}}}" if isinstance(expect, int) else expect)
    except (re.error, OverflowError, RecursionError) as error:
        if isinstance(expect, int):
            raise InputError(f"expect={expect}: how many digits a number has, not the number") from None
        raise InputError(f"expect={expect!r} is no regular expression: {error}") from None


class Reader(ABC):
    """Pictures of a line to their numbers. A subclass runs the network over strips.

    Attributes:
        card: what is known of the network.
        threads: how many pictures may be read at once.
    """

    card: Card
    threads: int = 1

    @abstractmethod
    def answers(self, strips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 N×28×W, 0 background and 255 ink → logits, float32 N×classes×T, one answer every 2 px."""

    def read(
        self,
        pictures: PictureSource | Iterable[PictureSource],
        min_confidence: float = 0.0,
        expect: int | str | re.Pattern[str] | None = None,
    ) -> list[Reading]:
        """Read pictures, each of one line of digits or a few.

        Args:
            pictures: a picture, or several: a path, the bytes of a file, an open binary file or a PIL image each.
            min_confidence: a number below this probability is rejected; of several lines, also all of them together.
            expect: how many digits the number has, or a regular expression that the whole of it matches: of the
                likely texts the best that does is the answer. Of several lines it is said of each.

        Returns: one `Reading` per picture, in order; without a text, and with the reason, where there is no number.

        Raises: InputError for a picture that cannot be opened, and for arguments out of range.
        """
        check_min_confidence(min_confidence)
        pattern = expected(expect)
        one = isinstance(pictures, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(pictures, "read")
        several: list[Any] = [pictures] if one or not isinstance(pictures, Iterable) else list(pictures)
        if not several:
            raise InputError("an empty list of pictures: give at least one")

        def read_one(picture: PictureSource) -> Reading:
            try:
                strips = lines_from_image(picture)
            except NoDigitError as error:
                return Reading(None, 0.0, (), " ".join(str(error).split()))
            return self.read_strips(strips, min_confidence, pattern)

        if len(several) == 1 or self.threads == 1:
            return [read_one(picture) for picture in several]
        with ThreadPoolExecutor(self.threads, thread_name_prefix="lenet_zoo") as pool:
            return list(pool.map(read_one, several))

    def read_strips(
        self, strips: Sequence[Strip], min_confidence: float = 0.0, expect: re.Pattern[str] | None = None
    ) -> Reading:
        """Read a picture that is prepared already: its lines, from top to bottom."""
        found = [self.read_strip(strip, expect=expect) for strip in strips]
        return _sure(found[0], min_confidence) if len(found) == 1 else _together(found, min_confidence)

    def read_strip(self, strip: Strip, min_confidence: float = 0.0, expect: re.Pattern[str] | None = None) -> Reading:
        """Read a line that is prepared already."""
        return self.decode(self.log_probabilities(strip.pixels), strip, min_confidence, expect)

    def decode(
        self,
        answers: NDArray[np.float64],
        strip: Strip,
        min_confidence: float = 0.0,
        expect: re.Pattern[str] | None = None,
    ) -> Reading:
        """The number in a strip, from what `log_probabilities` gave of it."""
        found = likeliest(answers, strip.pixels, self.along, expect)
        if found is None:
            text = "".join(map(str, best_path(answers)))
            pattern = expect.pattern if expect else ""
            return Reading(None, 0.0, (), f"no number matches '{pattern}': it reads {text!r}")
        if not found.classes:
            return Reading(None, 0.0, (), "no number: the line holds no digit")
        characters = tuple(_characters(answers, found.classes, strip))
        text, confidence = "".join(one.label for one in characters), float(np.exp(found.log_probability))
        each = confidence ** (1 / len(text))
        if expect is None and len(text) >= _MANY and each < _LIKELY:
            reason = f"no number: as {text!r} it has a probability of only {each:.2f} per digit"
            return Reading(None, confidence, characters, reason)
        return _sure(Reading(text, confidence, characters), min_confidence)

    def along(self, strips: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The answers along lines: uint8 N×28×W → float64 N×T×classes, each as `log_probabilities` has them."""
        return log_softmax(self.logits(strips).astype(np.float64) / self._temperature)

    @property
    def _temperature(self) -> float:
        return self.card.confidence.temperature if self.card.confidence else 1.0

    def log_probabilities(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The answers along a strip, one every 2 px: uint8 28×W → float64 T×classes, logarithms; "none" is the last.

        The middle of answer t's window is column 14 + 2t.
        """
        if pixels.ndim != 2 or pixels.shape[0] != HEIGHT or pixels.dtype != np.uint8:
            raise InputError(f"a line is uint8 {HEIGHT}×W, not {pixels.dtype} {'×'.join(map(str, pixels.shape))}")
        return self.along(pixels[None])[0]

    def logits(self, strips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The answers along lines, one every 2 px: uint8 N×28×W → logits, float32 N×T×classes; see above."""
        count, _, taken = strips.shape
        width = max(taken, 28)
        # A multiple of 4 px, and 2 px for the last window, which may end beyond the line.
        padded = np.zeros((count, HEIGHT, width + -width % 4 + 2), np.uint8)
        padded[:, :, :taken] = strips
        return self.answers(padded).transpose(0, 2, 1)


def _sure(reading: Reading, min_confidence: float) -> Reading:
    """The answer without its text where that is less probable than is asked."""
    if reading.text is None or reading.confidence >= min_confidence:
        return reading
    reason = f"the likeliest number, {reading.text!r}, has confidence {reading.confidence:.3f} < {min_confidence:g}"
    return replace(reading, text=None, reason=reason)


def _together(lines: Sequence[Reading], min_confidence: float) -> Reading:
    """The answer to a picture of several lines, whose own answers are before any rejection.

    The whole text must be as probable as is asked: if lines below that were left out, a picture that is rejected would
    get an answer where more confidence is asked for.
    """
    each = tuple(_sure(line, min_confidence) for line in lines)
    read = [line for line in lines if line.text is not None]
    characters = tuple(one for line in read or lines for one in line.characters)
    if not read:
        return Reading(None, max(line.confidence for line in lines), characters, lines[0].reason, each)
    text = "\n".join(str(line.text) for line in read)
    return _sure(Reading(text, math.prod(line.confidence for line in read), characters, None, each), min_confidence)


def _characters(answers: NDArray[np.float64], classes: Sequence[int], strip: Strip) -> Iterable[Character]:
    places = spans(answers, classes)
    middles = middles_of(places)
    between = [(one + other) / 2 for one, other in itertools.pairwise(middles)]
    # A digit reaches half-way to its neighbours, and no further than its window.
    lefts = [max(middle - 14, edge) for middle, edge in zip(middles, [0, *between], strict=True)]
    rights = [min(middle + 14, edge) for middle, edge in zip(middles, [*between, math.inf], strict=True)]
    boxes = strip.boxes(lefts, rights)
    for label, (first, last), box in zip(classes, places, boxes, strict=True):
        yield Character(str(label), math.exp(max(answers[first : last + 1, label].tolist())), box)


class OnnxReader(Reader):
    """Reads numbers with a file that `lenet_zoo.export_onnx` made of `lenet5_modern.numbers` or another of its kind.

    One object may be used by many threads at once, in a process forked after it was made, and in a copy of it.

    Args:
        path: the .onnx file.
        threads: how many pictures may be read at once; by default as many as there are cores.
        providers: onnxruntime's execution providers in order of preference, as for `OnnxClassifier`.

    Attributes:
        path, metadata, card, threads: as of `OnnxClassifier`.

    Raises:
        ArtifactError: a file that is missing, damaged, or of a network that reads single characters.
        InputError: an impossible number of threads, or a provider that is not installed.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int | None = None,
        providers: Sequence[Provider] | None = None,
    ) -> None:
        self.threads = threads_of(threads)
        self._file, self._wanted_providers = read_file(path), providers
        refuse_unusual(self._file, providers, _USUAL_LINES, "run it in onnxruntime itself")
        self.path = self._file.path
        self.metadata = metadata_of(self._file)
        self.card = card_in(self.metadata, self.path)
        if self.card.preparation.kind != LINE:
            raise ArtifactError(
                f"{self.path} reads single characters: take lenet_zoo.OnnxClassifier or `lenet-zoo predict`, or write "
                "a file that reads numbers with `lenet-zoo export lenet5_modern.numbers`"
            )
        self._running = Running(self._file, providers)
        self._read_signature()

    def _read_signature(self) -> None:
        """Check that the graph is what its metadata says, so that no later call can fail on it."""
        session, convention = self._running.session, self.metadata["input"]
        outputs = {output.name: output.shape for output in session.get_outputs()}
        inputs = [(x.name, x.type, x.shape) for x in session.get_inputs()]
        wanted = {"pixels": "tensor(uint8)", "input": "tensor(float)"}
        if (
            len(inputs) != 1
            or inputs[0][1] != wanted.get(inputs[0][0])
            or len(inputs[0][2]) != 4
            or inputs[0][2][1:3] != [1, HEIGHT]
            or any(isinstance(inputs[0][2][axis], int) for axis in (0, 3))
        ):
            raise ArtifactError(f"{self.path} takes {inputs}, and not any number of lines 1×{HEIGHT} of any width")
        shape = outputs.get("logits")
        if shape is None or len(shape) != 4 or shape[1] != len(self.card.labels):
            raise ArtifactError(f"{self.path} is damaged: its outputs are {outputs}, and not logits along a line")
        self._input = inputs[0][0]
        self._scale: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        if self._input != "pixels":
            self._scale = normalization_of(convention, 1, self.path)
        if self.answers(np.zeros((1, HEIGHT, 28 + 2 * STEP), np.uint8)).shape[2] != 3:
            raise ArtifactError(f"{self.path} does not answer every {STEP} px: export it again")

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_running"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._running = Running(self._file, self._wanted_providers)

    def answers(self, strips: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._running.pid != os.getpid():  # forked since the last call
            self._running = Running(self._file, self._wanted_providers, before=self._running)
        x: NDArray[Any] = strips[:, None]
        if self._scale is not None:
            x = x * self._scale[0] + self._scale[1]
        try:
            logits = self._running.session.run(["logits"], {self._input: np.ascontiguousarray(x)})[0]
        except Exception as error:  # onnxruntime's own exceptions have no common base but this one
            raise cannot_run(self._file, error) from error
        if not np.isfinite(logits).all():
            raise ArtifactError(f"{self.path} answers with values that are not finite (nan or inf): export it again")
        line: NDArray[np.float32] = logits[:, :, 0]
        return line
