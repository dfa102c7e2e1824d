"""The digit that MNIST would have made, of pictures in many forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import InputError, NoDigitError
from lenet_zoo.pictures.character import digit_from_grey, digit_from_image
from lenet_zoo.pictures.placing import narrowed, upright

from .conftest import SEVEN, alike, encoded, seven

# ---- As MNIST was made -----------------------------------------------------------------------------------------------


def mass_centre(digit: np.ndarray) -> list[float]:
    mass = digit.astype(float)
    return [float((mass.sum(1 - axis) * np.arange(digit.shape[axis])).sum() / mass.sum()) for axis in (0, 1)]


def test_a_digit_is_bright_on_dark_in_a_20_px_box_centred_by_mass() -> None:
    assert SEVEN.dtype == np.uint8
    assert SEVEN.shape == (28, 28)
    rows, columns = np.flatnonzero(SEVEN.any(1)), np.flatnonzero(SEVEN.any(0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
    assert SEVEN.max() == 255
    assert SEVEN[0].max() == SEVEN[-1].max() == 0
    assert all(13.5 <= centre < 14.5 for centre in mass_centre(SEVEN))
    assert alike(SEVEN, SEVEN[:, ::-1]) < 0.7  # neither mirrored nor symmetrical


def test_the_aspect_is_kept() -> None:
    bar = np.full((300, 40), 255, np.uint8)
    bar[20:280, 14:26] = 0  # 260×12: 20×0.9 px, then widened to the thinnest stroke
    digit = digit_from_grey(bar)
    assert np.ptp(np.flatnonzero(digit.any(1))) + 1 == 20
    assert np.ptp(np.flatnonzero(digit.any(0))) + 1 <= 4


STROKES = {
    4: [(0.3, 0.0), (0.0, 0.6), (1.0, 0.55), (0.75, 0.2), (0.7, 1.0)],
    6: [(0.8, 0.0), (0.2, 0.3), (0.0, 0.75), (0.5, 1.0), (1.0, 0.75), (0.6, 0.5), (0.05, 0.7)],
    7: [(0.0, 0.05), (1.0, 0.0), (0.5, 0.5), (0.3, 1.0)],
    8: [(0.5, 0.5), (0.1, 0.2), (0.5, 0.0), (0.9, 0.2), (0.5, 0.5), (0.0, 0.8), (0.5, 1.0), (1.0, 0.8), (0.5, 0.5)],
}


@pytest.mark.parametrize("times", [1.6, 2.0, 2.5])
@pytest.mark.parametrize("stroke", STROKES.values(), ids=STROKES)
def test_what_is_wider_than_people_write_becomes_4_thirds_as_wide_as_high(
    stroke: list[tuple[float, float]], times: float
) -> None:
    image = Image.new("L", (160, 160), 255)
    ImageDraw.Draw(image).line([(30 + 100 * x, 30 + 100 * y) for x, y in stroke], fill=0, width=10, joint="curve")
    wide, widest = (
        digit_from_grey(np.asarray(image.resize((round(160 * each), 160), Image.Resampling.BICUBIC)))
        for each in (times, 4 / 3)
    )
    assert np.ptp(np.flatnonzero(wide.any(0))) + 1 == 20
    assert 14 <= np.ptp(np.flatnonzero(wide.any(1))) + 1 <= 16
    assert alike(wide, widest) > 0.9


@pytest.mark.parametrize("way", [1, -1], ids=["right", "left"])
@pytest.mark.parametrize("stroke", STROKES.values(), ids=STROKES)
def test_however_slanted_it_is_written_a_digit_leans_by_a_half(stroke: list[tuple[float, float]], way: int) -> None:
    image = Image.new("L", (400, 160), 255)
    ImageDraw.Draw(image).line([(160 + 80 * x, 30 + 100 * y) for x, y in stroke], fill=0, width=10, joint="curve")
    found = []
    for slant in (0.9, 1.6):
        affine = (1, way * slant, -80 * way * slant, 0, 1, 0)
        page = image.transform(image.size, Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR, fillcolor=255)
        found.append(digit_from_grey(np.asarray(page)))
        rows, columns = (found[-1] >= 128).nonzero()
        leans = -np.cov(rows, columns)[0, 1] / rows.var(ddof=1)
        assert way * leans == pytest.approx(0.5, abs=0.12)
    assert alike(*found) > 0.85


def test_the_slant_over_a_half_is_taken_off_and_no_more() -> None:
    rows = np.arange(20)
    ink = np.zeros((20, 20), np.uint8)
    ink[rows, rows] = 200  # leans by 1 to the left
    found = upright(ink)
    np.testing.assert_array_equal(found.argmax(1), rows // 2)
    np.testing.assert_array_equal(found.max(1), 200)
    np.testing.assert_array_equal(upright(ink[:, ::-1]), found[:, ::-1])
    np.testing.assert_array_equal(upright(found), found)
    faint = np.where(ink, 127, 0).astype(np.uint8)  # no pixel tells a slant
    np.testing.assert_array_equal(upright(faint), faint)
    np.testing.assert_array_equal(upright(ink[:1] + 200), ink[:1] + 200)


def test_only_what_is_over_4_thirds_as_wide_as_high_is_made_narrower() -> None:
    ink = np.random.default_rng(0).integers(0, 256, (30, 41)).astype(np.uint8)
    np.testing.assert_array_equal(narrowed(ink[:, :40]), ink[:, :40])
    np.testing.assert_array_equal(narrowed(ink.T), ink.T)
    assert narrowed(ink).shape == (30, 40)
    # Means of areas: of five columns that become four, the first has the first and a quarter of the second.
    np.testing.assert_array_equal(narrowed(np.array([[0, 60, 120, 180, 240]] * 3, np.uint8)), [[12, 84, 156, 228]] * 3)


@pytest.mark.parametrize("size", [8, 14, 32, 64])
def test_the_box_is_20_28ths_of_any_size(size: int) -> None:
    digit = digit_from_image(seven(), size)
    assert digit.shape == (size, size)
    rows, columns = np.flatnonzero(digit.any(1)), np.flatnonzero(digit.any(0))
    assert max(np.ptp(rows), np.ptp(columns)) + 1 == round(size * 20 / 28)


@pytest.mark.parametrize("size", [7, 0, -1, 28.0])
def test_a_size_below_8_or_not_whole_is_refused(size: float) -> None:
    with pytest.raises(InputError) as caught:
        digit_from_image(seven(), size)  # type: ignore[arg-type]
    assert str(caught.value) == f"size must be a whole number of at least 8 pixels, not {size!r}"


@pytest.mark.parametrize("grey", [np.zeros((4, 4)), np.zeros((2, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)])
def test_a_grey_array_of_another_kind_is_refused(grey: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"^grey must be uint8 H×W, not "):
        digit_from_grey(grey)


def test_every_digit_of_mnist_and_its_negative_come_through_unchanged(
    mnist_train: Dataset, mnist_test: Dataset
) -> None:
    digits = np.concatenate([part.images.numpy().reshape(-1, 28, 28) for part in (mnist_train, mnist_test)])
    assert len(digits) == 70_000
    wrong = [n for n, digit in enumerate(digits) if not np.array_equal(digit_from_grey(digit), digit)]
    assert wrong == []
    for digit in digits[::50]:
        assert np.array_equal(digit_from_grey(255 - digit), digit)


def test_mnist_redrawn_large_as_ink_on_paper_comes_back(mnist_train: Dataset) -> None:
    digits = mnist_train.images.numpy().reshape(-1, 28, 28)[50_000:50_100]
    noise = np.random.default_rng(0)
    likeness = []
    for digit in digits:
        large = np.asarray(Image.fromarray(digit).resize((280, 280), Image.Resampling.BICUBIC)).astype(float)
        light = np.linspace(0.7, 1.0, 280)[:, None]
        paper = (225 - large / 255 * 165) * light + noise.normal(0, 6, large.shape)
        jpeg = encoded(Image.fromarray(np.clip(paper, 0, 255).astype(np.uint8)), "JPEG", quality=60)
        likeness.append(alike(digit_from_image(jpeg), digit))
    # Thin and fat pens come back at another width, so that some are less alike than they look.
    assert np.median(likeness) > 0.9
    assert min(likeness) > 0.6


# ---- The same character, pictured in other ways ----------------------------------------------------------------------


def test_a_result_is_its_own_digit() -> None:
    assert np.array_equal(digit_from_grey(SEVEN), SEVEN)


def test_ink_may_be_dark_or_light() -> None:
    assert alike(digit_from_image(seven(ink=255, paper=0)), SEVEN) > 0.999
    assert alike(digit_from_image(seven(ink=200, paper=70)), SEVEN) > 0.99


@pytest.mark.parametrize("factor", [0.1, 0.5, 3.0, 9.0])
def test_size_does_not_matter(factor: float) -> None:
    side = round(200 * factor)
    picture = seven().resize((side, side), Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC)
    assert alike(digit_from_image(picture), SEVEN) > (0.9 if factor == 0.1 else 0.98)


@pytest.mark.parametrize("margins", [(0, 0, 500, 100), (900, 30, 0, 0), (2000, 2000, 1500, 1800)])
def test_margins_do_not_matter(margins: tuple[int, int, int, int]) -> None:
    grey = np.pad(np.asarray(seven()), (margins[:2], margins[2:]), constant_values=255)
    assert alike(digit_from_grey(grey), SEVEN) > 0.97


def test_a_crop_to_the_ink_does_not_matter() -> None:
    grey = np.asarray(seven())
    rows, columns = np.flatnonzero((grey < 128).any(1)), np.flatnonzero((grey < 128).any(0))
    assert alike(digit_from_grey(grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]), SEVEN) > 0.97


@pytest.mark.parametrize("pen", [1, 2, 6, 40])
def test_a_hair_line_is_not_lost_and_a_fat_pen_stays_readable(pen: int) -> None:
    side = 200 if pen == 40 else 2000
    digit = digit_from_image(seven(side, pen))
    assert alike(digit, SEVEN) > 0.75
    assert np.count_nonzero(digit > 200) > 30


def test_light_shadow_noise_and_specks_do_not_matter() -> None:
    rows, columns = np.mgrid[0:200, 0:200]
    paper = np.asarray(seven(ink=60, paper=220)).astype(float)
    paper *= np.where(rows + columns / 3 > 130, 0.6, 1.0)  # the edge of a shadow crosses the digit
    paper *= 1 - 0.2 * columns / 200
    paper += np.random.default_rng(1).normal(0, 8, paper.shape)
    paper[30:33, 150:153] = paper[170:174, 20:23] = 20
    assert alike(digit_from_grey(np.clip(paper, 0, 255).astype(np.uint8)), SEVEN) > 0.91


def test_a_dark_surround_and_a_drawn_frame_are_not_the_digit() -> None:
    framed = seven()
    ImageDraw.Draw(framed).rectangle((8, 8, 191, 191), outline=0, width=3)
    assert alike(digit_from_image(framed), SEVEN) > 0.97
    on_a_desk = np.pad(np.asarray(seven(paper=230)), 40, constant_values=25)
    assert alike(digit_from_grey(on_a_desk), SEVEN) > 0.97


def test_a_rule_and_an_edge_of_the_page_are_not_the_digit() -> None:
    grey = np.pad(np.asarray(seven()), 30, constant_values=255)
    grey[-12:-9] = 90
    grey[:, :8] = 0
    assert alike(digit_from_grey(grey), SEVEN) > 0.97


def test_a_digit_in_two_pieces_keeps_both() -> None:
    grey = np.full((200, 200), 255, np.uint8)
    grey[30:48, 60:140] = 0  # the bar of a 5, apart from its body
    grey[70:170, 110:128] = 0
    digit = digit_from_grey(grey)
    assert digit[:8].any()
    assert (digit[10] == 0).all() or (digit[8] == 0).all() or (digit[9] == 0).all()


@pytest.mark.parametrize(
    ("ink", "paper"),
    [((200, 60, 60), (60, 127, 60)), ((255, 240, 0), (255, 255, 255)), ((20, 40, 200), (255, 250, 235))],
)
def test_ink_that_differs_from_the_paper_in_hue_alone(ink: tuple[int, int, int], paper: tuple[int, int, int]) -> None:
    mask = seven(ink=255, paper=0)
    picture = Image.composite(Image.new("RGB", mask.size, ink), Image.new("RGB", mask.size, paper), mask)
    assert alike(digit_from_image(picture), SEVEN) > 0.97


# ---- No digit --------------------------------------------------------------------------------------------------------


def noise(kind: str, side: int) -> np.ndarray:
    random = np.random.default_rng(3)
    values = random.normal(200, 12, (side, side)) if kind == "paper" else random.uniform(0, 256, (side, side))
    return np.clip(values, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("level", [0, 7, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (28, 28), (300, 200)])
def test_one_tone_is_no_digit(level: int, shape: tuple[int, int]) -> None:
    with pytest.raises(NoDigitError) as caught:
        digit_from_grey(np.full(shape, level, np.uint8))
    assert str(caught.value) == "no digit: the picture is of one tone"


@pytest.mark.parametrize("kind", ["paper", "static"])
@pytest.mark.parametrize("side", [28, 100, 250, 600])
def test_noise_is_no_digit(kind: str, side: int) -> None:
    with pytest.raises(NoDigitError, match=r"^no digit: the picture is "):
        digit_from_grey(noise(kind, side))


def test_light_alone_is_no_digit() -> None:
    rows, columns = np.mgrid[0:200, 0:300]
    for grey in (columns * 0.5 + 60, 255 - ((rows - 100) ** 2 + (columns - 150) ** 2) / 400):
        with pytest.raises(NoDigitError):
            digit_from_grey(grey.astype(np.uint8))


def test_a_full_picture_is_no_digit() -> None:
    block = np.full((100, 100), 255, np.uint8)
    block[10:90, 12:88] = 0
    with pytest.raises(NoDigitError):
        digit_from_grey(block)
    block[10:90, 12:88] = 255
    block[40:60, 40:60] = 0
    with pytest.raises(NoDigitError) as caught:
        digit_from_grey(block)
    assert str(caught.value) == "no digit: the picture is full"


def test_a_single_speck_is_no_digit() -> None:
    grey = np.full((400, 400), 255, np.uint8)
    grey[200:202, 100:102] = 0
    with pytest.raises(NoDigitError) as caught:
        digit_from_grey(grey)
    assert str(caught.value) == "no digit: the only mark is under 3 pixels"


def test_no_digit_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "blank.png"
    Image.new("L", (50, 50), 255).save(path)
    with pytest.raises(NoDigitError) as caught:
        digit_from_image(path)
    assert str(caught.value) == f"{path}: no digit: the picture is of one tone"
    assert isinstance(caught.value, InputError)
