"""What can be scored, listed and cut into units of work: pictures in folders, Parquet files and IDX files.

A unit is a small JSON object that names its rows, so that any process that sees the input can do it:

    {"rows": 2, "files": ["a/1.png", "a/2.png"]}              pictures
    {"rows": 512, "file": "train.parquet", "start": 1024}     rows of a Parquet or IDX file

Units follow from the input alone, whoever works on them. No step holds more than one unit in memory: a listing is
sorted in a database on disk. What one kind of input is, its module says; `kind.Kind` is the protocol.
"""

from __future__ import annotations

import hashlib
import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lenet_zoo._files import utf8_name
from lenet_zoo.errors import InputError, ScoringError
from lenet_zoo.scoring.inputs import idx, parquet, pictures
from lenet_zoo.scoring.inputs.kind import DAMAGED, Content, Kind, Row, Unit, reason, unzipped

__all__ = ["KINDS", "Content", "Input", "Row", "Unit", "list_input", "read_unit"]

KINDS: dict[str, Kind] = {"pictures": pictures, "parquet": parquet, "idx": idx}

# A unit is some seconds of work: what a killed worker loses, and the step of the progress bar. Small inputs make 64
# units, so that all cores end at nearly the same time.
_UNITS, _LEAST_ROWS, _MOST_ROWS = 64, 512, 8192

_Entry = tuple[str, bytes, int, int]  # of a file: kind, name in the root, bytes, time of change


@dataclass(frozen=True)
class Input:
    """An input that has been listed.

    Attributes:
        root: the folder that names are relative to.
        name: its own name, without the folders above; bytes that are not UTF-8 are escaped.
        kind: one of `KINDS`.
        files, bytes, rows: how much there is.
        fingerprint: SHA-256 over name, size and time of change of each file, in order of name.
        part_rows: the largest number of rows of a unit.
        column, key: of a Parquet file: the columns of the picture and of the name of a row.
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
        with closing(self._table.execute("SELECT name FROM files ORDER BY name")) as found:
            yield from KINDS[self.kind].units(self.root, (os.fsdecode(name) for (name,) in found), self.part_rows)

    def describe(self) -> dict[str, Any]:
        """All but where it is on this machine, as the manifest has it."""
        names = ("name", "kind", "files", "bytes", "rows", "fingerprint", "column", "key")
        return {name: getattr(self, name) for name in names}

    def close(self) -> None:
        """Remove the listing from the disk."""
        self._table.close()


def list_input(
    path: str | os.PathLike[str],
    size: tuple[int, int] | None,
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
        size: height and width of the pictures that the network takes, for those that come as pixels; None for a
            network that takes pixels in no form.
        kind: one of `KINDS`, where a folder holds several.
        column, key: columns of Parquet files: the picture, by default the only one that can hold it; and the name of
            a row, by default `FILE#ROW`.
        part_rows: rows of a unit at most; by default so that there are 64 units, of 512 to 8,192 rows.

    Raises:
        InputError: a path that is missing or of no known kind, that holds no pictures, or pictures of several kinds;
            Parquet files without a usable column.
        DataError: Parquet and IDX files that are damaged.
        MissingExtraError: a Parquet file without pyarrow.
        ScoringError: the disk has no room for the listing.
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
        if not KINDS[kind].HAS_COLUMNS and (column or key):
            raise InputError(f"{path} holds {_count(kind, files)}: only Parquet files have columns to choose from")
        digest = hashlib.sha256()
        rows = 0
        with closing(table.execute("SELECT name, size, changed FROM files ORDER BY name")) as found:
            for name, length, changed in found:
                digest.update(b"%d %d %d " % (len(name), length, changed) + name)
                count, column = KINDS[kind].check(root / os.fsdecode(name), size, column, key)
                rows += count
        if rows == 0:
            raise InputError(f"{path} has no pictures in it: its files hold 0 rows")
        part_rows = part_rows or min(max(math.ceil(rows / _UNITS), _LEAST_ROWS), _MOST_ROWS)
        own_name, fingerprint = utf8_name(path.resolve().name), digest.hexdigest()
        return Input(root, own_name, kind, files, size_of_all, rows, fingerprint, part_rows, column, key, table)
    except sqlite3.OperationalError as error:  # of the file that the listing is sorted in
        table.close()
        raise ScoringError(
            f"the listing of {path} cannot be sorted: {reason(error)}: make room in the folder of temporary files, or "
            "name another one in SQLITE_TMPDIR"
        ) from None
    except BaseException:
        table.close()
        raise


def _walk(root: Path) -> Iterator[_Entry]:
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
                    elif (kind := _kind_by_name(entry.name)) and entry.is_file():
                        about = entry.stat()
                        yield kind, os.fsencode(name), about.st_size, about.st_mtime_ns
        except OSError as error:
            raise InputError(f"{root / folder} cannot be read: {reason(error)}") from None


def _kind_by_name(name: str) -> str | None:
    name = name.lower()
    return next((kind for kind, one in KINDS.items() if one.claims(name)), None)


def _single(path: Path) -> Iterator[_Entry]:
    if not path.is_file():
        raise InputError(f"{path} is neither a folder nor a file")  # a pipe would never end
    about = path.stat()
    if _kind_by_name(path.name) == "pictures":
        raise InputError(f"{path} is one picture: read it with `lenet-zoo predict`, or give the folder that it is in")
    try:
        with unzipped(path) as stream:
            head = stream.read(4)
    except DAMAGED as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    kind = next((kind for kind, one in KINDS.items() if one.begins(head)), None)
    if kind is None:
        raise InputError(f"{path} is neither a folder, nor a Parquet file, nor an IDX file of pictures")
    yield kind, os.fsencode(path.name), about.st_size, about.st_mtime_ns


def _count(kind: str, files: int) -> str:
    return f"{files:,} {KINDS[kind].NOUN}{'s' * (files != 1)}"


def _choose_kind(path: Path, table: sqlite3.Connection, kind: str | None) -> str:
    found = dict(table.execute("SELECT kind, count(*) FROM files GROUP BY kind ORDER BY kind"))
    if not found:
        *others, last = (one.EXAMPLES for one in KINDS.values())
        raise InputError(f"{path} has no pictures in it: a folder needs {', '.join(others)}, or {last}")
    has = " and ".join(_count(*item) for item in found.items())
    if kind is None and len(found) > 1:
        raise InputError(f"{path} holds {has}: choose with --kind, one of {', '.join(found)}")
    if kind is not None and kind not in found:
        raise InputError(f"{path} holds no {kind}: it has {has}")
    return kind or str(next(iter(found)))


def read_unit(
    root: Path, kind: str, unit: Unit, size: tuple[int, int] | None, column: str | None = None, key: str | None = None
) -> Iterator[Row]:
    """The rows of a unit, in order and exactly as many as it has, each read when it is asked for.

    What cannot be read, or is missing, becomes rows with an error.

    Raises: DataError when a file that was listed is gone, or gives more rows than it declares.
    """
    return KINDS[kind].read(root, unit, size, column, key)
