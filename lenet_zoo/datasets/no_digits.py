"""Pictures that look written and are no digit, made from digits and by a pen that scribbles.

A network that is to say "none of these" is shown them in training. No letter and no other sign that people write was
used, so that those which measure it stay unseen.

- scribbles: two to five strokes, straight or curved, between random places;
- several digits side by side, squeezed into the box of one;
- digits on their side, mirrored, and with their halves exchanged: only those which do not become another digit so;
- parts of digits, of 2, 3 and 5, whose halves are no digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.datasets.writers import drawn
from lenet_zoo.pictures.kernels import Bytes, Ints, box_of
from lenet_zoo.pictures.placing import place

__all__ = ["no_digits", "with_no_digits"]


def with_no_digits(data: Dataset, share: float) -> Dataset:
    """A data set of digits and, after them, `share` times as many pictures that are none, of the label len(classes)."""
    made = no_digits(data.images.numpy(), data.labels.numpy(), round(share * len(data)))
    labels = torch.full((len(made),), len(data.classes))
    return replace(
        data, images=torch.cat([data.images, torch.from_numpy(made)]), labels=torch.cat([data.labels, labels])
    )


def no_digits(images: Bytes, labels: Ints, count: int, seed: int = 0) -> Bytes:
    """Make `count` pictures that are no digit.

    Args:
        images: uint8 N×28×28, digits as MNIST has them.
        labels: N, 0 to 9.
        seed: the same seed and pictures give the same result everywhere.

    Returns: uint8 count×28×28, placed as digits are.
    """
    random = np.random.default_rng(seed)
    of = [np.flatnonzero(labels == digit) for digit in range(10)]

    def digit(choice: str) -> Bytes:
        which = of[int(random.choice(list(choice)))]
        if not len(which):  # a data set may lack a digit
            return _scribble(random)
        return _inside(images[random.choice(which)])

    def several() -> Bytes:
        parts = [digit("0123456789") for _ in range(random.integers(2, 4))]
        out = np.zeros((20, sum(part.shape[1] for part in parts) + 4), np.uint8)
        left = 0
        for part in parts:
            top = random.integers(0, 21 - part.shape[0])
            field = out[top : top + part.shape[0], left : left + part.shape[1]]
            np.maximum(field, part, out=field)
            left += part.shape[1] + random.integers(-1, 3) if left + part.shape[1] + 2 < out.shape[1] else 0
        return out

    def sideways() -> Bytes:
        return np.rot90(digit("23457"), random.choice([1, 3]))

    def mirrored() -> Bytes:
        return digit("34679")[:, ::-1]

    def exchanged() -> Bytes:
        one = digit("023456789")
        half = one.shape[1] // 2
        return np.concatenate([one[:, half:], one[:, :half]], 1)

    def half() -> Bytes:
        one = digit("235")
        middle = one.shape[0] // 2
        return one[:middle] if random.random() < 0.5 else one[middle:]

    kinds: list[Callable[[], Bytes]] = [lambda: _scribble(random), several, sideways, mirrored, exchanged, half]
    chosen = random.choice(len(kinds), count, p=[0.5, 0.14, 0.09, 0.09, 0.09, 0.09])
    out = np.zeros((count, 28, 28), np.uint8)
    for i, kind in enumerate(chosen):
        out[i] = place(_inside(np.ascontiguousarray(kinds[kind]())), 28)
    return out


def _inside(picture: Bytes) -> Bytes:
    """What lies in the box of a picture's ink."""
    top, bottom, left, right = box_of(picture >= min(100, int(picture.max())))
    return picture[top:bottom, left:right]


def _scribble(random: np.random.Generator) -> Bytes:
    """Strokes between places on a rough grid, arcs and small strokes, as signs have them, in a frame of any shape."""
    frame = np.array([random.uniform(0.4, 1.5), 1.0])

    def stroke() -> NDArray[np.float64]:
        kind = random.random()
        if kind < 0.25:  # a part of an ellipse
            angles = random.uniform(0, 2 * np.pi) + np.linspace(0, random.uniform(1.5, 5.5), 7)
            size = random.uniform(0.15, 0.5, 2)
            return random.uniform(0.2, 0.8, 2) + size * np.stack([np.cos(angles), np.sin(angles)], 1)
        if kind < 0.4:  # a small one, or a dot
            way: NDArray[np.float64] = random.random(2) + random.normal(0, 0.1, (2, 2))
            return way
        turns = random.choice([2, 2, 3, 4, 5])
        return random.integers(0, 4, (turns, 2)) / 3 + random.normal(0, 0.08, (turns, 2))

    # Two strokes may be a 1, a 4 or a 7, or with an arc a 6 or a 9.
    strokes = [stroke() * frame for _ in range(random.integers(3, 6))]
    return drawn(strokes, random.uniform(2.2, 3.4))
