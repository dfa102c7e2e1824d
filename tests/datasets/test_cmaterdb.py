"""Digits of Bangla, Devanagari and Telugu: found, verified, fetched, and placed as all pictures are."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from lenet_zoo import cards
from lenet_zoo.datasets import cmaterdb
from lenet_zoo.datasets.loading import data_root, load_dataset, validation_split
from lenet_zoo.errors import DataError
from lenet_zoo.pictures.placing import is_normal

# Two pictures of each digit to train on, one to test; the first of the training set is the test set's 3, too.
DIGITS = {True: [3, *(digit for digit in range(9, -1, -1) for _ in range(2))], False: list(range(10))}


def file(train: bool) -> bytes:
    random = np.random.default_rng(train)
    scans = np.full((len(DIGITS[train]), 32, 32, 3), 255, np.uint8)
    for scan in scans:
        top, left = random.integers(0, 8, 2)
        scan[top : top + 22, left : left + 3] = 0
        scan[top + 19 : top + 22, left : left + 9 + random.integers(9)] = 0
    if train:
        scans[0] = np.load(io.BytesIO(file(False)))["images"][3]
    out = io.BytesIO()
    np.savez_compressed(out, images=scans, labels=np.array(DIGITS[train]))
    return out.getvalue()


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for script, train in cmaterdb.FILES:
        monkeypatch.setitem(cmaterdb.FILES, (script, train), hashlib.sha256(file(train)).hexdigest())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "cmaterdb"
    folder.mkdir(parents=True)
    for script in cards.SCRIPTS:
        (folder / f"{script}-training.npz").write_bytes(file(True))
        (folder / f"{script}-testing.npz").write_bytes(file(False))
    return tmp_path / "data"


# ---------------------------------------------------------------------------------------------------------- the sets


@pytest.mark.parametrize(("script", "three"), [("bangla", "৩"), ("devanagari", "३"), ("telugu", "౩")])
def test_labels_are_the_scripts_own_digits(root: Path, script: str, three: str) -> None:
    data = load_dataset(script, train=False, root=root)
    assert (data.name, data.classes[3], len(set(data.classes))) == (script, three, 10)
    assert [int(name) for name in data.classes] == list(range(10))
    assert data.preparation.kind == "character"


def test_pictures_are_ink_on_a_dark_ground_placed_as_all_are(root: Path) -> None:
    data = load_dataset("telugu", train=False, root=root)
    assert (data.images.dtype, tuple(data.images.shape), data.labels.dtype) == (torch.uint8, (10, 28, 28), torch.int64)
    assert all(is_normal(picture, 28) for picture in data.images.numpy())
    # The L of the drawings above stands upright.
    rows = (data.images[0] > 127).sum(1)
    rows = rows[rows > 0]
    assert rows[-2] > 2 * rows[4]


def test_classes_take_turns_so_that_the_tail_is_a_fair_sample(root: Path) -> None:
    data = load_dataset("bangla", train=True, root=root)
    assert data.labels.tolist() == [*range(10)] * 2
    held_out = validation_split(data)[1]
    assert held_out.labels.tolist() == [7, 8, 9]  # a sixth


def test_a_picture_of_the_test_set_is_not_trained_on(root: Path) -> None:
    assert len(cmaterdb.numerals("bangla", True, root)[1]) == 21
    train = load_dataset("bangla", train=True, root=root)
    assert (len(train), train.labels.tolist().count(3)) == (20, 2)  # of the training set's three of them


# ------------------------------------------------------------------------------------------------------ files by hand


@pytest.mark.parametrize("folder", [".", "cmaterdb"])
@pytest.mark.parametrize("name", ["telugu-testing.npz", "telugu-numerals/testing-images.npz"])
def test_files_by_hand_are_used(tmp_path: Path, folder: str, name: str) -> None:
    path = tmp_path / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file(False))
    assert len(load_dataset("telugu", train=False, root=tmp_path)) == 10
    assert len(load_dataset("telugu", train=False, root=tmp_path / folder)) == 10


def test_a_missing_file_is_named_with_its_address(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        load_dataset("bangla", train=False, root=tmp_path)
    where = cmaterdb.address("bangla", False)
    assert where.startswith("https://raw.githubusercontent.com/prabhuomkar/CMATERdb/")
    assert where.endswith("/datasets/bangla-numerals/testing-images.npz")
    assert str(error.value) == (
        f"no bangla-testing.npz in {tmp_path / 'cmaterdb'}: add --download (download=True) to fetch it, put there what "
        f"you fetched from {where}, or name the folder that holds cmaterdb with --data-root or LENET_ZOO_DATA"
    )


@pytest.mark.parametrize("content", [file(False)[:-9], b"<html>404</html>", b"", file(True)], ids=len)
def test_a_damaged_file_is_named(root: Path, content: bytes) -> None:
    path = root / "cmaterdb" / "telugu-testing.npz"
    path.write_bytes(content)
    for train in (True, False):  # the training set is told from the test set
        with pytest.raises(DataError) as error:
            load_dataset("telugu", train=train, root=root)
        assert str(error.value) == (
            f"{path} is damaged, or is not the test set of telugu as it was published: fetch it again"
        )


# ----------------------------------------------------------------------------------------------------------- fetching


@pytest.fixture
def published(served: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a server on this machine, in place of where the files are published."""
    address, folder = served
    for train, part in ((True, "training"), (False, "testing")):
        path = folder / "telugu-numerals" / f"{part}-images.npz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file(train))
    monkeypatch.setattr(cmaterdb, "_PUBLISHED", address)
    return folder


def test_download(published: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    assert len(load_dataset("telugu", train=False, root=root, download=True)) == 10
    assert [path.name for path in (root / "cmaterdb").iterdir()] == ["telugu-testing.npz"]
    assert len(load_dataset("telugu", train=True, root=root, download=True)) == 20
    assert len(list((root / "cmaterdb").iterdir())) == 2
    assert len(load_dataset("telugu", train=True, root=root)) == 20
    # What the test set holds is left out of the training set, so that both are fetched.
    assert len(load_dataset("telugu", train=True, root=tmp_path / "other", download=True)) == 20


def test_download_mends_what_is_damaged(published: Path, root: Path) -> None:
    (root / "cmaterdb" / "telugu-training.npz").write_bytes(b"half")
    assert len(load_dataset("telugu", train=True, root=root, download=True)) == 20


def test_a_download_that_fails_leaves_nothing(published: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    with pytest.raises(DataError) as error:
        load_dataset("bangla", train=False, root=root, download=True)
    assert str(error.value) == f"cmaterdb could not be fetched into {root}: HTTP Error 404: File not found"
    (published / "telugu-numerals" / "testing-images.npz").write_bytes(b"another file")
    with pytest.raises(DataError, match=r"testing-images\.npz is damaged, or is not the test set of telugu"):
        load_dataset("telugu", train=False, root=root, download=True)
    assert list(root.iterdir()) == []


# ------------------------------------------------------------------------------------------------------ the real files


@pytest.mark.parametrize("script", cards.SCRIPTS)
def test_the_published_files_hold_what_their_page_says(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # their own hashes again
    try:
        scans, labels = cmaterdb.numerals(script, False, data_root())
    except DataError as error:
        pytest.skip(str(error))
    each = 100 if script == "bangla" else 50
    assert (scans.shape, np.bincount(labels).tolist()) == ((10 * each, 32, 32), [each] * 10)
    assert set(np.unique(scans)) == {0, 255}
    assert scans[labels == 0][:, 12:20, 12:20].mean() > 200  # in all three scripts a zero is a ring
