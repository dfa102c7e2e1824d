"""Rules of tables that touch the character go, whatever their thickness; bars and stems of characters stay."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lenet_zoo.pictures.character import digit_from_grey

from .conftest import alike

Points = list[tuple[float, float]]

# Unit strokes, x to the right and y down.
STROKES: dict[str, list[Points]] = {
    "2": [[(0.05, 0.25), (0.3, 0.0), (0.75, 0.05), (0.85, 0.3), (0.1, 0.9), (0.5, 0.85), (1.0, 1.0)]],
    "3": [[(0.05, 0.1), (0.6, 0.0), (0.85, 0.2), (0.4, 0.45), (1.0, 0.7), (0.6, 1.0), (0.0, 0.9)]],
    "5": [[(1.0, 0.0), (0.2, 0.03), (0.1, 0.45), (0.7, 0.4), (0.85, 0.7), (0.5, 1.0), (0.0, 0.95)]],
    "6": [[(0.7, 0.0), (0.1, 0.5), (0.1, 0.9), (0.6, 1.0), (1.0, 0.75), (0.6, 0.55), (0.15, 0.7)]],
}


def written(character: str, height: int, pen: int, margin: tuple[int, int, int, int]) -> np.ndarray:
    """A character with so much paper above, below, left and right of the middles of its strokes."""
    above, below, left, right = margin
    width = round(0.65 * height)
    image = Image.new("L", (left + width + right, above + height + below), 235)
    for stroke in STROKES[character]:
        points = [(left + x * width, above + y * height) for x, y in stroke]
        ImageDraw.Draw(image).line(points, fill=40, width=pen, joint="curve")
        for x, y in (points[0], points[-1]):
            ImageDraw.Draw(image).ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=40)
    return np.array(image)


@pytest.mark.parametrize("ink", [40, 100])
@pytest.mark.parametrize("thick", [16, 18])
@pytest.mark.parametrize(("character", "side"), [("3", "left"), ("3", "right"), ("5", "left"), ("6", "right")])
def test_the_thick_rule_of_a_column_that_touches_the_digit(character: str, side: str, thick: int, ink: int) -> None:
    plain = written(character, 100, 9, (22, 22, 40, 40))
    ruled = plain.copy()
    at = 36 - thick if side == "left" else plain.shape[1] - 36
    ruled[:, at : at + thick] = ink
    assert alike(digit_from_grey(ruled), digit_from_grey(plain)) > 0.8  # with the rule: 0.47 at most


@pytest.mark.parametrize(("character", "side"), [("2", "left"), ("3", "right"), ("5", "left"), ("5", "right")])
def test_a_rule_beside_a_digit_that_reaches_from_it_to_the_other_side(character: str, side: str) -> None:
    plain = written(character, 110, 9, (10, 10, 9, 7) if side == "left" else (10, 10, 7, 9))
    ruled = plain.copy()
    ruled[:, slice(2, 10) if side == "left" else slice(-10, -2)] = 40
    assert alike(digit_from_grey(ruled), digit_from_grey(plain)) > 0.9  # with the rule: 0.67 at most


@pytest.mark.parametrize("character", ["2", "3", "5"])
def test_a_rule_thinner_than_the_pen_under_a_digit_cut_to_its_box(character: str) -> None:
    plain = written(character, 100, 12, (7, 8, 60, 8))
    ruled = plain.copy()
    ruled[-5:-1] = 40
    assert alike(digit_from_grey(ruled), digit_from_grey(plain)) > 0.8


SEGMENTS = {"2": "abged", "4": "fgbc", "5": "afgcd", "6": "afgedc", "9": "abcdfg"}


@pytest.mark.parametrize("margin", [2, 4])
@pytest.mark.parametrize("thick", [8, 13, 16])
@pytest.mark.parametrize("character", list(SEGMENTS))
def test_the_sides_and_bars_of_a_block_digit_cut_to_its_box_stay(character: str, thick: int, margin: int) -> None:
    def drawn(around: int) -> np.ndarray:
        grey = np.full((112, 66), 235, np.uint8)
        ends = {"a": (0, 0, 66, thick), "d": (0, 112 - thick, 66, 112), "g": (0, 56 - thick // 2, 66, 56 + thick // 2)}
        ends |= {"f": (0, 0, thick, 56), "e": (0, 56, thick, 112)}
        ends |= {"b": (66 - thick, 0, 66, 56), "c": (66 - thick, 56, 66, 112)}
        for segment in SEGMENTS[character]:
            left, top, right, bottom = ends[segment]
            grey[top:bottom, left:right] = 40
        return np.pad(grey, around, constant_values=235)

    assert alike(digit_from_grey(drawn(margin)), digit_from_grey(drawn(30))) > 0.9
