"""Signs of a few strokes of no meaning, as a pen draws them.

They join, cross, mirror each other or lie on a grid, as letters do. `forms` has digits of the same pen.
"""

from __future__ import annotations

import numpy as np

from lenet_zoo.datasets.forms import Way, ellipse, framed
from lenet_zoo.datasets.writers import drawn
from lenet_zoo.pictures.kernels import Bytes

__all__ = ["scribble", "sign"]


def scribble(random: np.random.Generator) -> Bytes:
    """Strokes between places on a rough grid, arcs and small strokes, as signs have them, in a frame of any shape."""
    frame = np.array([random.uniform(0.4, 1.5), 1.0])

    def stroke() -> Way:
        kind = random.random()
        if kind < 0.25:
            return _arc(random)
        if kind < 0.4:  # a small one, or a dot
            way: Way = random.random(2) + random.normal(0, 0.1, (2, 2))
            return way
        turns = random.choice([2, 2, 3, 4, 5])
        return random.integers(0, 4, (turns, 2)) / 3 + random.normal(0, 0.08, (turns, 2))

    # Two strokes may be a 1, a 4 or a 7, or with an arc a 6 or a 9.
    strokes = [stroke() * frame for _ in range(random.integers(3, 6))]
    return drawn(strokes, random.uniform(2.2, 3.4))


def sign(random: np.random.Generator) -> Bytes:
    """One to four strokes that join, cross or stand side by side, as the letters of some script might."""
    while True:
        strokes = _strokes(random)
        points = np.concatenate(strokes)
        long, wide = np.linalg.svd(points - points.mean(0), compute_uv=False)
        if wide > 0.2 * long:  # what is no wider may be a 1
            return drawn(strokes, random.uniform(2.0, 3.4))


def _strokes(random: np.random.Generator) -> list[Way]:
    """Those of a sign: as a hand leads them, or between the places of a grid; now and then with their mirror images."""
    frame = np.array([random.uniform(0.6, 1.4), 1.0])
    strokes = _free(random) if random.random() < 0.5 else _on_a_grid(random)
    if random.random() < 0.3:
        axis = random.choice([max(one[:, 0].max() for one in strokes), random.uniform(0.4, 0.7)])
        strokes += [one * [-1, 1] + [2 * axis, 0] for one in strokes]
        frame[0] *= random.uniform(0.5, 1)
    slant = random.normal(0, 0.1)
    return framed(strokes, slant, frame)


def _free(random: np.random.Generator) -> list[Way]:
    strokes: list[Way] = []
    count = random.choice([1, 2, 3, 4], p=[0.2, 0.35, 0.3, 0.15])
    for number in range(count):
        kind = random.random()
        if count == 1 or kind < 0.4:
            way = _walk(random, int(random.integers(4, 9) if count == 1 else random.integers(3, 6)))
        elif kind < 0.65:
            way = _arc(random)
        elif kind < 0.92 or number == 0:  # a bar: level, upright, or on the slant
            angle = random.choice([0, 0, 2, 2, 1, 3]) * np.pi / 4 + random.normal(0, 0.12)
            ends = np.array([[np.cos(angle), np.sin(angle)]]) * random.uniform(0.15, 0.5)
            way = np.concatenate([-ends, ends]) + random.uniform(0.2, 0.8, 2)
        else:  # a dot
            way = random.uniform(-0.1, 1.1, 2) + random.normal(0, 0.04, (2, 2))
        if strokes and random.random() < 0.65 and kind < 0.92:  # an end or the middle of it lies on another one
            other = strokes[random.integers(len(strokes))]
            way = way + other[random.integers(len(other))] - way[random.choice([0, 0, len(way) // 2, -1])]
        strokes.append(way)
    return strokes


def _on_a_grid(random: np.random.Generator) -> list[Way]:
    """Bars, corners, arcs and rings between the places of a grid, most of them from a place that is taken."""
    columns, rows = random.integers(2, 4), random.integers(2, 5)
    size = np.array([columns - 1, rows - 1])
    taken = [random.integers(0, size + 1)]
    strokes: list[Way] = []
    for _ in range(random.choice([1, 2, 3, 4], p=[0.1, 0.35, 0.35, 0.2])):
        at = taken[random.integers(len(taken))] if random.random() < 0.8 else random.integers(0, size + 1)
        end = random.integers(0, size + 1)
        while (end == at).all():
            end = random.integers(0, size + 1)
        if random.random() < 0.5:  # level or upright
            axis = random.choice(np.flatnonzero(end != at))
            end = np.where(np.arange(2) == axis, end, at)
        kind = random.random()
        if kind < 0.55:
            way = np.stack([at, end]).astype(float)
        elif kind < 0.7:  # a corner
            way = np.stack([at, random.integers(0, size + 1), end]).astype(float)
        elif kind < 0.9:  # bulging to one side
            bulge = (end - at)[::-1] * [-1, 1] * random.choice([-1, 1]) * random.uniform(0.3, 0.6)
            turn = np.linspace(0, np.pi, 7)[:, None]
            way = at + (end - at) * (1 - np.cos(turn)) / 2 + bulge * np.sin(turn)
        else:  # a ring between the two
            turn = random.uniform(0, 2 * np.pi) + np.linspace(0, 2 * np.pi, 12)
            radius = np.maximum(abs(end - at), 0.6) / 2
            way = ellipse((at + end) / 2, radius, turn)
        taken += [at, end]
        strokes.append(way / size + random.normal(0, 0.03, way.shape))
    return strokes


def _arc(random: np.random.Generator) -> Way:
    """A part of an ellipse."""
    angles = random.uniform(0, 2 * np.pi) + np.linspace(0, random.uniform(1.5, 5.5), 7)
    size = random.uniform(0.15, 0.5, 2)
    return ellipse(random.uniform(0.2, 0.8, 2), size, angles)


def _walk(random: np.random.Generator, steps: int) -> Way:
    """A pen that bends one way or the other for a while, and now and then turns a corner."""
    angle, bend = random.uniform(0, 2 * np.pi), random.normal(0, 0.8)
    at, way = random.uniform(0.1, 0.9, 2), []
    for _ in range(steps):
        way.append(at)
        angle += bend + random.normal(0, 0.2)
        if random.random() < 0.3:
            angle += random.uniform(1.2, np.pi) * random.choice([-1, 1])
        if random.random() < 0.3:
            bend = random.normal(0, 0.8)
        at = at + random.uniform(0.15, 0.5) * np.array([np.cos(angle), np.sin(angle)])
        at = at - np.clip(at - 1.1, 0, None) + np.clip(-0.1 - at, 0, None)
    return np.array(way)
