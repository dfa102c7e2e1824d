"""Write files in one step, one process at a time in a folder, and parse JSON from strangers."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lenet_zoo.errors import LenetZooError

__all__ = [
    "atomic_path",
    "naming",
    "one_writer",
    "parse_json",
    "read_regular",
    "to_make_room",
    "user_cache",
    "utf8_name",
    "why_not_writable",
    "write_atomic",
]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DEEPEST = 32  # levels of lists and objects; our own files have six


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success it is flushed to disk and renamed to `target`.

    As with `open`, an existing file keeps its mode, a new one gets what the umask leaves, and a link is followed: the
    file that it points to is replaced. When the block raises, the temporary file is removed and `target` stays as it
    was. The temporary name keeps the target's suffix, because several writers choose their format by it.

    Raises: OSError that names `target`, where it cannot be written.
    """
    asked = Path(target)
    try:
        target = Path(os.path.realpath(asked))
        mode = _mode(target)
        # After a kill, the stem shows which file this was to be. Stem and suffix are cut: the random part needs room.
        temporary = target.with_name(f".{asked.stem[:32]}-{os.urandom(8).hex()}{asked.suffix[:16]}")
        # The kernel applies the umask; we cannot read it without setting it for every thread. A file that replaces
        # another is private until it is complete, since the old one may be.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666 if mode is None else 0o600))
    except OSError as error:
        # The user knows the file that was asked for, not the temporary one.
        raise type(error)(error.errno, error.strerror, str(asked)) from None
    try:
        with naming(asked, temporary):
            yield temporary
            with temporary.open("rb+") as stream:
                os.fsync(stream.fileno())
            if mode is not None:
                temporary.chmod(mode)
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(target: str | os.PathLike[str], temporary: Path | None = None) -> Iterator[None]:
    """Let an OSError that names no file, as that of a full disk, or that names `temporary`, name `target`."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error


def to_make_room(error: OSError) -> str:
    """What an error's line ends in where a disk is full: what to do. Else nothing."""
    return ": make room there, or write to another disk" if error.errno in _FULL else ""


def _mode(target: Path) -> int | None:
    """The permissions of an existing file; None where there is none yet."""
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):  # renaming over a device or a pipe would remove it
        raise OSError(errno.EINVAL, "it is not a regular file")
    return stat.S_IMODE(mode)


def why_not_writable(target: str | os.PathLike[str]) -> str:
    """Why no file could be written to `target`, in words, asked before the work; "" where nothing is in the way."""
    path = Path(target)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            return f"there is no folder {path.parent}"
    except OSError as error:
        return error.strerror or str(error)
    except ValueError:
        return "the name holds a null character"
    else:
        if not stat.S_ISREG(mode):
            return "it is a folder" if stat.S_ISDIR(mode) else "it is not a regular file"
    folder = Path(os.path.realpath(path)).parent  # of a link, that of the file which it points to
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"the folder {folder} cannot be written to"


def user_cache() -> Path:
    """lenet-zoo's folder in the user's cache, whether or not it is there.

    Raises: RuntimeError for a user without a home.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lenet-zoo"


def write_atomic(target: str | os.PathLike[str], data: bytes | str) -> Path:
    """Write `data` (text as UTF-8) to `target` in one step; returns the path."""
    target = Path(target)
    with atomic_path(target) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
    return target


def utf8_name(name: str) -> str:
    """A file's name as text that can be written to a file: bytes that are not UTF-8 are escaped, as in 'caf\\xe9'."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def read_regular(path: str | os.PathLike[str], most: int | None = None) -> bytes:
    """The content of a file; never of a pipe or a device, which may not end.

    Args:
        most: bytes that it may have.

    Raises: OSError, also for what is no regular file or larger, and for a name with a null character.
    """
    try:
        found = os.stat(path)
    except ValueError:
        raise OSError(errno.EINVAL, "the name holds a null character", os.fspath(path)) from None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file", os.fspath(path))
    if most is not None and found.st_size > most:
        raise OSError(errno.EINVAL, f"it has {found.st_size:,} bytes, and at most {most:,} are read", os.fspath(path))
    return Path(path).read_bytes()


def parse_json(content: bytes | str) -> Any:
    """Parse JSON that may come from a stranger.

    Raises: ValueError, of one line, for what is not UTF-8 or not JSON, is nested over 32 deep, or holds a number that
    is not finite or too large for a float, or half of a surrogate pair (which UTF-8 cannot encode).
    """
    text = content.decode("utf-8") if isinstance(content, bytes) else content
    try:
        document = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [document]
    for _ in range(_DEEPEST):
        deeper: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                deeper += [*value, *value.values()]
            elif isinstance(value, list):
                deeper += value
            elif isinstance(value, float) and not math.isfinite(value):
                raise ValueError("it holds a number that is not finite")
            elif isinstance(value, int) and abs(value) > sys.float_info.max:
                raise ValueError("it holds a number that is too large for a float")
            elif isinstance(value, str) and any("\ud800" <= c <= "\udfff" for c in value):
                raise ValueError("it holds half of a surrogate pair")
        if not deeper:
            return document
        level = deeper
    raise ValueError("it is nested too deeply")


@contextmanager
def one_writer(folder: str | os.PathLike[str], refusal: type[LenetZooError]) -> Iterator[None]:
    """Be the one process that writes to a folder, which is made where there is none.

    The lock is a file `.lock` in the folder. It ends with the process that holds it, however that ends, and the file is
    removed; so is a folder that was made here and stayed empty.

    Raises: `refusal`, at once, when another process holds the lock; OSError when it cannot be made.
    """
    from filelock import FileLock, Timeout

    folder = Path(folder)
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock", blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise refusal(
            f"{folder}: another process is at work there: wait until it is done, or name another folder"
        ) from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows removes it on release
            (folder / ".lock").unlink()
        lock.release()
        if made:
            with suppress(OSError):  # it is not empty
                folder.rmdir()
