"""HEIC pictures from phones: read where pillow-heif is installed, and elsewhere named with what to install."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenet_zoo.datasets.folders import load_folder
from lenet_zoo.errors import InputError, to_install
from lenet_zoo.pictures import reading
from lenet_zoo.pictures.character import digit_from_image
from lenet_zoo.pictures.reading import load_picture, pictures_in
from lenet_zoo.scoring.inputs import list_input

from .conftest import SEVEN, alike, seven

pillow_heif = pytest.importorskip("pillow_heif", reason=f"needs pillow-heif: {to_install('heic')}")
WHAT_TO_DO = 'is a HEIC picture, which pillow-heif decodes: run pip install ".[heic]" in a clone of lenet_zoo'


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photos" / "IMG_0001.HEIC"
    path.parent.mkdir()
    stream = io.BytesIO()
    pillow_heif.from_pillow(seven().convert("RGB")).save(stream)
    path.write_bytes(stream.getvalue())
    return path


@pytest.fixture
def without_pillow_heif(monkeypatch: pytest.MonkeyPatch) -> None:
    formats = [name for name in reading._formats() if name not in ("HEIF", "AVIF")]
    monkeypatch.setattr(reading, "_formats", lambda: formats)


def test_a_photo_of_a_phone_is_read(photo: Path) -> None:
    assert alike(digit_from_image(photo), SEVEN) > 0.95
    assert pictures_in(photo.parent) == [photo]


def test_with_the_decoder_the_beginning_of_one_is_damaged(photo: Path) -> None:
    with pytest.raises(InputError, match="is a damaged picture: it begins as HEIF, and the rest is missing or wrong"):
        load_picture(photo.read_bytes()[:100])


@pytest.mark.usefixtures("without_pillow_heif")
def test_without_the_decoder_it_is_named_with_what_to_install(photo: Path) -> None:
    for source, name in ((photo, str(photo)), (photo.read_bytes(), "the picture")):
        with pytest.raises(InputError) as caught:
            load_picture(source)
        assert str(caught.value) == f"{name} {WHAT_TO_DO}"


@pytest.mark.usefixtures("without_pillow_heif")
def test_without_the_decoder_a_folder_loses_no_picture_without_a_word(photo: Path) -> None:
    Image.fromarray(np.asarray(seven())).save(photo.with_name("scan.png"))
    assert [path.name for path in pictures_in(photo.parent)] == ["IMG_0001.HEIC", "scan.png"]
    listed = list_input(photo.parent, (28, 28))
    assert listed.rows == 2
    listed.close()
    for name in ("a", "b"):
        (photo.parent / name).mkdir()
        seven().save(photo.parent / name / "scan.png")
    photo.rename(photo.parent / "a" / photo.name)
    said: list[str] = []
    load_folder(photo.parent, say=said.append)
    assert said[0] == f"left out: {photo.parent / 'a' / photo.name} {WHAT_TO_DO}"
