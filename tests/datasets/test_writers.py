"""Digits of other writers: read in every form that the archive gives, fetched, and drawn as a pen would have."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lenet_zoo.datasets import writers
from lenet_zoo.datasets.loading import Dataset, load_dataset, other_writers, validation_split
from lenet_zoo.errors import DataError
from lenet_zoo.pictures.placing import is_normal

# Eight points of a pen, y upwards: a 1 with its upstroke, a barred 7, a 5 whose roof is drawn last.
PENS = {
    1: [(0, 60), (40, 80), (80, 100), (82, 80), (84, 60), (86, 40), (88, 20), (90, 0)],
    7: [(0, 95), (50, 100), (100, 95), (80, 50), (60, 0), (30, 30), (15, 50), (95, 52)],
    5: [(10, 95), (5, 60), (60, 60), (100, 30), (50, 0), (0, 10), (5, 60), (100, 100)],
}


def rows(name: str) -> np.ndarray:
    """A small file: uint8 rows×columns."""
    if name.startswith("pendigits"):
        return np.array([[*np.ravel(way), label] for label, way in PENS.items()], np.uint8)
    if name == "optdigits.tra":
        ring = np.zeros((8, 8), np.uint8)
        ring[:, 1:7], ring[2:6, 3:5] = 16, 0
        return np.array([[*ring.ravel(), 0]], np.uint8)
    bar = np.zeros((16, 16), np.uint8)
    bar[:, 5:11] = 1
    return np.array([[*bar.ravel(), *np.eye(10, dtype=np.uint8)[1]]], np.uint8)


def text(name: str, number: str = "{}", between: str = ",") -> bytes:
    return "\n".join(between.join(number.format(n) for n in row) for row in rows(name).tolist()).encode()


def zipped(name: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(name, text(name))
    return content.getvalue()


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, file in writers.FILES.items():
        found = rows(name)
        small = replace(
            file, rows=found.shape[0], columns=found.shape[1], sha256=hashlib.sha256(found.tobytes()).hexdigest()
        )
        monkeypatch.setitem(writers.FILES, name, small)


def put(folder: Path, form: Callable[[str], tuple[str, bytes]] = lambda name: (name, text(name))) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in writers.FILES:
        spelt, content = form(name)
        (folder / spelt).write_bytes(content)


# ---------------------------------------------------------------------------------------------------------- the sets


def test_handwriting_is_mnist_after_other_writers(small_mnist: Path, tmp_path: Path) -> None:
    put(tmp_path / "writers")
    (tmp_path / "MNIST").symlink_to(small_mnist / "MNIST")
    mnist = load_dataset("mnist", train=True, root=small_mnist)
    data = load_dataset("handwriting", train=True, root=tmp_path)
    assert (data.name, data.classes, data.preparation) == ("handwriting", mnist.classes, mnist.preparation)
    assert (data.images.dtype, tuple(data.images.shape)) == (torch.uint8, (605, 28, 28))
    assert data.labels[:5].tolist() == [0, 1, 7, 5, 1]
    held_out = validation_split(data, 100)[1]
    assert torch.equal(held_out.images, validation_split(mnist, 100)[1].images)
    test = load_dataset("handwriting", train=False, root=tmp_path)
    assert torch.equal(test.images, load_dataset("mnist", train=False, root=small_mnist).images)
    for inner in ("writers", "MNIST", "MNIST/raw"):
        assert len(load_dataset("handwriting", train=True, root=tmp_path / inner)) == 605


def test_other_writers_are_the_first_of_handwriting_alone() -> None:
    def told(name: str, count: int) -> int:
        return other_writers(Dataset(name, torch.zeros(count, 28, 28), torch.zeros(count), tuple("0123456789")))

    assert told("handwriting", 605) == 5
    assert told("handwriting", 4) == told("mnist", 600) == 0  # of so few, none is of another writer


def test_pendigits_has_two_files(tmp_path: Path) -> None:
    put(tmp_path / "writers")
    (tmp_path / "writers" / "pendigits.tes").unlink()
    assert load_dataset("pendigits", train=True, root=tmp_path).labels.tolist() == [1, 7, 5]
    with pytest.raises(DataError) as error:
        load_dataset("pendigits", train=False, root=tmp_path)
    assert str(error.value) == (
        f"no pendigits.tes in {tmp_path / 'writers'}: add --download (download=True) to fetch it, put there what you "
        "fetched from https://archive.ics.uci.edu/ml/machine-learning-databases/pendigits/pendigits.tes, or name the "
        "folder that holds writers with --data-root or LENET_ZOO_DATA"
    )


# ------------------------------------------------------------------------------------------------------ files by hand


FORMS: dict[str, Callable[[str], tuple[str, bytes]]] = {
    "as published": lambda name: (name, text(name, "{:.4f}", " ") if name == "semeion.data" else text(name, "{:3d}")),
    "packed": lambda name: (f"{name}.gz", gzip.compress(text(name))),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("folder", [".", "writers"])
def test_files_by_hand_are_used(tmp_path: Path, form: str, folder: str) -> None:
    put(tmp_path / folder, FORMS[form])
    for name in writers.FILES:
        assert np.array_equal(writers.numbers(name, tmp_path), rows(name))


def test_a_zip_file_by_hand_is_used(tmp_path: Path) -> None:
    (tmp_path / writers.FILES["semeion.data"].zip).write_bytes(zipped("semeion.data"))
    assert np.array_equal(writers.numbers("semeion.data", tmp_path), rows("semeion.data"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b[:-3],
        lambda b: b.replace(b"100", b"101"),
        lambda b: b"<html>404</html>",
        lambda b: b.replace(b"5", b"x"),
    ],
    ids=["cut", "altered", "page", "letters"],
)
@pytest.mark.parametrize("name", ["pendigits.tra", "pendigits.tra.gz"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: Callable[[bytes], bytes], name: str) -> None:
    content = damage(text("pendigits.tra"))
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(DataError) as error:
        writers.numbers("pendigits.tra", tmp_path)
    assert str(error.value) == (
        f"{tmp_path / name} is damaged, or is not pendigits.tra as it was published: fetch it again"
    )


@pytest.mark.parametrize("spelt", ["semeion.data.gz", "semeion+handwritten+digit.zip"])
def test_a_damaged_package_is_named(tmp_path: Path, spelt: str) -> None:
    (tmp_path / spelt).write_bytes(b"half of it")
    with pytest.raises(DataError) as error:
        writers.numbers("semeion.data", tmp_path)
    assert str(error.value).startswith(f"{tmp_path / spelt} is damaged: ")


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "semeion.data").mkdir()
    with pytest.raises(DataError) as error:
        writers.numbers("semeion.data", tmp_path)
    assert str(error.value) == f"{tmp_path / 'semeion.data'} cannot be read: Is a directory"


# ----------------------------------------------------------------------------------------------------------- fetching


@pytest.fixture
def archive(served: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a server on this machine, in place of the archive."""
    address, folder = served
    monkeypatch.setattr(writers, "_ARCHIVE", address)
    return folder


def serve(archive: Path, name: str, which: int, content: bytes) -> None:
    path = archive / writers.addresses(name)[which].split("/", 3)[3]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.mark.parametrize("which", [0, 1])
def test_download(archive: Path, tmp_path: Path, which: int) -> None:
    serve(archive, "pendigits.tes", which, [text, zipped][which]("pendigits.tes"))
    root = tmp_path / "root"
    assert len(load_dataset("pendigits", train=False, root=root, download=True)) == 3
    assert [path.name for path in (root / "writers").iterdir()] == ["pendigits.tes"]
    assert len(load_dataset("pendigits", train=False, root=root)) == 3


def test_download_mends_what_is_damaged_and_keeps_the_rest(archive: Path, small_mnist: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    put(root / "writers")
    (root / "MNIST").symlink_to(small_mnist / "MNIST")
    (root / "writers" / "semeion.data").write_bytes(b"half")
    serve(archive, "semeion.data", 0, text("semeion.data"))
    assert len(load_dataset("handwriting", train=True, root=root, download=True)) == 605


def test_a_download_that_fails_leaves_nothing(archive: Path, tmp_path: Path) -> None:
    serve(archive, "pendigits.tes", 0, b"another file")
    with pytest.raises(DataError) as error:
        load_dataset("pendigits", train=False, root=tmp_path / "root", download=True)
    assert str(error.value) == f"writers could not be fetched into {tmp_path / 'root'}: HTTP Error 404: File not found"
    assert list((tmp_path / "root").iterdir()) == []


# ------------------------------------------------------------------------------------------------------------ drawing


@pytest.mark.parametrize("name", ["pendigits.tra", "semeion.data"])
def test_pictures_are_placed_as_all_are(tmp_path: Path, name: str) -> None:
    put(tmp_path)
    images, _ = writers.pictures_of(name, tmp_path)
    assert all(is_normal(image, 28) for image in images)
    again, _ = writers.pictures_of(name, tmp_path)
    assert np.array_equal(images, again)


def test_a_stretched_one_is_narrow_again(tmp_path: Path) -> None:
    put(tmp_path)
    (semeion,), _ = writers.pictures_of("semeion.data", tmp_path)
    pen = writers.pictures_of("pendigits.tra", tmp_path)[0][0]
    for one in (semeion, pen):
        height, width = (np.flatnonzero((one >= 128).any(axis)).size for axis in (1, 0))
        assert height >= 19
        assert width < 0.7 * height


def test_the_pen_is_lifted_before_a_bar_and_a_roof(tmp_path: Path) -> None:
    # y downwards; from the foot of the 7 the pen went up at the left to its bar, from that of the 5 to its roof.
    strokes = {
        label: [[tuple(map(int, p)) for p in s] for s in writers._strokes(np.array(way) * (1, -1) + (0, 100.0), label)]
        for label, way in PENS.items()
    }
    assert [len(stroke) for stroke in strokes[1]] == [8]
    assert [stroke[-1] for stroke in strokes[7]] == [(60, 100), (95, 48)]
    assert strokes[7][1] == [(15, 50), (95, 48)]
    assert [stroke[-1] for stroke in strokes[5]] == [(0, 90), (100, 0)]
    assert strokes[5][1] == [(10, 5), (100, 0)]
    put(tmp_path)
    images, labels = writers.pictures_of("pendigits.tra", tmp_path)
    assert images[labels == 5][0][17:20, :12].max() < 128  # between hook and roof the left is open


def test_a_curve_passes_through_its_points() -> None:
    way = np.array(PENS[5], float)
    curve = writers._curve(way, 12)
    assert np.abs(curve[:: writers._STEPS] - way).max() < 1e-9
    assert np.hypot(*np.diff(curve, axis=0).T).max() < 0.2 * np.hypot(*np.diff(way, axis=0).T).max()


def test_counts_keep_their_shares() -> None:
    half = np.zeros((1, 8, 8), np.uint8)
    half[0, :, 2:6] = 8
    (picture,) = writers.enlarged(half)
    assert picture[14, 14] == 128  # (8/16 − 0.1) / 0.8 of 255
    assert writers.enlarged(np.zeros((1, 8, 8))).max() == 0
