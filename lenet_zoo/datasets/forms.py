"""Digits as a pen draws them, in the forms that people learn at school and in those that their hands make of them.

And the signs that people write among digits, as / and $, for networks that read numbers.

MNIST shows how Americans wrote in the 1990s. Elsewhere, and in haste, a 9 hangs its loop to the right of its stem, a 2
and a 7 end or begin in a loop, a 4 is a bolt or stands open, a 0 has a bar through it or does not close, a 1 has an
upstroke as long as itself. Each form is a few strokes of a few points, and no two pictures of one are alike: points
move, strokes begin late or end early, all is stretched and slanted.

Those of school are for networks that are shown signs of the same pen (`signs`) as none of these: they would take clean
straight strokes for such a sign. Those of type and of displays (`printed`) are drawn from forms of our own, too, and no
font was seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lenet_zoo.datasets.writers import drawn
from lenet_zoo.pictures.kernels import Bytes, Ints, box_of
from lenet_zoo.pictures.placing import even_stroke, place

__all__ = ["Pen", "Way", "digits", "ellipse", "framed", "hurried", "inside", "mark", "plain", "printed"]

Way: TypeAlias = NDArray[np.float64]
"""Points of a stroke, K×2: x to the right and y downwards."""
Pen: TypeAlias = Callable[[int, np.random.Generator], Bytes]
"""What draws a digit of a label: `plain`, `printed` or `hurried`."""


def digits(pen: Pen, count: int, seed: int) -> tuple[Bytes, Ints]:
    """`count` digits of one pen, 0 to 9 in turn, placed as all are: uint8 N×28×28, and their labels.

    The same seed gives the same pictures everywhere.
    """
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    pictures = np.zeros((count, 28, 28), np.uint8)
    for picture, label in zip(pictures, labels, strict=True):
        picture[:] = place(inside(pen(int(label), random)), 28)
    return pictures, labels


def inside(picture: Bytes) -> Bytes:
    """What lies in the box of a picture's ink."""
    top, bottom, left, right = box_of(picture >= min(100, int(picture.max())))
    return picture[top:bottom, left:right]


def plain(label: int, random: np.random.Generator) -> Bytes:
    """A digit of bars, arcs and rings, as from a school book or a display: uint8, 20 pixels along its longer side."""
    forms = _PLAIN[label]
    strokes = forms[random.integers(len(forms))]
    narrow = 0.5 if label == 1 else 1.0
    frame = np.array([random.uniform(0.45, 1.1) * narrow, 1.0])
    slant = random.normal(0, 0.1)
    moved = [one + random.normal(0, 0.03, one.shape) for one in strokes]
    return drawn(framed(moved, -slant, frame), random.uniform(2.0, 3.4))


def printed(label: int, random: np.random.Generator) -> Bytes:
    """A digit as type has it, or a display, or its outline: uint8, 40 pixels along its longer side.

    Strokes are as wide as a marker's or as a hair, upright ones up to four times as wide as lying ones, with serifs or
    without, narrow to wide, upright or as italics. The seven segments of a display may stand apart. One in seven is the
    outline of a fat digit; not of a 1, which would be a 0.
    """
    if label != 1 and random.random() < 0.15:
        return _outline(label, random)
    narrow, flat = 1.0, 1.0
    if random.random() < 0.25:
        lit = _LIT[label]
        gap = random.choice([0.0, 1.0]) * random.uniform(0.02, 0.16)
        frame = np.array([random.uniform(0.4, 0.8), 1.0])
        strokes = [_SEGMENTS[one] for one in lit[random.integers(len(lit))]]
        # Lying segments are shortened less: half as far apart, in a frame that is half as wide as high.
        strokes = [one + (one[::-1] - one) * gap * (0.5 if one[0, 1] == one[1, 1] else 1) for one in strokes]
    else:
        forms = _PRINTED[label]
        strokes, serifs = forms[random.integers(len(forms))]
        narrow = 0.6 if label == 1 else 1.0
        frame = np.array([random.uniform(0.4, 0.9) * narrow, 1.0])
        flat = random.uniform(0.25, 1.0)
        if random.random() < 0.5:
            reach = random.uniform(0.12, 0.3) / narrow
            strokes = strokes + [_way((x - reach, y), (x + reach, y)) for x, y in serifs]
    slant = random.choice([0.0, 1.0]) * random.uniform(0.1, 0.3)
    moved = [one + random.normal(0, 0.012, one.shape) for one in strokes]
    pen = random.uniform(2.5, min(11, 13 * frame[0] / narrow))
    return even_stroke(drawn(framed(moved, -slant, frame), pen, 40, flat))


def _outline(label: int, random: np.random.Generator) -> Bytes:
    """The outline of a fat digit, of school's forms or of type."""
    forms = [*_PLAIN[label], *(strokes for strokes, _ in _PRINTED[label])]
    strokes = forms[random.integers(len(forms))][: 1 if label == 0 else None]  # a 0 without what is in it
    frame = np.array([random.uniform(0.6, 1.0), 1.0])
    moved = [_rounded(one, 0.2) + random.normal(0, 0.02, (2 * len(one) - 2, 2)) for one in strokes]
    solid = drawn(framed(moved, -random.normal(0.05, 0.12), frame), random.uniform(7, 10), 40) >= 128
    inner = solid = np.pad(solid, 1)
    for _ in range(random.integers(1, 3)):
        inner = inner & np.roll(inner, 1, 0) & np.roll(inner, -1, 0) & np.roll(inner, 1, 1) & np.roll(inner, -1, 1)
    return even_stroke((solid & ~inner).astype(np.uint8) * 255)


def hurried(label: int, random: np.random.Generator) -> Bytes:
    """A digit as a quick hand writes it, in a form that MNIST hardly has: uint8, 20 pixels along its longer side."""
    forms = _HURRIED[label]
    strokes = forms[random.integers(len(forms))]
    frame = np.array([random.uniform(0.5, 1.1) * (0.7 if label == 1 else 1.0), 1.0])
    slant = random.normal(0.2, 0.2)
    moved = []
    for one in strokes:
        way = one + random.normal(0, 0.045, one.shape)
        for end, inner in ((0, 1), (-1, -2)):  # a stroke begins late or early, and ends so
            way[end] += (way[inner] - way[end]) * random.uniform(-0.25, 0.3)
        moved.append(_rounded(_rounded(way, random.uniform(0.15, 0.3)), 0.25))
    return drawn(framed(moved, -slant, frame), random.uniform(1.8, 3.4))


def mark(random: np.random.Generator) -> list[Way]:
    """A sign that stands among digits and is none: its strokes, in heights of a digit, whose head is at y = 0."""
    names = list(_MARKS)
    _, forms, straight = _MARKS[names[random.choice(len(names), p=_MARK_SHARES)]]
    strokes = [one + random.normal(0, 0.03, one.shape) for one in forms[random.integers(len(forms))]]
    if not straight:
        strokes = [_rounded(one, 0.25) for one in strokes]
    frame = np.array([random.uniform(0.75, 1.3), random.uniform(0.85, 1.1)])
    around = np.array([0, 0.5])  # what stands high, or low, goes on doing so
    return [one + around for one in framed([one - around for one in strokes], -random.normal(0.08, 0.1), frame)]


def _rounded(way: Way, share: float) -> Way:
    """With each corner cut off, `share` of both its sides."""
    before, after = way[:-1] * (1 - share) + way[1:] * share, way[:-1] * share + way[1:] * (1 - share)
    before[0], after[-1] = way[0], way[-1]
    return np.stack([before, after], 1).reshape(-1, 2)


def framed(strokes: list[Way], slant: float, frame: NDArray[np.float64]) -> list[Way]:
    """Sheared, what lies lower to the right for a `slant` above 0, then stretched by the x and y of `frame`."""
    return [(one + one[:, 1:] * [slant, 0]) * frame for one in strokes]


def ellipse(middle: NDArray[np.float64], radius: NDArray[np.float64], angles: NDArray[np.float64]) -> Way:
    """Points at `angles`, clockwise from its right end."""
    return middle + radius * np.stack([np.cos(angles), np.sin(angles)], 1)


def _ring(x: float, y: float, across: float, down: float, start: float = 0, end: float = 360) -> Way:
    """A part of an ellipse from one angle to another, in degrees clockwise from its right end."""
    return ellipse(np.array([x, y]), np.array([across, down]), np.radians(np.linspace(start, end, 9)))


def _way(*points: tuple[float, float]) -> Way:
    return np.array(points, float)


def _then(*ways: Way) -> Way:
    """One stroke of several parts."""
    return np.concatenate(ways)


# x to the right and y downwards, from 0 to 1 over the digit.
_MIDDLE = _way((0, 0.5), (1, 0.5))
_SQUARE = _way((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))
_SEVEN = _way((0, 0), (1, 0), (0.3, 1))
_PLAIN: list[list[list[Way]]] = [
    [[_ring(0.5, 0.5, 0.5, 0.5, -90, 270)], [_SQUARE]],
    [
        [_way((0.5, 0), (0.5, 1))],
        [_way((0, 0.3), (1, 0), (1, 1))],
        [_way((0, 0.5), (1, 0), (1, 1))],
        [_way((0.1, 0.25), (0.5, 0), (0.5, 1)), _way((0, 1), (1, 1))],
    ],
    [
        [_way((0, 0), (1, 0), (1, 0.5), (0, 0.5), (0, 1), (1, 1))],
        [_then(_ring(0.5, 0.3, 0.5, 0.3, 190, 390), _way((0, 1), (1, 1)))],
    ],
    [
        [_way((0, 0), (1, 0), (1, 1), (0, 1)), _MIDDLE],
        [_ring(0.45, 0.25, 0.45, 0.25, 200, 450), _ring(0.45, 0.75, 0.55, 0.25, 270, 520)],
        [_then(_way((0, 0), (1, 0), (0.4, 0.4)), _ring(0.4, 0.7, 0.6, 0.3, 290, 500))],
    ],
    [
        [_way((0, 0), (0, 0.5), (1, 0.5)), _way((1, 0), (1, 1))],
        [_way((0.3, 0), (0, 0.6), (1, 0.6)), _way((0.8, 0.2), (0.7, 1))],
        [_way((0.7, 0), (0, 0.65), (1, 0.65)), _way((0.7, 0), (0.7, 1))],
    ],
    [
        [_way((1, 0), (0, 0), (0, 0.5), (1, 0.5), (1, 1), (0, 1))],
        [_then(_way((0.1, 0), (0.1, 0.45)), _ring(0.4, 0.69, 0.6, 0.31, 230, 510)), _way((0.1, 0), (0.9, 0))],
    ],
    [
        [_way((1, 0), (0, 0), (0, 1), (1, 1), (1, 0.5), (0, 0.5))],
        [_way((0, 0), (0, 1), (1, 1), (1, 0.5), (0, 0.5))],
        [_then(_way((0.8, 0), (0.2, 0.4)), _ring(0.5, 0.7, 0.5, 0.3, 180, -180))],
    ],
    [
        [_SEVEN],
        [_SEVEN, _way((0.2, 0.5), (1, 0.5))],
        [_way((0, 0), (1, 0), (1, 1))],
        [_way((0, 0.25), (0, 0), (1, 0), (1, 1))],
        [_way((0, 0), (1, 0), (0.5, 0.5), (0.4, 1)), _way((0.1, 0.55), (0.9, 0.5))],
        [_way((0, 0.05), (0.5, 0), (1, 0.05), (0.95, 0.35), (0.5, 0.55), (0, 0.55)), _way((0.5, 0.55), (0.3, 1))],
    ],
    [
        [_SQUARE, _MIDDLE],
        [_ring(0.5, 0.25, 0.42, 0.25, 90, 450), _ring(0.5, 0.75, 0.5, 0.25, -90, 270)],
    ],
    [
        [_way((1, 0.5), (0, 0.5), (0, 0), (1, 0), (1, 1), (0, 1))],
        [_way((1, 0.5), (0, 0.5), (0, 0), (1, 0), (1, 1))],
        [_then(_ring(0.5, 0.3, 0.5, 0.3, 0, -360), _way((0.9, 1)))],
        [_then(_ring(0.5, 0.3, 0.5, 0.3, 0, -360), _way((0.8, 0.85), (0.3, 1)))],
    ],
]

# Of a display: the ends of each segment, and those that are lit.
_SEGMENTS = {
    "a": _way((0, 0), (1, 0)), "b": _way((1, 0), (1, 0.5)), "c": _way((1, 0.5), (1, 1)), "d": _way((0, 1), (1, 1)),
    "e": _way((0, 0.5), (0, 1)), "f": _way((0, 0), (0, 0.5)), "g": _way((0, 0.5), (1, 0.5)),
}  # fmt: skip
_LIT = (
    ("abcdef",), ("bc",), ("abged",), ("abgcd",), ("fgbc",), ("afgcd",), ("afgedc", "afgedc", "fgedc"), ("abc", "fabc"),
    ("abcdefg",), ("abcdfg", "abcfg"),
)  # fmt: skip
# Forms of type: their strokes, and where serifs go.
_FLAG = _way((0.15, 0.22), (0.6, 0.02))
_PRINTED: list[list[tuple[list[Way], list[tuple[float, float]]]]] = [
    [
        ([_ring(0.5, 0.5, 0.5, 0.5, -90, 270)], []),
        ([_ring(0.5, 0.5, 0.5, 0.5, -90, 270)], []),
        ([_ring(0.5, 0.5, 0.5, 0.5, -90, 270), _way((0.25, 0.75), (0.75, 0.25))], []),
        ([_ring(0.5, 0.5, 0.5, 0.5, -90, 270), _way((0.5, 0.45), (0.5, 0.55))], []),
    ],
    [
        ([_FLAG, _way((0.6, 0), (0.6, 1))], [(0.6, 1)]),
        ([_way((0.1, 0.15), (0.45, 0.12), (0.6, 0)), _way((0.6, 0), (0.6, 1))], [(0.6, 1)]),
        ([_way((0.2, 0.2), (0.6, 0.15)), _way((0.6, 0), (0.6, 1))], [(0.6, 1)]),
        ([_FLAG, _way((0.6, 0), (0.6, 1)), _way((0, 1), (1.2, 1))], []),
        ([_way((0.2, 0), (0.6, 0), (0.6, 1))], [(0.6, 1)]),
    ],
    [
        ([_then(_ring(0.5, 0.3, 0.48, 0.3, 190, 395), _way((0.5, 0.72), (0, 1), (1, 1)))], []),
        ([_then(_ring(0.5, 0.3, 0.48, 0.3, 190, 380), _way((0.6, 0.65), (0.15, 0.85), (0, 1), (1, 1)))], []),
        ([_then(_ring(0.5, 0.3, 0.48, 0.3, 190, 395), _way((0, 1), (1, 1), (1, 0.85)))], []),
    ],
    [
        ([_ring(0.45, 0.25, 0.45, 0.25, 200, 450), _ring(0.45, 0.75, 0.55, 0.25, 270, 520)], []),
        ([_ring(0.45, 0.24, 0.42, 0.24, 190, 440), _ring(0.45, 0.73, 0.5, 0.27, 280, 530)], []),
        ([_then(_way((0, 0), (1, 0), (0.4, 0.4)), _ring(0.4, 0.7, 0.6, 0.3, 290, 500))], []),
    ],
    [
        ([_way((0.7, 0), (0, 0.68), (1, 0.68)), _way((0.7, 0), (0.7, 1))], [(0.7, 1)]),
        ([_way((0.75, 0), (0, 0.72), (1.05, 0.72)), _way((0.75, 0), (0.75, 1))], [(0.75, 1)]),
        ([_way((0.5, 0), (0, 0.7), (1, 0.7)), _way((0.72, 0.4), (0.72, 1))], [(0.72, 1)]),
    ],
    [
        ([_then(_way((0.1, 0), (0.1, 0.45)), _ring(0.4, 0.69, 0.6, 0.31, 230, 510)), _way((0.1, 0), (0.9, 0))], []),
        ([_then(_way((0.15, 0), (0.08, 0.5)), _ring(0.45, 0.69, 0.52, 0.31, 220, 515)),
          _way((0.15, 0), (0.92, 0))], []),
        ([_then(_way((0.15, 0), (0.08, 0.5)), _ring(0.45, 0.69, 0.52, 0.31, 240, 515)),
          _way((0.15, 0), (0.8, 0.02), (0.9, -0.05))], []),
    ],
    [
        ([_ring(0.5, 0.68, 0.5, 0.32, 180, 540), _ring(0.6, 0.5, 0.6, 0.5, 180, 290)], []),
        ([_ring(0.5, 0.68, 0.5, 0.32, 180, 540), _ring(0.52, 0.4, 0.52, 0.4, 180, 330), _way((0, 0.4), (0, 0.68))], []),
        ([_then(_way((0.85, 0), (0.3, 0.3), (0.02, 0.6)), _ring(0.5, 0.7, 0.5, 0.3, 180, -180))], []),
        ([_then(_way((0.7, 0), (0.12, 0.5)), _ring(0.5, 0.7, 0.5, 0.3, 200, -160))], []),
    ],
    [
        ([_way((0, 0), (1, 0), (0.4, 1))], []),
        ([_way((0, 0), (1, 0), (0.5, 0.5), (0.38, 1))], []),
        ([_way((0, 0.15), (0, 0), (1, 0), (0.35, 1))], []),
        ([_way((0, 0.12), (0.2, 0), (1, 0), (0.35, 1))], []),
    ],
    [
        ([_ring(0.5, 0.25, 0.42, 0.25, 90, 450), _ring(0.5, 0.75, 0.5, 0.25, -90, 270)], []),
        ([_ring(0.5, 0.23, 0.4, 0.23, 90, 450), _ring(0.5, 0.73, 0.5, 0.27, -90, 270)], []),
    ],
    [
        ([_ring(0.5, 0.32, 0.5, 0.32, 0, 360), _ring(0.4, 0.5, 0.6, 0.5, 0, 110)], []),
        ([_ring(0.5, 0.32, 0.5, 0.32, 0, 360), _ring(0.48, 0.6, 0.52, 0.4, 0, 150), _way((1, 0.6), (1, 0.32))], []),
        ([_then(_ring(0.5, 0.3, 0.5, 0.3, 0, -360), _way((0.98, 0.4), (0.7, 0.7), (0.15, 1)))], []),
        ([_then(_ring(0.5, 0.3, 0.5, 0.3, 20, -340), _way((0.88, 0.5), (0.3, 1)))], []),
    ],
]  # fmt: skip

_HURRIED: list[list[list[Way]]] = [
    [
        [_ring(0.5, 0.5, 0.5, 0.5, -90, 270), _way((-0.05, 0.5), (1.05, 0.5))],  # barred
        [_ring(0.5, 0.5, 0.5, 0.5, -60, 300), _way((0.15, 0.85), (0.85, 0.15))],  # slashed
        [_ring(0.5, 0.45, 0.5, 0.45, -90, 270), _way((0, 0.92), (1, 0.92))],  # on a line
        [_ring(0.5, 0.5, 0.5, 0.5, -40, -300)],  # open, to the right or above
        [_then(_way((0.95, 0.0), (0.5, 0.05)), _ring(0.45, 0.52, 0.45, 0.48, -120, -400))],  # with a roof
        [_then(_ring(0.45, 0.52, 0.45, 0.48, -60, -400), _way((0.7, 0.1), (1.2, 0.12)))],  # goes on to the next one
        [_then(_way((0.3, 0.2)), _ring(0.5, 0.5, 0.5, 0.5, -100, 270), _way((0.75, 0.2)))],  # begins and ends within
        [_then(_way((0.2, 0.4), (0.9, 0.15)), _ring(0.5, 0.5, 0.5, 0.5, -70, -390))],
    ],
    [
        [_way((0, 0.75), (0.8, 0), (1, 1))],
        [_way((0, 0.95), (0.6, 0), (1, 1))],
        [_way((0.1, 0.55), (0.4, 0.3), (0.8, 0), (0.75, 1))],
        [_way((0, 0.5), (0.7, 0), (0.6, 1)), _way((0.1, 1), (1.1, 1))],
        [_way((0.05, 0.85), (0.15, 0.95), (0.75, 0), (0.7, 1))],
        [_way((0, 0.6), (0.6, 0.25), (0.85, 0.05), (0.7, 0), (0.55, 0.25), (0.5, 1))],  # with a loop for a head
        [_way((0.2, 0.5), (0.65, 0), (0.6, 0.5), (0.6, 1), (0.85, 0.95))],  # with a foot that goes on
    ],
    [
        # With a loop at its foot, below a head that is open or curls.
        [_way((0.05, 0.25), (0.45, 0), (0.85, 0.2), (0.6, 0.65), (0.2, 0.98), (0.02, 0.88), (0.2, 0.76), (0.5, 0.9),
              (1, 0.95))],
        [_way((0.35, 0.38), (0.12, 0.22), (0.5, 0), (0.85, 0.22), (0.55, 0.7), (0.2, 1), (0, 0.88), (0.2, 0.76),
              (0.55, 0.92), (1, 0.9))],
        [_way((0.4, 0.32), (0.1, 0.25), (0.45, 0), (0.85, 0.25), (0.5, 0.65), (0.1, 0.97), (0, 0.75), (0.25, 0.62),
              (0.6, 0.85), (1, 1))],
        [_way((0.2, 0.3), (0.15, 0.1), (0.55, 0), (0.8, 0.2), (0.4, 0.65), (0, 0.95), (0.3, 0.8), (0.6, 1), (1, 0.8))],
        [_way((0.3, 0.4), (0.1, 0.2), (0.5, 0), (0.9, 0.25), (0.5, 0.7), (0, 1), (1, 0.97))],
        [_way((0.6, 0.3), (0.3, 0.4), (0.15, 0.2), (0.5, 0), (0.85, 0.22), (0.5, 0.7), (0.05, 1), (0.3, 0.88),
              (0.95, 1))],
        [_way((0, 0.15), (0.5, 0), (0.8, 0.2), (0, 0.95), (0.45, 0.85), (1, 1))],
        [_way((0, 0.1), (0.8, 0.05), (0.75, 0.3), (0, 1), (1, 0.95))],  # as a Z
    ],
    [
        [_way((0, 0.05), (0.9, 0), (0.4, 0.38), (0.85, 0.6), (0.6, 0.95), (0, 0.95))],
        [_way((0.05, 0.12), (0.5, 0), (0.75, 0.18), (0.35, 0.42), (0.3, 0.5), (0.45, 0.45), (0.95, 0.68), (0.5, 1),
              (0, 0.88))],  # with a loop at its waist
        [_way((0.2, 0.1), (0.6, 0), (0.7, 0.15), (0.4, 0.35), (0.85, 0.5), (0.6, 0.95), (0, 1))],
        [_way((0.1, 0.2), (0.35, 0), (0.55, 0.2), (0.8, 0.02), (0.95, 0.2), (0.6, 0.45), (0.85, 0.7), (0.45, 1),
              (0, 0.85))],  # with a wave above
        [_way((0, 0.2), (0.3, 0), (0.9, 0.05), (0.45, 0.4), (0.9, 0.55), (0.75, 0.9), (0.35, 1), (0.15, 0.8))],
        [_way((0.35, 0.15), (0.7, 0), (0.75, 0.18), (0.4, 0.38), (0.7, 0.5), (0.55, 0.92), (0.1, 1), (0.05, 0.85))],
    ],
    [
        [_way((0.45, 0), (0, 0.68), (1, 0.6)), _way((0.7, 0.35), (0.55, 1))],
        [_way((0.55, 0), (0.1, 0.6), (0.1, 0.7), (0.9, 0.62)), _way((0.65, 0.4), (0.6, 1))],
        [_way((0.5, 0), (0.05, 0.75), (0.55, 0.55), (0.75, 0.4), (0.6, 1))],  # in one stroke
        [_way((0.3, 0), (0.1, 0.45), (0.3, 0.55), (0.8, 0.4), (0.6, 0.6), (0.45, 1))],  # a bolt
        [_way((0, 0.05), (0, 0.45), (0.3, 0.55), (0.8, 0.5)), _way((0.9, 0), (0.55, 1))],
        [_way((0.1, 0.1), (0, 0.5), (0.9, 0.45)), _way((0.75, 0.15), (0.55, 1))],
        [_way((0.3, 0.1), (0.05, 0.6), (1, 0.5)), _way((0.8, 0), (0.45, 1))],
    ],
    [
        [_way((1, 0), (0.3, 0.03), (0.2, 0.42), (0.75, 0.5), (0.75, 0.85), (0.35, 1), (0, 0.88))],  # as an S
        [_way((0.9, 0.15), (0.6, 0), (0.25, 0.1), (0.2, 0.4), (0.8, 0.55), (0.7, 0.95), (0.2, 1), (0, 0.8))],
        [_way((1, 0), (0.35, 0.3), (0.8, 0.55), (0.1, 1))],
        [_way((0.3, 0.05), (0.18, 0.42), (0.6, 0.42), (0.72, 0.75), (0.4, 1), (0, 0.9)), _way((0.4, 0.02), (1, 0.05))],
        # Its roof bends down.
        [_way((0.3, 0.1), (0.15, 0.45), (0.55, 0.45), (0.65, 0.75), (0.35, 1), (0, 0.9)),
         _way((0.3, 0.08), (0.7, 0.05), (1, 0.1), (0.95, 0.5))],
        [_way((0.3, 0.1), (0.15, 0.4), (0.5, 0.5), (0.5, 0.85), (0.2, 1), (0, 0.85)),
         _way((0.3, 0.08), (0.6, 0.02), (0.95, 0.1), (0.8, 0.5), (0.95, 0.9))],
        [_way((0.3, 0.02), (0.2, 0.45), (0.35, 0.6), (0.3, 0.95), (0, 0.85)), _way((0.3, 0), (1, 0.03))],
        [_way((0, 0.75), (0.25, 1), (0.5, 0.75), (0.35, 0.45), (0.45, 0.02), (1.1, 0.05))],
        # Its roof stands off.
        [_way((0.2, 0.12), (0.12, 0.45), (0.6, 0.42), (0.7, 0.8), (0.3, 1), (0, 0.85)), _way((0.5, -0.1), (1, -0.15))],
        [_way((0.35, 0.2), (0.25, 0.45), (0.65, 0.5), (0.55, 0.9), (0.1, 1), (0, 0.85)),
         _way((0.4, 0.15), (0.6, 0.03), (0.75, 0.1), (1, 0))],
        [_way((0.25, 0.05), (0.2, 0.4), (0.7, 0.45), (0.8, 0.75), (0.4, 1), (0.05, 0.9), (0.2, 0.8)),
         _way((0.3, 0.1), (0.6, 0), (0.9, 0.05))],
    ],
    [
        [_then(_way((0.75, -0.3), (0.15, 0.35)), _ring(0.5, 0.65, 0.5, 0.35, 190, -110))],  # hardly a stem
        [_then(_way((0.9, 0.02), (0.6, 0), (0.15, 0.4)), _ring(0.45, 0.72, 0.42, 0.28, 180, -190))],
        [_way((0.5, 0), (0.1, 0.55), (0.15, 0.92), (0.55, 0.98), (0.85, 0.8), (0.6, 0.62), (0.3, 0.8))],
        [_way((0.7, 0), (0.2, 0.55), (0.1, 0.9), (0.4, 1), (0.65, 0.78), (0.4, 0.65), (0.15, 0.82))],
        [_way((0.35, 0), (0.1, 0.6), (0.3, 1), (0.8, 0.85), (0.7, 0.6), (0.05, 0.7))],
        [_way((0.3, 0.15), (0.55, 0), (0.6, 0.12), (0.15, 0.55), (0.25, 0.95), (0.75, 0.9), (0.7, 0.65), (0.15, 0.75))],
    ],
    [
        [_way((0, 0.12), (0.2, 0.02), (0.5, 0.1), (1, 0), (0.4, 1))],  # with a wave
        [_way((0.15, 0.2), (0.25, 0.06), (0.55, 0.12), (0.95, 0), (0.35, 1))],
        [_way((0, 0.12), (0.15, 0.02), (0.55, 0.1), (1, 0), (0.6, 0.5), (0.45, 1)), _way((0.2, 0.55), (1, 0.48))],
        [_way((0, 0.3), (0.1, 0.05), (0.5, 0.08), (1, 0.05), (0.5, 0.6), (0.4, 1))],
        [_way((0.2, 0.05), (0.8, 0), (0.5, 1)), _way((0, 0.5), (1, 0.42))],
        [_way((0, 0.25), (0.15, 0.05), (0.8, 0.1), (0.75, 0.4), (0.45, 1)), _way((0.15, 0.6), (1, 0.5))],
        [_way((0, 0.35), (0.2, 0.08), (0.75, 0), (0.9, 0.35), (0.55, 0.65), (0.45, 1)),
         _way((0.05, 0.62), (1, 0.52))],
        [_way((0.1, 0.2), (0.25, 0.02), (0.4, 0.25), (0.85, 0.02), (0.6, 0.5), (0.45, 1)),
         _way((0.1, 0.6), (0.9, 0.55))],
        [_way((0.1, 0.25), (0.25, 0.05), (0.1, 0), (0.2, 0.15), (0.9, 0.05), (0.55, 0.55), (0.5, 1))],
        [_way((0.1, 0), (0.85, 0.05), (0.75, 0.45), (0.1, 0.65), (0.2, 0.5), (1, 0.55)), _way((0.7, 0.5), (0.5, 1))],
        [_way((0.05, 0.02), (0.9, 0.05), (0.5, 0.5), (0.4, 1)), _way((0.15, 0.5), (0.95, 0.5))],
    ],
    [
        # Open above.
        [_way((0.95, 0.05), (0.5, 0), (0.1, 0.2), (0.5, 0.48), (0.9, 0.78), (0.5, 1), (0.1, 0.78), (0.5, 0.48),
              (0.95, 0.2))],
        [_way((0.9, 0.15), (0.6, 0), (0.3, 0.2), (0.65, 0.55), (0.5, 0.95), (0.1, 0.9), (0.2, 0.65), (0.8, 0.35),
              (0.95, 0.05))],
        [_way((0.1, 0.1), (0.2, 0.35), (0.7, 0.55), (0.85, 0.85), (0.45, 1), (0.1, 0.8), (0.4, 0.5), (0.8, 0.25),
              (0.85, 0))],
        [_way((0.8, 0.1), (0.5, 0), (0.15, 0.2), (0.7, 0.6), (0.75, 0.9), (0.35, 1), (0.1, 0.8), (0.8, 0.3),
              (0.75, 0.1))],
        [_way((0.45, 0.2), (0.8, 0.25), (0.9, 0.05), (0.4, 0), (0.15, 0.2), (0.6, 0.5), (0.8, 0.8), (0.4, 1),
              (0.05, 0.8), (0.3, 0.5), (0.6, 0.35))],  # with a curl
        [_then(_ring(0.6, 0.2, 0.3, 0.2, 60, -250), _way((0.7, 0.6), (0.7, 0.9), (0.3, 1), (0.05, 0.8), (0.6, 0.4)))],
        [_ring(0.55, 0.2, 0.38, 0.2, 110, -230), _ring(0.5, 0.72, 0.5, 0.28, -60, 290)],
    ],
    [
        # Its loop to the right of its stem: the pen begins below the loop, and goes round it against the clock.
        [_way((0.2, 0.52), (0.65, 0.5), (0.95, 0.25), (0.6, 0), (0.2, 0.15), (0.15, 0.5), (0.2, 1))],
        [_way((0, 0.5), (0.5, 0.5), (0.95, 0.25), (0.6, 0), (0.25, 0.2), (0.3, 0.55), (0.45, 1))],
        [_way((0, 0.4), (0.5, 0.42), (0.8, 0.18), (0.5, 0), (0.15, 0.2), (0.35, 0.6), (0.55, 0.85), (0.4, 1))],
        [_way((0.1, 0.45), (0.5, 0.5), (0.9, 0.25), (0.55, 0), (0.1, 0.25), (0.5, 0.6), (0.95, 1))],
        [_way((0.4, 0.5), (0.75, 0.42), (0.8, 0.12), (0.45, 0), (0.2, 0.25), (0.25, 0.6), (0.15, 1))],
        # With a small loop, or one that does not close.
        [_then(_ring(0.4, 0.22, 0.4, 0.22, -30, -330), _way((0.85, 0.05), (0.6, 0.5), (0.35, 1)))],
        [_way((0.8, 0.1), (0.4, 0), (0.1, 0.25), (0.4, 0.42), (0.85, 0.1), (0.75, 0.55), (0.5, 1))],
        [_way((0.85, 0.1), (0.6, 0), (0.35, 0.25), (0.45, 0.4), (0.9, 0.1), (0.4, 1))],
        [_way((0.85, 0.1), (0.5, 0), (0.15, 0.25), (0.4, 0.42), (0.85, 0.15), (0.7, 0.7), (0.2, 1), (0, 0.85))],
        [_way((0.75, 0.05), (0.2, 0.1), (0.15, 0.4), (0.8, 0.3), (0.9, 0.1), (0.8, 0.7), (0.45, 1), (0.05, 0.9))],
        [_way((0.8, 0.25), (0.4, 0.45), (0.1, 0.2), (0.5, 0), (0.85, 0.2), (0.8, 0.7), (0.35, 1), (0.1, 0.8),
              (0.5, 0.75))],
    ],
]  # fmt: skip

_S = _way(
    (0.5, 0.15), (0.4, 0.02), (0.15, 0.05), (0.05, 0.25), (0.3, 0.5), (0.5, 0.7), (0.42, 0.95), (0.15, 0.98), (0, 0.82)
)
_C = _ring(0.45, 0.5, 0.4, 0.5, -45, -315)
_OPEN, _CLOSED = _ring(0.75, 0.5, 0.7, 0.95, 222, 138), _ring(-0.45, 0.5, 0.7, 0.95, -42, 42)
_POINT = _way((0, 0.88), (0.03, 0.93))
# Share, forms, and whether their corners stay. None that a hand may take for a digit: a ! or | is a 1, a ? is a 7.
_MARKS: dict[str, tuple[float, list[list[Way]], bool]] = {
    "/": (0.22, [[_way((0.45, -0.1), (0, 1.1))], [_way((0.65, -0.15), (0, 1.15))], [_way((0.65, 0), (0, 1))],
                 [_way((0.8, 0.05), (0, 0.95))]], True),
    "$": (0.12, [[_S, _way((0.27, -0.15), (0.25, 1.15))], [_S, _way((0.2, -0.12), (0.2, 1.12)),
                 _way((0.34, -0.12), (0.34, 1.12))], [_S, _way((0.3, -0.15), (0.28, 0.1)),
                 _way((0.26, 0.9), (0.25, 1.15))]], False),
    "€": (0.08, [[_C, _way((-0.1, 0.4), (0.6, 0.38)), _way((-0.1, 0.6), (0.5, 0.58))]], False),
    "£": (0.05, [[_way((0.6, 0.2), (0.5, 0), (0.25, 0.05), (0.25, 0.5), (0.25, 0.85), (0, 1), (0.35, 0.93), (0.7, 1)),
                  _way((0.02, 0.5), (0.5, 0.5))]], False),
    "¥": (0.02, [[_way((0, 0), (0.3, 0.45), (0.6, 0)), _way((0.3, 0.45), (0.3, 1)), _way((0.05, 0.55), (0.55, 0.55)),
                  _way((0.05, 0.72), (0.55, 0.72))]], True),
    "%": (0.12, [[_way((0.75, 0), (0.05, 1)), _ring(0.13, 0.2, 0.13, 0.17), _ring(0.7, 0.8, 0.13, 0.17)],
                 [_way((0.65, 0), (0.1, 1)), _ring(0.05, 0.28, 0.15, 0.2), _ring(0.7, 0.72, 0.15, 0.2)]], False),
    "(": (0.07, [[_OPEN]], False),
    ")": (0.07, [[_CLOSED]], False),
    "[ ]": (0.03, [[_way((0.25, -0.08), (0, -0.08), (0, 1.08), (0.25, 1.08))],
                   [_way((0, -0.08), (0.25, -0.08), (0.25, 1.08), (0, 1.08))]], True),
    "+": (0.06, [[_way((0.25, 0.22), (0.25, 0.78)), _way((0, 0.5), (0.5, 0.5))]], True),
    "×": (0.05, [[_way((0, 0.3), (0.45, 0.8)), _way((0.45, 0.3), (0, 0.8))]], True),
    ":": (0.05, [[_POINT, _POINT - [0, 0.5]], [_POINT, _POINT - [0, 0.75]], [_POINT - [0, 0.15], _POINT - [0, 0.5]]],
          True),
    "'": (0.03, [[_way((0.08, 0), (0.03, 0.25))]], True),
    "< >": (0.02, [[_way((0.5, 0.2), (0, 0.5), (0.5, 0.8))], [_way((0, 0.2), (0.5, 0.5), (0, 0.8))]], True),
    "~": (0.01, [[_way((0, 0.55), (0.2, 0.42), (0.4, 0.58), (0.6, 0.45))]], False),
}  # fmt: skip
_MARK_SHARES = np.array([share for share, _, _ in _MARKS.values()])
