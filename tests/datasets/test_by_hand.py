"""Data sets that were fetched by hand: recognised, verified, unpacked and used, without a network."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest
import torch
from torchvision.datasets import MNIST

from lenet_zoo.datasets.loading import load_dataset
from lenet_zoo.errors import DataError


@pytest.fixture
def files(small_mnist: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The four files of a small MNIST by name; torchvision's MD5s are those of ours, packed."""
    found = {path.name: path.read_bytes() for path in sorted((small_mnist / "MNIST" / "raw").iterdir())}
    sums = [(f"{name}.gz", hashlib.md5(packed(content)).hexdigest()) for name, content in found.items()]
    monkeypatch.setattr(MNIST, "resources", sums)
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])  # nobody answers there
    return found


def packed(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


SPELT = {
    "packed": lambda name: f"{name}.gz",
    "dots": lambda name: name.replace("-idx", ".idx"),
    "dots, packed": lambda name: name.replace("-idx", ".idx") + ".gz",
    "unpacked": lambda name: name,
}


@pytest.mark.parametrize("spelt", SPELT)
@pytest.mark.parametrize("folder", ["MNIST/raw", "MNIST", "."])
@pytest.mark.parametrize("download", [False, True])
def test_files_are_used(
    files: dict[str, bytes], small_mnist: Path, tmp_path: Path, folder: str, spelt: str, download: bool
) -> None:
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = tmp_path / folder / SPELT[spelt](name)
        path.write_bytes(packed(content) if path.suffix == ".gz" else content)
    for train in (True, False):
        data, same = (
            load_dataset("mnist", train=train, root=root, download=download) for root in (tmp_path, small_mnist)
        )
        assert torch.equal(data.images, same.images)
        assert torch.equal(data.labels, same.labels)
    raw = tmp_path / "MNIST" / "raw"
    assert {name: (raw / name).read_bytes() for name in files} == files


@pytest.mark.parametrize("inner", ["MNIST", "MNIST/raw"])
def test_the_root_may_be_named_by_a_folder_within(files: dict[str, bytes], small_mnist: Path, inner: str) -> None:
    assert len(load_dataset("mnist", train=True, root=small_mnist / inner)) == 600


@pytest.mark.parametrize("name", ["MNIST", "raw", "FashionMNIST/raw"])
def test_a_root_that_is_called_as_a_folder_within_is_one(
    files: dict[str, bytes], small_mnist: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / "MNIST").symlink_to(small_mnist / "MNIST")
    assert len(load_dataset("mnist", train=True, root=tmp_path / name)) == 600


def test_a_file_in_the_place_of_the_folder_is_told(files: dict[str, bytes], tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / f"{name}.gz").write_bytes(packed(content))
    (tmp_path / "MNIST").touch()
    with pytest.raises(DataError) as error:
        load_dataset("mnist", train=True, root=tmp_path)
    target = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    assert str(error.value) == f"{tmp_path / target.name}.gz cannot be unpacked to {target}: Not a directory"


def test_a_packed_file_of_other_content_is_named(files: dict[str, bytes], tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / f"{name}.gz").write_bytes(packed(content))
    wrong = tmp_path / "train-images-idx3-ubyte.gz"
    wrong.write_bytes(wrong.read_bytes()[:-9])
    with pytest.raises(DataError) as error:
        load_dataset("mnist", train=True, root=tmp_path)
    found, wanted = hashlib.md5(wrong.read_bytes()).hexdigest(), dict(MNIST.resources)[wrong.name]
    assert str(error.value) == (
        f"{wrong} is not MNIST's, or damaged: its MD5 is {found} and should be {wanted}; fetch it again"
    )
    assert not (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").exists()


def test_a_file_that_is_cut_off_is_named(files: dict[str, bytes], tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name.replace("-idx", ".idx")).write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"ubyte is damaged: it is not as long as its header says; fetch it again$"):
        load_dataset("mnist", train=True, root=tmp_path)


def test_a_damaged_file_is_mended_by_the_packed_one_beside_it(files: dict[str, bytes], tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, content in files.items():
        (raw / name).write_bytes(content[:-1])
        (raw / f"{name}.gz").write_bytes(packed(content))
    assert len(load_dataset("mnist", train=False, root=tmp_path)) == 200


def test_emnist_by_hand(files: dict[str, bytes], tmp_path: Path) -> None:
    for name, content in files.items():
        if name.startswith("train"):
            (tmp_path / f"emnist-digits-{name}.gz").write_bytes(packed(content))
    assert len(load_dataset("emnist-digits", train=True, root=tmp_path)) == 600
