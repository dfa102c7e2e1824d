"""A figure in a file."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from lenet_zoo._files import why_not_writable, write_atomic
from lenet_zoo.errors import InputError

__all__ = ["check_target", "save"]

_SUFFIXES = (".svg", ".pdf", ".png")


def check_target(path: str | os.PathLike[str]) -> Path:
    """Check, before any work is done, that a figure can be written to `path`; returns it as a Path.

    Raises: InputError for another suffix than .svg, .pdf and .png, and for a target that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        found = repr(path.suffix) if path.suffix else "no suffix"
        raise InputError(f"{path}: a figure is written as {', '.join(_SUFFIXES)}, and this name has {found}")
    why_not = why_not_writable(path)
    if why_not:
        raise InputError(f"{path}: {why_not}")
    return path


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure as .svg, .pdf or .png, by the suffix, whole or not at all; returns the path.

    Raises:
        InputError: see `check_target`.
        OSError: a full disk, for one; an old file there stays as it was.
    """
    path = check_target(path)
    kind = path.suffix.lower().removeprefix(".")
    # Letters are drawn as outlines, so that they look the same on every machine. Without a date and random ids the same
    # figure gives the same bytes.
    fixed: Any = {"svg.hashsalt": "lenet-zoo", "svg.fonttype": "path", "pdf.fonttype": 42}
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    # Into memory first: on a full disk matplotlib's PDF writer fails on closing with an error of its own.
    drawn = io.BytesIO()
    with mpl.rc_context(fixed):
        figure.savefig(drawn, format=kind, dpi=figure.dpi, metadata=metadata)
    return write_atomic(path, drawn.getvalue())
