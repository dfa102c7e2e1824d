"""IDX files, MNIST's own format, also gzipped: pixels. A unit is a range of rows of one file."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lenet_zoo.errors import DataError, InputError
from lenet_zoo.scoring.inputs.kind import DAMAGED, Content, Row, Size, Unit, cut, exactly, reason, unzipped

NOUN = "IDX file"
EXAMPLES = "IDX files (….idx3-ubyte)"
HAS_COLUMNS = False

_MAGIC = b"\x00\x00\x08\x03"  # unsigned bytes in three dimensions
_MOST_GZIP = 1032  # bytes that one byte of gzip can stand for


def claims(name: str) -> bool:
    return name.endswith(("idx3-ubyte", "idx3-ubyte.gz"))


def begins(head: bytes) -> bool:
    return head == _MAGIC


def check(path: Path, size: Size, column: str | None, key: str | None) -> tuple[int, str | None]:
    try:
        count, height, width = _shape(path)
        with unzipped(path) as stream:
            zipped = isinstance(stream, gzip.GzipFile)
        found = path.stat().st_size
    except DAMAGED as error:
        raise DataError(f"{path} cannot be read: {reason(error)}") from None
    if size is None:
        raise InputError(f"{path} holds pixels; numbers are read from pictures: a folder of them, or Parquet files")
    if (height, width) != size:
        raise InputError(f"{path} holds pictures of {height}×{width} pixels; the network takes {size[0]}×{size[1]}")
    needed = 16 + count * height * width
    # A gzipped file that was cut off gives the rows that it has; one that cannot hold its rows is not worth listing.
    if (needed > _MOST_GZIP * found) if zipped else (needed != found):
        raise DataError(
            f"{path} is damaged: {found:,} bytes{' of gzip' * zipped}, and {count:,} pictures of {height}×{width} "
            f"take {needed:,}"
        )
    return count, column


def units(root: Path, names: Iterator[str], most: int) -> Iterator[Unit]:
    for name in names:
        yield from cut(name, [_shape(root / name)[0]], most)


def read(root: Path, unit: Unit, size: Size, column: str | None, key: str | None) -> Iterator[Row]:
    assert size is not None  # `check` has seen to it
    path = root / unit["file"]
    return exactly(path, unit, _pixels(path, unit["start"], unit["rows"], size))


def _shape(path: Path) -> tuple[int, int, int]:
    """Pictures, height and width, as the file's head says."""
    with unzipped(path) as stream:
        head = stream.read(16)
    if len(head) < 16 or head[:4] != _MAGIC:
        raise DataError(f"{path} is not an IDX file of pictures: it must begin with 00 00 08 03 and three sizes")
    count, height, width = (int.from_bytes(head[i : i + 4], "big") for i in (4, 8, 12))
    return count, height, width


def _pixels(path: Path, start: int, rows: int, size: tuple[int, int]) -> Iterator[tuple[None, Content]]:
    height, width = size
    with unzipped(path) as stream:
        stream.seek(16 + start * height * width)  # of a gzipped file, everything before is unzipped
        for _ in range(rows):
            data = stream.read(height * width)
            if len(data) < height * width:
                return
            yield None, np.frombuffer(data, np.uint8).reshape(height, width)
