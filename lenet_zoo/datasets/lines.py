"""Lines of several digits made of pictures of one: what a network that reads numbers is trained and measured on.

A line is 28 px high, its digits some 20 px, as MNIST has one. `LineStyle` says how a line is written and what else is
on the paper; `APART` and `TOUCHING` are the two that figures are given for, `WRITTEN` is what `lenet5_modern.numbers`
was trained on. A digit's distortions are one affine map and a smooth displacement, as in `datasets.augment`.

Gaps are between ink and ink: for each row the distance from the last ink so far to the first ink of the next digit, and
of these (rows up to 2 px apart count too) the smallest. So a gap of 0 touches, whatever the slant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lenet_zoo.datasets.augment import Draws, augment
from lenet_zoo.datasets.line_marks import add_strokes, close, enclose, join, on_paper, separate, write_sign
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import InputError

__all__ = [
    "AMOUNT",
    "APART",
    "HEIGHT",
    "MEASURED",
    "MILD",
    "SIGNED",
    "TOUCHING",
    "WRITTEN",
    "LineMaker",
    "LineStyle",
    "Lines",
    "lines_of_five",
]

HEIGHT = 28
"""Pixels, of every line."""
# Of the picture that a digit is drawn on before it goes into the line: one that is scaled by 1.4 is not cut.
_FIELD = 36
_NEAR = 2  # rows that ink of one row may touch
_FAR = 10_000
_SIGN = 32  # columns that a sign takes, and the gap before it, at most
_ROOM = 8  # rows that a digit may be moved up or down


@dataclass(frozen=True)
class LineStyle:
    """How lines are written. Every amount is drawn anew for each line or digit, evenly between its limits.

    Attributes:
        gap: least and most pixels between two digits.
        touching: share of the neighbours that touch or overlap instead.
        overlap: up to so many pixels of ink of those lie upon each other.
        height: size of all digits of a line, least and most, as a part of 20 px.
        uneven: size × between 1/(1+uneven) and 1+uneven, for each digit.
        aspect: width × and height ÷ between 1/(1+aspect) and 1+aspect, for each line.
        stretch: width of each digit × between 1/(1+stretch) and 1+stretch; that of a 0 up to 1+2·stretch times more.
        slant: of a line, up to this tangent either way; for each digit a fifth of it more.
        rotation: of each digit, up to so many degrees either way.
        elastic: standard deviation of the displacement at the knots of a 5×5 grid over each digit, in pixels.
        thickness: ink up to this much heavier or lighter, for each line: 1 is a dilation or erosion by a pixel.
        wander: each digit stands up to so many pixels higher or lower; and so does the line.
        ink: the level of a line's ink × between these; full ink is 1, whatever comes out.
        strokes: share of the 1s with an upstroke to their head, and half that share of the 7s with a bar.
        round: share of lines that end in up to five zeros, wider and lower than other digits, many joined by strokes.
        joined: share of the neighbours that do not touch, but have a stroke from one to the next.
        separators: share of the gaps that hold a dot, a comma, a dash or two.
        enclosed: share of lines with #, =, * or a dash before the first digit, and of those with it after the last.
        signs: share of the gaps, and of the beginnings and ends of lines, that hold a sign as / $ € % ( + or :.
        ends: share of lines with marks after the last digit: these, a long dash, or small raised ones.
        rules: share of lines with a rule along them, or two.
        edges: share of lines with an upright edge of a box at an end.
        specks: share of lines with specks and soft noise.
        strangers: share of lines in which some digits are replaced by what is none: turned or mirrored ones.
        empty: share of lines without a digit.
    """

    gap: tuple[float, float] = (2.0, 10.0)
    touching: float = 0.0
    overlap: float = 2.0
    height: tuple[float, float] = (1.0, 1.0)
    uneven: float = 0.0
    aspect: float = 0.0
    stretch: float = 0.0
    slant: float = 0.0
    rotation: float = 0.0
    elastic: float = 0.0
    thickness: float = 0.0
    wander: float = 0.0
    ink: tuple[float, float] = (1.0, 1.0)
    strokes: float = 0.0
    round: float = 0.0
    joined: float = 0.0
    separators: float = 0.0
    enclosed: float = 0.0
    signs: float = 0.0
    ends: float = 0.0
    rules: float = 0.0
    edges: float = 0.0
    specks: float = 0.0
    strangers: float = 0.0
    empty: float = 0.0


APART = LineStyle()
"""MNIST's digits as they are, 2 to 10 px apart."""
TOUCHING = LineStyle(touching=1 / 3)
"""The same, but one pair of neighbours in three touches or overlaps by up to 2 px."""
WRITTEN = LineStyle(
    gap=(1.0, 12.0),
    touching=0.3,
    overlap=2.5,
    height=(0.85, 1.15),
    uneven=0.12,
    aspect=0.2,
    stretch=0.25,
    slant=0.25,
    rotation=6.0,
    elastic=0.5,
    thickness=0.5,
    wander=1.0,
    ink=(0.8, 2.0),
    strokes=0.4,
    round=0.2,
    joined=0.08,
    separators=0.12,
    ends=0.25,
    rules=0.15,
    edges=0.05,
    specks=0.12,
    strangers=0.03,
    empty=0.01,
)
"""As people write on forms and cheques, and what the way from picture to line leaves of the paper."""

AMOUNT = replace(
    WRITTEN,
    touching=0.35,
    uneven=0.18,
    slant=0.3,
    round=0.35,
    joined=0.12,
    separators=0.2,
    enclosed=0.25,
    rules=0.2,
)
"""As people write amounts of money, in haste: `WRITTEN`, and more of what makes those hard."""

SIGNED = replace(WRITTEN, separators=0.05, signs=0.25, ends=0.1)
"""`WRITTEN`, with signs: dates, prices, shares, telephone numbers."""

MILD = replace(
    TOUCHING, height=(0.95, 1.05), uneven=0.05, aspect=0.08, slant=0.1, rotation=5.0, elastic=0.5, thickness=0.25
)
"""`TOUCHING`, the digits a little distorted: that no network learns them by heart."""

MEASURED = {"apart": APART, "touching": TOUCHING, "written": WRITTEN}


@dataclass(frozen=True)
class Lines:
    """A batch of lines.

    Attributes:
        images: uint8 N×28×W, background 0, ink 255; a shorter line has background at its right.
        widths: of each line in pixels, int64 N.
        texts: the classes of its digits, from left to right.
        centres: the column of the middle of each of them.
    """

    images: Tensor
    widths: NDArray[np.int64]
    texts: tuple[tuple[int, ...], ...]
    centres: tuple[tuple[float, ...], ...]


class LineMaker:
    """Makes lines of a data set's digits.

    Args:
        data: pictures of single digits, 28×28, in grey.
        style: how they are written.
        seed: of everything that is drawn.
        more: (n, share): this share of the digits, besides what chance gives, are of the first n of the data set, which
            else would be too rare.

    Raises: InputError for pictures of another size or in colour.
    """

    def __init__(
        self, data: Dataset, style: LineStyle = WRITTEN, seed: int = 0, more: tuple[int, float] = (0, 0.0)
    ) -> None:
        if data.images.shape[1:] != (28, 28):
            shape = "×".join(map(str, data.images.shape[1:]))
            raise InputError(f"lines are made of pictures of 28×28 pixels in grey, {data.name} has {shape}")
        self.data, self.style = data, style
        self._first, self._share = more
        self._zeros = np.flatnonzero(data.labels.numpy() == 0)
        self._random = np.random.default_rng(seed)
        self._field = torch.zeros(0, _FIELD, _FIELD, dtype=torch.uint8)

    def make(self, count: int, digits: tuple[int, int] = (5, 5)) -> Lines:
        """`count` lines of `digits` (least and most) digits each."""
        least, most = digits
        if count < 1 or not 1 <= least <= most:
            raise InputError(f"{count} lines of {least} to {most} digits: at least one of each")
        random, style = self._random, self.style
        lengths = random.integers(least, most + 1, count)
        lengths[random.random(count) < style.empty] = 0
        total = int(lengths.sum())
        which = random.integers(0, len(self.data), total)
        if self._first:
            some = random.random(total) < self._share
            which[some] = random.integers(0, self._first, int(some.sum()))
        ends = lengths.cumsum()
        run = self._round(which, lengths, ends)
        labels = self.data.labels[torch.from_numpy(which)].numpy().copy()
        line = np.repeat(np.arange(count), lengths)
        pictures = self._distorted(which, labels == 0, run, line, count)
        add_strokes(pictures, labels, style.strokes, random)
        self._make_strange(pictures, labels, line, count)
        outlines = _Outlines(pictures > 0.15)  # what counts as ink when neighbours are brought together
        made = [
            self._line(pictures, labels, outlines, run, range(end - length, end))
            for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)
        ]
        widths = np.array([image.shape[1] for image, _, _ in made], np.int64)
        images = np.zeros((count, HEIGHT, int(widths.max())), np.uint8)
        for row, (image, _, _) in zip(images, made, strict=True):
            row[:, : image.shape[1]] = image
        return Lines(torch.from_numpy(images), widths, tuple(m[1] for m in made), tuple(m[2] for m in made))

    # -- the digits ---------------------------------------------------------------------------------------------

    def _between(self, limit: float, *shape: int) -> NDArray[np.float64]:
        return self._random.uniform(-limit, limit, shape)

    def _distorted(
        self,
        which: NDArray[np.int64],
        zero: NDArray[np.bool_],
        run: NDArray[np.bool_],
        line: NDArray[np.int64],
        lines: int,
    ) -> NDArray[np.float32]:
        """The chosen digits, each on a field of its own: float32 N×36×36, 0 … 1."""
        style, count = self.style, len(which)
        if not count:
            return np.zeros((0, _FIELD, _FIELD), np.float32)
        field = torch.zeros(count, _FIELD, _FIELD, dtype=torch.uint8)
        edge = (_FIELD - 28) // 2
        field[:, edge:-edge, edge:-edge] = self.data.images[torch.from_numpy(which)]
        changes = (style.uneven, style.aspect, style.stretch, style.slant, style.rotation)
        if style.height == (1.0, 1.0) and not any(changes):
            return (field.float() / 255).numpy()
        size = self._random.uniform(*style.height, lines)[line]
        size = size * np.exp(self._between(math.log1p(style.uneven), count))
        aspect = np.exp(self._between(math.log1p(style.aspect), lines))[line]
        flat = self._random.uniform(0, 1, lines)[line] * run
        wide = (1 + 0.4 * flat) * size * aspect * np.exp(self._between(math.log1p(style.stretch), count))
        wide = wide * np.where(zero, (1 + 2 * style.stretch) ** self._random.random(count), 1)
        slant = self._between(style.slant, lines)[line] + self._between(style.slant / 5, count)
        angle = self._between(math.radians(style.rotation), count)
        cos, sin, still = np.cos(angle), np.sin(angle), np.zeros(count)
        # From result to source: undo the rotation, then the slant, then the scaling.
        # No wider than what the field has room for.
        across = np.stack([cos + slant * sin, sin - slant * cos, still], 1) / np.minimum(wide, 1.7)[:, None]
        down = np.stack([-sin, cos, still], 1) / (size / aspect * (1 - 0.3 * flat))[:, None]
        theta = torch.from_numpy(np.stack([across, down], 1)).float()
        knots = self._random.standard_normal((count, 2, 5, 5)) * style.elastic * 2 / _FIELD
        weight = self._between(style.thickness, lines)[line]
        draws = Draws(theta, torch.from_numpy(knots).float(), torch.from_numpy(weight).float(), None)
        pictures: NDArray[np.float32] = augment(field, draws)[:, 0].numpy()
        pictures *= self._random.uniform(*style.ink, lines)[line, None, None].astype(np.float32)
        return np.minimum(pictures, 1, out=pictures)

    def _round(
        self, which: NDArray[np.int64], lengths: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Put zeros at the end of some lines. Returns which digits these are."""
        run = np.zeros(len(which), np.bool_)
        for i in np.flatnonzero(self._random.random(len(lengths)) < self.style.round):
            long = min(int(self._random.integers(1, 6)), int(lengths[i]) - 1)
            if long > 0:
                some = self._random.choice(self._zeros, long)
                which[ends[i] - long : ends[i]] = some[0] if self._random.random() < 0.5 else some
                run[ends[i] - long : ends[i]] = True
        return run

    def _make_strange(
        self, pictures: NDArray[np.float32], labels: NDArray[np.int64], line: NDArray[np.int64], lines: int
    ) -> None:
        """Turn or mirror some digits, so that they are none any more; their label becomes −1."""
        chosen = (self._random.random(lines) < self.style.strangers)[line]
        chosen &= self._random.random(len(line)) < 0.5
        for i in np.flatnonzero(chosen):
            turn = self._random.integers(0, 3)
            if labels[i] in (2, 3, 4, 5, 7) and turn < 2:
                pictures[i] = np.rot90(pictures[i], 1 if turn else 3)
            elif labels[i] in (3, 4, 7):  # a mirrored 2 may be a 5 or an S, a mirrored 9 is an old 9
                pictures[i] = pictures[i][:, ::-1]
            else:
                continue
            labels[i] = -1

    # -- the line -----------------------------------------------------------------------------------------------

    def _line(
        self,
        pictures: NDArray[np.float32],
        labels: NDArray[np.int64],
        outlines: _Outlines,
        run: NDArray[np.bool_],
        digits: range,
    ) -> tuple[NDArray[np.uint8], tuple[int, ...], tuple[float, ...]]:
        random, style = self._random, self.style
        room = (84 if style.enclosed or style.signs else 40) + (_FIELD + _SIGN * bool(style.signs)) * (len(digits) + 1)
        canvas = np.zeros((HEIGHT, room), np.float32)
        margin = last = int(random.integers(8, 15))
        reach = np.full(_FIELD, -_FAR)  # the column after the last ink so far, by row of the field
        line_shift, middle = random.uniform(-style.wander, style.wander), -math.inf
        if style.enclosed and random.random() < style.enclosed:
            margin = last = enclose(canvas, margin, line_shift, random) + int(random.integers(2, 8))
        elif self._has_sign():
            margin = last = write_sign(canvas, margin, line_shift, random) + int(random.integers(1, 8))
        text: list[int] = []
        centres: list[float] = []
        for i in digits:
            left, right = int(outlines.left[i]), int(outlines.right[i])
            if right <= left:  # nothing is left of a hair line
                continue
            shift = round(line_shift + random.uniform(-style.wander, style.wander))
            first, end = outlines.shifted(i, shift)
            if random.random() < style.touching:
                gap = -random.uniform(0, style.overlap)
            else:
                gap = random.uniform(*style.gap)
            if middle < 0:
                at = margin - left
            elif gap > 3 and random.random() < style.separators:
                at = separate(canvas, last, line_shift, random) + round(gap) - left
            elif gap > 0 and self._has_sign():
                at = write_sign(canvas, last + int(random.integers(1, 6)), line_shift, random) + round(gap) - left
            else:
                at = _beside(reach, first) + round(gap)
            # A flat dash may fit below a 7: what is written next still stands further to the right.
            at = min(max(at, math.ceil(max(middle, 0) + 3 - (left + right) / 2)), canvas.shape[1] - _FIELD)
            middle = at + (left + right) / 2
            self._draw(canvas, pictures[i], at, shift)
            if text and random.random() < (0.4 if run[i] else style.joined):
                join(canvas, reach, first + at, _FIELD, random)
            reach, last = np.maximum(reach, end + at), max(last, right + at)
            if labels[i] >= 0:
                text.append(int(labels[i]))
                centres.append(middle)
        if style.enclosed and random.random() < style.enclosed:
            last = enclose(canvas, last + int(random.integers(1, 8)), line_shift, random)
        elif self._has_sign():
            last = write_sign(canvas, last + int(random.integers(1, 8)), line_shift, random)
        elif random.random() < style.ends:
            last = close(canvas, last, line_shift, random)
        canvas = canvas[:, : last + int(random.integers(8, 15))]
        canvas = on_paper(canvas, style.rules, style.edges, style.specks, random)
        return (np.clip(canvas, 0, 1) * 255).astype(np.uint8), tuple(text), tuple(centres)

    def _has_sign(self) -> bool:
        # Nothing is drawn for a style without signs: its lines stay what they were before there were any.
        return bool(self.style.signs) and self._random.random() < self.style.signs

    @staticmethod
    def _draw(canvas: NDArray[np.float32], picture: NDArray[np.float32], at: int, shift: int) -> None:
        edge = (_FIELD - HEIGHT) // 2
        part = picture[max(0, edge - shift) : edge - shift + HEIGHT]
        top = max(0, shift - edge)
        left = max(0, -at)
        place = canvas[top : top + len(part), max(0, at) : at + _FIELD]
        np.maximum(place, part[: len(place), left : left + place.shape[1]], out=place)


def lines_of_five(
    data: Dataset, style: LineStyle, count: int = 10_000, seed: int = 0
) -> Iterator[tuple[NDArray[np.uint8], tuple[tuple[int, ...], ...]]]:
    """What a network that reads numbers is measured on: `count` lines of 5 digits, in batches of 100.

    Yields: uint8 lines N×28×W and their texts.
    """
    maker = LineMaker(data, style, seed)
    for done in range(0, count, 100):
        lines = maker.make(min(100, count - done))
        yield lines.images.numpy(), lines.texts


class _Outlines:
    """Where each digit's ink begins and ends, by rows of its field.

    Attributes:
        left, right: the first column with ink and the one after the last, int64 N; 0 and 0 without ink.
    """

    def __init__(self, inks: NDArray[np.bool_]) -> None:
        filled, columns = np.asarray(inks.any(2)), np.asarray(inks.any(1))
        width, empty = inks.shape[2], ~filled.any(1)
        self.left = columns.argmax(1)
        self.right = np.where(empty, 0, width - columns[:, ::-1].argmax(1))
        edge = ((0, 0), (_ROOM, _ROOM))
        first = np.where(filled, inks.argmax(2), _FAR)
        end = np.where(filled, width - inks[:, :, ::-1].argmax(2), -_FAR)
        self._first = np.pad(first, edge, constant_values=_FAR)
        self._end = np.pad(end, edge, constant_values=-_FAR)

    def shifted(self, digit: int, rows: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Of each row its first column with ink, and the column after the last, `rows` further down."""
        part = slice(_ROOM - rows, _ROOM - rows + _FIELD)
        return self._first[digit, part], self._end[digit, part]


def _beside(reach: NDArray[np.int64], first: NDArray[np.int64]) -> int:
    """Where a field with its first ink in these columns must stand to touch what ends in `reach`."""
    nearest = -_FAR
    for step in range(-_NEAR, _NEAR + 1):
        low, high = max(0, step), _FIELD + min(0, step)
        nearest = max(nearest, int((reach[low:high] - first[low - step : high - step]).max()))
    return nearest
