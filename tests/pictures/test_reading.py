"""Pictures of every mode, format and source, and what is said of those that cannot be read."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, features

from lenet_zoo.errors import InputError, NoDigitError
from lenet_zoo.pictures.character import digit_from_image
from lenet_zoo.pictures.grey import grey_from_rgba, to_grey
from lenet_zoo.pictures.reading import MAX_PIXELS, load_picture, looked_into, picture_size, pictures_in

from .conftest import SEVEN, alike, encoded, png_header, seven

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


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_usual_picture_loads_no_other_decoder(kind: str, tmp_path: Path) -> None:
    """They take longer than the picture."""
    seven().save(tmp_path / "seven", kind)
    code = (
        "import sys; from lenet_zoo.pictures.reading import load_picture; load_picture(sys.argv[1])\n"
        "print('PIL.TiffImagePlugin' in sys.modules, 'pillow_heif' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "seven")], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False False\n", "")


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


def test_a_closed_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "seven.png"
    seven().save(path)
    with path.open("rb") as stream:
        pass
    assert fault(stream) == f"{path} is a closed file: open it again, or pass its path"


def test_each_fault_is_one_line_that_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    assert fault(path) == f"{path}: no such file or folder"
    assert fault(tmp_path) == f"{tmp_path} is a folder, not a picture"
    path.write_bytes(b"")
    assert fault(path) == f"{path} is empty (0 bytes)"
    path.write_text("seven\n")
    assert fault(path) == f"{path} is not a picture of a known format (PNG, JPEG, GIF, BMP, TIFF, WebP …)"
    assert fault("a\0b") == "a\\x00b cannot be read: embedded null byte"
    assert fault(path / "b.png") == f"{path / 'b.png'} cannot be read: not a directory"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "ICO", "AVIF"])
def test_a_truncated_file_is_damaged(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no decoder of AVIF")
    image = seven().filter(ImageFilter.GaussianBlur(2)).convert("RGB")
    data = encoded(image, kind)
    for part in (len(data) // 2, len(data) - len(data) // 8, 40, 20):
        assert fault(data[:part]).startswith("the picture is a damaged picture: ")
    if kind not in ("BMP", "WEBP", "JPEG"):
        how = f"it begins as {kind}, and the rest is missing or wrong"
        assert fault(data[:12]) == f"the picture is a damaged picture: {how}"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_the_size_is_told_by_the_header(kind: str) -> None:
    stream = io.BytesIO(encoded(seven().crop((0, 0, 30, 20)), kind))
    assert picture_size(stream) == (30, 20)
    assert stream.tell() == 0
    with pytest.raises(InputError, match=r"^the picture is empty \(0 bytes\)$"):
        picture_size(io.BytesIO())


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


@pytest.mark.parametrize("look", [pictures_in, looked_into])
def test_an_empty_name_is_not_the_current_folder(look: Callable[[str], object]) -> None:
    with pytest.raises(InputError, match=r"^an empty name: give a picture or a folder$"):
        look("")


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


def test_an_opaque_screenshot_is_read_as_rgb() -> None:
    image = seven(1600, 140).convert("RGB")
    image.paste((90, 120, 200), (0, 0, 1600, 40))
    assert np.array_equal(digit_from_image(encoded(image.convert("RGBA"))), digit_from_image(encoded(image)))


def test_threads_that_decode_leave_the_programs_warnings_as_they_are() -> None:
    pictures = [encoded(seven(), "PNG")] * 200
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(load_picture, pictures))
    assert list(warnings.filters) == before


def test_what_comes_through_a_pipe_is_a_picture() -> None:
    theirs, ours = os.pipe()
    data = encoded(seven(), "PNG")
    writer = threading.Thread(target=lambda: (os.write(ours, data), os.close(ours)))
    writer.start()
    with os.fdopen(theirs, "rb") as stream:
        assert np.array_equal(digit_from_image(stream), digit_from_image(data))
    writer.join()


def test_a_file_that_is_open_as_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "seven.png").write_bytes(encoded(seven(), "PNG"))
    with (tmp_path / "seven.png").open() as stream, pytest.raises(InputError, match="is open as text: open it with"):
        load_picture(stream)
