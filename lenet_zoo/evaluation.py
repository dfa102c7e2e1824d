"""Figures of a network on a data set: logits and labels → loss, accuracy, confusion. It imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lenet_zoo.cards import Confidence
from lenet_zoo.classify.confidence import calibration_error, none_of_these, probabilities
from lenet_zoo.errors import InputError

if TYPE_CHECKING:
    from lenet_zoo.datasets.loading import Dataset

__all__ = ["Evaluation", "evaluate"]


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

    Raises: InputError when the network has not as many classes as the data set.
    """
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
