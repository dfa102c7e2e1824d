"""Characters cut out of made lines, as a reader cuts them: where they stand, and where they do not.

A reader that knows where a text's characters stand looks at each alone (`pictures.cutting`). Of a wrong text one
character is two at a time, or a part of one, and the network has to say that these are none.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lenet_zoo.datasets.lines import Lines
from lenet_zoo.pictures.cutting import characters_alone

__all__ = ["Alone", "alone"]

Alone: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Pictures uint8 N×28×28 and the class of each."""

# Of the lines, how many are cut with one character left out, and with one character as two.
_LEFT_OUT, _TWICE = 0.2, 0.3
_IGNORED = -1


def alone(lines: Lines, count: int, none: int, random: np.random.Generator) -> Alone:
    """Some `count` characters, from the first lines; `none` is the class of what is no character."""
    pictures, labels = [np.zeros((0, 28, 28), np.uint8)], [np.zeros(0, np.int64)]
    images = lines.images.numpy()
    for image, width, text, centres in zip(images, lines.widths, lines.texts, lines.centres, strict=True):
        if count <= 0:
            break
        if text:
            middles, classes = _middles(text, centres, none, random)
            cut = characters_alone(np.ascontiguousarray(image[:, :width]), middles.tolist())
            pictures.append(cut[classes != _IGNORED])
            labels.append(classes[classes != _IGNORED])
            count -= len(middles)
    return np.concatenate(pictures), np.concatenate(labels)


def _middles(
    text: tuple[int, ...], centres: tuple[float, ...], none: int, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Where to cut: the middles of the characters, or of some line read wrongly, and what then stands there."""
    middles, classes = np.array(centres), np.array(text, np.int64)
    kind, at = random.random(), int(random.integers(len(text)))
    if kind < _LEFT_OUT and len(text) > 1:
        gone = middles[at]
        middles, classes = np.delete(middles, at), np.delete(classes, at)
        beside = [i for i in (at - 1, at) if 0 <= i < len(middles)]
        # The nearer neighbour gets its ink, or most of it; the other one may get some.
        classes[beside] = _IGNORED
        classes[min(beside, key=lambda i: abs(middles[i] - gone))] = none
    elif kind < _LEFT_OUT + _TWICE:
        half = random.uniform(2.5, 6.0)
        middles = np.concatenate([middles[:at], [middles[at] - half, middles[at] + half], middles[at + 1 :]])
        classes = np.concatenate([classes[:at], [none, none], classes[at + 1 :]])
        order = middles.argsort()
        middles, classes = middles[order], classes[order]
    return middles, classes
