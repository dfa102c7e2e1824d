"""Every kind of input, whole and broken, becomes rows."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from PIL import Image

from lenet_zoo.errors import DataError, InputError
from lenet_zoo.scoring.inputs import list_input, read_unit

from .conftest import png, rows_of, write_idx

SIZE = (28, 28)
Digits = NDArray[np.uint8]


def read(path: Path, **options: Any) -> list[tuple[str, Any]]:
    listed = list_input(path, SIZE, **options)
    return [
        row
        for unit in listed.units()
        for row in read_unit(listed.root, listed.kind, unit, SIZE, listed.column, listed.key)
    ]


def refused(path: Path, error: type[Exception] = InputError, **options: Any) -> str:
    with pytest.raises(error) as caught:
        list_input(path, SIZE, **options)
    return str(caught.value).replace(str(path), "INPUT")


# ------------------------------------------------------------------------------------------------------- pictures


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
    assert refused(tmp_path / "nowhere") == "INPUT: no such file or folder"
    assert refused(empty) == (
        "INPUT has no pictures in it: a folder needs pictures such as .png or .jpg, .parquet files, or IDX files "
        "(….idx3-ubyte)"
    )
    one = tmp_path / "one.png"
    Image.new("L", (9, 9)).save(one)
    assert refused(one) == ("INPUT is one picture: read it with `lenet-zoo predict`, or give the folder that it is in")
    (tmp_path / "labels").write_bytes(b"\x00\x00\x08\x01rest")
    assert refused(tmp_path / "labels") == (
        "INPUT is neither a folder, nor a Parquet file, nor an IDX file of pictures"
    )
    assert refused(tmp_path, kind="video") == "no kind 'video' of input: one of pictures, parquet, idx"


def test_a_folder_with_several_kinds_asks_which(tmp_path: Path, digits: Digits) -> None:
    (tmp_path / "a.png").write_bytes(png(digits[0]))
    write_idx(tmp_path / "t10k-images-idx3-ubyte", digits[:2])
    assert refused(tmp_path) == "INPUT holds 1 IDX file and 1 picture: choose with --kind, one of idx, pictures"
    assert [key for key, _ in read(tmp_path, kind="idx")] == [
        "t10k-images-idx3-ubyte#0",
        "t10k-images-idx3-ubyte#1",
    ]
    assert [key for key, _ in read(tmp_path, kind="pictures")] == ["a.png"]
    assert refused(tmp_path, kind="parquet") == "INPUT holds no parquet: it has 1 IDX file and 1 picture"
    assert refused(tmp_path, kind="pictures", key="id") == (
        "INPUT holds 1 picture: only Parquet files have columns to choose from"
    )


# ------------------------------------------------------------------------------------------------------------ IDX


@pytest.mark.parametrize("name", ["images-idx3-ubyte", "images-idx3-ubyte.gz"])
def test_idx(tmp_path: Path, digits: Digits, name: str) -> None:
    path = write_idx(tmp_path / name, digits)
    for part_rows in (None, 100):
        rows = read(path, part_rows=part_rows)
        assert [key for key, _ in rows] == [f"{name}#{i}" for i in range(len(digits))]
        assert (np.stack([pixels for _, pixels in rows]) == digits).all()


def test_damaged_idx(tmp_path: Path, digits: Digits) -> None:
    path = write_idx(tmp_path / "a.idx3-ubyte", digits[:10])
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    assert refused(path, DataError) == ("INPUT is damaged: 7,855 bytes, and 10 pictures of 28×28 take 7,856")
    path.write_bytes(data[:9])
    assert refused(path, DataError) == (
        "INPUT is not an IDX file of pictures: it must begin with 00 00 08 03 and three sizes"
    )
    path.write_bytes(b"\x00\x00\x08\x03" + struct.pack(">III", 1, 32, 32) + bytes(1024))
    assert refused(path) == "INPUT holds pictures of 32×32 pixels; the network takes 28×28"
    path.write_bytes(b"\x00\x00\x08\x03" + struct.pack(">III", 0, 28, 28))
    assert refused(path) == "INPUT has no pictures in it: its files hold 0 rows"


def test_compressed_idx_that_stops_early_gives_what_it_has(tmp_path: Path, digits: Digits) -> None:
    path = write_idx(tmp_path / "a.idx3-ubyte.gz", digits)
    path.write_bytes(path.read_bytes()[:50_000])
    rows = read(path)
    assert len(rows) == len(digits)
    whole = [pixels for _, pixels in rows if not isinstance(pixels, str)]
    assert 0 < len(whole) < len(digits)
    assert (np.stack(whole) == digits[: len(whole)]).all()
    assert "the file cannot be read: compressed file ended" in rows[-1][1]


# -------------------------------------------------------------------------------------------------------- Parquet


def columns(digits: Digits) -> dict[str, tuple[pa.Array, bool]]:
    """Every layout of a column, and whether its pictures are encoded."""
    flat = [one.reshape(-1).tolist() for one in digits]
    encoded = [png(one) for one in digits]
    bytes_and_path = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return {
        "binary": (pa.array(encoded, pa.binary()), True),
        "large_binary": (pa.array(encoded, pa.large_binary()), True),
        "struct": (pa.array([{"bytes": one, "path": "x.png"} for one in encoded], bytes_and_path), True),
        "list": (pa.array(flat, pa.list_(pa.uint8())), False),
        "large_list": (pa.array(flat, pa.large_list(pa.int64())), False),
        "fixed": (pa.array(flat, pa.list_(pa.uint8(), 784)), False),
        "nested": (pa.array([one.tolist() for one in digits], pa.list_(pa.list_(pa.int32()))), False),
        "fixed_nested": (
            pa.array([one.tolist() for one in digits], pa.list_(pa.list_(pa.uint8(), 28), 28)),
            False,
        ),
    }


@pytest.mark.parametrize("layout", list(columns(np.zeros((1, 28, 28), np.uint8))))
def test_parquet_in_every_layout(tmp_path: Path, digits: Digits, layout: str) -> None:
    array, is_encoded = columns(digits[:130])[layout]
    path = tmp_path / "train.parquet"
    pq.write_table(pa.table({"label": pa.array(range(130)), "it": array}), path, row_group_size=50)
    for part_rows in (None, 17, 60):
        rows = read(path, part_rows=part_rows)
        assert [key for key, _ in rows] == [f"train.parquet#{i}" for i in range(130)]
        for (_, content), digit in zip(rows, digits, strict=False):
            assert content == png(digit) if is_encoded else (content == digit).all()


def test_units_of_parquet_are_whole_row_groups_where_they_fit(tmp_path: Path, digits: Digits) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"it": columns(digits[:130])["fixed"][0]}), path, row_group_size=50)

    def cut(part_rows: int) -> list[tuple[int, int]]:
        return [(unit["start"], unit["rows"]) for unit in list_input(path, SIZE, part_rows=part_rows).units()]

    assert cut(1000) == [(0, 130)]
    assert cut(120) == [(0, 100), (100, 30)]
    assert cut(40) == [(0, 40), (40, 10), (50, 40), (90, 40)]


def test_keys_of_parquet_rows(tmp_path: Path, digits: Digits) -> None:
    array, _ = columns(digits[:3])["binary"]
    for values, expected in (
        ([7, 8, None], ["7", "8", "a.parquet#2"]),
        (["x", None, "ü"], ["x", "a.parquet#1", "ü"]),
        ([b"x", b"\xff", None], ["x", "\\xff", "a.parquet#2"]),
    ):
        pq.write_table(pa.table({"id": pa.array(values), "image": array}), tmp_path / "a.parquet")
        assert [key for key, _ in read(tmp_path, key="id", column="image")] == expected


def test_rows_of_parquet_that_hold_no_picture(tmp_path: Path, digits: Digits) -> None:
    flat = digits[0].reshape(-1).tolist()
    path = tmp_path / "a.parquet"
    values = [flat, None, flat[:-1], [*flat[:-1], 256], [*flat[:-1], -1], [*flat[:-1], None], flat]
    pq.write_table(pa.table({"pixels": pa.array(values, pa.list_(pa.int16()))}), path)
    found = [content for _, content in read(path)]
    assert (found[0] == digits[0]).all()
    assert (found[6] == digits[0]).all()
    assert found[1:6] == [
        "the row has no pixels (null)",
        "the row has 783 pixels and not 784",
        *["the row has pixels outside 0 … 255"] * 3,
    ]
    square = digits[0].tolist()
    nested = [square, square[:-1], [*square[:-1], square[0][:-1]], None, [*square[:-1], None]]
    pq.write_table(pa.table({"pixels": pa.array(nested, pa.list_(pa.list_(pa.uint8())))}), path)
    found = [content for _, content in read(path)]
    assert (found[0] == digits[0]).all()
    assert found[1:] == [
        "the row has 27 rows and not 28",
        "the row is not 28 lists of 28 pixels",
        "the row has no pixels (null)",
        "the row is not 28 lists of 28 pixels",
    ]
    structs = [{"bytes": b"x", "path": None}, None, {"bytes": None, "path": "elsewhere.png"}]
    pq.write_table(
        pa.table({"image": pa.array(structs, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))}), path
    )
    assert [content for _, content in read(path)] == [b"x", *["the row has no picture (null)"] * 2]


USABLE = (
    "usable are encoded pictures (binary, or a struct with such a field 'bytes') and pixels from 0 to 255 (lists of "
    "784 integers, or of 28 lists of 28)"
)


def test_parquet_without_a_usable_column(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"label": [1], "text": ["x"], "features": [[0.5]]}), path)
    assert refused(path) == (
        "INPUT has no usable column: it has label (int64), text (string), features (list<element: double>); " + USABLE
    )
    assert refused(path, column="text") == f"INPUT: the column 'text' is string; {USABLE}"
    assert refused(path, column="txt") == (
        "INPUT has no column 'txt'. Did you mean 'text'? It has label (int64), text (string), features "
        "(list<element: double>)"
    )


def test_parquet_with_several_usable_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"front": [b"x"], "back": [b"y"]}), path)
    assert refused(path) == "INPUT has several usable columns: choose with --column, one of front, back"
    assert [content for _, content in read(path, column="back")] == [b"y"]
    pq.write_table(pa.table({"thumbnail": [b"x"], "image": [b"y"]}), path)
    assert [content for _, content in read(path)] == [b"y"]


def test_damaged_parquet(tmp_path: Path, digits: Digits) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 and then nothing")
    assert refused(path, DataError).startswith("INPUT is not a Parquet file, or a damaged one: ")
    pq.write_table(pa.table({"it": columns(digits[:120])["binary"][0]}), path, row_group_size=50, use_dictionary=False)
    data = bytearray(path.read_bytes())
    middle = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
    data[middle : middle + 40] = bytes(40)
    path.write_bytes(data)
    rows = read(path)
    assert [key for key, _ in rows] == [f"a.parquet#{i}" for i in range(120)]
    assert [content for _, content in rows[:50] + rows[100:]] == [
        png(digit) for digit in [*digits[:50], *digits[100:120]]
    ]
    assert all(re.match("the file cannot be read: ", content) for _, content in rows[50:100])


def test_kinds_give_the_same_answers(tmp_path: Path, digits: Digits, run: Any, answers: list[str]) -> None:
    for name, (array, is_encoded) in columns(digits).items():
        if name in ("binary", "struct", "fixed"):
            pq.write_table(pa.table({"it": array}), tmp_path / f"{name}.parquet")
            run(tmp_path / f"{name}.parquet", tmp_path / name)
            labels = [row["label"] for row in rows_of(tmp_path / name)]
            same = sum(a == b for a, b in zip(labels, answers, strict=True))
            # scikit-learn's digits are not all as MNIST's: `digit_from_image` moves some, and pixels are as they are.
            assert same > 0.97 * len(digits) if is_encoded else same == len(digits)
    run(write_idx(tmp_path / "a.idx3-ubyte", digits), tmp_path / "idx")
    assert [row["label"] for row in rows_of(tmp_path / "idx")] == answers
