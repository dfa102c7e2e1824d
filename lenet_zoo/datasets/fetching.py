"""Fetch a data set so that other processes never see half a file."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path

from lenet_zoo.errors import DataError

__all__ = ["fetch"]

# Seconds without a byte after which a download is given up: torchvision asks for a file twice, which makes a minute.
_SILENCE = 30


def fetch(kind: str, root: Path, read: Callable[[], object], get: Callable[[Path], object]) -> None:
    """Fetch what `read` misses.

    A download that is killed, or two at once, would leave half a file under its final name, which is taken for a whole
    one. So one process at a time fetches into a folder of its own, and then renames file by file.

    Args:
        kind: what the errors call the data set.
        root: the data root; made where there is none.
        read: reads the files in `root`; raises DataError while they are missing or damaged.
        get: fetches them into another folder, as they are to lie in `root`; URLs that it opens time out.

    Raises: DataError for whatever went wrong.
    """
    from filelock import FileLock

    lock = root / f".{kind}.lock"
    timeout = socket.getdefaulttimeout()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(lock):
            try:
                read()
            except DataError:
                pass
            else:
                _remove(lock)
                return  # another process has fetched it in the meantime
            # Whoever made an earlier one no longer holds the lock: it was killed.
            for abandoned in root.glob(f".{kind}-*"):
                shutil.rmtree(abandoned, ignore_errors=True)
            staging = Path(tempfile.mkdtemp(prefix=f".{kind}-", dir=root))
            socket.setdefaulttimeout(_SILENCE)
            try:
                with redirect_stdout(sys.stderr):  # torchvision prints which mirror failed
                    get(staging)
                for path in sorted(staging.rglob("*")):
                    if path.is_file():
                        target = root / path.relative_to(staging)
                        target.parent.mkdir(parents=True, exist_ok=True)
                        os.replace(path, target)
            finally:
                socket.setdefaulttimeout(timeout)
                shutil.rmtree(staging, ignore_errors=True)
                _remove(lock)
    except Exception as error:
        why = f"the server sent nothing for {_SILENCE} seconds" if _timed_out(error) else " ".join(str(error).split())
        raise DataError(f"{kind} could not be fetched into {root}: {why}") from error


def _remove(lock: Path) -> None:
    with suppress(OSError):  # Windows removes it on release
        lock.unlink()


def _timed_out(error: BaseException) -> bool:
    return isinstance(error, TimeoutError) or isinstance(getattr(error, "reason", None), TimeoutError)
