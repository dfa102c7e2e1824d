"""Compile C files of `export` and run them on this machine."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
# name → command: each compiler that is here, as C99 and as C++.
COMPILERS = {
    f"{name}-{standard}": (found, *language, f"-std={standard}")
    for name, standard, language in (
        ("gcc", "c99", ()),
        ("clang", "c99", ()),
        ("gcc", "c++11", ("-x", "c++")),
        ("clang", "c++11", ("-x", "c++")),
    )
    if (found := shutil.which(name))
}
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
# Reads pictures from stdin one after the other; writes class and logits of each, as they lie in memory.
_MAIN = """\
#include <stdio.h>
#define LENET_DECLARATIONS_ONLY
#include "network.c"
int main(void)
{
    static uint8_t pixels[LENET_PIXELS];
    static NUMBER logits[LENET_CLASSES];
    while (fread(pixels, 1, sizeof pixels, stdin) == sizeof pixels) {
        const int32_t answer = lenet_read(pixels, logits);
        if (lenet_read(pixels, NULL) != answer) return 1;
        fwrite(&answer, sizeof answer, 1, stdout);
        fwrite(logits, sizeof logits, 1, stdout);
    }
    fprintf(stderr, "%s", lenet_labels[LENET_CLASSES - 1]);
    return 0;
}
"""

needs_compiler = pytest.mark.skipif(not COMPILERS, reason="neither gcc nor clang is here")


NUMBERS = {"fp32": "float", "int8": "int32_t"}


def compiled(file: Path, precision: str, compiler: tuple[str, ...], *options: str) -> Path:
    """The program of a C file and of a main function, each compiled for itself."""
    folder = file.parent / f"built{len(list(file.parent.glob('built*')))}"
    folder.mkdir()
    shutil.copy(file, folder / "network.c")
    (folder / "main.c").write_text(_MAIN.replace("NUMBER", NUMBERS[precision]))
    sources = [folder / "main.c", folder / "network.c"]
    command = [*compiler, *WARNINGS, *options, "-o", folder / "program", *sources, "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "program"


def assert_taken(file: Path) -> None:
    """Every compiler that is here takes the file as C99 and as C++, without a warning."""
    for compiler in COMPILERS.values():
        command = [*compiler, *WARNINGS, "-fsyntax-only", file]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def answers(program: Path, pixels: np.ndarray, classes: int, precision: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Classes N, logits N×classes, and the last label, of uint8 N×C×H×W."""
    done = subprocess.run([program], input=pixels.tobytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    kind = np.dtype([("answer", np.int32), ("logits", {"fp32": np.float32, "int8": np.int32}[precision], classes)])
    found = np.frombuffer(done.stdout, kind)
    return found["answer"], found["logits"], done.stderr.decode()
