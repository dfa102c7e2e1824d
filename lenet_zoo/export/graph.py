"""The parts that the networks' graphs are made of: inputs, nodes and constants, in float32, float16 and int8.

Many programs read ONNX files, and most read less than the standard allows. So every attribute of a convolution or
pooling is written out, reductions and other operators that few importers know are avoided, and the operator set is the
oldest that has all that is used (`tools/engines.py` tries the files in the programs).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lenet_zoo.cards import Confidence, InputConvention

__all__ = ["OPSET", "OPSETS", "Array", "Graph", "InputSpec", "Quantizer"]

# By precision, the opset that the strictest of the usual importers read: 17 with IR 8 (2022); for int8, as ONNX's own
# reference evaluator has no older DequantizeLinear, 19 with IR 9 (2023).
OPSET = {"fp32": 17, "fp16": 17, "int8": 19}
# 13 is the first with a scale per channel in DequantizeLinear. 22 only adds bfloat16 to the operators used here, and
# onnxruntime's blocked convolution kernels do not recognise its Conv.
OPSETS = range(13, 22)

Array = NDArray[np.float64]
Stride: TypeAlias = "int | tuple[int, int]"


@dataclass(frozen=True)
class InputSpec(InputConvention):
    """The graph's input: what the network takes, and the name of the input.

    Attributes:
        name: 'pixels' (0 background, 255 ink) or 'input' (normalised as the model takes it).
        dtype: 'uint8' (pixels only) or 'float32'.
        batch: how many pictures the graph takes at once; None for any number.
        any_width: pictures may have any width, from the network's least; `width` is then that of an example.
    """

    name: str = "input"
    dtype: str = "float32"
    batch: int | None = None
    any_width: bool = False

    @property
    def shape(self) -> list[str | int]:
        return [self.batch or "batch", self.channels, self.height, "width" if self.any_width else self.width]

    def feed(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """uint8 N×C×H×W → what the graph takes."""
        return pixels.astype(self.dtype) if self.name == "pixels" else self.normalize(pixels)

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
    With `half`, constants are float16. In both cases the output layer reads F6's state in float32: it has 1 % of the
    weights, and its rounding errors would go straight into the logits.
    """

    def __init__(self, quantizer: Quantizer | None = None, half: bool = False) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.activations: list[str] = []
        self.renamed: dict[str, str] = {}
        self.quantizer = quantizer
        self.half = half
        self._scales: dict[str, tuple[np.float32, list[str]]] = {}  # dequantized tensor → scale, names

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        value = np.asarray(value)
        if value.dtype.kind == "f":
            value = value.astype(np.float16 if self.half else np.float32)
        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def shape(self, name: str, *sizes: int) -> str:
        return self.constant(name, np.array(sizes, np.int64))

    def add(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def rename(self, tensor: str, name: str) -> str:
        for node in self.nodes:
            for names in (node.input, node.output):
                names[:] = [name if one == tensor else one for one in names]
        self.renamed[tensor] = name
        return name

    def cast(self, x: str, name: str) -> str:
        """`x` in the float type of the graph."""
        return self.add("Cast", [x], name, to=TensorProto.FLOAT16 if self.half else TensorProto.FLOAT)

    def widened(self, x: str) -> str:
        """`x` in float32, and all that comes after it."""
        if not self.half:
            return x
        self.half = False
        return self.cast(x, f"{x}_float")

    def activation(self, x: str) -> str:
        """`x` as the next layer reads it: through uint8, if there is a quantizer."""
        if self.quantizer is None:
            self.activations.append(x)
            return x
        return self.quantized(x, *self.quantizer.activation(x))

    def quantized(self, x: str, scale: np.float32, zero: np.uint8) -> str:
        parameters = [self.constant(f"{x}_scale", scale), self.constant(f"{x}_zero", zero)]
        return self._quantized(x, scale, parameters)

    def requantized(self, x: str, source: str) -> str:
        """Requantise `x`, a max-pool or reshape of `source`, with `source`'s scale."""
        return x if self.quantizer is None or source not in self._scales else self._quantized(x, *self._scales[source])

    def _quantized(self, x: str, scale: np.float32, parameters: list[str]) -> str:
        quantized = self.add("QuantizeLinear", [x, *parameters], f"{x}_quantized")
        self._scales[f"{x}_dequantized"] = scale, parameters
        return self.add("DequantizeLinear", [quantized, *parameters], f"{x}_dequantized")

    def conv(
        self,
        name: str,
        x: str,
        weight: Array,
        bias: Array,
        stride: Stride = 1,
        pad: int = 0,
        group: int = 1,
        dilation: Sequence[int] = (1, 1),
    ) -> str:
        stored, scale = self._weight(name, x, weight)
        if scale is None:
            added = self.constant(f"{name}.bias", bias)
        else:
            scale = scale * self._scales[x][0]
            limit = 2.0**31 - 1
            steps = np.clip(np.rint(bias / scale.astype(np.float64)), -limit, limit)
            added = self._stored(f"{name}.bias", steps.astype(np.int32), scale)
        window = self._window(weight.shape[2:], stride, pad)
        return self.add("Conv", [x, stored, added], name, **window, dilations=list(dilation), group=group)

    def pool(self, op: str, x: str, name: str, kernel: Sequence[int] = (2, 2), stride: Stride = 2) -> str:
        """Pooling without padding: MaxPool or AveragePool."""
        return self.add(op, [x], name, **self._window(kernel, stride, 0))

    @staticmethod
    def _window(kernel: Sequence[int], stride: Stride, pad: int) -> dict[str, list[int]]:
        strides = [stride] * 2 if isinstance(stride, int) else list(stride)
        return dict(kernel_shape=list(kernel), strides=strides, pads=[pad] * 4)

    def linear(self, name: str, x: str, weight: Array, bias: Array, rank: int = 2, exact: bool = False) -> str:
        """…×in → …×out; weight out×in, in float32 whatever `x` is if `exact`.

        The bias is float32 in int8 too: OpenCV reads a quantised one wrong.
        """
        if rank == 2:
            stored = self.constant(f"{name}.weight", weight) if exact else self._weight(name, x, weight)[0]
            return self.add("Gemm", [x, stored, self.constant(f"{name}.bias", bias)], name, transB=1)
        product = self.add("MatMul", [x, self.constant(f"{name}.weight", weight.T)], f"{name}_product")
        return self.add("Add", [product, self.constant(f"{name}.bias", bias)], name)

    def probabilities(self, logits: str, classes: int, confidence: Confidence | None, rank: int = 2) -> str:
        """`lenet_zoo.classify.confidence.probabilities` of batch×classes, or of batch×classes×h×w with `rank` 4."""
        if confidence is None:
            return self.add("Softmax", [logits], "probabilities", axis=1)
        cold = self.constant("temperature", np.float32(confidence.temperature))
        scaled = self.add("Div", [logits, cold], "scaled_logits")
        if confidence.j is None:
            return self.add("Softmax", [scaled], "probabilities", axis=1)
        # The rubbish class is the last of the softmax, and left out of the output.
        rubbish = np.float32(-confidence.j / confidence.temperature)
        one_more = self.shape("one_more", *[0] * rank, 0, 1, *[0] * (rank - 2))
        padded = self.add("Pad", [scaled, one_more, self.constant("rubbish", rubbish)], "with_rubbish")
        whole = self.add("Softmax", [padded], "with_none_of_these", axis=1)
        ends = [self.shape("first_class", 0), self.shape("classes", classes), self.shape("class_axis", 1)]
        return self.add("Slice", [whole, *ends], "probabilities")

    def _weight(self, name: str, x: str, weight: Array) -> tuple[str, NDArray[np.float32] | None]:
        """The tensor of a weight, and its scale per output channel where it is stored in int8."""
        if self.quantizer is None or x not in self._scales:
            return self.constant(f"{name}.weight", weight), None
        values, scale = self.quantizer.weight(weight)
        return self._stored(f"{name}.weight", values, scale), scale

    def _stored(self, name: str, values: NDArray[Any], scale: NDArray[np.float32]) -> str:
        """Integers with a scale per output channel, as floats."""
        parts = (("quantized", values), ("scale", scale), ("zero", np.zeros(len(values), values.dtype)))
        inputs = [self.constant(f"{name}_{part}", value) for part, value in parts]
        return self.add("DequantizeLinear", inputs, name, axis=0)
