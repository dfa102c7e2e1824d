"""What stands around a character goes, the character stays whole, several are no digit: made-up pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lenet_zoo.errors import NoDigitError
from lenet_zoo.pictures.character import digit_from_grey
from lenet_zoo.pictures.components import components

Points = list[tuple[float, float]]

# Unit strokes, x to the right and y down.
THREE: Points = [(0.1, 0.1), (0.6, 0.0), (0.85, 0.2), (0.4, 0.45), (0.9, 0.7), (0.6, 1.0), (0.1, 0.9)]
FOUR: Points = [(0.55, 0.0), (0.0, 0.6), (1.0, 0.55), (0.7, 0.3), (0.72, 1.0)]
SEVEN: Points = [(0.0, 0.0), (0.9, 0.05), (0.35, 1.0)]
ONE: Points = [(0.55, 0.0), (0.45, 1.0)]


def page(height: int = 200, width: int = 200, paper: int = 235) -> Image.Image:
    return Image.new("L", (width, height), paper)


def write(
    image: Image.Image, stroke: Points, left: float, top: float, height: float, pen: int = 10, ink: int = 40
) -> Image.Image:
    """The stroke in a box of `height` and 0.65 of it, from its upper left corner."""
    points = [(left + x * height * 0.65, top + y * height) for x, y in stroke]
    draw = ImageDraw.Draw(image)
    draw.line(points, fill=ink, width=pen, joint="curve")
    for x, y in (points[0], points[-1]):
        draw.ellipse((x - pen / 2, y - pen / 2, x + pen / 2, y + pen / 2), fill=ink)
    return image


def digit(image: Image.Image) -> np.ndarray:
    return digit_from_grey(np.asarray(image))


def alike(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel().astype(float), other.ravel().astype(float))[0, 1])


def alike_within_a_pixel(one: np.ndarray, other: np.ndarray) -> float:
    """Where one has lost or gained a little ink, its middle is elsewhere."""
    steps = (-1, 0, 1)
    return max(alike(np.roll(one, (down, right), (0, 1)), other) for down in steps for right in steps)


def alone(stroke: Points = THREE, **options: int) -> Image.Image:
    return write(page(), stroke, 65, 50, 100, **options)


# ---- What goes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("surround", [0, 90, 255])
@pytest.mark.parametrize("ink", [40, 150])
@pytest.mark.parametrize("edges", [(0, 0, 200, 200), (10, 0, 190, 200), (14, 14, 186, 186)])
def test_what_is_around_a_disc(surround: int, ink: int, edges: tuple[int, int, int, int]) -> None:
    """As an avatar is cropped: to the border, to two sides of it, or with a margin."""
    sheet = alone(ink=ink)
    cropped = Image.new("L", sheet.size, surround)
    disc = Image.new("L", sheet.size, 0)
    ImageDraw.Draw(disc).ellipse((2, 2, 197, 197), fill=255)
    cropped.paste(sheet, mask=disc)
    assert alike_within_a_pixel(digit(cropped.crop(edges)), digit(alone(ink=ink))) > 0.95


@pytest.mark.parametrize(("pen", "margin"), [(30, 0), (30, 1), (45, 1), (45, 12), (60, 12)])
def test_a_bold_0_is_no_disc(pen: int, margin: int) -> None:
    """Its hole is no character, however tightly the picture is cut."""
    zero = Image.new("L", (140 + 2 * margin, 180 + 2 * margin), 235)
    box = (margin, margin, 139 + margin, 179 + margin)
    ImageDraw.Draw(zero).ellipse(box, fill=40)
    ImageDraw.Draw(zero).ellipse((box[0] + pen, box[1] + pen, box[2] - pen, box[3] - pen), fill=235)
    pixels = digit(zero)
    assert pixels[14, 14] < 60
    assert pixels[14].max() == 255
    assert np.ptp(np.flatnonzero(pixels.max(0) > 128)) >= 12


@pytest.mark.parametrize("stroke", [THREE, FOUR])
@pytest.mark.parametrize("darkest", [0.6, 0.4, 0.28])
@pytest.mark.parametrize("column", [60, 95, 130])
def test_the_part_in_a_shadow_is_as_dark_as_the_rest(stroke: Points, darkest: float, column: int) -> None:
    light = np.where(np.arange(200) < column, 1, darkest)
    light = np.convolve(np.pad(light, 4, mode="edge"), np.full(9, 1 / 9), "valid")
    shaded = (np.asarray(alone(stroke)) * light).astype(np.uint8)
    assert alike_within_a_pixel(digit_from_grey(shaded), digit(alone(stroke))) > 0.9


@pytest.mark.parametrize("way", [1, -1])
def test_a_label_on_a_string(way: int) -> None:
    label = write(page(120, 150), SEVEN, 60, 30, 60, pen=6)
    desk = Image.new("L", (260, 200), 70)
    desk.paste(label, (70, 40))
    ImageDraw.Draw(desk).line([(0, 80), (75, 96)], fill=210, width=4)
    ImageDraw.Draw(desk).ellipse((76, 92, 84, 100), fill=70)
    image = Image.fromarray(np.asarray(desk)[:, ::way])
    plain = write(page(), SEVEN, 60, 30, 60, pen=6)
    assert alike_within_a_pixel(digit(image)[:, ::way] if way < 0 else digit(image), digit(plain)) > 0.9


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom", "both"])
@pytest.mark.parametrize("stroke", [THREE, FOUR, SEVEN])
def test_a_neighbours_remnant_that_the_border_cuts(stroke: Points, side: str) -> None:
    image = alone(stroke)
    if side in ("left", "both"):
        write(image, THREE, -40, 50, 100)
    if side in ("right", "both"):
        write(image, FOUR, 170, 55, 100)
    if side == "top":
        write(image, SEVEN, 70, -75, 100)
    if side == "bottom":
        write(image, THREE, 60, 170, 100)
    assert alike(digit(image), digit(alone(stroke))) > 0.97


def zero(image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
    ImageDraw.Draw(image).ellipse(box, outline=40, width=10)
    return image


@pytest.mark.parametrize("tail", [[(105, 110), (140, 20)], [(70, 18), (140, 30)], [(110, 80), (140, 80)]])
def test_the_stroke_from_a_zero_to_what_is_cut_off_beside_it(tail: Points) -> None:
    image = zero(page(height=160, width=140), (15, 15, 110, 145))
    ImageDraw.Draw(image).line(tail, fill=40, width=10)
    found, wanted = digit(image), digit(zero(page(height=160, width=140), (15, 15, 110, 145)))
    assert alike_within_a_pixel(found, wanted) > 0.96  # the stump that stays at the loop moves it


def test_of_two_neighbours_the_one_in_the_middle_stays_even_if_it_is_the_smaller() -> None:
    image = write(alone(SEVEN), THREE, -52, 10, 180, pen=16)
    assert alike(digit(image), digit(alone(SEVEN))) > 0.95


@pytest.mark.parametrize("at", [3, 30, 97, 125, 190])
@pytest.mark.parametrize("slope", [0, 6])
@pytest.mark.parametrize("upright", [False, True])
def test_a_rule_that_crosses_the_picture(at: int, slope: int, upright: bool) -> None:
    image = alone(THREE)
    ends = ((0, at), (199, at + slope))
    ImageDraw.Draw(image).line([end[::-1] for end in ends] if upright else list(ends), fill=90, width=3)
    assert alike(digit(image), digit(alone(THREE))) > 0.7


@pytest.mark.parametrize("line", [60, 150, 190, 215])
@pytest.mark.parametrize("square", [25, 40])
@pytest.mark.parametrize("stroke", [THREE, FOUR, SEVEN])
def test_squared_paper(stroke: Points, square: int, line: int) -> None:
    image = page()
    draw = ImageDraw.Draw(image)
    for place in range(square // 2, 200, square):
        draw.line([(place, 0), (place, 199)], fill=line)
        draw.line([(0, place), (199, place)], fill=line)
    assert alike(digit(write(image, stroke, 65, 50, 100)), digit(alone(stroke))) > (0.75 if line == 60 else 0.85)


@pytest.mark.parametrize(("height", "line"), [(30, 150), (30, 200), (100, 60), (100, 150), (100, 200)])
@pytest.mark.parametrize("gap", [20, 36])
def test_lined_paper(height: int, gap: int, line: int) -> None:
    image = page()
    for place in range(gap // 2, 200, gap):
        ImageDraw.Draw(image).line([(0, place), (199, place)], fill=line, width=2)
    pen = max(4, height // 10)
    left, top = 100 - height * 0.32, 100 - height / 2
    plain = digit(write(page(), SEVEN, left, top, height, pen))
    assert alike(digit(write(image, SEVEN, left, top, height, pen)), plain) > 0.8


@pytest.mark.parametrize("corner", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_corner_of_a_box(corner: tuple[int, int]) -> None:
    image = alone(FOUR)
    x, y = (12 if low == 0 else 188 for low in corner)
    lines = [(x, 0 if corner[1] else 199), (x, y), (0 if corner[0] else 199, y)]
    ImageDraw.Draw(image).line(lines, fill=40, width=5)
    assert alike(digit(image), digit(alone(FOUR))) > 0.97


@pytest.mark.parametrize("edge", ["left", "bottom"])
def test_an_edge_of_a_box(edge: str) -> None:
    grey = np.array(alone(FOUR))
    if edge == "left":
        grey[:, 4:9] = 40
    else:
        grey[-9:-4] = 40
    assert alike(digit_from_grey(grey), digit(alone(FOUR))) > 0.97


@pytest.mark.parametrize("at", [(30, 150), (160, 150), (160, 60), (100, 180), (45, 20)])
@pytest.mark.parametrize("size", [4, 9, 14])
def test_a_speck_or_a_full_stop_beside_the_digit(at: tuple[int, int], size: int) -> None:
    image = alone(SEVEN)
    ImageDraw.Draw(image).ellipse((at[0], at[1], at[0] + size, at[1] + size), fill=40)
    assert alike(digit(image), digit(alone(SEVEN))) > 0.97


def test_a_full_stop_under_a_slanted_digit() -> None:
    image, plain = (
        write(page(), [(0.6, 0.0), (0.4, 0.2), (0.75, 0.4), (0.9, 0.0), (-0.2, 1.0)], 65, 50, 100) for _ in "ab"
    )
    ImageDraw.Draw(image).ellipse((106, 134, 117, 145), fill=40)  # within the box of the 9, beyond its stroke
    assert alike(digit(image), digit(plain)) > 0.97


def test_a_rule_that_touches_the_digit_between_neighbours() -> None:
    image = write(write(alone(THREE), FOUR, 175, 50, 100), SEVEN, -50, 50, 100)
    ImageDraw.Draw(image).line([(72, 0), (72, 199)], fill=40, width=5)
    assert alike(digit(image), digit(alone(THREE))) > 0.9


def test_dots_along_the_border_as_of_a_dotted_line() -> None:
    image = alone(THREE)
    for place in range(4, 200, 14):
        ImageDraw.Draw(image).ellipse((place, 190, place + 5, 195), fill=40)
    assert alike(digit(image), digit(alone(THREE))) > 0.97


# Of a display: the ends of each segment, and those that are lit.
SEGMENTS = {"a": (0, 0, 1, 0), "b": (1, 0, 1, 1), "c": (1, 1, 1, 2), "d": (0, 2, 1, 2), "e": (0, 1, 0, 2),
            "f": (0, 0, 0, 1), "g": (0, 1, 1, 1)}  # fmt: skip
LIT = ("abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg")


def lit(image: Image.Image, label: int, left: int, top: int, gap: int, ink: int = 40) -> Image.Image:
    """A digit of segments 40 px long and 9 px wide, which end `gap` px before they would meet."""
    for x0, y0, x1, y1 in (SEGMENTS[segment] for segment in LIT[label]):
        along = np.array([x1 - x0, y1 - y0])
        start, end = (np.array([left, top]) + 40 * np.array(way) for way in ((x0, y0), (x1, y1)))
        across = 4 * along[::-1]
        corners = [*(start + along * gap - across), *(end - along * gap + across)]
        ImageDraw.Draw(image).rectangle(corners, fill=ink)
    return image


@pytest.mark.parametrize("label", range(10))
@pytest.mark.parametrize(("paper", "ink"), [(200, 40), (15, 220)])
def test_the_segments_of_a_display_are_one_character(label: int, paper: int, ink: int) -> None:
    joined = digit(lit(page(paper=paper), label, 70, 50, 0, ink))
    for left, gap in ((70, 3), (40, 4)):
        found = digit(lit(page(paper=paper), label, left, 50, gap, ink))
        assert components(found >= 128).count == 1
        assert alike_within_a_pixel(found, joined) > (0.75 if label in (1, 4) else 0.9)  # whose ends are shorter


@pytest.mark.parametrize("angle", [-40, -20, -8, -2, 3, 12, 30, 45])
@pytest.mark.parametrize(("desk", "paper", "ink"), [(40, 220, 50), (200, 60, 230)])
def test_the_desk_around_a_sheet_that_lies_askew(angle: int, desk: int, paper: int, ink: int) -> None:
    sheet = write(page(180, 150, paper), THREE, 50, 45, 85, ink=ink)
    turned = sheet.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    around = page(turned.height + 60, turned.width + 80, desk)
    around.paste(turned, (40, 30), Image.new("L", sheet.size, 255).rotate(angle, expand=True))
    wanted = sheet.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=paper)
    assert alike_within_a_pixel(digit(around), digit(wanted)) > 0.93


@pytest.mark.parametrize("stroke", [THREE, FOUR, SEVEN])
@pytest.mark.parametrize("away", [(0, 0), (-8, 6), (10, 12), (4, -14)])
def test_a_box_that_the_character_runs_across(stroke: Points, away: tuple[int, int]) -> None:
    left, top = 55 + away[0], 32 + away[1]
    image, wanted = (write(page(), stroke, left, top, 140, pen=9) for _ in range(2))
    ImageDraw.Draw(image).rectangle((35, 52, 165, 148), outline=60, width=3)
    assert alike_within_a_pixel(digit(image), digit(wanted)) > 0.85


def test_a_stain_that_is_paler_than_the_ink_upon_it() -> None:
    stained = page()
    ImageDraw.Draw(stained).ellipse((-30, 60, 110, 200), outline=150, width=8)
    assert alike_within_a_pixel(digit(write(stained, THREE, 65, 50, 100)), digit(alone())) > 0.85


def test_no_part_of_a_stroke_is_a_stain_where_a_shadow_lies_on_it() -> None:
    rows, columns = np.mgrid[:200, :200]
    shadow = np.where(rows + columns / 3 > 130, 0.6, 1.0)
    shaded = (np.asarray(alone(SEVEN)) * shadow).astype(np.uint8)
    assert alike(digit_from_grey(shaded), digit(alone(SEVEN))) > 0.9


# ---- What stays ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [2, 3, 4, 6])
@pytest.mark.parametrize("half", [0.3, 0.42])
@pytest.mark.parametrize("aspect", [0.8, 1.0])
def test_a_ring_is_a_0_and_no_frame(power: float, half: float, aspect: float) -> None:
    y, x = np.mgrid[-0.5:0.5:280j, -0.5:0.5:280j]
    radius = (np.abs(x / (half * aspect)) ** power + np.abs(y / half) ** power) ** (1 / power)
    zero = digit_from_grey(np.where(np.abs(radius - 1) * half < 0.035, 0, 255).astype(np.uint8))
    assert zero[12:16, 12:16].max() == 0
    rows, columns = np.flatnonzero(zero.any(1)), np.flatnonzero(zero.any(0))
    assert np.ptp(rows) + 1 == 20
    assert abs(np.ptp(columns) + 1 - 20 * aspect) <= 1


def test_a_block_8_that_fills_its_picture_is_no_frame() -> None:
    grey = np.full((28, 28), 255, np.uint8)
    grey[1:27, 3:25] = 0
    grey[4:12, 6:22] = grey[15:24, 6:22] = 255
    eight = digit_from_grey(grey)
    assert eight[:, 14].nonzero()[0].size < 18  # three bars, with paper between them
    assert eight[14].nonzero()[0].size >= 14  # the middle one


def test_where_the_pen_ran_dry_within_the_box_is_no_shadow() -> None:
    image = page()
    draw = ImageDraw.Draw(image)
    draw.line([(125, 40), (80, 90), (70, 140), (90, 160), (120, 165)], fill=40, width=12, joint="curve")
    draw.line([(90, 130), (110, 105), (122, 130), (112, 148)], fill=120, width=8, joint="curve")  # the loop of a 6
    assert digit(image)[12:20, 15:].max() >= 64


@pytest.mark.parametrize("margin", [1, 3])
@pytest.mark.parametrize("stroke", [THREE, FOUR, SEVEN, ONE])
def test_a_digit_cut_to_its_box_keeps_its_bars(stroke: Points, margin: int) -> None:
    grey = np.asarray(alone(stroke))
    rows, columns = np.flatnonzero((grey < 200).any(1)), np.flatnonzero((grey < 200).any(0))
    box = grey[rows[0] - margin : rows[-1] + 1 + margin, columns[0] - margin : columns[-1] + 1 + margin]
    assert alike(digit_from_grey(box), digit(alone(stroke))) > (0.9 if stroke is ONE else 0.96)


@pytest.mark.parametrize("contrast", [9, 14, 24])
@pytest.mark.parametrize("side", [28, 200])
@pytest.mark.parametrize("grain", [0.0, 0.5])
def test_very_faint_ink(contrast: int, side: int, grain: float) -> None:
    paper = 250
    pen = max(2, side // 16)
    image = write(page(side, side, paper), SEVEN, side * 0.32, side * 0.25, side / 2, pen, paper - contrast)
    plain = write(page(side, side, paper), SEVEN, side * 0.32, side * 0.25, side / 2, pen, 0)
    grey = np.asarray(image) + np.random.default_rng(0).normal(0, grain, (side, side))
    assert alike(digit_from_grey(np.rint(grey).clip(0, 255).astype(np.uint8)), digit(plain)) > 0.85


def test_the_tail_of_a_nine_that_is_cut_to_its_box() -> None:
    image = zero(page(height=200, width=110), (5, 5, 105, 105))
    ImageDraw.Draw(image).line([(100, 60), (100, 160), (60, 194), (10, 194)], fill=40, width=10)
    padded = page(height=260, width=170)
    padded.paste(image, (30, 30))
    assert alike(digit(image), digit(padded)) > 0.97


def waving(character: str, side: int, pen: int, wave: float, margin: int) -> np.ndarray:
    """A character whose bar waves from the left to the right of a picture `side` high, and `margin` of paper beyond."""
    at = [step / 40 for step in range(41)]
    level = {"2": 0.76, "7": 0.2, "1": 0.8, "4": 0.6}[character]
    bar = [(x, level + wave * math.sin(2 * math.pi * x)) for x in at]
    rest: dict[str, list[Points]] = {
        "2": [[(0.3, 0.3), (0.35, 0.18), (0.5, 0.14), (0.65, 0.18), (0.68, 0.35), (0.5, 0.6), bar[5]]],
        "7": [[bar[37], (0.5, 0.86)]],
        "1": [[(0.35, 0.3), (0.52, 0.12), (0.5, 0.8)]],
        "4": [[(0.45, 0.1), (0.2, 0.6)], [(0.6, 0.35), (0.58, 0.88)]],
    }
    image = page(side, side + 2 * margin)
    for stroke in [bar, *rest[character]]:
        ImageDraw.Draw(image).line(
            [(margin + x * side, y * side) for x, y in stroke], fill=40, width=pen, joint="curve"
        )
    return np.asarray(image)


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize(("side", "pen"), [(28, 2), (56, 4), (200, 8), (200, 16)])
@pytest.mark.parametrize("character", ["2", "7", "1", "4"])
def test_a_hand_drawn_bar_from_side_to_side_is_no_rule(character: str, side: int, pen: int, negative: bool) -> None:
    for wave in (0.03, 0.05):
        crossing, free = (waving(character, side, pen, wave, margin) for margin in (0, side // 6))
        if negative:
            crossing, free = 255 - crossing, 255 - free
        assert alike(digit_from_grey(crossing), digit_from_grey(free)) > 0.75  # as a rule it went: 0.65 at most


@pytest.mark.parametrize("angle", [25, 45, 80])
def test_a_fat_zero_is_no_sheet_however_it_lies(angle: int) -> None:
    """Its loop is no writing on paper."""
    fat = page()
    draw = ImageDraw.Draw(fat)
    draw.ellipse((50, 30, 150, 170), fill=40)
    draw.ellipse((86, 75, 114, 125), fill=235)
    turned = fat.rotate(angle, Image.Resampling.BICUBIC, fillcolor=235)
    found = digit(turned)
    assert found[14, 14] < 100 < found[14].max()
    assert np.flatnonzero(found.any(1)).size == 20 or np.flatnonzero(found.any(0)).size == 20


# ---- Several characters ----------------------------------------------------------------------------------------------


def number(strokes: list[Points], height: int, gap: float, margin: int) -> Image.Image:
    pitch = height * 0.65 + gap
    image = page(height + 2 * margin, round(pitch * len(strokes) - gap) + 2 * margin)
    for place, stroke in enumerate(strokes):
        write(image, stroke, margin + place * pitch, margin, height, max(2, height // 10))
    return image


@pytest.mark.parametrize("strokes", [[FOUR, THREE], [ONE, SEVEN], [ONE, ONE], [FOUR, THREE, SEVEN, ONE], [THREE] * 8])
@pytest.mark.parametrize(("height", "margin"), [(20, 6), (80, 40), (300, 60)])
def test_several_characters_are_no_digit(strokes: list[Points], height: int, margin: int) -> None:
    with pytest.raises(NoDigitError) as caught:
        digit(number(strokes, height, height * 0.3, margin))
    assert str(caught.value) == "several characters: lenet-zoo read reads numbers"


def test_a_number_in_the_middle_of_a_square_page() -> None:
    image = write(write(page(), FOUR, 40, 65, 70), SEVEN, 110, 65, 70)
    with pytest.raises(NoDigitError, match=r"^several characters: "):
        digit(image)


def test_a_digit_in_two_strokes_is_one_character() -> None:
    image = page()
    draw = ImageDraw.Draw(image)
    draw.line([(60, 40), (60, 100), (140, 100)], fill=40, width=10)  # the corner of an open 4 …
    draw.line([(125, 110), (120, 170)], fill=40, width=10)  # … and its stem, under it
    both = digit(image)
    assert both[4:12].any()
    assert both[-10:-4].any()


def test_ink_on_a_string_of_paper_is_one_character_where_nothing_stands_beside_it() -> None:
    image = write(page(60, 400), SEVEN, 180, 10, 40, 5)
    assert alike(digit(image), digit(alone(SEVEN))) > 0.85
