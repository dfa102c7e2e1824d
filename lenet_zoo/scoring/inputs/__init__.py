"""What can be scored: pictures in folders, Parquet files and IDX files, cut into units of work.

A unit is a small JSON object that names its rows, so that any process that sees the input can do it:

    {"rows": 2, "files": ["a/1.png", "a/2.png"]}              pictures
    {"rows": 512, "file": "train.parquet", "start": 1024}     rows of a Parquet or IDX file

Units follow from the input alone, whoever works on them. No step holds more than one unit in memory: a listing is
sorted in a database on disk.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lenet_zoo.errors import DataError, InputError, MissingExtraError, did_you_mean
from lenet_zoo.pictures.reading import picture_suffixes

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

__all__ = ["KINDS", "Content", "Input", "Row", "Unit", "list_input", "read_unit"]

Unit = dict[str, Any]
Content = bytes | str | NDArray[np.uint8]
"""Of a row: an encoded picture, or H×W pixels, or a text that says why there is neither."""
Row = tuple[str, Content]
"""The key of a row, and its content."""
KINDS = ("pictures", "parquet", "idx")

# A part for some seconds of work: what a killed worker loses, and the step of the progress bar. Small inputs make 64
# parts, so that all cores end at nearly the same time.
_PARTS, _LEAST_ROWS, _MOST_ROWS = 64, 512, 8192
_PIXEL_ROWS, _PICTURE_ROWS = 1024, 64  # rows that are read from a file at once
_MOST_BYTES = 1 << 30  # of a picture's file
_PREFERRED = ("image", "picture", "img", "pixels")
_IDX_HEAD = b"\x00\x00\x08\x03"  # unsigned bytes in three dimensions
_IDX_SUFFIXES = ("idx3-ubyte", "idx3-ubyte.gz")
NEEDS_PYARROW = "Parquet files need pyarrow: pip install 'lenet-zoo[score]'"
_DAMAGED = (OSError, EOFError, zlib.error, ValueError)  # pyarrow's errors are OSError and ValueError too


@dataclass(frozen=True)
class Input:
    """An input that has been listed.

    Attributes:
        root: the folder that names are relative to.
        name: its own name, without the folders above.
        kind: one of `KINDS`.
        files, bytes, rows: how much there is.
        fingerprint: SHA-256 over name, size and time of change of each file, in order of name.
        part_rows: the largest number of rows of a unit.
        column, key: of a Parquet file: where the picture and the name of a row stand.
    """

    root: Path
    name: str
    kind: str
    files: int
    bytes: int
    rows: int
    fingerprint: str
    part_rows: int
    column: str | None
    key: str | None
    _table: sqlite3.Connection = field(repr=False)

    def units(self) -> Iterator[Unit]:
        """The units, in order."""
        if self.kind == "pictures":
            names: list[str] = []
            for name in _names(self._table):
                names.append(name)
                if len(names) == self.part_rows:
                    yield {"rows": len(names), "files": names}
                    names = []
            if names:
                yield {"rows": len(names), "files": names}
            return
        for name in _names(self._table):
            if self.kind == "parquet":
                with _open_parquet(self.root / name) as file:
                    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            else:
                groups = [_idx_shape(self.root / name)[0]]
            for start, stop in _cut(groups, self.part_rows):
                yield {"rows": stop - start, "file": name, "start": start}

    def describe(self) -> dict[str, Any]:
        """All but where it is on this machine, as the manifest has it."""
        names = ("name", "kind", "files", "bytes", "rows", "fingerprint", "column", "key")
        return {name: getattr(self, name) for name in names}

    def close(self) -> None:
        self._table.close()


def _cut(groups: Iterable[int], most: int) -> Iterator[tuple[int, int]]:
    """Ranges of at most `most` rows: whole row groups where they fit, because reading begins with a group."""
    start = stop = 0
    for rows in groups:
        if start < stop and stop - start + rows > most:
            yield start, stop
            start = stop
        stop += rows
        while stop - start > most:
            yield start, start + most
            start += most
    if start < stop:
        yield start, stop


# --------------------------------------------------------------------------------------------------------- listing


def list_input(
    path: str | os.PathLike[str],
    size: tuple[int, int],
    *,
    kind: str | None = None,
    column: str | None = None,
    key: str | None = None,
    part_rows: int | None = None,
) -> Input:
    """Find out what `path` is, and list it.

    Args:
        path: a folder with pictures, Parquet or IDX files, at any depth; or one Parquet or IDX file. Hidden files and
            folders, and folders that are symbolic links, do not count.
        size: height and width of the pictures that the network takes, for those that come as pixels.
        kind: one of `KINDS`, where a folder holds several.
        column, key: columns of Parquet files: the picture, by default the only one that can hold it; and the name of
            a row, by default `FILE#ROW`.
        part_rows: rows of a unit at most; by default so that there are 64 units, of 512 to 8,192 rows.

    Raises:
        InputError: a path that is missing or of no known kind, that holds no pictures, or pictures of several kinds;
            Parquet files without a usable column.
        DataError: Parquet and IDX files that are damaged.
        MissingExtraError: a Parquet file without pyarrow.
    """
    path = Path(path)
    if kind is not None and kind not in KINDS:
        raise InputError(f"no kind {kind!r} of input: one of {', '.join(KINDS)}")
    if part_rows is not None and part_rows < 1:
        raise InputError(f"part_rows={part_rows}: at least 1")
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    table = sqlite3.connect("", isolation_level=None, check_same_thread=False)  # on disk, and gone when it is closed
    try:
        table.execute("CREATE TABLE files (kind TEXT, name BLOB, size INTEGER, changed INTEGER)")
        table.execute("BEGIN")
        if path.is_dir():
            root, entries = path, _walk(path)
        else:
            root, entries = path.parent, _single(path)
        table.executemany("INSERT INTO files VALUES (?, ?, ?, ?)", entries)
        kind = _choose_kind(path, table, kind)
        table.execute("DELETE FROM files WHERE kind != ?", (kind,))
        table.execute("COMMIT")
        files, size_of_all = table.execute("SELECT count(*), sum(size) FROM files").fetchone()
        digest = hashlib.sha256()
        rows = 0
        with closing(table.execute("SELECT name, size, changed FROM files ORDER BY name")) as found:
            for name, length, changed in found:
                digest.update(b"%d %d %d " % (len(name), length, changed) + name)
                file = root / os.fsdecode(name)
                if kind == "parquet":
                    count, column = _check_parquet(file, column, key, size)
                    rows += count
                elif kind == "idx":
                    rows += _check_idx(file, size)
        if kind == "pictures":
            rows = files
        if rows == 0:
            raise InputError(f"{path} has no pictures in it: its files hold 0 rows")
        if kind != "parquet" and (column or key):
            raise InputError(f"{path} holds {_say(kind, files)}: only Parquet files have columns to choose from")
        part_rows = part_rows or min(max(math.ceil(rows / _PARTS), _LEAST_ROWS), _MOST_ROWS)
        return Input(
            root, path.resolve().name, kind, files, size_of_all, rows, digest.hexdigest(), part_rows, column, key, table
        )
    except BaseException:
        table.close()
        raise


def _names(table: sqlite3.Connection) -> Iterator[str]:
    with closing(table.execute("SELECT name FROM files ORDER BY name")) as found:
        for (name,) in found:
            yield os.fsdecode(name)


def _walk(root: Path) -> Iterator[tuple[str, bytes, int, int]]:
    suffixes = picture_suffixes()
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    name = f"{folder}{entry.name}"
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{name}/")
                    elif (kind := _kind_by_name(entry.name, suffixes)) and entry.is_file():
                        about = entry.stat()
                        yield kind, os.fsencode(name), about.st_size, about.st_mtime_ns
        except OSError as error:
            raise InputError(f"{root / folder} cannot be read: {(error.strerror or str(error)).lower()}") from None


def _kind_by_name(name: str, picture_suffixes: set[str]) -> str | None:
    name = name.lower()
    if name.endswith(".parquet"):
        return None if name.startswith("_") else "parquet"  # other writers' _metadata and _temporary
    if name.endswith(_IDX_SUFFIXES):
        return "idx"
    return "pictures" if os.path.splitext(name)[1] in picture_suffixes else None


def _single(path: Path) -> Iterator[tuple[str, bytes, int, int]]:
    about = path.stat()
    if _kind_by_name(path.name, picture_suffixes()) == "pictures":
        raise InputError(f"{path} is one picture: read it with `lenet-zoo predict`, or give the folder that it is in")
    try:
        with path.open("rb") as stream:
            head = stream.read(4)
        if head[:2] == b"\x1f\x8b":
            with gzip.open(path) as stream:
                head = stream.read(4)
    except _DAMAGED as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    kind = {b"PAR1": "parquet", _IDX_HEAD: "idx"}.get(head)
    if kind is None:
        raise InputError(f"{path} is neither a folder, nor a Parquet file, nor an IDX file of pictures")
    yield kind, os.fsencode(path.name), about.st_size, about.st_mtime_ns


def _say(kind: str, count: int) -> str:
    many = count != 1
    word = "picture" if kind == "pictures" else "Parquet file" if kind == "parquet" else "IDX file"
    return f"{count:,} {word}{'s' * many}"


def _choose_kind(path: Path, table: sqlite3.Connection, kind: str | None) -> str:
    found = dict(table.execute("SELECT kind, count(*) FROM files GROUP BY kind ORDER BY kind"))
    if not found:
        raise InputError(
            f"{path} has no pictures in it: a folder needs pictures such as .png or .jpg, .parquet files, or IDX files "
            "(….idx3-ubyte)"
        )
    if kind is None:
        if len(found) > 1:
            kinds = " and ".join(_say(*item) for item in found.items())
            raise InputError(f"{path} holds {kinds}: choose with --kind, one of {', '.join(found)}")
        return str(next(iter(found)))
    if kind not in found:
        raise InputError(f"{path} holds no {kind}: it has {' and '.join(_say(*item) for item in found.items())}")
    return kind


# --------------------------------------------------------------------------------------------------------- reading


def read_unit(
    root: Path, kind: str, unit: Unit, size: tuple[int, int], column: str | None = None, key: str | None = None
) -> Iterator[Row]:
    """The rows of a unit, in order, each read when it is asked for.

    What cannot be read becomes rows with an error, as many as the unit has.

    Raises: DataError when a file that was listed is gone: the input has changed.
    """
    if kind == "pictures":
        for name in unit["files"]:
            yield _printable(name), _read_picture(root / name)
        return
    path, start, stop = root / unit["file"], unit["start"], unit["start"] + unit["rows"]
    name, done = _printable(unit["file"]), 0
    if column is None:
        rows = _read_idx(path, start, stop, size)
    else:
        rows = _read_parquet(path, start, stop, size, column, key)
    try:
        for row_key, content in rows:
            yield f"{name}#{start + done}" if row_key is None else row_key, content
            done += 1
    except FileNotFoundError:
        raise _gone(path) from None
    except _DAMAGED as error:
        for row in range(start + done, stop):
            yield f"{name}#{row}", f"the file cannot be read: {_why(error)}"


def _printable(name: str) -> str:
    """A file's name as text that can be written; what is not UTF-8 in it is escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _gone(path: Path) -> DataError:
    return DataError(f"{path} is gone since the input was listed")


def _why(error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return " ".join((reason or str(error) or type(error).__name__).split()).rstrip(".").lower()


def _read_picture(path: Path) -> bytes | str:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise _gone(path) from None
    except OSError as error:
        return f"the picture cannot be read: {_why(error)}"
    return data if len(data) <= _MOST_BYTES else "the picture has more than 1 GiB"


# ------------------------------------------------------------------------------------------------------------- IDX


def _open_idx(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        zipped = stream.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else path.open("rb")  # type: ignore[return-value]


def _idx_shape(path: Path) -> tuple[int, int, int]:
    """Pictures, height and width, as the file's head says."""
    with _open_idx(path) as stream:
        head = stream.read(16)
    if len(head) < 16 or head[:4] != _IDX_HEAD:
        raise DataError(f"{path} is not an IDX file of pictures: it must begin with 00 00 08 03 and three sizes")
    count, height, width = (int.from_bytes(head[i : i + 4], "big") for i in (4, 8, 12))
    return count, height, width


def _check_idx(path: Path, size: tuple[int, int]) -> int:
    try:
        count, height, width = _idx_shape(path)
        length = path.stat().st_size if path.suffix != ".gz" else None
    except _DAMAGED as error:
        raise DataError(f"{path} cannot be read: {_why(error)}") from None
    if (height, width) != size:
        raise InputError(f"{path} holds pictures of {height}×{width} pixels; the network takes {size[0]}×{size[1]}")
    if length is not None and path.suffix != ".gz" and length != 16 + count * height * width:
        raise DataError(
            f"{path} is damaged: {length:,} bytes, and {count:,} pictures of {height}×{width} take "
            f"{16 + count * height * width:,}"
        )
    return count


def _read_idx(path: Path, start: int, stop: int, size: tuple[int, int]) -> Iterator[tuple[str | None, Content]]:
    height, width = size
    with _open_idx(path) as stream:
        stream.seek(16 + start * height * width)  # a compressed file is read up to there
        for _ in range(start, stop):
            data = stream.read(height * width)
            if len(data) < height * width:
                raise EOFError("it stops early")
            yield None, np.frombuffer(data, np.uint8).reshape(height, width)


# --------------------------------------------------------------------------------------------------------- Parquet


def _open_parquet(path: Path) -> pyarrow.parquet.ParquetFile:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(NEEDS_PYARROW) from error
    # Through a buffer and without reading ahead: a row group may be larger than memory.
    return pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=1 << 20)


def _use_of(kind: pyarrow.DataType) -> str | None:
    """'picture' for a column of encoded pictures, 'pixels' for one of pixels, None for another."""
    from pyarrow import types

    kind = getattr(kind, "storage_type", kind)
    if types.is_struct(kind):
        at = kind.get_field_index("bytes")
        kind = kind.field(at).type if at >= 0 else kind
    if types.is_binary(kind) or types.is_large_binary(kind):
        return "picture"
    if _is_list(kind):
        inner = kind.value_type.value_type if _is_list(kind.value_type) else kind.value_type
        return "pixels" if types.is_integer(inner) else None
    return None


def _is_list(kind: pyarrow.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def _plain_lists(kind: pyarrow.DataType) -> pyarrow.DataType:
    import pyarrow as pa

    return pa.list_(_plain_lists(kind.value_type)) if _is_list(kind) else kind


def _check_parquet(path: Path, column: str | None, key: str | None, size: tuple[int, int]) -> tuple[int, str]:
    """Rows, and the column of pictures."""
    try:
        with _open_parquet(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    except _DAMAGED as error:
        if isinstance(error, InputError | DataError):
            raise
        raise DataError(f"{path} is not a Parquet file, or a damaged one: {_why(error)}") from None
    has = ", ".join(f"{one.name} ({one.type})" for one in schema) or "none"
    usable = (
        "usable are encoded pictures (binary, or a struct with such a field 'bytes') and pixels from 0 to 255 (lists "
        f"of {size[0] * size[1]} integers, or of {size[0]} lists of {size[1]})"
    )
    if column is None:
        candidates = [one.name for one in schema if _use_of(one.type)]
        if not candidates:
            raise InputError(f"{path} has no usable column: it has {has}; {usable}")
        preferred = [name for name in candidates if name in _PREFERRED]
        if len(candidates) > 1 and len(preferred) != 1:
            raise InputError(f"{path} has several usable columns: choose with --column, one of {', '.join(candidates)}")
        column = (preferred or candidates)[0]
    for name in filter(None, (column, key)):
        if name not in schema.names:
            raise InputError(f"{path} has no column {name!r}.{did_you_mean(name, schema.names)} It has {has}")
        if schema.names.count(name) > 1:
            raise InputError(f"{path} has {schema.names.count(name)} columns called {name!r}")
    if not _use_of(schema.field(column).type):
        raise InputError(f"{path}: the column {column!r} is {schema.field(column).type}; {usable}")
    return rows, column


def _read_parquet(
    path: Path, start: int, stop: int, size: tuple[int, int], column: str, key: str | None
) -> Iterator[tuple[str | None, Content]]:
    with _open_parquet(path) as file:
        pictures = _use_of(file.schema_arrow.field(column).type) == "picture"
        first = 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            begin, end = max(start - first, 0), min(stop - first, rows)  # within the group
            first += rows
            if begin >= end:
                continue
            try:
                for row in _read_group(file, group, begin, end, size, column, key, pictures):
                    yield row
                    begin += 1
            except _DAMAGED as error:  # the next group may be whole
                for _ in range(begin, end):
                    yield None, f"the file cannot be read: {_why(error)}"
        if first < stop:
            raise ValueError(f"it has only {first:,} rows")


def _read_group(
    file: pyarrow.parquet.ParquetFile,
    group: int,
    begin: int,
    end: int,
    size: tuple[int, int],
    column: str,
    key: str | None,
    pictures: bool,
) -> Iterator[tuple[str | None, Content]]:
    columns = list(dict.fromkeys(filter(None, (column, key))))
    rows = _PICTURE_ROWS if pictures else _PIXEL_ROWS
    at = 0
    for batch in file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False):
        skip, stop = max(begin - at, 0), min(end - at, len(batch))
        at += len(batch)
        if skip < stop:
            batch = batch.slice(skip, stop - skip)
            keys = _keys(batch.column(key)) if key else [None] * len(batch)
            found = batch.column(column)
            yield from zip(keys, _encoded(found) if pictures else _pixels(found, size), strict=True)
        if at >= end:
            return


def _keys(column: pyarrow.Array) -> list[str | None]:
    return [
        None if value is None else value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
        for value in column.to_pylist()
    ]


def _encoded(column: pyarrow.Array) -> Iterator[Content]:
    from pyarrow import types

    column = getattr(column, "storage", column)
    whole = column.is_valid().to_pylist()
    if types.is_struct(column.type):
        column = column.field(column.type.get_field_index("bytes"))
    for valid, value in zip(whole, column, strict=True):
        data = value.as_py() if valid else None
        yield "the row has no picture (null)" if data is None else data


def _pixels(column: pyarrow.Array, size: tuple[int, int]) -> list[Content]:
    """Lists of pixels as arrays; of those that are not H×W values from 0 to 255, what is wrong."""
    import pyarrow.compute as pc

    height, width = size
    column = getattr(column, "storage", column)
    nested = _is_list(column.type.value_type)
    # pyarrow (26) takes wrong values from a slice of a fixed-size list of lists.
    column = column.cast(_plain_lists(column.type))
    wanted = height if nested else height * width
    content: list[Content] = [""] * len(column)
    lengths = pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False)
    for row in np.flatnonzero(lengths != wanted):
        what = f"{lengths[row]} {'rows' if nested else 'pixels'} and not {wanted}"
        content[row] = "the row has no pixels (null)" if lengths[row] < 0 else f"the row has {what}"
    rows = np.flatnonzero(lengths == wanted)
    values = column.take(rows).flatten() if len(rows) else None
    if nested and values is not None:
        widths = pc.fill_null(pc.list_value_length(values), -1).to_numpy(zero_copy_only=False).reshape(-1, height)
        fits = (widths == width).all(1)
        for row in rows[~fits]:
            content[row] = f"the row is not {height} lists of {width} pixels"
        rows = rows[fits]
        values = values.filter(np.repeat(fits, height)).flatten() if len(rows) else None
    if values is None:
        return content
    if values.null_count:
        values = pc.fill_null(values.cast("int64"), -1)
    pixels = values.to_numpy(zero_copy_only=False).reshape(-1, height, width)
    if pixels.dtype != np.uint8:
        inside = ((pixels >= 0) & (pixels <= 255)).all((1, 2))
        for row in rows[~inside]:
            content[row] = "the row has pixels outside 0 … 255"
        rows, pixels = rows[inside], pixels[inside].astype(np.uint8)
    for row, picture in zip(rows, pixels, strict=True):
        content[row] = picture
    return content
