"""Figures of a network on a data set or on lines: logits and labels → loss, accuracy, confusion. No torch here."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lenet_zoo.cards import Confidence
from lenet_zoo.classify.confidence import calibration_error, none_of_these, probabilities
from lenet_zoo.classify.decoding import log_probability, log_softmax
from lenet_zoo.classify.second_look import likeliest
from lenet_zoo.errors import InputError

if TYPE_CHECKING:
    from lenet_zoo.datasets.loading import Dataset

__all__ = [
    "Evaluation",
    "LineEvaluation",
    "NumberEvaluation",
    "edits",
    "evaluate",
    "evaluate_lines",
    "evaluate_readings",
]


@dataclass(frozen=True)
class Evaluation:
    """Figures of one network on one data set.

    Attributes:
        loss: mean cross-entropy of the softmax over the logits, in nats.
        correct, total: pictures.
        per_class: for each class (correct, total).
        confusion: confusion[true][answer] pictures.
        calibration_error: the expected calibration error of the best answers' probabilities, 0 to 1.
        none_of_these: pictures that `predict` rejects, because a rubbish class is likelier than every class. All
            figures but the calibration error count their best class as the answer.
    """

    loss: float
    correct: int
    total: int
    per_class: tuple[tuple[int, int], ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration_error: float
    none_of_these: int

    @property
    def accuracy(self) -> float:
        return self.correct / self.total

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values: lists in place of tuples."""
        tables = {name: [list(row) for row in getattr(self, name)] for name in ("per_class", "confusion")}
        return {**asdict(self), **tables, "accuracy": self.accuracy}


def evaluate(
    logits: Callable[[np.ndarray], np.ndarray], data: Dataset, confidence: Confidence | None = None
) -> Evaluation:
    """Run a network over a data set.

    Args:
        logits: uint8 pixels N×28×28 → logits N×classes, such as `classify.torch.logits_of(model)`.
        data: pictures and labels.
        confidence: the card's, for the calibration error; None for that of the plain softmax.

    Raises: InputError when the network has not as many classes as the data set, or that has no pictures.
    """
    if not len(data.labels):
        raise InputError(f"{data.name} has no pictures to evaluate on")
    found = np.array(logits(data.images.numpy()), dtype=np.float64)
    labels = data.labels.numpy()
    classes = len(data.classes)
    if found.shape[1] != classes:
        raise InputError(f"the network has {found.shape[1]} classes and {data.name} has {classes}: they must be equal")
    top = found.max(1, keepdims=True)
    log_likelihood = found - top - np.log(np.exp(found - top).sum(1, keepdims=True))
    answers = found.argmax(1)
    confusion = np.zeros((classes, classes), dtype=int)
    np.add.at(confusion, (labels, answers), 1)
    rows = probabilities(found, confidence)
    refused = none_of_these(rows)
    return Evaluation(
        loss=float(-log_likelihood[np.arange(len(labels)), labels].mean()),
        correct=int((answers == labels).sum()),
        total=len(labels),
        per_class=tuple((int(confusion[i, i]), int(confusion[i].sum())) for i in range(classes)),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        calibration_error=calibration_error(rows.max(1)[~refused], (answers == labels)[~refused]),
        none_of_these=int(refused.sum()),
    )


@dataclass(frozen=True, kw_only=True)
class _TextEvaluation:
    """Figures of answers that are texts.

    Attributes:
        correct, total: whole texts.
        edits: characters to insert, leave out or change to make the answers right, over all texts.
        characters: in all right texts.
        sure: answers with a probability of 0.95 or more; and `sure_wrong` of them.
    """

    correct: int
    total: int
    edits: int
    characters: int
    sure: int
    sure_wrong: int

    @property
    def accuracy(self) -> float:
        return self.correct / self.total

    def as_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "accuracy": self.accuracy}


@dataclass(frozen=True, kw_only=True)
class LineEvaluation(_TextEvaluation):
    """Figures of a network on lines of characters: of whole lines, and `loss`.

    Attributes:
        loss: mean of −log of the right text's probability, in nats per character.
    """

    loss: float


@dataclass(frozen=True, kw_only=True)
class NumberEvaluation(_TextEvaluation):
    """Figures of a network that reads numbers on pictures of them, from the picture to the text.

    Attributes:
        refused: pictures without an answer, which is not correct either.
    """

    refused: int


def evaluate_lines(
    answers: Callable[[np.ndarray], np.ndarray],
    lines: Iterable[tuple[np.ndarray, Sequence[Sequence[int]]]],
    temperature: float = 1.0,
) -> LineEvaluation:
    """Run a network over lines, each read as `classify.reader` reads it.

    Args:
        answers: uint8 lines N×28×W → logits N×T×classes, of which the last is "none"; one every 2 px.
        lines: batches of lines with their texts, in classes.
        temperature: divides the logits.
    """

    def network(strips: np.ndarray) -> np.ndarray:
        return log_softmax(np.asarray(answers(strips), np.float64) / temperature)

    lost, found = 0.0, []
    for pixels, texts in lines:
        for row, line, text in zip(network(pixels), pixels, texts, strict=True):
            path, right = likeliest(row, line, network), tuple(text)
            lost -= log_probability(row, right)
            found.append((path.classes, math.exp(path.log_probability), right) if path else ((), 0.0, right))
    counts = _counts(found)
    return LineEvaluation(loss=lost / max(1, counts["characters"]), **counts)


def evaluate_readings(readings: Iterable[tuple[str | None, float, str]]) -> NumberEvaluation:
    """The figures of answers to pictures of numbers: of each the text or None, its confidence, and the right text."""
    rows = list(readings)
    answered = [("", 0.0, right) if text is None else (text, confidence, right) for text, confidence, right in rows]
    return NumberEvaluation(refused=sum(text is None for text, _, _ in rows), **_counts(answered))


def _counts(answers: Sequence[tuple[Sequence[int] | str, float, Sequence[int] | str]]) -> dict[str, int]:
    """What `_TextEvaluation` holds, from each answer's text, its probability (0: no answer) and the right text."""
    if not answers:
        raise InputError("there is nothing to evaluate on: give at least one text")
    sure = [(text, right) for text, probability, right in answers if probability >= 0.95]
    return {
        "correct": sum(text == right for text, _, right in answers),
        "total": len(answers),
        "edits": sum(edits(text, right) for text, _, right in answers),
        "characters": sum(len(right) for _, _, right in answers),
        "sure": len(sure),
        "sure_wrong": sum(text != right for text, right in sure),
    }


def edits(one: Sequence[int] | str, other: Sequence[int] | str) -> int:
    """How many characters must be inserted, left out or changed to make one text of another (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, mine in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, theirs in enumerate(other, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (mine != theirs))
    return row[-1]
