"""A network as one C99 file for microcontrollers and other programs: no dependency, no malloc.

The program itself stands in `c_fp32.c`; what is written here are the head, which is also the header, and the tables.
Lines between `//@modern`, `//@classic` and `//@end` are for one of the networks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lenet_zoo.cards import Card
from lenet_zoo.export.graph import Array, InputSpec
from lenet_zoo.export.metadata import facts
from lenet_zoo.export.targets.c_layers import Layers, read_layers
from lenet_zoo.models import LeNet5Classic, LeNet5Modern

__all__ = ["PRECISIONS", "build"]

PRECISIONS = ("fp32",)

# uint8 N×C×H×W → float32 N×classes.
Answers = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

_HERE = Path(__file__).parent
_WIDTH = 116  # of a table's lines
_STATES = 14 * 14 * 6 + 5 * 5 * 16 + 120 + 84  # numbers that the layers S2, S4, C5 and F6 answer with


def build(
    model: LeNet5Modern | LeNet5Classic, card: Card, spec: InputSpec, precision: str, sha256: str
) -> tuple[bytes, Answers]:
    """The file, and what it answers: the same arithmetic in numpy.

    Args:
        model: whole, in evaluation mode, float32, on the CPU.
        card: what the file says of the network.
        spec: the pictures that it takes.
        precision: one of `PRECISIONS`.
        sha256: of the weights.

    Raises: InputError for a network that no C file can answer for.
    """
    layers = read_layers(model, spec)
    known = facts(card, spec, precision, sha256, ("numpy", "torch"))
    program = _chosen((_HERE / f"c_{precision}.c").read_text(encoding="ascii"), layers.classic)
    parts = [_comment(card, known), _header(layers, card, spec), *_tables(layers), program]
    return "\n".join(parts).encode("ascii"), layers.logits


# ------------------------------------------------------------------------------------------------------------- head

_USE = """\
Compile this file into a program; elsewhere in the program, include it for its declarations alone:
    #define LENET_DECLARATIONS_ONLY
    #include "this file"
lenet_read works in static memory, so only one call may run at a time."""


def _comment(card: Card, known: dict[str, str]) -> str:
    lines = ["LeNet-5 in C99 (and C++), written by lenet_zoo. It needs no other file."]
    lines += ["", *_USE.splitlines(), ""]
    lines += [f"{key}: {in_comment(value)}" for key, value in known.items() if key != "labels"]
    lines += ["classes:", *(f'  {i}: "{in_comment(label)}"' for i, label in enumerate(card.labels))]
    return "/* " + "\n".join(f" * {line}".rstrip() for line in lines)[3:] + "\n */"


def _header(layers: Layers, card: Card, spec: InputSpec) -> str:
    height, width = spec.height + 2 * layers.border, spec.width + 2 * layers.border
    ram = 4 * (height * width * spec.channels + _STATES)
    math = "#include <math.h> /* tanhf */\n" if layers.classic else ""
    channels = "" if spec.channels == 1 else ", one channel after the other"
    return f"""\
#ifndef LENET_H
#define LENET_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define LENET_CHANNELS {spec.channels}
#define LENET_HEIGHT {spec.height}
#define LENET_WIDTH {spec.width}
#define LENET_PIXELS (LENET_CHANNELS * LENET_HEIGHT * LENET_WIDTH)
#define LENET_CLASSES {len(card.labels)}
#define LENET_RAM {ram} /* bytes of static memory */

extern const char *const lenet_labels[LENET_CLASSES]; /* in UTF-8 */

/* Read one picture.
 * pixels: 0 background, 255 ink, row by row{channels}.
 * logits: receives one number a class, larger is likelier; or NULL.
 * Returns the likeliest class, 0 to LENET_CLASSES - 1; of equal ones the first.
 */
int lenet_read(const uint8_t pixels[LENET_PIXELS], float logits[LENET_CLASSES]);

#ifdef __cplusplus
}}
#endif
#endif /* LENET_H */

#ifndef LENET_DECLARATIONS_ONLY

{math}#include <stddef.h>

#define LENET_BORDER {layers.border}
#define LENET_FIELD_HEIGHT (LENET_HEIGHT + 2 * LENET_BORDER)
#define LENET_FIELD_WIDTH (LENET_WIDTH + 2 * LENET_BORDER)
#define LENET_BACKGROUND {number(layers.background)}

#ifdef __cplusplus
extern "C" {{
#endif

const char *const lenet_labels[LENET_CLASSES] = {{
{_wrapped([in_string(label) for label in card.labels])}
}};
"""


def in_comment(text: str) -> str:
    """ASCII on one line that stays inside a comment: without */, /* and trigraphs."""
    escaped = text.encode("unicode_escape").decode("ascii")
    return re.sub(r"(?<=/)(?=\*)|(?<=\*)(?=/)|(?<=\?\?)(?=/)", r"\\", escaped)


def in_string(text: str) -> str:
    """The literal of a text in UTF-8: what is neither a letter, a digit nor plain punctuation is a number in octal."""
    plain = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 -_.,:;+/()"
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in text.encode()) + '"'


# ----------------------------------------------------------------------------------------------------------- tables


def _tables(layers: Layers) -> list[str]:
    found = [_floats("scale", layers.scale), _floats("shift", layers.shift)]
    for layer, weight in layers.weight.items():
        found.append(_floats(f"{layer.lower()}_weight", weight))
        if layer in layers.bias:
            found.append(_floats(f"{layer.lower()}_bias", layers.bias[layer]))
    return found


def _floats(name: str, values: Array) -> str:
    flat = values.astype(np.float32).ravel()
    return f"static const float {name}[{flat.size}] = {{\n{_wrapped([number(float(value)) for value in flat])}\n}};\n"


def number(value: float) -> str:
    """A literal of type float that gives the very value."""
    text = f"{np.float32(value):.9g}"
    return f"{text}f" if re.search("[.e]", text) else f"{text}.0f"


def _wrapped(words: list[str]) -> str:
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + len(word) + 2 > _WIDTH:
            lines.append("")
        lines[-1] += f"{' ' if lines[-1] else ''}{word},"
    return "\n".join(f"    {line}" for line in lines)


def _chosen(program: str, classic: bool) -> str:
    """The program without the lines for the other network."""
    kept, wanted = [], True
    for line in program.splitlines():
        if line.startswith("//@"):
            wanted = line[3:] in ("end", "classic" if classic else "modern")
        elif wanted:
            kept.append(line)
    return "\n".join([*kept, ""])
