"""IDX files, whole and damaged, become rows."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from lenet_zoo.errors import DataError

from .conftest import Digits, not_listed, read, write_idx


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
    assert not_listed(path, DataError) == ("INPUT is damaged: 7,855 bytes, and 10 pictures of 28×28 take 7,856")
    path.write_bytes(data[:9])
    assert not_listed(path, DataError) == (
        "INPUT is not an IDX file of pictures: it must begin with 00 00 08 03 and three sizes"
    )
    path.write_bytes(b"\x00\x00\x08\x03" + struct.pack(">III", 1, 32, 32) + bytes(1024))
    assert not_listed(path) == "INPUT holds pictures of 32×32 pixels; the network takes 28×28"
    path.write_bytes(b"\x00\x00\x08\x03" + struct.pack(">III", 0, 28, 28))
    assert not_listed(path) == "INPUT has no pictures in it: its files hold 0 rows"


def test_compressed_idx_that_stops_early_gives_what_it_has(tmp_path: Path, digits: Digits) -> None:
    path = write_idx(tmp_path / "a.idx3-ubyte.gz", digits)
    path.write_bytes(path.read_bytes()[:50_000])
    rows = read(path)
    assert len(rows) == len(digits)
    whole = [pixels for _, pixels in rows if not isinstance(pixels, str)]
    assert 0 < len(whole) < len(digits)
    assert (np.stack(whole) == digits[: len(whole)]).all()
    assert "the file cannot be read: compressed file ended" in rows[-1][1]


def test_gzip_that_cannot_hold_its_rows_is_refused(tmp_path: Path, digits: Digits) -> None:
    path = tmp_path / "a.idx3-ubyte.gz"
    path.write_bytes(gzip.compress(b"\x00\x00\x08\x03" + struct.pack(">III", 2**32 - 1, 28, 28)))
    assert not_listed(path, DataError) == (
        f"INPUT is damaged: {path.stat().st_size} bytes of gzip, and 4,294,967,295 pictures of 28×28 take "
        "3,367,254,359,296"
    )
    blank = write_idx(path, np.zeros((5_000, 28, 28), np.uint8))  # as small as gzip makes it
    assert len(read(blank)) == 5_000
