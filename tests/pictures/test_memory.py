"""What a large picture takes on its way to a digit: little more than its decoded pixels, whatever its mode."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenet_zoo.pictures.character import digit_from_image
from lenet_zoo.pictures.grey import to_grey
from lenet_zoo.pictures.preparation import Preparation
from lenet_zoo.pictures.reading import bands, load_picture

from .conftest import encoded, seven

SIDE = 4_000
PROGRAM = """
import resource, sys
from lenet_zoo.pictures.preparation import Preparation
prepare = Preparation(sys.argv[2])
prepare.pixels(sys.argv[3])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
prepare.pixels(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kilobytes on Linux")
@pytest.mark.parametrize("kind", ["character", "picture"])
@pytest.mark.parametrize("least_alpha", [0, 255])
def test_a_picture_of_16_million_pixels(kind: str, least_alpha: int, tmp_path: Path) -> None:
    alpha = np.full((SIDE, SIDE), 255, np.uint8)
    alpha[:9] = least_alpha
    large = Image.merge("RGBA", (*[seven(SIDE, 1_600)] * 3, Image.fromarray(alpha)))
    large.save(tmp_path / "large.png", compress_level=1)
    seven().convert("RGBA").save(tmp_path / "small.png")
    argv = [sys.executable, "-c", PROGRAM, str(tmp_path / "large.png"), kind, str(tmp_path / "small.png")]
    grown = int(subprocess.run(argv, check=True, capture_output=True, text=True).stdout) * 1024
    assert grown < 10 * SIDE * SIDE  # RGBA and its opaque copy take 4 bytes each


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_bands_give_what_the_whole_gives(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    rgba = Image.fromarray(rng.integers(0, 256, (60, 50, 4), np.uint8)).resize((431, 501))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(rgba.convert("L")).astype(np.uint16) * 200)
    else:
        image = rgba.convert("RGB").convert(mode) if mode == "CMYK" else rgba.convert(mode)
    whole, as_it_is = to_grey(image), Preparation("picture", 3).pixels(image)
    monkeypatch.setattr("lenet_zoo.pictures.reading._BAND", 9_000)
    assert len([*bands(image)]) == 26
    assert np.array_equal(to_grey(image), whole)
    assert np.array_equal(Preparation("picture", 3).pixels(image), as_it_is)


def test_an_opaque_picture_is_reduced_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(seven(1_601, 140).convert("RGBA"))
    whole, digit = load_picture(data, 384), digit_from_image(data)
    assert whole.size == (400, 400)
    monkeypatch.setattr("lenet_zoo.pictures.reading._BAND", 9_000)
    assert load_picture(data, 384).tobytes() == whole.tobytes()
    assert np.array_equal(digit_from_image(data), digit)


@pytest.mark.parametrize("mode", ["1", "P", "I;16"])
def test_numbers_are_read_from_large_pictures_of_every_mode(mode: str) -> None:
    from lenet_zoo.pictures.line import line_from_image

    grey = seven(2_400)
    image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 200) if mode == "I;16" else grey.convert(mode)
    assert line_from_image(image).pixels.any()
