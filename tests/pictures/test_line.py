"""Pictures of one line of writing as strips."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import InputError, NoDigitError
from lenet_zoo.pictures.components import components
from lenet_zoo.pictures.line import line_from_grey, line_from_image, lines_from_image
from lenet_zoo.pictures.strip import HEIGHT

Paper = np.ndarray
LINES = Path(__file__).parents[1] / "fixtures" / "lines"


def written(digits: Dataset, chosen: tuple[int, ...], scale: int = 2, gap: int = 8, margin: int = 30) -> Paper:
    """Dark digits on light paper."""
    parts = []
    for index in chosen:
        digit = digits.images[index].numpy()
        columns = np.flatnonzero(digit.any(0))
        digit = np.kron(digit[:, columns[0] : columns[-1] + 1], np.ones((scale, scale), np.uint8))
        parts += [digit, np.zeros((28 * scale, gap), np.uint8)]
    line = np.pad(np.concatenate(parts[:-1], 1), margin)
    return (230 - line * 0.8).astype(np.uint8)


def groups(pixels: np.ndarray) -> list[tuple[int, int]]:
    filled = np.concatenate([[False], (pixels > 60).any(0), [False]]).astype(int)
    starts, ends = np.flatnonzero(np.diff(filled) == 1), np.flatnonzero(np.diff(filled) == -1)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def test_a_strip_has_each_character_20_px_high_in_its_middle(digits: Dataset) -> None:
    pixels = line_from_grey(written(digits, (0, 3, 5, 8))).pixels
    assert pixels.dtype == np.uint8
    assert pixels.shape[0] == HEIGHT
    assert pixels.max() == 255
    assert not pixels[:, :12].any()
    assert not pixels[:, -12:].any()
    found = groups(pixels)
    assert len(found) == 4
    for start, end in found:
        rows = np.flatnonzero((pixels[:, start:end] > 60).any(1))
        assert 18 <= np.ptp(rows) + 1 <= 21
        mass = pixels[:, start:end].sum(1, dtype=int)
        assert 13 <= (mass * np.arange(28)).sum() / mass.sum() <= 15


@pytest.mark.parametrize("scale", [1, 3, 8])
def test_size_ink_and_light_make_no_difference(digits: Dataset, scale: int) -> None:
    paper = written(digits, (0, 3, 5, 8), scale, gap=4 * scale, margin=15 * scale)
    light = np.linspace(0, 60, paper.shape[1])[None]
    shaded = (paper.astype(float) * 0.75 + light).clip(0, 255).astype(np.uint8)
    for picture in (paper, 255 - paper, shaded):
        assert len(groups(line_from_grey(picture).pixels)) == 4


def test_boxes_are_in_the_pixels_of_the_picture(digits: Dataset) -> None:
    paper = written(digits, (0, 3, 5), scale=4, gap=30, margin=100)
    found = groups(255 - paper - 25)  # where the ink is
    for picture in (Image.fromarray(paper), Image.fromarray(np.kron(paper, np.ones((4, 4), np.uint8)))):
        factor = picture.width // paper.shape[1]
        strip = line_from_image(picture)
        for (start, end), (left, right) in zip(groups(strip.pixels), found, strict=True):
            box = strip.box(start, end)
            assert box[0] == pytest.approx(left * factor, abs=6 * factor)
            assert box[2] == pytest.approx(right * factor, abs=6 * factor)
            ink = np.flatnonzero((paper[:, left:right] < 170).any(1))
            assert box[1] == pytest.approx(ink[0] * factor, abs=6 * factor)
            assert box[3] == pytest.approx((ink[-1] + 1) * factor, abs=6 * factor)


def test_a_small_line_on_a_large_sheet_is_found(digits: Dataset) -> None:
    sheet = np.full((900, 1200), 220, np.uint8)
    line = written(digits, (0, 3, 5, 8), 2, margin=4)
    sheet[400 : 400 + len(line), 300 : 300 + line.shape[1]] = np.minimum(line, 220)
    strip = line_from_grey(sheet)
    assert len(groups(strip.pixels)) == 4
    left, top, right, bottom = strip.box(0, strip.pixels.shape[1])
    assert 295 <= left < right <= 305 + line.shape[1]
    assert 395 <= top < bottom <= 405 + len(line)


def test_a_leaning_line_is_set_upright(digits: Dataset) -> None:
    paper = written(digits, (1, 11, 21, 42), 3, gap=12)  # 1, 1, 1, 1: nothing else is as sure to stand upright
    assert digits.labels[[1, 11, 21, 42]].tolist() == [1, 1, 1, 1]
    leaning = np.asarray(
        Image.fromarray(paper).transform(
            paper.shape[::-1], Image.Transform.AFFINE, (1, 0.4, -0.2 * len(paper), 0, 1, 0), fillcolor=230
        )
    )
    upright, straightened = line_from_grey(paper).pixels, line_from_grey(leaning).pixels
    widths = [np.mean([end - start for start, end in groups(pixels)]) for pixels in (upright, straightened)]
    assert widths[1] == pytest.approx(widths[0], abs=2)


def test_a_rule_under_the_line_goes(digits: Dataset) -> None:
    paper = written(digits, (0, 3, 5, 8))
    ruled = paper.copy()
    ruled[-18:-16] = 120
    assert len(groups(line_from_grey(ruled).pixels)) == 4


def test_a_rule_that_ends_within_the_picture_goes(digits: Dataset) -> None:
    paper = written(digits, (0, 3, 5, 8))
    paper[-42:-40, 12:-12] = 100  # through the feet
    assert len(groups(line_from_grey(paper).pixels)) == 4


@pytest.mark.parametrize("name", ["flat_zeros", "flat_zeros_upon_a_rule"])
def test_the_feet_of_round_digits_are_no_rule(name: str) -> None:
    paper = np.asarray(Image.open(LINES / f"{name}.png"))
    gaps = components(line_from_grey(paper).pixels <= 60)
    inside = (gaps.borders.max(0) == 0) & (gaps.area > 100)
    assert np.count_nonzero(inside) == 4


@pytest.mark.parametrize("dashes", [1, 2])
def test_an_equals_sign_goes_and_a_dash_stays(digits: Dataset, dashes: int) -> None:
    paper = np.pad(written(digits, (0, 3, 5, 8)), ((0, 0), (0, 40)), mode="edge")
    for row in (50, 62)[:dashes]:
        paper[row : row + 4, -56:-30] = 30
    assert len(groups(line_from_grey(paper).pixels)) == 6 - dashes


@pytest.mark.parametrize("level", [150, 160])
def test_a_pattern_of_the_paper_goes(digits: Dataset, level: int) -> None:
    paper = written(digits, (0, 3, 5, 8))
    rows, columns = np.mgrid[: paper.shape[0], : paper.shape[1]]
    lines = (4 * rows - columns) % 28 < 6
    assert len(groups(line_from_grey(np.where(lines, np.minimum(paper, level), paper)).pixels)) == 4


def drums(digits: Dataset, chosen: tuple[int, ...], plate: int, tones: tuple[int, ...]) -> Paper:
    """Bright digits, each on a drum of its own tone, of a counter whose plate is brighter."""
    made = np.full((100, 20 + 62 * len(chosen)), plate, np.uint8)
    for i, index in enumerate(chosen):
        cell = np.pad(np.kron(digits.images[index].numpy(), np.ones((2, 2), np.uint8)), ((8, 8), (0, 0)))
        made[14:86, 13 + 62 * i : 69 + 62 * i] = np.maximum(cell, tones[i % len(tones)])
    return made


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("plate", [120, 225])
def test_digits_on_the_drums_of_a_counter(digits: Dataset, plate: int, negative: bool) -> None:
    paper = drums(digits, (0, 3, 5, 8), plate, (15, 40))
    found = groups(line_from_grey(255 - paper if negative else paper).pixels)
    assert len(found) == 4
    assert all(end - start <= 24 for start, end in found)


def test_a_character_at_the_edge_of_its_drum_is_kept(digits: Dataset) -> None:
    """The gap that it leaves in the drum makes that no rectangle."""
    paper = drums(digits, (0, 3, 5), 225, (20,))
    paper[:60, 90:98] = 225
    found = groups(line_from_grey(paper).pixels)
    assert len(found) == 3


def test_a_character_that_parts_its_drum_is_kept(digits: Dataset) -> None:
    paper = drums(digits, (0, 3, 5, 8), 225, (20,))
    paper[46:52, 130:200] = 225
    assert len(groups(line_from_grey(paper).pixels)) == 4


def test_zeros_of_a_marker_are_no_drums() -> None:
    paper = np.full((100, 300), 240, np.uint8)
    for left in (30, 110, 190):
        paper[20:80, left : left + 48] = 20
        paper[34:66, left + 14 : left + 34] = 240
    found = groups(line_from_grey(paper).pixels)
    assert len(found) == 3
    assert all(end - start >= 12 for start, end in found)


@pytest.mark.parametrize(("heights", "left"), [((100, 100), 4), ((100,), 4), ((70, 70), 6)])
def test_the_lines_between_the_columns_of_a_form_go(digits: Dataset, heights: tuple[int, ...], left: int) -> None:
    """A digit is some 60 px high here; what is not much higher may be a 1."""
    paper = np.pad(written(digits, (0, 3, 5, 8), 3, gap=60, margin=30), ((20, 20), (0, 0)), constant_values=230)
    gaps = [(a[1] + b[0]) // 2 for a, b in pairwise(groups(255 - paper))]
    for middle, height in zip(gaps, heights, strict=False):
        top = (len(paper) - height) // 2
        paper[top : top + height, middle : middle + 5] = 46
    assert len(groups(line_from_grey(paper).pixels)) == left


@pytest.mark.parametrize("box", [(74, 81, 90, 97), (48, 53, 82, 102), (74, 81, 150, 157)])
def test_ones_beside_a_dot_or_a_dash_are_no_lines_of_a_form(box: tuple[int, int, int, int]) -> None:
    paper = np.full((100, 200), 255, np.uint8)
    for left in (60, 120):
        paper[20:81, left : left + 5] = 20
    top, bottom, left, right = box
    paper[top:bottom, left:right] = 20
    pixels = line_from_grey(paper).pixels
    high = [end - start for start, end in groups(pixels) if np.count_nonzero(pixels[:, start:end].max(1)) > 14]
    assert len(high) == 2


@pytest.mark.parametrize("darkest", [0.4, 0.25])
@pytest.mark.parametrize("way", [1, -1])
def test_ink_in_a_shadow_is_as_dark_as_that_in_the_light(digits: Dataset, darkest: float, way: int) -> None:
    paper = np.pad(written(digits, (0, 3, 5, 8, 12, 14), 3, gap=20), 20, constant_values=230)
    light = np.where(np.arange(paper.shape[1])[::way] < paper.shape[1] // 2, 1, darkest)
    light = np.convolve(np.pad(light, 6, mode="edge"), np.full(13, 1 / 13), "valid")
    pixels = line_from_grey((paper * light).astype(np.uint8)).pixels
    found = groups(pixels)
    assert len(found) == 6
    assert min(pixels[:, start:end].max() for start, end in found) > 200


def test_digits_that_stand_on_a_cut_rule_are_kept(digits: Dataset) -> None:
    paper = written(digits, (0, 3, 5, 8), scale=3)[:-42]
    assert (paper[-3] < 170).any()
    paper[-2:, : -paper.shape[1] // 4] = 60
    assert len(groups(line_from_grey(paper).pixels)) == 4


def test_a_frame_as_dark_as_the_ink_is_not_the_paper(digits: Dataset) -> None:
    paper = written(digits, (0, 3, 5, 8), margin=8)
    paper[:3] = paper[-3:] = 60
    paper[:, :3] = paper[:, -3:] = 60
    assert len(groups(line_from_grey(paper).pixels)) == 4


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (np.full((60, 300), 200, np.uint8), "no number: the picture is of one tone"),
        (np.random.default_rng(0).integers(0, 256, (60, 300), dtype=np.uint8), "no number: "),
    ],
)
def test_paper_without_writing_is_no_number(picture: Paper, reason: str) -> None:
    with pytest.raises(NoDigitError, match=reason):
        line_from_grey(picture)


def test_several_lines_are_refused(digits: Dataset) -> None:
    one = written(digits, (0, 3, 5, 8), margin=6)
    with pytest.raises(NoDigitError, match="no number: there are 2 lines; give a picture of one"):
        line_from_grey(np.concatenate([one, np.full((20, one.shape[1]), 230, np.uint8), one]))
    with pytest.raises(NoDigitError, match="no number: this is a page of text"):
        line_from_grey(np.concatenate([one] * 6))


@pytest.mark.parametrize("scale", [1, 6])
def test_each_of_several_lines_is_a_strip_with_boxes_in_the_picture(digits: Dataset, scale: int) -> None:
    lines = [written(digits, chosen, margin=6) for chosen in ((0, 3, 5, 8), (1, 2), (7, 4, 6))]
    wide = max(line.shape[1] for line in lines)
    sheet = np.concatenate([np.pad(line, ((9, 9), (40, 60 + wide - line.shape[1])), "edge") for line in lines])
    starts = [9 + sum(len(line) + 18 for line in lines[:i]) for i in range(3)]
    strips = lines_from_image(Image.fromarray(np.kron(sheet, np.ones((scale, scale), np.uint8))))
    assert [len(groups(strip.pixels)) for strip in strips] == [4, 2, 3]
    for strip, line, start in zip(strips, lines, starts, strict=True):
        rows, columns = ((line < 170).any(axis).nonzero()[0] for axis in (1, 0))
        box = np.array(strip.box(0, strip.pixels.shape[1])) / scale
        ink = [columns[0] + 40, rows[0] + start, columns[-1] + 41, rows[-1] + 1 + start]
        assert box == pytest.approx(np.array(ink), abs=4)


@pytest.mark.parametrize(
    ("height", "width", "text"),
    [
        (6, 100, "a picture 6 px high: a line of digits needs at least 8 px"),
        (6, 6400, "a picture 6 px high: a line of digits needs at least 8 px"),
        (30, 6400, "a picture 6,400 px wide and 30 px high: up to 192 times as wide as high is read; cut it"),
    ],
)
def test_a_picture_too_low_for_a_line_is_refused_by_its_own_size(height: int, width: int, text: str) -> None:
    with pytest.raises(InputError, match=text):
        line_from_image(Image.new("L", (width, height)))


def test_the_widest_line_is_looked_at() -> None:
    with pytest.raises(NoDigitError, match="of one tone"):
        line_from_image(Image.new("L", (192 * 33, 33)))


def test_a_line_too_long_is_refused(digits: Dataset) -> None:
    one = written(digits, (0, 3, 5, 8), 1, gap=4, margin=4)
    with pytest.raises(InputError, match="no number: the line is too long; give 100 digits at most"):
        line_from_grey(np.concatenate([one] * 50, 1))


def test_the_file_is_named(digits: Dataset, tmp_path) -> None:
    path = tmp_path / "blank.png"
    Image.fromarray(np.full((60, 300), 200, np.uint8)).save(path)
    with pytest.raises(NoDigitError, match=r"blank\.png: no number"):
        line_from_image(path)
    with pytest.raises(InputError, match="is not a picture"):
        line_from_image(io.BytesIO(b"nothing of the kind"))


def test_a_box_at_the_end_of_the_strip_is_not_inside_out(digits: Dataset) -> None:
    strip = line_from_grey(255 - np.concatenate([np.pad(digits.images[i].numpy(), 6) for i in range(4)], 1))
    width = strip.pixels.shape[1]
    found = strip.boxes([0, width / 2, width - 1, width + 20], [0, width, width, width + 40])
    assert all(left <= right and top <= bottom for left, top, right, bottom in found)
    assert found[2:] == [strip.box(width - 1, width), strip.box(width + 20, width + 40)]


@pytest.mark.parametrize(("height", "width"), [(20, 4), (99, 53), (101, 40)])
def test_a_band_across_a_narrow_picture_is_no_character(height: int, width: int) -> None:
    picture = np.full((height, width), 255, np.uint8)
    picture[: height // 3] = 41
    with pytest.raises(NoDigitError, match=r"^no number: "):
        line_from_grey(picture)
