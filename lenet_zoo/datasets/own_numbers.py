"""Pictures of whole numbers of one's own, to measure a network on: a folder, and what each picture says.

    amounts/                          amounts/
      labels.csv  file,label    or      7210.png
      a.png       a.png,7210            7210-second.png
      b.png       b.png,0031            0031_kitchen.jpg

Without `labels.csv` a file's name begins with its number. In `labels.csv` there may be more columns than these two.
"""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path

from lenet_zoo.errors import DataError
from lenet_zoo.pictures.reading import pictures_in

__all__ = ["LABELS", "load_numbers"]

LABELS = "labels.csv"
"""The list of a folder's pictures, where it has one."""


def load_numbers(folder: str | os.PathLike[str]) -> list[tuple[Path, str]]:
    """The pictures of a folder and the number on each, in order of name or, with `labels.csv`, as that has them.

    Raises:
        DataError: no folder; a list without the two columns, without a row, or with a row whose label is not digits or
            whose file is missing or was named before; without a list, a name that does not begin with digits.
        InputError: a folder without pictures.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"no folder {folder}: give one with pictures of numbers")
    if (folder / LABELS).is_file():
        return _listed(folder)
    found = []
    for path in pictures_in(folder):
        number = re.match(r"[0-9]+", path.name)
        if number is None:
            raise DataError(f"{path} does not say its number: begin its name with the digits, or list it in {LABELS}")
        found.append((path, number.group()))
    return found


def _listed(folder: Path) -> list[tuple[Path, str]]:
    path = folder / LABELS
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    if not rows:
        raise DataError(f"{path} lists no picture: it needs a first row file,label and one more for each picture")
    found: dict[Path, str] = {}
    for line, row in enumerate(rows, 2):
        name, number = (row.get(column) for column in ("file", "label"))
        if name is None or number is None:
            raise DataError(f"{path} has no file or no label in row {line}: its first row has to be file,label")
        number, picture = number.strip(), folder / name.strip()
        if not re.fullmatch(r"[0-9]+", number):
            raise DataError(f"{path}, row {line}: {number!r} is no number: give its digits alone")
        if not picture.is_file():
            raise DataError(f"{path}, row {line}: there is no file {picture}")
        if picture in found:
            raise DataError(f"{path}, row {line}: {name.strip()} is listed twice")
        found[picture] = number
    return list(found.items())
