"""Pictures that look written and are no digit, made from digits and by a pen that scribbles.

A network that is to say "none of these" is shown them in training. No letter and no other sign that people write was
used, so that those which measure it stay unseen.

- signs of one to four strokes that join, cross, mirror each other or lie on a grid, as letters do; some come out as a
  digit, but real digits are far more frequent there;
- scribbles: three to five strokes, straight or curved, between random places;
- several digits side by side, squeezed into the box of one;
- digits on their side, mirrored, and with their halves exchanged: only those which do not become another digit so;
- parts of digits, of 2, 3 and 5, whose halves are no digits, and the upper half of one above the lower half of another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from lenet_zoo.datasets import forms, signs
from lenet_zoo.datasets.forms import inside
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.pictures.kernels import Bytes, Ints
from lenet_zoo.pictures.placing import place

__all__ = ["no_digits", "with_made_pictures"]


def with_made_pictures(data: Dataset, none: float, hurried: float, printed: float = 0.0) -> Dataset:
    """A data set of digits and, after them, pictures that we made.

    For each that it has, `none` are no digit, of the label len(classes), a tenth of that are digits of the same clean
    strokes as the signs among them, `hurried` are digits as a quick hand writes them, and `printed` as type has them.
    """
    no = no_digits(data.images.numpy(), data.labels.numpy(), round(none * len(data)))
    clean, clean_labels = forms.digits(forms.plain, len(no) // 10, seed=1)
    quick, quick_labels = forms.digits(forms.hurried, int(hurried * len(data)), seed=2)
    typed, typed_labels = forms.digits(forms.printed, int(printed * len(data)), seed=4)
    images = [data.images, *map(torch.from_numpy, (no, clean, quick, typed))]
    labels = [data.labels, torch.full((len(no),), len(data.classes))]
    labels += map(torch.from_numpy, (clean_labels, quick_labels, typed_labels))
    return replace(data, images=torch.cat(images), labels=torch.cat(labels))


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
            return signs.scribble(random)
        return inside(images[random.choice(which)])

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

    def joined() -> Bytes:
        above, below = digit("0123456789"), digit("0123456789")
        width = max(above.shape[1], below.shape[1])
        out = np.zeros((20, width), np.uint8)
        for part, rows in ((above, slice(0, 10)), (below, slice(10, 20))):
            left, top = (width - part.shape[1]) // 2, 20 - part.shape[0] if rows.start else 0
            whole = np.zeros_like(out)
            whole[top : top + part.shape[0], left : left + part.shape[1]] = part
            out[rows] = whole[rows]
        return out

    kinds: dict[Callable[[], Bytes], float] = {
        lambda: signs.sign(random): 0.45,
        lambda: signs.scribble(random): 0.2,
        several: 0.1,
        sideways: 0.05,
        mirrored: 0.05,
        exchanged: 0.05,
        half: 0.05,
        joined: 0.05,
    }
    chosen = random.choice(len(kinds), count, p=list(kinds.values()))
    out = np.zeros((count, 28, 28), np.uint8)
    makers = list(kinds)
    for i, kind in enumerate(chosen):
        out[i] = place(inside(np.ascontiguousarray(makers[kind]())), 28)
    return out
