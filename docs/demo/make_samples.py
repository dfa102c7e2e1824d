"""Writes src/samples.json: real handwritten digits as pen strokes, for the page's samples and for its tests.

    python docs/demo/make_samples.py

The digits are scikit-learn's copy of "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak; UCI, CC BY
4.0), 8×8 pixels each. A digit becomes strokes by enlarging it, thinning it to one pixel and following the lines.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, label, zoom
from sklearn.datasets import load_digits

from lenet_zoo._files import write_atomic

# One digit of each class, chosen for a clear line by looking at them.
CHOSEN = (10, 99, 22, 13, 41, 15, 34, 17, 28, 125)

SCALE = 16
INK = 7.0  # of 16 grey levels
SPUR = 9  # a branch of fewer points, in the enlarged picture, comes from the thinning and not from the pen
MARGIN = 0.14  # of the pad, around the longer side of the digit

Point = tuple[int, int]
EIGHT = [(-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1)]


def thin(ink: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Zhang and Suen's thinning (Comm. ACM 27(3), 1984)."""
    image = np.pad(ink, 1)
    while True:
        before = image.copy()
        for odd in (False, True):
            p = [np.roll(image, (-dy, -dx), (0, 1)) for dy, dx in EIGHT]
            count = sum(part.astype(int) for part in p)
            turns = sum((~p[i] & p[(i + 1) % 8]).astype(int) for i in range(8))
            north, east, south, west = p[0], p[2], p[4], p[6]
            if odd:
                open_side = ~(north & east & west) & ~(north & south & west)
            else:
                open_side = ~(north & east & south) & ~(east & south & west)
            image = image & ~((count >= 2) & (count <= 6) & (turns == 1) & open_side)
        if (image == before).all():
            return image[1:-1, 1:-1]


def neighbours(points: set[Point], at: Point) -> list[Point]:
    """The points next to `at`; a diagonal step counts only where no straight steps make it."""
    y, x = at
    found = []
    for dy, dx in EIGHT:
        if (y + dy, x + dx) not in points:
            continue
        if dy and dx and ((y + dy, x) in points or (y, x + dx) in points):
            continue
        found.append((y + dy, x + dx))
    return found


def branches(points: set[Point]) -> list[list[Point]]:
    """The lines between ends and crossings, closed rings included."""
    nodes = {p for p in points if len(neighbours(points, p)) != 2}
    seen: set[frozenset[Point]] = set()
    lines = []

    def follow(start: Point, step: Point) -> None:
        line = [start, step]
        seen.add(frozenset((start, step)))
        while line[-1] not in nodes and line[-1] != start:
            ahead = [n for n in neighbours(points, line[-1]) if n != line[-2]]
            seen.add(frozenset((line[-1], ahead[0])))
            line.append(ahead[0])
        lines.append(line)

    for start in sorted(nodes) + sorted(points - nodes):
        for step in neighbours(points, start):
            if frozenset((start, step)) not in seen:
                follow(start, step)
    return lines


def pruned(points: set[Point]) -> set[Point]:
    while True:
        for line in sorted(branches(points), key=len):
            ends = [end for end in (line[0], line[-1]) if len(neighbours(points, end)) == 1]
            if len(ends) == 1 and len(line) < SPUR:
                keep = line[0] if ends[0] == line[-1] else line[-1]
                points = points - (set(line) - {keep})
                break
        else:
            return points


def joined(lines: list[list[Point]]) -> list[list[Point]]:
    """At a crossing the pen goes straight on: the two lines that bend least there are one stroke."""

    def direction(line: list[Point]) -> NDArray[np.float64]:
        a, b = np.array(line[0], float), np.array(line[min(len(line) - 1, 8)], float)
        return (b - a) / max(float(np.hypot(*(b - a))), 1e-9)

    while True:
        best: tuple[float, int, int, bool, bool] | None = None
        for i, a in enumerate(lines):
            for j, b in enumerate(lines[:i]):
                for flip_a in (False, True):
                    for flip_b in (False, True):
                        first, second = a[::-1] if flip_a else a, b[::-1] if flip_b else b
                        if first[-1] != second[0]:
                            continue
                        bend = float(direction(first[::-1]) @ direction(second))
                        if bend < -0.3 and (best is None or bend < best[0]):
                            best = (bend, i, j, flip_a, flip_b)
        if best is None:
            return lines
        _, i, j, flip_a, flip_b = best
        first = lines[i][::-1] if flip_a else lines[i]
        second = lines[j][::-1] if flip_b else lines[j]
        lines = [line for k, line in enumerate(lines) if k not in (i, j)] + [first + second[1:]]


def simplified(line: NDArray[np.float64], tolerance: float) -> NDArray[np.float64]:
    """Douglas and Peucker's."""
    if len(line) < 3:
        return line
    a, b = line[0], line[-1]
    along = b - a
    length = float(np.hypot(*along))
    offset = line - a
    away = np.abs(offset[:, 0] * along[1] - offset[:, 1] * along[0]) / length if length else np.hypot(*offset.T)
    k = int(away.argmax())
    if away[k] <= tolerance:
        return np.array([a, b])
    return np.concatenate([simplified(line[: k + 1], tolerance)[:-1], simplified(line[k:], tolerance)])


def strokes_of(digit: NDArray[np.float64]) -> list[list[list[float]]]:
    """8×8 with values 0…16 → strokes of [x, y] in the unit square, y downwards, in the order of writing."""
    large = zoom(np.pad(digit, 1), SCALE, order=3)
    parts, _ = label(large > INK, np.ones((3, 3)))
    ink = parts == np.bincount(parts.ravel())[1:].argmax() + 1
    points = pruned({(int(y), int(x)) for y, x in np.argwhere(thin(ink))})
    lines = joined(branches(points))
    smooth = []
    for line in lines:
        xy = np.array(line, float)[:, ::-1]
        closed = len(line) > 8 and line[0] == line[-1]
        xy = gaussian_filter1d(xy, 3.0, axis=0, mode="wrap" if closed else "nearest")
        if closed:
            xy = np.concatenate([xy, xy[:1]])
        smooth.append(simplified(xy, 0.5))
    low = np.min([line.min(0) for line in smooth], axis=0)
    high = np.max([line.max(0) for line in smooth], axis=0)
    scale = (1 - 2 * MARGIN) / float((high - low).max())
    shift = 0.5 - (low + high) / 2 * scale
    placed = [line * scale + shift for line in smooth]
    # Written from the top downwards.
    placed = [line if line[0, 1] <= line[-1, 1] else line[::-1] for line in placed]
    placed.sort(key=lambda line: float(line[0, 1]))
    return [[[round(float(x), 3), round(float(y), 3)] for x, y in line] for line in placed]


def samples() -> list[dict[str, object]]:
    digits = load_digits()
    return [dict(label=int(digits.target[i]), strokes=strokes_of(digits.images[i])) for i in CHOSEN]


def text() -> str:
    """What src/samples.json holds, one digit a line."""
    lines = [json.dumps(sample, separators=(",", ":")) for sample in samples()]
    return "[\n" + ",\n".join(lines) + "\n]\n"


if __name__ == "__main__":
    write_atomic(Path(__file__).parent / "src" / "samples.json", text().encode())
