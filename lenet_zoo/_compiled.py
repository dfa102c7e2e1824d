"""Compile a C++ file of the package, when a run starts, for the machine that it runs on."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

__all__ = ["load_library"]

_COMPILERS = ("c++", "g++", "clang++")
# -ffast-math without the flags that hide NaN or change the rounding mode of the whole process.
_FAST_MATH = ["-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math"]
_FLAGS = ["-std=c++17", "-O3", "-funroll-loops", *_FAST_MATH, "-shared", "-fPIC", "-pthread"]
# Tried in turn, since compilers name "this machine" differently. The first is for GCC, which otherwise merges two sums
# into one loop that it cannot vectorise, at half the speed.
_GCC = ["-march=native", "-mprefer-vector-width=512", "-fno-loop-unroll-and-jam"]
_TUNING: list[list[str]] = [_GCC, ["-march=native"], ["-mcpu=native"], []]


def load_library(source: Path, without: str) -> ctypes.CDLL | None:
    """Compile `source` with the machine's C++ compiler ($CXX, or c++, g++, clang++ from the path).

    Args:
        source: the file.
        without: what happens without the library, for the warning: 'training goes on through …'.

    Returns: the loaded library, or None after a warning when there is no compiler or it fails.
    """
    asked = os.environ.get("CXX")
    # $CXX is the path of a compiler, or a whole command such as 'ccache g++'.
    known = [[asked], asked.split()] if asked else [[name] for name in _COMPILERS]
    compiler = next((command for command in known if command and shutil.which(command[0])), None)
    if compiler is None:
        _warn(f"no C++ compiler found ({f'CXX={asked}' if asked else ', '.join(_COMPILERS)})", without)
        return None
    with tempfile.TemporaryDirectory(prefix="lenet-zoo-", ignore_cleanup_errors=True) as folder:
        library = Path(folder) / source.with_suffix(".so").name
        for extra in _TUNING:
            command = [*compiler, *_FLAGS, *extra, str(source), "-o", str(library)]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
            if done.returncode == 0:
                break
        else:
            reason = (done.stderr.strip().splitlines() or ["no message"])[0]
            _warn(f"{' '.join(compiler)} cannot compile {source.name}: {reason}", without)
            return None
        try:
            return ctypes.CDLL(str(library))
        except OSError as error:  # a temporary folder from which nothing may be executed
            _warn(f"the compiled {source.name} cannot be loaded: {error}", without)
            return None


def _warn(reason: str, without: str) -> None:
    warnings.warn(f"{reason}; {without}. Install g++ or clang++ to avoid that.", RuntimeWarning, stacklevel=4)
