"""Files of a data set that were fetched by hand: found by name, verified, and put where torchvision reads them.

The four files of MNIST and its relatives come under several names, packed by gzip or not, in `KIND/raw`, in `KIND` or
directly in the data root.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from lenet_zoo._files import write_atomic
from lenet_zoo.errors import DataError

__all__ = ["first_there", "put_in_place", "root_of"]


def root_of(kind: str, folder: Path) -> Path:
    """The data root when `folder` may also be the root's `KIND` or `KIND/raw`."""
    if folder.name == "raw" and folder.parent.name == kind:
        return folder.parents[1]
    return folder.parent if folder.name == kind and not (folder / kind).exists() else folder


def put_in_place(kind: str, root: Path, wanted: Mapping[str, str | None]) -> bool:
    """Write each file that `root/KIND/raw` lacks from one that was fetched by hand; whether any was written.

    Args:
        kind: torchvision's name, such as 'MNIST'.
        root: the data root.
        wanted: name of each unpacked file, such as 'train-images-idx3-ubyte' → MD5 of the packed one, None if unknown.

    Raises: DataError for a file that is damaged or belongs to another data set, and where nothing can be written.
    """
    written = False
    for name, md5 in wanted.items():
        target = root / kind / "raw" / name
        if _is_whole(target):
            continue
        for path in _spellings(kind, root, name):
            try:
                content = path.read_bytes()
            except OSError:
                continue
            if path.suffix == ".gz":
                content = _unpacked(path, content, kind, md5)
            if _length(content[:16]) != len(content):
                raise DataError(f"{path} is damaged: it is not as long as its header says; fetch it again")
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(target, content)
            except OSError as error:
                raise DataError(f"{path} cannot be unpacked to {target}: {error.strerror}") from error
            written = True
            break
    return written


def _spellings(kind: str, root: Path, name: str) -> list[Path]:
    """Where `name` may lie, and how it may be spelt: train-images.idx3-ubyte is what some programs unpack it to."""
    target = root / kind / "raw" / name
    names = [spelt + suffix for spelt in (name, name.replace("-idx", ".idx")) for suffix in ("", ".gz")]
    folders = (root / kind / "raw", root / kind, root)
    return [folder / spelt for folder in folders for spelt in names if folder / spelt != target]


def _is_whole(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return _length(stream.read(16)) == os.fstat(stream.fileno()).st_size
    except OSError:
        return False


def _length(header: bytes) -> int | None:
    """How long the file is that begins so: one byte a pixel or a label. None for any other file."""
    axes = {b"\x00\x00\x08\x01": 1, b"\x00\x00\x08\x03": 3}.get(header[:4])
    if axes is None or len(header) < 4 + 4 * axes:
        return None
    length = 1
    for axis in range(axes):
        length *= int.from_bytes(header[4 + 4 * axis : 8 + 4 * axis], "big")
    return 4 + 4 * axes + length


def _unpacked(path: Path, content: bytes, kind: str, md5: str | None) -> bytes:
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 is not None and found != md5:
        raise DataError(f"{path} is not {kind}'s, or damaged: its MD5 is {found} and should be {md5}; fetch it again")
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}; fetch it again") from error


def first_there(paths: Iterable[Path]) -> tuple[bytes, Path] | None:
    """The content of the first of these files that is there, and which it is.

    Raises: DataError for one that is there and cannot be read.
    """
    for path in paths:
        try:
            return path.read_bytes(), path
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return None
