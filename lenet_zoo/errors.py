"""The errors that lenet_zoo raises on purpose.

Each carries one line that names what was wrong and what would be right. They share a base class, so that a program can
catch all of them at once; each is also an instance of the built-in exception that a caller would expect in its place.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

__all__ = [
    "ArtifactError",
    "DataError",
    "HubError",
    "InputError",
    "LenetZooError",
    "MissingExtraError",
    "NoDigitError",
    "ScoringError",
    "TrainingError",
    "UnknownModelError",
    "WeightsError",
    "did_you_mean",
    "exit_status",
    "printable",
    "to_install",
]

# Control characters, which move a terminal's cursor, colour it or ring; separators of lines; characters that turn the
# direction of what follows; and halves of surrogate pairs, which stand for bytes of a name that are not UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class LenetZooError(Exception):
    """Base class: everything that lenet_zoo raises on purpose. Its text is one line, whatever names are in it."""

    def __str__(self) -> str:
        return printable(super().__str__())


class UnknownModelError(LenetZooError, LookupError):
    """No network or tag of that name; the text suggests the nearest one."""


class InputError(LenetZooError, ValueError):
    """An argument, a batch of pixels or a picture that cannot be used."""


class NoDigitError(InputError):
    """A picture that can be read but holds no digit: empty, full, or noise."""


class WeightsError(LenetZooError, RuntimeError):
    """A weight file that is missing, damaged, altered or made for another network."""


class DataError(LenetZooError, RuntimeError):
    """A data set that is missing, incomplete or damaged."""


class TrainingError(LenetZooError, RuntimeError):
    """A training run that cannot start, go on or be resumed."""


class ScoringError(LenetZooError, RuntimeError):
    """A scoring job that cannot start, go on or be completed."""


class ArtifactError(LenetZooError, RuntimeError):
    """An ONNX file that cannot be made, trusted or run."""


class HubError(LenetZooError, RuntimeError):
    """A repository on the Hugging Face Hub that cannot be reached or written."""


class MissingExtraError(LenetZooError, ImportError):
    """An optional dependency is not installed; the text names the extra that brings it."""


def printable(text: str) -> str:
    """A text from elsewhere, such as a name, as one line that changes nothing in a terminal.

    Control characters and the like are escaped as Python writes them ('\\x1b', '\\n'), and so are bytes of a file's
    name that are not UTF-8 ('\\xff').
    """
    return _UNPRINTABLE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # as Python decodes such a byte
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape").decode("ascii")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """' Did you mean X?' with the nearest of `known`, or '' when nothing is near."""
    # Half of the characters are enough in 'c2' for 'c1' alone: 'nothing' has as much in common with 'train'.
    spelt = {one.lower(): one for one in known}
    near = difflib.get_close_matches(word.lower(), list(spelt), n=1, cutoff=0.6 if len(word) > 2 else 0.5)
    return f" Did you mean {spelt[near[0]]!r}?" if near else ""


def to_install(extra: str = "") -> str:
    """How to install an extra of ours, or without one the package, as errors say it.

    The package is on no index, so pip takes it from a clone; in double quotes the line works in every shell.
    """
    what = f'".[{extra}]"' if extra else "."
    return f"run pip install {what} in a clone of lenet_zoo"


def exit_status(error: BaseException) -> int:
    """Exit status: 2 for usage errors, 1 for anything else."""
    return 2 if isinstance(error, UnknownModelError | InputError | MissingExtraError) else 1
