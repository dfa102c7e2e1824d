"""A folder of pictures of numbers: what each says, by its name or by a list; and one line for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from lenet_zoo.datasets.own_numbers import load_numbers
from lenet_zoo.errors import DataError, InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("7210.png", "0031_kitchen.jpg", "12-b.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_names_begin_with_the_number(folder: Path) -> None:
    found = [(path.name, number) for path, number in load_numbers(folder)]
    assert found == [("0031_kitchen.jpg", "0031"), ("12-b.png", "12"), ("7210.png", "7210")]


def test_a_list_says_it_whatever_the_names_are(folder: Path) -> None:
    # As spreadsheets write it: with a byte order mark, more columns, and spaces.
    (folder / "labels.csv").write_text('\ufefffile,note,label\n12-b.png,"1,5", 77 \n7210.png,,0\n', encoding="utf-8")
    assert load_numbers(folder) == [(folder / "12-b.png", "77"), (folder / "7210.png", "0")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "lists no picture"),
        ("file,label\n", "lists no picture"),
        ("name,text\n12-b.png,12\n", "no file or no label in row 2"),
        ("file,label\n12-b.png\n", "no file or no label in row 2"),
        ("file,label\n12-b.png,12\n7210.png,72x0\n", "row 3: '72x0' is no number"),
        ("file,label\n12-b.png,\u0661\n", "is no number"),
        ("file,label\ngone.png,1\n", "row 2: there is no file"),
        ("file,label\n12-b.png,12\n12-b.png,13\n", "row 3: 12-b.png is listed twice"),
        ('file,label\n"12-b.png,12\n', "cannot be read"),
    ],
)
def test_a_wrong_list_is_one_line(folder: Path, text: str, reason: str) -> None:
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=reason) as error:
        load_numbers(folder)
    assert "labels.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_list_in_another_encoding_is_one_line(folder: Path) -> None:
    (folder / "labels.csv").write_bytes("file,label\ncaf\u00e9.png,1\n".encode("latin-1"))
    with pytest.raises(DataError, match="cannot be read"):
        load_numbers(folder)


def test_a_name_without_a_number_and_a_folder_without_pictures_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / "x12.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"x12\.png does not say its number"):
        load_numbers(folder)
    with pytest.raises(DataError, match="no folder"):
        load_numbers(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no pictures"):
        load_numbers(tmp_path / "empty")
