"""The networks as the C files compute them: weights in the order of their loops, and the same arithmetic in numpy.

Maps lie position by position with all channels of a position side by side (N×height×width×channels), so that a row of
a 5×5 kernel reads one run of neighbouring numbers. C3 is a full convolution in both networks, with zeros for the
connections that the network of 1998 lacks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenet_zoo.errors import InputError
from lenet_zoo.export.forms import array, check_whole
from lenet_zoo.export.graph import Array, InputSpec
from lenet_zoo.models import LeNet5Classic, LeNet5Modern
from lenet_zoo.models.lenet5_classic import ScaledTanh

__all__ = ["Layers", "Maps", "read_layers", "sums", "windows"]


@dataclass(frozen=True)
class Layers:
    """A network's numbers in float64, kernels as out×taps.

    Attributes:
        classic: whether it squashes, subsamples and answers as in 1998.
        border: how many positions of `background` the network adds around a picture.
        scale, shift: per channel, of pixels: what C1 reads is pixel · scale + shift.
        weight, bias: by layer: C1, C3, C5, F6 and output; S2 and S4 too in the classic, whose output has no bias.
    """

    classic: bool
    border: int
    background: float
    scale: Array
    shift: Array
    weight: dict[str, Array]
    bias: dict[str, Array]

    def field(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 N×C×H×W → what C1 reads, float32 N×rows×columns×C."""
        x = pixels.transpose(0, 2, 3, 1).astype(np.float32) * self.scale.astype(np.float32)
        edges = (self.border, self.border)
        x += self.shift.astype(np.float32)
        return np.pad(x, ((0, 0), edges, edges, (0, 0)), constant_values=np.float32(self.background))

    def squash(self, x: Any) -> Any:
        if self.classic:
            return np.float32(ScaledTanh.A) * np.tanh(np.float32(ScaledTanh.S) * x)
        return np.maximum(x, 0)

    def subsample(self, x: Any, layer: str) -> Any:
        """N×2h×2w×C sums of a convolution → N×h×w×C, the state of S2 or S4 after it."""
        if not self.classic:
            return self.squash(blocks(x).max(axis=-1))
        total = blocks(self.squash(x)).sum(axis=-1)
        return self.squash(total * self.weight[layer].astype(np.float32) + self.bias[layer].astype(np.float32))

    def maps(self, pixels: NDArray[np.uint8]) -> Maps:
        """What each layer answers in float32, for uint8 N×C×H×W."""
        found: Maps = {}
        x: Any = self.field(pixels)
        for convolution, pooling in (("C1", "S2"), ("C3", "S4")):
            x = found[pooling] = self.subsample(self.sums(convolution, windows(x)), pooling)
        x = x.reshape(len(x), -1)
        for layer in ("C5", "F6"):
            x = found[layer] = self.squash(self.sums(layer, x))
        if self.classic:
            codes = self.weight["output"].astype(np.float32)
            found["logits"] = -np.square(x[:, None] - codes).sum(axis=2)
        else:
            found["logits"] = self.sums("output", x)
        return found

    def sums(self, layer: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
        return sums(x, self.weight[layer].astype(np.float32)) + self.bias[layer].astype(np.float32)

    def logits(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 N×C×H×W → float32 N×classes."""
        return self.maps(pixels)["logits"]


Maps = dict[str, NDArray[np.float32]]


def windows(x: NDArray[Any]) -> NDArray[Any]:
    """N×H×W×C → N×(H−4)×(W−4)×25·C: the 5×5 windows, row by row with all channels of a position side by side."""
    found = np.lib.stride_tricks.sliding_window_view(x, (5, 5), axis=(1, 2))
    return found.transpose(0, 1, 2, 4, 5, 3).reshape(*found.shape[:3], -1)


def blocks(x: NDArray[Any]) -> NDArray[Any]:
    """N×2h×2w×C → N×h×w×C×4, the four positions of each 2×2 block."""
    return np.stack([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], axis=-1)


def sums(x: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """…×taps → …×out."""
    return x @ weight.T


def read_layers(model: LeNet5Modern | LeNet5Classic, spec: InputSpec) -> Layers:
    """The numbers of a whole network in evaluation mode.

    Raises: InputError for a network without an output layer, or whose answer to one picture is a map.
    """
    check_whole(model)
    if not model.num_classes:
        raise InputError("num_classes=0: a C file answers with a class, and this network has no output layer")
    if model.global_pool == "":
        raise InputError("global_pool='': a C file answers once a picture; export a network with 'avg' or 'max'")
    classic = isinstance(model, LeNet5Classic)
    if isinstance(model, LeNet5Classic) and model.j is not None:
        raise InputError(f"j={model.j:g}: a C file has no rubbish class; export a network without one")
    border = int(model.pad.padding[0]) if classic else 2  # type: ignore[union-attr, index]
    nominal = 32 - 2 * border
    if (spec.height, spec.width) != (nominal, nominal):
        raise InputError(f"pictures of {spec.height}×{spec.width}: a C file of this network takes {nominal}×{nominal}")
    mean, std = np.asarray(spec.mean, np.float64), np.asarray(spec.std, np.float64)
    layers: Any = model
    kernels = dict(
        C1=layers.C1.weight,
        C3=layers.C3.dense_weight() if classic else layers.C3.weight,
        C5=layers.C5.weight,
        F6=layers.F6.weight,
        output=layers.output.weight,
    )
    biased = [layers.C1, layers.C3, layers.C5, layers.F6]
    weight = {name: _rows(value) for name, value in kernels.items()}
    bias = {name: array(layer.bias) for name, layer in zip(("C1", "C3", "C5", "F6"), biased, strict=True)}
    if classic:
        for name in ("S2", "S4"):
            weight[name], bias[name] = array(getattr(layers, name).weight), array(getattr(layers, name).bias)
    else:
        bias["output"] = array(layers.output.bias)
    background = float(layers.pad.value) if classic else 0.0
    return Layers(classic, border, background, 1 / (255 * std), -mean / std, weight, bias)


def _rows(kernel: Any) -> Array:
    """out×in×k×k or out×in → out×taps, the channels of a position side by side."""
    values = array(kernel)
    return values.transpose(0, 2, 3, 1).reshape(len(values), -1) if values.ndim == 4 else values
