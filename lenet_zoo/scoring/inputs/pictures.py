"""Files that are one picture each. A unit is a list of files: {"rows": 2, "files": ["a/1.png", "a/2.png"]}."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path

from lenet_zoo._files import utf8_name
from lenet_zoo.pictures.reading import picture_suffixes
from lenet_zoo.scoring.inputs.kind import Content, Row, Size, Unit, gone, reason

NOUN = "picture"
EXAMPLES = "pictures such as .png or .jpg"
HAS_COLUMNS = False

_MOST_BYTES = 1 << 30  # of a file
_suffixes = cache(picture_suffixes)


def claims(name: str) -> bool:
    return os.path.splitext(name)[1] in _suffixes()


def begins(head: bytes) -> bool:
    return False  # one picture is no collection


def check(path: Path, size: Size, column: str | None, key: str | None) -> tuple[int, str | None]:
    return 1, column  # opened when it is read: a million are listed


def units(root: Path, names: Iterator[str], most: int) -> Iterator[Unit]:
    while files := list(islice(names, most)):
        yield {"rows": len(files), "files": files}


def read(root: Path, unit: Unit, size: Size, column: str | None, key: str | None) -> Iterator[Row]:
    for name in unit["files"]:
        yield utf8_name(name), _content(root / name)


def _content(path: Path) -> Content:
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise gone(path) from None
    except OSError as error:
        return f"the picture cannot be read: {reason(error)}"
    return data if len(data) <= _MOST_BYTES else "the picture has more than 1 GiB"
