"""The likeliest text of a line, where several are likely: the line is read in other ways, and its characters alone.

A line's digits may be wider or narrower than those that the network learnt, its scale is not always found, and what
touches is scaled as one. So the line is read again, narrower and wider, and each of these a row higher and lower, too,
and a text is as likely as in the mean of all.

In a line a character's neighbours reach into its window. Once a text says where its characters stand, each can be cut
out (`pictures.cutting`), placed as a picture of one character is, and read by the same network in one window: that is
what the paper's heuristic over-segmentation does with every piece (section V). Where the text is wrong, two
characters are in one picture, or a part of one, which the network takes for none or doubts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lenet_zoo.classify.decoding import Path, beam_search, best_path, log_probability, middles_of, spans
from lenet_zoo.classify.looks import moved
from lenet_zoo.pictures.cutting import characters_of_texts
from lenet_zoo.pictures.kernels import nearest, resampled

__all__ = ["Network", "likeliest"]

Network: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.float64]]
"""Lines or characters alone, uint8 N×28×W → answers, float64 N×T×classes, as in `decoding`."""

# A text over this is taken as it is.
_CERTAIN = 0.9
# Else the line is read in these widths, too, its own being 1: numerators and denominators. Chosen, as `_WEIGHT`, on
# lines of validation digits, as they are and written on patterned paper.
_WIDTHS = ((7, 10), (7, 5))
# So many texts of the line, and so many more of each other reading, are weighed; so many of them are looked at.
_TEXTS, _MORE = 6, 3
# So much the looks count, beside 1 for what the lines say.
_WEIGHT = 0.5
# Lines and characters are looked at where they are placed, and so many rows lower or higher: what a network says of one
# place alone depends on the row by chance. (Columns to the left and right add nothing to that, on validation lines.)
_ROWS = ((1, 0), (-1, 0))
# The largest probability of a text that was looked at again.
_SUREST = 0.89
# A text that is taken as it is has its probability to this power. Chosen on 3,200 validation lines of amounts: of those
# with 0.95 and more, 1.35 in 100 were wrong without it, 0.74 with it; where people write, 0.95 and 0.61.
_CAUTION = 1.5
_BEAM, _BEAM_EXPECTED = 16, 128


def likeliest(
    answers: NDArray[np.float64], pixels: NDArray[np.uint8], network: Network, expect: re.Pattern[str] | None = None
) -> Path | None:
    """The likeliest text (that matches), or None where none of the likely ones does.

    A text that is sure at once is given less than its exact probability, since numbers on paper are harder than the
    lines that the temperature was fitted on. Where texts were looked at again, they keep the probability that they have
    together in the mean of widths and rows, and share it by the weighted geometric mean of each one's own and what the
    looks give its characters. (Their product would be too sure of itself, as both opinions are of one network: measured
    on validation lines. There, even so, texts with 0.95 and more were right nine times in ten: no text that was looked
    at again is given more than that.)

    Args:
        answers: T×classes, as in `decoding`: what the network says of the line.
        pixels: uint8 28×W, the line.
        network: gives the answers to it in other widths and rows, and to its characters alone.
        expect: what the text, as digits, must match from end to end.
    """
    text = best_path(answers)
    if expect is None or expect.fullmatch("".join(map(str, text))):
        found = Path(text, log_probability(answers, text))
        if found.log_probability > math.log(_CERTAIN):
            return Path(text, _CAUTION * found.log_probability)
    texts = _texts(answers, pixels, network, expect)
    if len(texts) < 2:
        return texts[0] if texts else None
    own = np.array([path.log_probability for path in texts])
    scores = (own + _WEIGHT * _looks(answers, texts, pixels, network)) / (1 + _WEIGHT)
    best = int(scores.argmax())
    share = scores[best] - np.logaddexp.reduce(scores) + np.logaddexp.reduce(own)
    return Path(texts[best].classes, min(math.log(_SUREST), float(share)))


def _texts(
    answers: NDArray[np.float64], pixels: NDArray[np.uint8], network: Network, expect: re.Pattern[str] | None
) -> list[Path]:
    """The likeliest texts in the mean of all widths and rows, best first, without those that are too long."""
    beam = _BEAM if expect is None else _BEAM_EXPECTED
    found = {path.classes: path.log_probability for path in beam_search(answers, beam, expect, _TEXTS)}
    wide = pixels.shape[1]
    others = list(network(np.concatenate(list(moved(pixels[None], _ROWS)))))
    for more, less in _WIDTHS:
        line = resampled(pixels, len(pixels), max(len(pixels), int(nearest(wide * more, less))))[None]
        others += list(network(np.concatenate([line, *moved(line, _ROWS)])))
    for other in others:
        for path in beam_search(other, beam, expect, _MORE):
            if path.classes not in found:
                found[path.classes] = log_probability(answers, path.classes)
    count = math.log(1 + len(others))
    texts = [
        Path(text, float(np.logaddexp.reduce([own, *(log_probability(other, text) for other in others)])) - count)
        for text, own in found.items()
        if own > -math.inf
    ]
    return sorted(texts, key=lambda path: -path.log_probability)[:_TEXTS]


def _looks(
    answers: NDArray[np.float64], texts: list[Path], pixels: NDArray[np.uint8], network: Network
) -> NDArray[np.float64]:
    """Of each text the sum of the logarithms that its characters have alone, but those that all texts have."""
    placed = [(path.classes, middles_of(spans(answers, path.classes))) for path in texts]
    pictures, which = characters_of_texts(pixels, placed)
    total = np.zeros(len(texts))
    if len(pictures):
        classes = np.concatenate([np.array(path.classes, np.int64) for path in texts])
        of_text = np.repeat(np.arange(len(texts)), [len(path.classes) for path in texts])
        tells = which >= 0
        np.add.at(total, of_text[tells], _seen(pictures, network)[which[tells], classes[tells]])
    return total


def _seen(pictures: NDArray[np.uint8], network: Network) -> NDArray[np.float64]:
    """The logarithms of the mean probabilities that the classes of characters have in their place and in `_ROWS`."""
    looks = [pictures, *moved(pictures, _ROWS)]
    seen = network(np.concatenate(looks))[:, 0]
    mean: NDArray[np.float64] = np.logaddexp.reduce(seen.reshape(len(looks), len(pictures), -1))
    return mean - math.log(len(looks))
