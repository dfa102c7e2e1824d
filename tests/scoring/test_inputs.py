"""An input is listed, cut into units and read; folders of pictures."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lenet_zoo.errors import DataError
from lenet_zoo.scoring.inputs import list_input, read_unit

from .conftest import SIZE, Digits, not_listed, png, read, write_idx


def test_a_folder_is_its_pictures_at_any_depth_in_order_of_name(tmp_path: Path) -> None:
    names = ["b.png", "a/2.JPG", "a/10.png", "a/b/c.tif", ".hidden.png", ".git/x.png", "notes.txt"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    os.symlink(tmp_path / "a", tmp_path / "again", target_is_directory=True)
    assert read(tmp_path) == [(name, name.encode()) for name in ["a/10.png", "a/2.JPG", "a/b/c.tif", "b.png"]]


def test_units_depend_on_the_input_alone(tmp_path: Path) -> None:
    for i in np.random.default_rng(0).permutation(700):
        (tmp_path / f"{i:03d}.png").touch()
    sizes = [unit["rows"] for unit in list_input(tmp_path, SIZE).units()]
    assert sizes == [512, 188]
    listed = list_input(tmp_path, SIZE, part_rows=300)
    assert [unit["rows"] for unit in listed.units()] == [300, 300, 100]
    names = [name for unit in listed.units() for name in unit["files"]]
    assert names == [f"{i:03d}.png" for i in range(700)]


def test_a_name_that_is_no_text_is_escaped(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    assert read(tmp_path) == [("caf\\xe9.png", b"x")]


def test_the_fingerprint_is_of_names_sizes_and_times(tmp_path: Path) -> None:
    seen = set()

    def look() -> None:
        listed = list_input(tmp_path, SIZE)
        assert listed.fingerprint == list_input(tmp_path, SIZE).fingerprint
        seen.add(listed.fingerprint)

    first, second = tmp_path / "1.png", tmp_path / "2.png"
    first.write_bytes(b"x")
    look()
    second.write_bytes(b"x")
    look()
    second.write_bytes(b"xy")
    look()
    os.utime(second, (1, 1))
    look()
    second.rename(tmp_path / "3.png")
    look()
    assert len(seen) == 5


def test_a_picture_that_cannot_be_read_is_a_row(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("nothing is forbidden to root")
    (tmp_path / "a.png").touch(0o000)
    assert read(tmp_path) == [("a.png", "the picture cannot be read: permission denied")]


def test_a_picture_that_is_gone_ends_the_unit(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    listed = list_input(tmp_path, SIZE)
    (unit,) = listed.units()
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png is gone since the input was listed"):
        list(read_unit(tmp_path, "pictures", unit, SIZE))


def test_inputs_that_are_none(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert not_listed(tmp_path / "nowhere") == "INPUT: no such file or folder"
    assert not_listed(empty) == (
        "INPUT has no pictures in it: a folder needs pictures such as .png or .jpg, .parquet files, or IDX files "
        "(….idx3-ubyte)"
    )
    one = tmp_path / "one.png"
    Image.new("L", (9, 9)).save(one)
    assert not_listed(one) == (
        "INPUT is one picture: read it with `lenet-zoo predict`, or give the folder that it is in"
    )
    (tmp_path / "labels").write_bytes(b"\x00\x00\x08\x01rest")
    assert not_listed(tmp_path / "labels") == (
        "INPUT is neither a folder, nor a Parquet file, nor an IDX file of pictures"
    )
    assert not_listed(tmp_path, kind="video") == "no kind 'video' of input: one of pictures, parquet, idx"


def test_a_folder_with_several_kinds_asks_which(tmp_path: Path, digits: Digits) -> None:
    (tmp_path / "a.png").write_bytes(png(digits[0]))
    write_idx(tmp_path / "t10k-images-idx3-ubyte", digits[:2])
    assert not_listed(tmp_path) == "INPUT holds 1 IDX file and 1 picture: choose with --kind, one of idx, pictures"
    assert [key for key, _ in read(tmp_path, kind="idx")] == [
        "t10k-images-idx3-ubyte#0",
        "t10k-images-idx3-ubyte#1",
    ]
    assert [key for key, _ in read(tmp_path, kind="pictures")] == ["a.png"]
    assert not_listed(tmp_path, kind="parquet") == "INPUT holds no parquet: it has 1 IDX file and 1 picture"
    assert not_listed(tmp_path, kind="pictures", key="id") == (
        "INPUT holds 1 picture: only Parquet files have columns to choose from"
    )


def test_a_pipe_is_no_input(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "pipe")
    assert not_listed(tmp_path / "pipe") == "INPUT is neither a folder nor a file"
