"""Pictures in: reading hostile files, grey levels of every mode, and the digit that MNIST would have made."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import InputError, NoDigitError
from lenet_zoo.pictures.character import digit_from_grey, digit_from_image
from lenet_zoo.pictures.grey import grey_from_rgba, to_grey
from lenet_zoo.pictures.reading import MAX_PIXELS, load_picture, pictures_in


def seven(side: int = 200, pen: int = 18, ink: int = 0, paper: int = 255) -> Image.Image:
    """A 7: no symmetry, so that a turned or mirrored result shows."""
    image = Image.new("L", (side, side), paper)
    points = [(0.28 * side, 0.2 * side), (0.7 * side, 0.22 * side), (0.42 * side, 0.82 * side)]
    ImageDraw.Draw(image).line(points, fill=ink, width=pen, joint="curve")
    return image


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of two digits: 1 when they are the same up to brightness."""
    return float(np.corrcoef(one.ravel().astype(float), other.ravel().astype(float))[0, 1])


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header promises a size that its data do not hold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


SEVEN = digit_from_image(seven())


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
    assert alike(digit_from_grey(np.clip(paper, 0, 255).astype(np.uint8)), SEVEN) > 0.93


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


# ---- Modes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "I", "F"])
def test_every_mode_gives_the_same_digit(mode: str) -> None:
    image = seven()
    if mode in ("LA", "RGBX", "CMYK", "YCbCr", "HSV", "RGBA"):
        image = image.convert("RGB")
    assert alike(digit_from_image(image.convert(mode)), SEVEN) > 0.99


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_premultiplied_alpha(mode: str) -> None:
    straight = seven().convert("RGBA" if mode == "RGBa" else "LA")
    assert alike(digit_from_image(straight.convert(mode)), SEVEN) > 0.99


def test_lab_gives_its_lightness() -> None:
    lightness = seven()
    flat = Image.new("L", lightness.size, 128)
    assert np.array_equal(to_grey(Image.merge("LAB", (lightness, flat, flat))), np.asarray(lightness))


@pytest.mark.parametrize("white", [255, 1023, 4095, 65535])
def test_16_bit_pictures_of_any_depth(white: int, tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray((np.asarray(seven()) / 255 * white).astype(np.uint16)).save(path)
    assert load_picture(path).mode.startswith("I;16")
    assert alike(digit_from_image(path), SEVEN) > 0.99


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_float_pictures_must_be_finite(bad: float) -> None:
    values = np.ones((30, 30), np.float32)
    values[3, 3] = bad
    with pytest.raises(InputError) as caught:
        digit_from_image(Image.fromarray(values))
    assert str(caught.value) == "the picture holds values that are not finite"


@pytest.mark.parametrize("level", [0, 255])
def test_dark_and_light_ink_on_a_transparent_ground(level: int) -> None:
    ink = seven(ink=255, paper=0)  # the alpha channel
    plain = Image.merge("LA", (Image.new("L", ink.size, level), ink))
    assert alike(digit_from_image(plain), SEVEN) > 0.99
    hidden = Image.merge("LA", (ink.point(lambda a: level if a else 255 - level), ink))
    assert alike(digit_from_image(hidden.convert("RGBA")), SEVEN) > 0.99  # what is transparent has no colour


def test_a_card_with_transparent_margins_keeps_its_paper() -> None:
    for ink, paper in ((0, 255), (255, 0)):
        card = seven(ink=ink, paper=paper).convert("RGBA")
        sticker = Image.new("RGBA", (300, 300), (0, 0, 0, 0))
        sticker.paste(card, (50, 50))
        assert alike(digit_from_image(sticker), SEVEN) > 0.97


def test_a_transparent_palette_entry() -> None:
    image = seven().convert("P")
    data = encoded(image, "PNG", transparency=255)
    assert load_picture(data).mode == "P"
    assert alike(digit_from_image(data), SEVEN) > 0.99


def test_a_wholly_transparent_picture_is_no_digit() -> None:
    with pytest.raises(NoDigitError):
        digit_from_image(Image.merge("LA", (seven(), Image.new("L", (200, 200), 0))))


def test_grey_from_rgba_is_exact() -> None:
    rgba = np.array([[[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255], [9, 9, 9, 255]]], np.uint8)
    channels = [[255, 0, 0, 9], [0, 255, 0, 9], [0, 0, 255, 9]]
    assert grey_from_rgba(rgba).tolist()[0] in ([76, 150, 29, 9], *channels)
    assert grey_from_rgba(np.repeat(rgba[:, 3:], 5, axis=1)).tolist() == [[9] * 5]
    half = np.array([[[0, 0, 0, 255], [0, 0, 0, 128], [0, 0, 0, 0]]], np.uint8)
    assert grey_from_rgba(half).tolist() == [[0, 127, 255]]


def test_the_first_frame_of_an_animation_counts() -> None:
    data = encoded(seven(), "GIF", save_all=True, append_images=[Image.new("L", (200, 200), 255)])
    assert alike(digit_from_image(data), SEVEN) > 0.99


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_obeyed(orientation: int) -> None:
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that stores the picture the other way
    stored = seven() if orientation == 1 else seven().transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, "JPEG", exif=exif, quality=95)
    assert alike(digit_from_image(data), SEVEN) > 0.98
    assert alike(digit_from_image(Image.open(io.BytesIO(data))), SEVEN) > 0.98


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "PPM", "WEBP", "TGA", "ICO"])
def test_common_formats(kind: str) -> None:
    assert alike(digit_from_image(encoded(seven().convert("RGB"), kind)), SEVEN) > 0.97


# ---- Sources and faults ----------------------------------------------------------------------------------------------


def test_paths_bytes_files_and_images_are_the_same_picture(tmp_path: Path) -> None:
    path = tmp_path / "seven.png"
    seven().save(path)
    data = path.read_bytes()
    with path.open("rb") as stream:
        sources = [path, str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), stream, seven()]
        for source in sources:
            assert np.array_equal(digit_from_image(source), SEVEN)


def fault(source: object) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError) as caught:
            digit_from_image(source)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text
    assert not isinstance(caught.value, NoDigitError)
    return text


def test_each_fault_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    assert fault(path) == f"{path}: no such file or folder"
    assert fault(tmp_path) == f"{tmp_path} is a folder, not a picture"
    path.write_bytes(b"")
    assert fault(path) == f"{path} is empty (0 bytes)"
    path.write_text("seven\n")
    assert fault(path) == f"{path} is not a picture of a known format (PNG, JPEG, GIF, BMP, TIFF, WebP …)"
    assert fault("a\0b") == "a\0b cannot be read: embedded null byte"
    assert fault(path / "b.png") == f"{path / 'b.png'} cannot be read: not a directory"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_truncated_file_is_damaged(kind: str) -> None:
    image = seven().filter(ImageFilter.GaussianBlur(2)).convert("RGB")
    data = encoded(image, kind)
    for part in (len(data) // 2, len(data) - len(data) // 8, 20):
        text = fault(data[:part])
        assert text.startswith(("the picture is a damaged picture: ", "the picture is not a picture of a known format"))


def test_postscript_is_not_run() -> None:
    assert fault(encoded(seven(), "EPS")).startswith("the picture is not a picture of a known format")


@pytest.mark.parametrize("side", [30_000, 12_000, 8_001])
def test_a_huge_picture_is_refused_by_its_header(side: int, tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(side, side))  # decoding it would say "damaged" instead
    assert side * side > MAX_PIXELS
    assert fault(path) == f"{path} has more than 64,000,000 pixels: scale it down first"


def test_a_device_is_not_read_for_ever() -> None:
    assert fault("/dev/zero") == "/dev/zero is not a regular file"


def test_other_things_are_told_apart() -> None:
    assert fault(None).startswith("a NoneType is not a picture: pass a path, ")
    assert "Image.fromarray" in fault(np.zeros((28, 28), np.uint8))


def test_a_picture_with_broken_exif_is_still_a_picture() -> None:
    data = encoded(seven(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert alike(digit_from_image(data), SEVEN) > 0.97


# ---- Folders ---------------------------------------------------------------------------------------------------------


def test_a_folder_is_its_pictures_in_order_and_a_file_itself(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "c.tiff", ".hidden.png", "notes.txt", "d.eps"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in pictures_in(tmp_path)] == ["a.JPG", "b.png", "c.tiff"]
    assert pictures_in(str(tmp_path / "notes.txt")) == [tmp_path / "notes.txt"]


def test_a_folder_without_pictures_and_a_missing_path(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        pictures_in(tmp_path)
    wanted = "a folder needs files such as .png, .jpg, .gif, .bmp or .tif"
    assert str(caught.value) == f"{tmp_path} has no pictures in it: {wanted}"
    with pytest.raises(InputError) as caught:
        pictures_in(tmp_path / "none")
    assert str(caught.value) == f"{tmp_path / 'none'}: no such file or folder"


def test_what_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    seven().save(path)

    def refuse(*_: object, **__: object) -> None:  # the tests may run as root, whom no permission stops
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "iterdir", refuse)
    assert fault(path) == f"{path} cannot be read: permission denied"
    with pytest.raises(InputError) as caught:
        pictures_in(tmp_path)
    assert str(caught.value) == f"{tmp_path} cannot be read: permission denied"


def test_pictures_need_no_torch() -> None:
    code = "import sys, lenet_zoo.pictures.character; sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
