"""The parts that the networks' graphs are made of: inputs, nodes and constants, in float32 and int8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from lenet_zoo.cards import InputConvention

__all__ = ["IR_VERSION", "OPSET", "Array", "Graph", "InputSpec", "Quantizer"]

# Opset 21 with IR 10 is read by every onnxruntime since 1.20. Opset 22 only adds bfloat16 to the operators used here,
# and onnxruntime's blocked convolution kernels do not recognise its Conv.
OPSET = 21

IR_VERSION = 10

Array = NDArray[np.float64]


@dataclass(frozen=True)
class InputSpec(InputConvention):
    """The graph's input: what the network takes, and the name of the input.

    Attributes:
        name: 'pixels' (uint8, 0 background, 255 ink) or 'input' (float32, normalised as the model takes it).
    """

    name: str = "input"

    @property
    def dtype(self) -> str:
        return "uint8" if self.name == "pixels" else "float32"

    def normalize(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 N×C×H×W → what the model takes, float32."""
        mean, std = (np.asarray(value, np.float32)[:, None, None] for value in (self.mean, self.std))
        return ((pixels.astype(np.float32) / np.float32(255) - mean) / std).astype(np.float32)


@dataclass(frozen=True)
class Quantizer:
    """The ranges that calibration saw: activation's name → (smallest, largest) value."""

    ranges: Mapping[str, tuple[float, float]]

    def activation(self, name: str) -> tuple[np.float32, np.uint8]:
        """(scale, zero point) of an activation in uint8; the range is widened to hold 0, which must be exact."""
        low, high = self.ranges[name]
        low, high = min(low, 0.0), max(high, 0.0)
        scale = np.float32((high - low) / 255 or 1.0)
        return scale, np.uint8(np.clip(round(-low / float(scale)), 0, 255))

    @staticmethod
    def weight(weight: Array) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        """(int8 weight, scale per output channel).

        Seven bits, ±63: x86 processors without VNNI add pairs of products in 16 bits, which ±127 overflows, and a file
        should give the same answer on all of them.
        """
        peak = np.abs(weight).reshape(len(weight), -1).max(axis=1)
        scale = np.where(peak > 0, peak / 63, 1.0).astype(np.float32)
        broadcast = scale.reshape(-1, *[1] * (weight.ndim - 1)).astype(np.float64)
        return np.clip(np.rint(weight / broadcast), -63, 63).astype(np.int8), scale


class Graph:
    """Collects nodes and constants. Every method returns the name of the tensor it makes.

    With a `quantizer`, `activation` marks the tensors that travel in uint8, and the convolutions and matrix products
    that read such a tensor have their weights in int8. Without one, it only collects their names for the calibration.
    The output layer reads F6's state in float32: it has 1 % of the weights, and its rounding errors would go straight
    into the logits.
    """

    def __init__(self, quantizer: Quantizer | None = None) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.activations: list[str] = []
        self.quantizer = quantizer
        self._scales: dict[str, tuple[np.float32, list[str]]] = {}  # dequantized tensor → scale, names

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        value = np.asarray(value)
        if value.dtype == np.float64:
            value = value.astype(np.float32)
        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def shape(self, name: str, *sizes: int) -> str:
        return self.constant(name, np.array(sizes, np.int64))

    def add(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def activation(self, x: str) -> str:
        """`x` as the next layer reads it: through uint8, if there is a quantizer."""
        if self.quantizer is None:
            self.activations.append(x)
            return x
        scale, zero = self.quantizer.activation(x)
        parameters = [self.constant(f"{x}_scale", scale), self.constant(f"{x}_zero", zero)]
        return self._quantized(x, scale, parameters)

    def requantized(self, x: str, source: str) -> str:
        """Requantise `x`, a max-pool or reshape of `source`, with `source`'s scale."""
        return x if self.quantizer is None or source not in self._scales else self._quantized(x, *self._scales[source])

    def _quantized(self, x: str, scale: np.float32, parameters: list[str]) -> str:
        quantized = self.add("QuantizeLinear", [x, *parameters], f"{x}_quantized")
        return self.dequantized(quantized, scale, parameters, f"{x}_dequantized")

    def dequantized(self, x: str, scale: np.float32, parameters: list[str], name: str) -> str:
        self._scales[name] = scale, parameters
        return self.add("DequantizeLinear", [x, *parameters], name)

    def conv(self, name: str, x: str, weight: Array, bias: Array, **attributes: Any) -> str:
        return self.add("Conv", [x, *self._weights(name, x, weight, bias)], name, **attributes)

    def linear(self, name: str, x: str, weight: Array, bias: Array, rank: int = 2) -> str:
        """…×in → …×out; weight out×in."""
        if rank == 2:
            return self.add("Gemm", [x, *self._weights(name, x, weight, bias)], name, transB=1)
        product = self.add("MatMul", [x, self.constant(f"{name}.weight", weight.T)], f"{name}_product")
        return self.add("Add", [product, self.constant(f"{name}.bias", bias)], name)

    def _weights(self, name: str, x: str, weight: Array, bias: Array) -> list[str]:
        if self.quantizer is None or x not in self._scales:
            return [self.constant(f"{name}.weight", weight), self.constant(f"{name}.bias", bias)]
        values, scale = self.quantizer.weight(weight)
        bias_scale = scale * self._scales[x][0]
        limit = 2.0**31 - 1
        bias_values = np.clip(np.rint(bias / bias_scale.astype(np.float64)), -limit, limit).astype(np.int32)
        out = []
        for part, stored, part_scale in (("weight", values, scale), ("bias", bias_values, bias_scale)):
            stored_name = self.constant(f"{name}.{part}_quantized", stored)
            scale_name = self.constant(f"{name}.{part}_scale", part_scale)
            zero_name = self.constant(f"{name}.{part}_zero", np.zeros(len(stored), stored.dtype))
            inputs = [stored_name, scale_name, zero_name]
            out.append(self.add("DequantizeLinear", inputs, f"{name}.{part}", axis=0))
        return out
