"""What every kind of input has in common: the protocol that `pictures`, `idx` and `parquet` follow, and its words."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lenet_zoo._files import utf8_name
from lenet_zoo.errors import DataError

__all__ = ["DAMAGED", "Content", "Kind", "Row", "Size", "Unit", "cut", "exactly", "gone", "reason", "unzipped"]

Unit = dict[str, Any]
Content = bytes | str | NDArray[np.uint8]
"""Of a row: an encoded picture, or H×W pixels, or a text that says why there is neither."""
Size = tuple[int, int] | None
"""Height and width of pixels; None where a network takes pictures alone."""
Row = tuple[str, Content]
"""The key of a row, and its content."""

DAMAGED = (OSError, EOFError, zlib.error, ValueError)
"""What reading a damaged file raises; pyarrow's errors are OSError and ValueError too."""


class Kind(Protocol):
    """One kind of input: a module of this folder, which `lenet_zoo.scoring.inputs.KINDS` names."""

    NOUN: str  # what one file is called
    EXAMPLES: str  # the files that a folder is searched for, in words
    HAS_COLUMNS: bool  # whether the user may choose columns

    def claims(self, name: str) -> bool:
        """Whether a file of this name (in lower case), found in a folder, is of this kind."""

    def begins(self, head: bytes) -> bool:
        """Whether a file that is given by itself is, from its first four bytes, unzipped."""

    def check(self, path: Path, size: Size, column: str | None, key: str | None) -> tuple[int, str | None]:
        """The rows of a file and its column of pictures, when it is listed; arguments and errors as `list_input`."""

    def units(self, root: Path, names: Iterator[str], most: int) -> Iterator[Unit]:
        """Cut the files of those names into units of at most `most` rows."""

    def read(self, root: Path, unit: Unit, size: Size, column: str | None, key: str | None) -> Iterator[Row]:
        """Read a unit; as `lenet_zoo.scoring.inputs.read_unit`."""


def cut(name: str, groups: Iterable[int], most: int) -> Iterator[Unit]:
    """Units of at most `most` rows of one file, from the rows of each of its groups.

    Whole groups where they fit, because reading begins with a group.
    """
    start = stop = 0
    for rows in groups:
        if start < stop and stop - start + rows > most:
            yield {"rows": stop - start, "file": name, "start": start}
            start = stop
        stop += rows
        while stop - start > most:
            yield {"rows": most, "file": name, "start": start}
            start += most
    if start < stop:
        yield {"rows": stop - start, "file": name, "start": start}


def exactly(path: Path, unit: Unit, rows: Iterable[tuple[str | None, Content]]) -> Iterator[Row]:
    """The rows of a unit that `cut` made, as many as it has, whatever reading the file gives: `rows`.

    A row without a key is called FILE#ROW. Errors as `lenet_zoo.scoring.inputs.read_unit`.
    """
    name, row, stop = utf8_name(unit["file"]), unit["start"], unit["start"] + unit["rows"]
    why = "the file cannot be read: it stops early"
    try:
        for key, content in rows:
            if row == stop:
                raise DataError(f"{path} is damaged: it has more than the {unit['rows']:,} rows that it declares")
            yield f"{name}#{row}" if key is None else key, content
            row += 1
    except FileNotFoundError:
        raise gone(path) from None
    except DAMAGED as error:
        why = f"the file cannot be read: {reason(error)}"
    for missing in range(row, stop):
        yield f"{name}#{missing}", why


def unzipped(path: Path) -> IO[bytes]:
    """A file's bytes, unzipped if it is gzipped, whatever it is called."""
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else path.open("rb")  # type: ignore[return-value]


def gone(path: Path) -> DataError:
    return DataError(f"{path} is gone since the input was listed")


def reason(error: Exception) -> str:
    """The text of an error, as the end of a line."""
    text = error.strerror if isinstance(error, OSError) else None
    return " ".join((text or str(error) or type(error).__name__).split()).rstrip(".").lower()
