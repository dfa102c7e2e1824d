"""From logits to probabilities that are right as often as they say, and how to measure that. numpy only.

A network that learnt from soft targets says 95 % where it is right in 99.7 of 100 cases, and one of 1998 says 99.95 %
of most of its mistakes. Dividing the logits by one number, the temperature, mends the first; the rubbish class of the
1998 paper's Eq. 9 is for the second. Both change no answer, only how sure it is (Guo et al., On Calibration of Modern
Neural Networks, ICML 2017).
"""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet_zoo.cards import Confidence
from lenet_zoo.errors import InputError

__all__ = [
    "calibration_error",
    "check_min_confidence",
    "fitted_temperature",
    "none_of_these",
    "probabilities",
    "refusal",
]

BINS = 15
# Where a temperature is looked for. No network of the zoo comes near either end.
_COLDEST, _HOTTEST = 0.01, 100.0


def check_min_confidence(value: float) -> None:
    """Check the threshold below which an answer is rejected.

    Raises: InputError for what is no probability.
    """
    if not isinstance(value, Real) or not 0 <= value <= 1:
        raise InputError(f"min_confidence={value}: a probability, from 0 to 1")


def probabilities(
    logits: NDArray[Any], confidence: Confidence | None = None, at_edge: NDArray[np.bool_] | None = None
) -> NDArray[Any]:
    """The probability of each class.

    Args:
        logits: float N×classes; the result is written over them.
        confidence: the card's; None for the plain softmax.
        at_edge: bool N, the pictures that have the card's `edge_temperature`; None for none.

    Returns: `logits`. Rows sum to 1, or, with a rubbish class, to 1 less its probability.
    """
    rubbish = None
    if confidence is not None:
        temperature: Any = confidence.temperature
        if at_edge is not None and confidence.edge_temperature is not None:
            temperature = np.where(at_edge, confidence.edge_temperature, temperature)[:, None]
        logits /= np.asarray(temperature, logits.dtype)
        if confidence.j is not None:
            rubbish = np.asarray(-confidence.j / temperature, logits.dtype)
    top = logits.max(axis=1, keepdims=True)
    if rubbish is not None:
        top = np.maximum(top, rubbish)
    logits -= top
    np.exp(logits, out=logits)
    total = logits.sum(axis=1, keepdims=True)
    if rubbish is not None:
        total += np.exp(rubbish - top)
    logits /= total
    return logits


def none_of_these(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows of `probabilities` have a rubbish class that is likelier than every class: bool N."""
    refused: NDArray[np.bool_] = 1 - rows.sum(axis=1) > rows.max(axis=1)
    return refused


def refusal(row: NDArray[Any], label: str) -> str:
    """Why a picture that is `none_of_these` has no label; `label` is its best class."""
    return (
        f"none of the network's classes: that has probability {1 - row.sum():.3f}, "
        f"and the best of them, {label!r}, {row.max():.3f}"
    )


def calibration_error(confidences: NDArray[Any], right: NDArray[np.bool_], bins: int = BINS) -> float:
    """The expected calibration error: how far confidence and accuracy are apart, on average over the answers.

    The answers are sorted into `bins` equal parts of 0 to 1 by their confidence. Each bin counts by its answers, with
    the difference between their mean confidence and the part of them that is right.

    Args:
        confidences: N probabilities of the best answer.
        right: N, whether it is right.

    Returns: 0 to 1; 0 of no answers.
    """
    if not len(confidences):
        return 0.0
    place = np.minimum((np.asarray(confidences, np.float64) * bins).astype(int), bins - 1)
    gaps = np.bincount(place, confidences, bins) - np.bincount(place, right, bins)
    return float(np.abs(gaps).sum() / len(confidences))


def fitted_temperature(logits: NDArray[Any], correct: int, total: int, j: float | None = None) -> float:
    """The temperature at which the answers are, on average, as sure as they are right.

    Args:
        logits: N×classes of validation pictures.
        correct, total: right answers among the answers to pictures that were not trained on: these, or the same by a
            network of the same recipe.
        j: penalty of the rubbish class. Pictures that are none of these have no answer and do not count.

    Returns: 0.01 to 100.
    """
    logits = np.asarray(logits, np.float64)
    if j is not None:
        logits = logits[logits.max(axis=1) >= -j]
    # As if one answer more had been right and one wrong: ten of ten do not make sure of the eleventh.
    accuracy = (correct + 1) / (total + 2)
    low, high = np.log(_COLDEST), np.log(_HOTTEST)
    # The hotter, the less sure: the best class loses to every other.
    for _ in range(50):
        middle = (low + high) / 2
        sure = probabilities(logits.copy(), Confidence(float(np.exp(middle)), j)).max(axis=1).mean()
        low, high = (middle, high) if sure > accuracy else (low, middle)
    return float(np.exp(high))
