"""What stands on paper beside digits, and the strokes of other countries' digits: drawn into lines for `lines`.

Nothing is drawn but by the generator that is given: a line is a function of its seed.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from lenet_zoo.datasets.forms import mark

__all__ = ["add_strokes", "close", "enclose", "join", "on_paper", "separate", "write_sign"]

Canvas: TypeAlias = NDArray[np.float32]
"""A line, 28×W, 0 … 1."""


def add_strokes(
    pictures: NDArray[np.float32], labels: NDArray[np.int64], share: float, random: np.random.Generator
) -> None:
    """Give some 1s an upstroke and some 7s a bar, as they are written in much of the world."""
    chosen = random.random(len(labels)) < share * ((labels == 1) + 0.5 * (labels == 7))
    for i in np.flatnonzero(chosen):
        ink = pictures[i] > 0.4
        rows = np.flatnonzero(ink.any(1))
        if len(rows) < 8:
            continue
        tall = len(rows)
        half = min(max(float(ink[rows[tall // 2]].sum()) / 2, 0.7), 1.8) * random.uniform(0.7, 1.1)
        if labels[i] == 1:
            row, column = float(rows[0]) + half, float(np.flatnonzero(ink[rows[0]]).mean())
            down, left = random.uniform(0.2, 1.0) * tall, random.uniform(0.2, 0.55) * tall
            stroke = (column - left, row + down, column, row)
        else:
            middle = rows[int(random.uniform(0.4, 0.65) * tall)]
            column, long = float(np.flatnonzero(ink[middle]).mean()), random.uniform(3, 6)
            lean = random.uniform(-1.5, 1)
            stroke = (column - long, middle - lean, column + long, middle + lean)
        _draw_stroke(pictures[i], stroke, half, float(pictures[i].max()))


def separate(canvas: Canvas, last: int, shift: float, random: np.random.Generator) -> int:
    """Draw a dot, comma, dash or two after column `last`; returns the column after it."""
    at = last + int(random.integers(1, 5))
    kind, level = random.integers(0, 4), float(random.uniform(0.6, 1))
    foot = round(24 + shift + random.uniform(-1, 2))
    thick = int(random.integers(1, 4))
    if kind == 0:  # a dot
        canvas[foot - thick : foot, at : at + thick] = level
        return at + thick
    if kind == 1:  # a comma
        for step in range(int(random.integers(3, 6))):
            canvas[foot - 1 + step : foot + step, max(0, at + 2 - step // 2) : at + 4 - step // 2] = level
        return at + 4
    long = int(random.integers(5, 12))
    middle = round(14 + shift + random.uniform(-2, 3))
    canvas[middle : middle + thick, at : at + long] = level
    if kind == 3:  # two dashes, as after a cheque's amount
        canvas[middle + 5 : middle + 5 + thick, at : at + long] = level
    return at + long


def join(
    canvas: Canvas, reach: NDArray[np.int64], first: NDArray[np.int64], field: int, random: np.random.Generator
) -> None:
    """Draw a stroke to the digit that begins in the columns `first` from what ends in `reach`, by rows of `field`."""
    edge, gap = (field - len(canvas)) // 2, first - reach
    rows = np.flatnonzero((gap > 0) & (gap < 10))
    rows = rows[(rows >= edge + 1) & (rows < edge + len(canvas) - 2)]
    if not rows.size:
        return
    row = int(random.choice(rows))
    begin, end, level = max(0, int(reach[row]) - 1), int(first[row]) + 1, float(random.uniform(0.6, 1))
    bend = np.rint(np.linspace(0, random.uniform(-2, 2), end - begin) * 0.5).astype(int)
    for thick in range(int(random.integers(1, 3))):
        place = (np.clip(row - edge + bend + thick, 0, len(canvas) - 1), np.arange(begin, end))
        canvas[place] = np.maximum(canvas[place], level)


def close(canvas: Canvas, last: int, shift: float, random: np.random.Generator) -> int:
    """Draw what closes an amount after column `last`; returns the column after it."""
    kind = random.integers(0, 4)
    if kind < 2:
        return separate(canvas, last, shift, random)
    at, thick, level = last + int(random.integers(1, 8)), int(random.integers(1, 4)), float(random.uniform(0.7, 1))
    room = canvas.shape[1] - at - 16
    if room < 1:
        return last
    if kind == 2:  # a long dash, seldom straight
        long = min(int(random.integers(10, 40)), room)
        along = np.linspace(0, 1, long)
        rows = random.uniform(12, 19) + shift + random.uniform(-4, 4) * along
        rows = rows + random.uniform(-1.5, 1.5) * np.sin(2 * math.pi * along)
        for step in range(thick):
            canvas[np.clip(np.rint(rows).astype(int) + step, 0, len(canvas) - 1), np.arange(at, at + long)] = level
        return at + long
    top, long = int(random.integers(4, 9)), min(int(random.integers(3, 9)), room)
    for line in range(int(random.integers(1, 3))):  # two small dashes above the foot
        row = top + line * int(random.integers(3, 5))
        canvas[row : row + min(thick, 2), at : at + long] = level
    return at + long


def enclose(canvas: Canvas, at: int, shift: float, random: np.random.Generator) -> int:
    """Draw what amounts are put between, that no digit is added, at column `at`: #, =, * or a dash.

    Returns: the column after it.
    """
    kind, level, half = random.integers(0, 4), float(random.uniform(0.7, 1)), float(random.uniform(0.6, 1.6))
    wide, tall = random.uniform(8, 14), random.uniform(9, 18)
    middle, left, right = 14 + shift + random.uniform(-2, 2), half + 1, wide - half - 1
    lean = random.uniform(-1, 3)
    if kind == 0:  # number signs
        top, foot = middle - tall / 2, middle + tall / 2
        strokes = [(wide * part + lean, top, wide * part - lean, foot) for part in (0.35, 0.65)]
        strokes += [(left, middle + row * tall, right, middle + row * tall - lean / 2) for row in (-0.17, 0.17)]
    elif kind == 1:  # stars
        turns = random.uniform(0, math.pi) + np.arange(3) * math.pi / 3
        across, down = np.cos(turns) * right / 2.5, np.sin(turns) * right / 2.5
        ways = zip(across.tolist(), down.tolist(), strict=True)
        strokes = [(wide / 2 - x, middle - y, wide / 2 + x, middle + y) for x, y in ways]
    else:  # one dash or two
        rows = (0.0,) if kind == 2 else (-2.5, 2.5)
        strokes = [(left, middle + row, right, middle + row - lean / 2) for row in rows]
    for stroke in strokes:
        _draw_stroke(canvas[:, at : at + math.ceil(wide)], stroke, half, level)
    return at + math.ceil(wide)


def write_sign(canvas: Canvas, at: int, shift: float, random: np.random.Generator) -> int:
    """Write what stands before, between or after digits and is none, as / $ € % ( + : do, at column `at`.

    Returns: the column after it.
    """
    strokes = mark(random)
    points = np.concatenate(strokes)
    first, tall = float(points[:, 1].min()), float(np.ptp(points[:, 1]))
    scale, top = 20.0, 4 + shift + random.uniform(-1, 1)
    if tall > 0.5:  # brought to the size of a digit and centred, as `pictures.strip` does with what is no dot or dash
        scale *= min(max(1 / tall, 0.75), 1.25)
        top += 10 - (first + tall / 2) * scale
    strokes = [way * scale for way in strokes]
    half, level = random.uniform(0.7, 2.0), float(random.uniform(0.7, 1))
    across = points[:, 0] * scale
    left, end = at + half + 0.5 - across.min(), at + math.ceil(np.ptp(across) + 2 * half + 1)
    for way in strokes:
        for (x, y), (right, foot) in pairwise(way.tolist()):
            _draw_stroke(canvas[:, :end], (left + x, top + y, left + right, top + foot), half, level)
    return end


def on_paper(canvas: Canvas, rules: float, edges: float, specks: float, random: np.random.Generator) -> Canvas:
    """The line with rules, the edges of a box, specks and soft noise, each with its probability."""
    height, width = canvas.shape
    if random.random() < rules:
        for _ in range(int(random.integers(1, 3))):
            row = int(random.integers(0, 4)) if random.random() < 0.5 else int(random.integers(22, height))
            slope = random.uniform(-1, 1) * 3 / width
            rows = np.clip(row + np.rint(slope * np.arange(width)).astype(int), 0, height - 1)
            level = float(random.uniform(0.3, 1))
            begin, end = (0, width) if random.random() < 0.5 else sorted(random.integers(0, width + 1, 2))
            columns = np.arange(begin, end)
            for thick in range(1 + int(random.random() < 0.4)):
                place = (np.minimum(rows[begin:end] + thick, height - 1), columns)
                canvas[place] = np.maximum(canvas[place], level)
    if random.random() < edges:
        column = int(random.integers(0, 4))
        column = column if random.random() < 0.5 else width - 1 - column
        canvas[:, column] = float(random.uniform(0.4, 1))
    if random.random() < specks:
        count = int(random.integers(1, 8))
        rows, columns = random.integers(0, height - 1, count), random.integers(0, width - 1, count)
        for row, column in zip(rows, columns, strict=True):
            canvas[row : row + random.integers(1, 3), column : column + random.integers(1, 3)] = random.uniform(0.2, 1)
        if random.random() < 0.3:
            canvas = canvas + random.standard_normal(canvas.shape).astype(np.float32) * random.uniform(0, 0.08)
    return canvas


def _draw_stroke(
    picture: NDArray[np.float32], stroke: tuple[float, float, float, float], half: float, level: float
) -> None:
    """Draw a straight stroke from x, y to x, y, `half` as wide on either side."""
    x, y, right, foot = stroke
    way_x, way_y = right - x, foot - y
    rows, columns = np.ogrid[: picture.shape[0], : picture.shape[1]]
    along = np.clip(((columns - x) * way_x + (rows - y) * way_y) / (way_x**2 + way_y**2), 0, 1)
    far = np.hypot(columns - x - along * way_x, rows - y - along * way_y)
    np.maximum(picture, np.clip(half + 0.5 - far, 0, 1) * level, out=picture)
