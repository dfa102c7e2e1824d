"""Parquet files of every layout, whole and damaged, become rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lenet_zoo.errors import DataError
from lenet_zoo.scoring.inputs import list_input, parquet

from .conftest import SIZE, Digits, not_listed, png, read, rows_of, write_idx


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
    structs = [{"bytes": b"x", "path": None}, None, {"bytes": None, "path": None}, {"bytes": None, "path": "a/1.png"}]
    pq.write_table(
        pa.table({"image": pa.array(structs, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))}), path
    )
    *found, without_bytes = [content for _, content in read(path)]
    assert found == [b"x", *["the row has no picture (null)"] * 2]
    assert without_bytes == (
        "the row has no picture, but only its path 'a/1.png': embed the pictures in the Parquet file, or score the "
        "folder that they are in"
    )


USABLE = (
    "usable are encoded pictures (binary, or a struct with such a field 'bytes') and pixels from 0 to 255 (lists of "
    "784 integers, or of 28 lists of 28)"
)


def test_parquet_without_a_usable_column(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"label": [1], "text": ["x"], "features": [[0.5]]}), path)
    assert not_listed(path) == (
        "INPUT has no usable column: it has label (int64), text (string), features (list<element: double>); " + USABLE
    )
    assert not_listed(path, column="text") == f"INPUT: the column 'text' is string; {USABLE}"
    assert not_listed(path, column="txt") == (
        "INPUT has no column 'txt'. Did you mean 'text'? It has label (int64), text (string), features "
        "(list<element: double>)"
    )


def test_parquet_with_several_usable_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"front": [b"x"], "back": [b"y"]}), path)
    assert not_listed(path) == "INPUT has several usable columns: choose with --column, one of front, back"
    assert [content for _, content in read(path, column="back")] == [b"y"]
    pq.write_table(pa.table({"thumbnail": [b"x"], "image": [b"y"]}), path)
    assert [content for _, content in read(path)] == [b"y"]


def test_damaged_parquet(tmp_path: Path, digits: Digits) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 and then nothing")
    assert not_listed(path, DataError).startswith("INPUT is not a Parquet file, or a damaged one: ")
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


# ------------------------------------------------------------------- files whose data and metadata do not agree


def with_footer(path: Path, old: bytes, new: bytes) -> None:
    """Replace bytes of a Parquet file's metadata, wherever they stand in it."""
    data = path.read_bytes()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    footer = data[start:-8].replace(old, new)
    assert footer != data[start:-8]
    path.write_bytes(data[:start] + footer + len(footer).to_bytes(4, "little") + b"PAR1")


def without_page(path: Path, group: int, column: int) -> None:
    """Call the first data page of a column an index page, which pyarrow passes over without a word."""
    about = pq.ParquetFile(path).metadata.row_group(group).column(column)
    data = bytearray(path.read_bytes())
    at = about.data_page_offset
    assert data[at : at + 2] == b"\x15\x00"  # Thrift: the first field, an int32, is 0: a data page
    data[at + 1] = 2
    path.write_bytes(data)


@pytest.mark.parametrize("lost", ["id", "image"])
@pytest.mark.parametrize("layout", ["binary", "struct", "fixed", "nested"])
def test_rows_that_a_group_lacks_are_rows_with_an_error(
    tmp_path: Path, digits: Digits, run: Any, layout: str, lost: str
) -> None:
    source, whole = tmp_path / "data", tmp_path / "whole.parquet"
    source.mkdir()
    path = source / "a.parquet"
    table = pa.table({"id": [f"row {i}" for i in range(20)], "image": columns(digits[:20])[layout][0]})
    pq.write_table(table, path, row_group_size=7)
    whole.write_bytes(path.read_bytes())
    without_page(path, 0, ["id", "image"].index(lost))
    for part_rows in (None, 5):
        rows = read(path, column="image", key="id", part_rows=part_rows)
        assert [key for key, _ in rows] == [
            *[f"a.parquet#{i}" for i in range(7)],
            *[f"row {i}" for i in range(7, 20)],
        ]
        assert {content for _, content in rows[:7]} == {"the file cannot be read: it stops early"}
        for (_, content), (_, wanted) in zip(rows[7:], read(whole, column="image")[7:], strict=True):
            assert np.array_equal(content, wanted)
    result = run(source, tmp_path / "out", column="image", key="id", part_rows=5)
    assert (result["rows"], result["unreadable"]) == (20, 7)


def test_rows_that_pages_lack_are_rows_with_an_error(tmp_path: Path, digits: Digits) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"image": columns(digits[:120])["binary"][0]})
    pq.write_table(
        table,
        path,
        row_group_size=50,
        use_dictionary=False,
        write_batch_size=10,
        data_page_size=1,
        write_statistics=False,
    )
    without_page(path, 1, 0)
    for part_rows in (None, 20):
        contents = [content for _, content in read(path, part_rows=part_rows)]
        assert len(contents) == 120
        missing = [i for i, content in enumerate(contents) if isinstance(content, str)]
        assert missing == list(range(90, 100))


def test_metadata_that_contradict_themselves_are_refused(tmp_path: Path, digits: Digits) -> None:
    path = tmp_path / "a.parquet"

    def write(layout: str) -> None:
        table = pa.table({"it": columns(digits[:120])[layout][0]})
        pq.write_table(table, path, row_group_size=50, store_schema=False, write_statistics=False)

    # In Thrift's compact form: an int64, the number times two, seven bits a byte.
    twenty, fifty, sixty, total = b"\x16\x28", b"\x16\x64", b"\x16\x78", b"\x16\xf0\x01"
    write("binary")
    with_footer(path, total, b"\x16\xf2\x01")
    assert not_listed(path, DataError) == ("INPUT is damaged: it declares 121 rows, and row groups of 50, 50, 20 rows")
    for declared, rows in ((b"\x16\x50", 40), (sixty, 60)):
        write("binary")
        data = pq.ParquetFile(path).metadata
        assert [data.row_group(i).column(0).num_values for i in range(3)] == [50, 50, 20]
        # Of a row group, the rows come last: after them only its place in the file.
        with_footer(path, fifty + b"\x26", declared + b"\x26")
        with_footer(path, total, b"\x16" + bytes([2 * (2 * rows + 20) % 128 | 128, 2 * (2 * rows + 20) // 128]))
        assert not_listed(path, DataError) == (
            f"INPUT is damaged: its row group 0 declares {rows} rows, and its column 'it' 50 values"
        )
    write("list")
    with_footer(path, twenty, b"\x16\x27")
    assert not_listed(path, DataError) == ("INPUT is damaged: it declares 120 rows, and row groups of 50, 50, -20 rows")


def test_more_rows_than_a_unit_has_are_an_error_of_the_file(
    tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"it": columns(digits[:20])["binary"][0]}), path)
    monkeypatch.setattr(parquet, "_rows", lambda *_: iter([(None, b"x")] * 21))
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value) == f"{path} is damaged: it has more than the 20 rows that it declares"
