"""Parquet files: a column of encoded pictures or of pixels. A unit is a range of rows of one file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lenet_zoo.errors import DataError, InputError, MissingExtraError, did_you_mean, to_install
from lenet_zoo.scoring.inputs.kind import DAMAGED, Content, Row, Size, Unit, cut, exactly, reason

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

NOUN = "Parquet file"
EXAMPLES = ".parquet files"
HAS_COLUMNS = True
NEEDS_PYARROW = f"Parquet files need pyarrow: {to_install('score')}"

_PIXEL_ROWS, _PICTURE_ROWS = 1024, 64  # rows that are read from a file at once
_PREFERRED = ("image", "picture", "img", "pixels")


def claims(name: str) -> bool:
    # Spark and others keep files of their own beside their data, whose names begin with an underscore.
    return name.endswith(".parquet") and not name.startswith("_")


def begins(head: bytes) -> bool:
    return head == b"PAR1"


def _open(path: Path) -> pyarrow.parquet.ParquetFile:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(NEEDS_PYARROW) from error
    # Through a buffer and without reading ahead, because a row group may be larger than memory.
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


def check(path: Path, size: Size, column: str | None, key: str | None) -> tuple[int, str | None]:
    try:
        with _open(path) as file:
            column = _choose(path, file.schema_arrow, size, column, key)
            groups = _groups(file)
            problem = _contradiction(file, groups, column)
    except DAMAGED as error:
        if isinstance(error, InputError):
            raise
        raise DataError(f"{path} is not a Parquet file, or a damaged one: {reason(error)}") from None
    if problem:
        raise DataError(f"{path} is damaged: {problem}")
    return sum(groups), column


def _choose(path: Path, schema: pyarrow.Schema, size: Size, column: str | None, key: str | None) -> str:
    """The column of pictures: the one that the user named, or the only one that can hold them."""
    has = ", ".join(f"{one.name} ({one.type})" for one in schema) or "none"
    usable = "usable are encoded pictures (binary, or a struct with such a field 'bytes')"
    if size is not None:
        usable += (
            f" and pixels from 0 to 255 (lists of {size[0] * size[1]} integers, or of {size[0]} lists of {size[1]})"
        )
    uses = ("picture",) if size is None else ("picture", "pixels")
    if column is None:
        candidates = [one.name for one in schema if _use_of(one.type) in uses]
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
    if _use_of(schema.field(column).type) not in uses:
        raise InputError(f"{path}: the column {column!r} is {schema.field(column).type}; {usable}")
    return column


def _groups(file: pyarrow.parquet.ParquetFile) -> list[int]:
    return [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]


def _contradiction(file: pyarrow.parquet.ParquetFile, groups: list[int], column: str) -> str | None:
    """What in the file's metadata cannot be true of its rows, or None. Of the data themselves, nothing is read."""
    metadata = file.metadata
    if min(groups, default=0) < 0 or sum(groups) != metadata.num_rows:
        return f"it declares {metadata.num_rows:,} rows, and row groups of {', '.join(map(str, groups[:9]))} rows"
    for leaf in range(metadata.num_columns):
        about = file.schema.column(leaf)
        if about.path != column and not about.path.startswith(f"{column}."):
            continue
        for group, rows in enumerate(groups):
            values = metadata.row_group(group).column(leaf).num_values
            # A row of a list has a value for each element, and one if it has none.
            if values < rows or (values > rows and not about.max_repetition_level):
                return f"its row group {group} declares {rows:,} rows, and its column {about.path!r} {values:,} values"
    return None


def units(root: Path, names: Iterator[str], most: int) -> Iterator[Unit]:
    for name in names:
        with _open(root / name) as file:
            groups = _groups(file)
        yield from cut(name, groups, most)


def read(root: Path, unit: Unit, size: Size, column: str | None, key: str | None) -> Iterator[Row]:
    assert column is not None  # `check` has chosen it
    path = root / unit["file"]
    return exactly(path, unit, _rows(path, unit["start"], unit["rows"], size, column, key))


def _rows(
    path: Path, start: int, count: int, size: Size, column: str, key: str | None
) -> Iterator[tuple[str | None, Content]]:
    stop = start + count
    with _open(path) as file:
        first = 0
        for group, rows in enumerate(_groups(file)):
            begin, end = max(start - first, 0), min(stop - first, rows)  # within the group
            first += rows
            if begin >= end:
                continue
            why = "it stops early"
            try:
                for row in _group(file, group, begin, end, size, column, key):
                    yield row
                    begin += 1
            except DAMAGED as error:
                why = reason(error)
            for _ in range(begin, end):  # the next group may be whole
                yield None, f"the file cannot be read: {why}"


def _group(
    file: pyarrow.parquet.ParquetFile,
    group: int,
    begin: int,
    end: int,
    size: Size,
    column: str,
    key: str | None,
) -> Iterator[tuple[str | None, Content]]:
    """Rows `begin` to `end` of a row group, fewer if its data have fewer than its metadata says."""
    encoded = _use_of(file.schema_arrow.field(column).type) == "picture"
    columns = list(dict.fromkeys(filter(None, (column, key))))
    at = 0
    for batch in file.iter_batches(
        _PICTURE_ROWS if encoded else _PIXEL_ROWS, row_groups=[group], columns=columns, use_threads=False
    ):
        skip, stop = max(begin - at, 0), min(end - at, len(batch))
        at += len(batch)
        if skip < stop:
            batch = batch.slice(skip, stop - skip)
            keys = _keys(batch.column(key)) if key else [None] * len(batch)
            found = batch.column(column)
            yield from zip(keys, _encoded(found) if encoded else _pixels(found, size), strict=True)
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
    names: list[str | None] = [None] * len(column)
    if types.is_struct(column.type):
        at = column.type.get_field_index("path")  # as Hugging Face's data sets have it
        if at >= 0 and types.is_string(column.type.field(at).type):
            names = column.field(at).to_pylist()
        column = column.field(column.type.get_field_index("bytes"))
    for valid, value, name in zip(whole, column, names, strict=True):
        data = value.as_py() if valid else None
        if data is not None:
            yield data
        elif valid and name:
            yield (
                f"the row has no picture, but only its path {name!r}: embed the pictures in the Parquet file, or score "
                "the folder that they are in"
            )
        else:
            yield "the row has no picture (null)"


def _pixels(column: pyarrow.Array, size: Size) -> list[Content]:
    """Lists of pixels as arrays; of those that are not H×W values from 0 to 255, what is wrong."""
    import pyarrow.compute as pc

    assert size is not None  # `check` has seen to it
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
