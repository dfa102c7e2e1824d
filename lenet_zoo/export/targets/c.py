"""A network as one C99 file for microcontrollers and other programs: no dependency, no malloc.

The program itself stands in `c_fp32.c` and `c_int8.c`; what is written here are the head, which is also the header, and
the tables. Lines between `//@modern`, `//@classic` and `//@end` are for one of the networks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet_zoo.cards import Card
from lenet_zoo.export.graph import InputSpec
from lenet_zoo.export.metadata import facts
from lenet_zoo.export.targets.c_integers import Integers, quantized, tanh_table
from lenet_zoo.export.targets.c_layers import Layers, read_layers
from lenet_zoo.models import LeNet5Classic, LeNet5Modern

__all__ = ["PRECISIONS", "build"]

PRECISIONS = ("fp32", "int8")

# uint8 N×C×H×W → float32 N×classes.
Answers = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
Named = Mapping[str, NDArray[Any]]

_HERE = Path(__file__).parent
_WIDTH = 116  # of a table's lines
_STATES = 14 * 14 * 6 + 5 * 5 * 16 + 120 + 84  # numbers that the layers S2, S4, C5 and F6 answer with


def build(
    model: LeNet5Modern | LeNet5Classic,
    card: Card,
    spec: InputSpec,
    precision: str,
    sha256: str,
    calibration: NDArray[np.uint8],
) -> tuple[bytes, Answers]:
    """The file, and what it answers: the same arithmetic in numpy.

    Args:
        model: whole, in evaluation mode, float32, on the CPU.
        card: what the file says of the network.
        spec: the pictures that it takes.
        precision: one of `PRECISIONS`.
        sha256: of the weights.
        calibration: pictures that set int8's ranges, uint8 N×C×H×W.

    Raises: InputError for a network that no C file can answer for.
    """
    layers = read_layers(model, spec)
    known = facts(card, spec, precision, sha256, ("numpy", "torch"))
    program = _chosen((_HERE / f"c_{precision}.c").read_text(encoding="ascii"), layers.classic)
    numbers = layers if precision == "fp32" else quantized(layers, calibration)
    tables = _floats(layers) if isinstance(numbers, Layers) else _integers(numbers)
    parts = [_comment(card, known), _header(numbers, card, spec), *tables, program]
    return "\n".join(parts).encode("ascii"), numbers.logits


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


def _header(numbers: Layers | Integers, card: Card, spec: InputSpec) -> str:
    height, width = spec.height + 2 * numbers.border, spec.width + 2 * numbers.border
    memory = height * width * spec.channels + _STATES
    channels = "" if spec.channels == 1 else ", one channel after the other"
    if isinstance(numbers, Layers):
        kind, steps, memory = "float", "", 4 * memory
        own = f"#define LENET_BACKGROUND {number(numbers.background)}\n"
        include = "#include <math.h> /* tanhf */\n" if numbers.classic else ""
    else:
        kind, steps, own, include = "int32_t", ", in steps of LENET_LOGIT", "", ""
        memory += 2 * 4 * 25 * max(spec.channels, 6)
    logit = f"#define LENET_LOGIT {number(numbers.logit)}\n" if isinstance(numbers, Integers) else ""
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
#define LENET_RAM {memory} /* bytes of static memory */
{logit}
extern const char *const lenet_labels[LENET_CLASSES]; /* in UTF-8 */

/* Read one picture.
 * pixels: 0 background, 255 ink, row by row{channels}.
 * logits: receives one number a class{steps}, larger is likelier; or NULL.
 * Returns the likeliest class, 0 to LENET_CLASSES - 1; of equal ones the first.
 */
int lenet_read(const uint8_t pixels[LENET_PIXELS], {kind} logits[LENET_CLASSES]);

#ifdef __cplusplus
}}
#endif
#endif /* LENET_H */

#ifndef LENET_DECLARATIONS_ONLY

#include <limits.h>
{include}#include <stddef.h>

#if INT_MAX < 2147483647
#error "int has fewer than 32 bits on this processor: sums and places would overflow without a word"
#endif

#define LENET_BORDER {numbers.border}
#define LENET_FIELD_HEIGHT (LENET_HEIGHT + 2 * LENET_BORDER)
#define LENET_FIELD_WIDTH (LENET_WIDTH + 2 * LENET_BORDER)
{own}
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


def _floats(layers: Layers) -> list[str]:
    named = dict(scale=layers.scale, shift=layers.shift) | _by_name(layers.weight, layers.bias)
    return [_table("float", name, [number(float(value)) for value in values.ravel()]) for name, values in named.items()]


def _integers(numbers: Integers) -> list[str]:
    named = dict(background=numbers.background) | _by_name(numbers.weight, numbers.bias, numbers.multiplier)
    if numbers.classic:
        named["tanh_table"] = tanh_table()
    # What is not among these is int8_t.
    kinds = dict(background="uint8_t", s2_weight="int16_t", s4_weight="int16_t")
    kinds |= {name: "int32_t" for name in named if name.endswith(("_bias", "_multiplier"))}
    if not numbers.classic:
        kinds["output_weight"] = "int16_t"
    shifts = [f"#define {layer}_SHIFT {shift}" for layer, shift in numbers.shift.items()]
    tables = [_table(kinds.get(name, "int8_t"), name, list(map(str, value.ravel()))) for name, value in named.items()]
    return ["\n".join(shifts) + "\n", *tables]


def _by_name(weight: Named, bias: Named, multiplier: Named | None = None) -> dict[str, NDArray[Any]]:
    """Layer by layer: c1_weight, c1_bias, …"""
    kinds = dict(weight=weight, bias=bias, multiplier=multiplier or {})
    return {f"{layer.lower()}_{kind}": kinds[kind][layer] for layer in weight for kind in kinds if layer in kinds[kind]}


def _table(kind: str, name: str, words: list[str]) -> str:
    return f"static const {kind} {name}[{len(words)}] = {{\n{_wrapped(words)}\n}};\n"


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
