"""int8 for C: the networks in integer arithmetic alone, quantized here, and computed in numpy to the bit as in C.

How a number becomes an integer:

- weights: −127 … 127, with a scale for each output of a layer; the output layer's of the modern network −32767 … 32767,
  with one scale, so that its sums are the logits;
- modern, states of a layer: 0 … 255 over 0 … the largest value that the calibration pictures gave;
- classic, states: in steps of 1/74, which makes ±1.7159 almost ±127 and the codes ±1 exactly ±74. The squashing is a
  table of 1,024 values in steps of 1/215 of its argument's absolute value; beyond, it is 127 in any case;
- pixels as they are; in the classic 128 less, so that all its numbers are signed;
- biases: 32 bits in steps of weight × input.

A sum is exact. To become the next layer's input it is multiplied by an integer below 2³¹, one for each output, and
divided by a power of 2, one for each layer; that is rounded to the nearest integer, halves up, of the absolute value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet_zoo.errors import InputError
from lenet_zoo.export.checks import check_ranges
from lenet_zoo.export.graph import Array
from lenet_zoo.export.targets.c_layers import Layers, blocks, sums, windows
from lenet_zoo.models.lenet5_classic import ScaledTanh

__all__ = ["Integers", "quantized"]

Whole = NDArray[np.int64]

_STEP = 1 / 74  # of the classic's states
_PLACE = 1 / 215  # of its squashing's argument
_PLACES = 1024
# A bias uses 30 of 32 bits, and the products the rest: 32,385 for each of C5's 400 inputs are 24.
_BIAS = 2.0**30
_MOST_TAPS = 2**30 // (127 * 255)


@dataclass(frozen=True)
class Integers:
    """A network in integers.

    Attributes:
        classic, border: as in `Layers`.
        background: per channel, the pixel of the border.
        weight, bias: by layer, as in `Layers`.
        multiplier, shift: by layer, what brings sums to the next layer's scale: sum · multiplier / 2^shift.
        logit: what 1 is in the logits.
    """

    classic: bool
    border: int
    background: Whole
    weight: dict[str, Whole]
    bias: dict[str, Whole]
    multiplier: dict[str, Whole]
    shift: dict[str, int]
    logit: float

    def squash(self, layer: str, total: Whole) -> Whole:
        """Sums of a layer → its states."""
        sign = np.sign(total)
        half = 1 << (self.shift[layer] - 1)
        scaled = (np.abs(total) * self.multiplier[layer] + half) >> self.shift[layer]
        if self.classic:
            return sign * tanh_table()[np.minimum(scaled, _PLACES - 1)]
        return np.where(sign > 0, np.minimum(scaled, 255), 0)

    def subsample(self, convolution: str, pooling: str, total: Whole) -> Whole:
        """N×2h×2w×C sums of a convolution → N×h×w×C states."""
        if not self.classic:
            return self.squash(convolution, blocks(total).max(axis=-1))
        four = blocks(self.squash(convolution, total)).sum(axis=-1)
        return self.squash(pooling, four * self.weight[pooling] + self.bias[pooling])

    def sums(self, layer: str, x: Whole) -> Whole:
        # Exact: all stays below 2^53. numpy multiplies matrices of integers far slower.
        return np.rint(sums(x.astype(np.float64), self.weight[layer].astype(np.float64))).astype(np.int64)

    def steps(self, pixels: NDArray[np.uint8]) -> Whole:
        """uint8 N×C×H×W → the logits as the C file gives them, int64 N×classes in 32 bits."""
        n, edge = len(pixels), self.border
        size = [part + 2 * edge for part in pixels.shape[2:]]
        x: Whole = np.broadcast_to(self.background, (n, *size, len(self.background))).copy()
        x[:, edge : size[0] - edge, edge : size[1] - edge] = pixels.transpose(0, 2, 3, 1)
        if self.classic:
            x -= 128
        for convolution, pooling in (("C1", "S2"), ("C3", "S4")):
            x = self.subsample(convolution, pooling, self.sums(convolution, windows(x)) + self.bias[convolution])
        x = x.reshape(n, -1)
        for layer in ("C5", "F6"):
            x = self.squash(layer, self.sums(layer, x) + self.bias[layer])
        if self.classic:
            return -np.square(x[:, None] - self.weight["output"]).sum(axis=2)
        return self.sums("output", x) + self.bias["output"]

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 N×C×H×W → float32 N×classes."""
        return (self.steps(pixels) * self.logit).astype(np.float32)


def tanh_table() -> Whole:
    """The classic's squashing: what the states' integer is at place 0 … 1,023."""
    x = np.arange(_PLACES) * _PLACE
    return np.rint(ScaledTanh.A * np.tanh(ScaledTanh.S * x) / _STEP).astype(np.int64)


def quantized(layers: Layers, calibration: NDArray[np.uint8]) -> Integers:
    """The network in integers.

    Args:
        layers: in float64.
        calibration: pictures that set the ranges, uint8 N×C×H×W.

    Raises: InputError for a network whose sums do not fit 32 bits.
    """
    if layers.weight["C1"].shape[1] > _MOST_TAPS:
        raise InputError(f"in_chans={len(layers.scale)}: in int8 at most {_MOST_TAPS // 25}, as sums have 32 bits")
    with np.errstate(over="ignore", invalid="ignore"):  # of weights that are refused in the next line
        classic, maps = layers.classic, layers.maps(calibration)
    check_ranges([float(states.max()) for states in maps.values()])
    found: Any = dict(weight={}, bias={}, multiplier={}, shift={})

    def add(layer: str, weight: Array, bias: Array, taken: float, given: float, limit: int = 127) -> None:
        """A layer whose inputs are in steps of `taken`, and whose states or arguments in steps of `given`."""
        peak = np.abs(weight).reshape(len(weight), -1).max(axis=1) * taken
        # A step of the sums. It also has to be so large that the bias has room.
        step = np.maximum(peak / limit, np.abs(bias) / _BIAS)
        step[step == 0] = 1.0
        column = step.reshape(-1, *[1] * (weight.ndim - 1))
        found["weight"][layer] = np.rint(weight * taken / column).astype(np.int64)
        found["bias"][layer] = np.rint(bias / step).astype(np.int64)
        factor = step / given
        # The largest multiplier has 31 bits, as far as the result has 32 and there are places to shift by.
        shift = min(62, max(31, 30 - int(np.floor(np.log2(factor.max())))))
        found["multiplier"][layer] = np.minimum(np.rint(factor * 2.0**shift), 2**31 - 1).astype(np.int64)
        found["shift"][layer] = shift

    # Pixels in place of what C1 reads. The border has to be a pixel, too.
    background = np.clip(np.rint((layers.background - layers.shift) / layers.scale), 0, 255)
    channels = len(layers.scale)
    kernels = layers.weight["C1"].reshape(6, 25, channels)
    bias = layers.bias["C1"] + (kernels * layers.shift).sum(axis=(1, 2))
    weight = (kernels * layers.scale).reshape(6, -1)
    if classic:
        bias = bias + 128 * weight.sum(axis=1)
    states = {name: _STEP if classic else float(maps[name].max()) / 255 or 1.0 for name in ("S2", "S4", "C5", "F6")}

    add("C1", weight, bias, 1.0, _PLACE if classic else states["S2"])
    for layer, before, after in (("C3", "S2", "S4"), ("C5", "S4", "C5"), ("F6", "C5", "F6")):
        given = _PLACE if classic else states[after]
        add(layer, layers.weight[layer], layers.bias[layer], states[before], given)
    if classic:
        for pooling in ("S2", "S4"):
            add(pooling, layers.weight[pooling], layers.bias[pooling], _STEP, _PLACE, limit=32767)
        found["weight"]["output"] = np.rint(layers.weight["output"] / _STEP).astype(np.int64)
        if np.abs(found["weight"]["output"]).max() > 127:
            raise InputError("an output code beyond ±1.7: in int8 the classic's codes lie within its states' range")
        logit = _STEP**2
    else:
        weight, bias = layers.weight["output"], layers.bias["output"]
        logit = max(np.abs(weight).max() * states["F6"] / 32767, np.abs(bias).max() / _BIAS) or 1.0
        found["weight"]["output"] = np.rint(weight * states["F6"] / logit).astype(np.int64)
        found["bias"]["output"] = np.rint(bias / logit).astype(np.int64)
    return Integers(classic, layers.border, background.astype(np.int64), **found, logit=float(logit))
