"""From a network's weights to an ONNX graph, node by node.

The graph is written here and not traced, for two reasons: the same weights and options give the same bytes in every
process and folder, and every rewrite for speed stands in the open, beside the layer that it replaces.

Two forms of each network: layer by layer, with the paper's names on its nodes, and `fast`, which computes the same
function in fewer and larger operations:

- C1 and the 2×2 subsampling after it become one convolution of kernel 6×6 and stride 2 that gives the four inputs of
  each S2 unit as four groups of 6 maps (`phases`), and a maximum (or sum) over the groups. 24 channels fill vector
  registers that 6 leave mostly empty, and a quarter as many windows are read.
- Scales are folded into the weights beside them: the squashing function's A and S, the pixel normalisation.
- C5 on one window is a matrix product; the RBF is one too, over F6's state and its squares.
- The classic's S4 sums and scales its four inputs in one depthwise convolution.

Constants are folded in float64 and stored as float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from lenet_zoo.errors import InputError
from lenet_zoo.export.graph import IR_VERSION, OPSET, Array, Graph, InputSpec, Quantizer
from lenet_zoo.models import LeNet5Classic, LeNet5Modern
from lenet_zoo.models.lenet5_classic import ScaledTanh

__all__ = ["build_graph", "phases"]


def build_graph(
    model: LeNet5Modern | LeNet5Classic,
    spec: InputSpec,
    *,
    fast: bool = True,
    probabilities: bool = False,
    intermediates: bool = False,
    quantizer: Quantizer | None = None,
    observe: bool = False,
) -> onnx.ModelProto:
    """The graph of a network, without metadata.

    Args:
        model: in evaluation mode, float32, on the CPU.
        spec: the graph's input.
        fast: the rewritten form, else layer by layer.
        probabilities: add the output `probabilities`.
        intermediates: add C1, S2, C3, S4, C5 and F6, each after squashing, as outputs (layer by layer only).
        quantizer: write int8 weights and activations.
        observe: add every activation that int8 would quantize as an output.

    Raises: InputError for a network that was taken apart, or that has no logits to make probabilities of.
    """
    _check_layers(model)
    form = _Modern(model, spec, fast) if isinstance(model, LeNet5Modern) else _Classic(model, spec, fast)
    if intermediates and (fast or quantizer):
        raise InputError("the layers' maps exist only in the layer-by-layer graph: fast=False, precision='fp32'")
    g = Graph(quantizer)
    output = form.write(g)
    names = [output]
    if probabilities:
        if output != "logits":
            raise InputError("probabilities of a network without an output layer (num_classes=0)")
        names.append(g.add("Softmax", [output], "probabilities", axis=1))
    if intermediates:
        names += list(form.maps)
        for layer, tensor in form.maps.items():
            g.add("Identity", [tensor], layer)
    if observe:
        names += g.activations
    return _finish(g, spec, form, names)


def _finish(g: Graph, spec: InputSpec, form: _Form, names: list[str]) -> onnx.ModelProto:
    kind = TensorProto.UINT8 if spec.name == "pixels" else TensorProto.FLOAT
    shape: list[str | int | None] = ["batch", spec.channels, spec.height, spec.width]
    x = helper.make_tensor_value_info(spec.name, kind, shape)
    untyped = [onnx.ValueInfoProto(name=name) for name in names]
    graph = helper.make_graph(g.nodes, form.architecture, [x], untyped, g.constants)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="lenet_zoo")
    # The outputs' shapes are those that strict inference finds: a shape written down by hand could be wrong.
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    for declared, found in zip(model.graph.output, inferred.graph.output, strict=True):
        declared.CopyFrom(found)
    return model


def phases(weight: Array) -> Array:
    """A k×k kernel at the four places of a 2×2 block: out×in×k×k → 4·out×in×(k+1)×(k+1), to be used with stride 2.

    Group 2i+j of the result's maps is what the original computes at row i and column j of each block.
    """
    out, channels, k, _ = weight.shape
    placed = np.zeros((2, 2, out, channels, k + 1, k + 1))
    for i in range(2):
        for j in range(2):
            placed[i, j, :, :, i : i + k, j : j + k] = weight
    return placed.reshape(4 * out, channels, k + 1, k + 1)


def _check_layers(model: LeNet5Modern | LeNet5Classic) -> None:
    """A replaced layer (pruned away, quantized, adapted) has weights that this module does not know how to read."""
    import torch

    fresh = type(model)(num_classes=model.num_classes, in_chans=model.in_chans, device=torch.device("meta"))
    for name, wanted in fresh.named_children():
        found = getattr(model, name, None)
        if type(found) is not type(wanted):
            raise InputError(
                f"{name} is {type(found).__name__} where the network has {type(wanted).__name__}: "
                "only whole networks can be exported"
            )
        if any(getattr(found, part, None) != getattr(wanted, part, None) for part in ("kernel_size", "stride")):
            raise InputError(f"{name} is {found}, and the network has {wanted}: only whole networks can be exported")


def _array(tensor: Any) -> Array:
    array: Array = tensor.detach().cpu().numpy().astype(np.float64)
    return array


class _Form:
    """What both networks share: C1 with the input's normalisation folded in, and the head."""

    architecture: str

    def __init__(self, model: LeNet5Modern | LeNet5Classic, spec: InputSpec, fast: bool) -> None:
        self.model: Any = model
        self.spec = spec
        self.fast = fast
        self.maps: dict[str, str] = {}  # the paper's layer → the tensor of its state

    def write(self, g: Graph) -> str:
        raise NotImplementedError

    # -- the input ----------------------------------------------------------------------------------------------

    def c1(self, pad: int, background: float) -> tuple[Array, Array, Array]:
        """C1's weight and bias over the graph's own input, and what to subtract from that input first (usually 0).

        The model pads with `background` after normalising, y = a·x + b; the convolution pads x with 0. The two are the
        same when `background` is the normalised value of x = 0, as it is for pixels in both networks as shipped.
        """
        weight, bias = _array(self.model.C1.weight), _array(self.model.C1.bias)
        channels = self.spec.channels
        a, b = np.ones(channels), np.zeros(channels)
        if self.spec.name == "pixels":
            std, mean = np.asarray(self.spec.std, np.float64), np.asarray(self.spec.mean, np.float64)
            a, b = 1 / (255 * std), -mean / std
        shift = (background - b) / a if pad else np.zeros(channels)
        shift[np.abs(shift * a) < 1e-7] = 0.0  # rounding of mean and std, far below float32's own
        bias = bias + np.einsum("ocij,c->o", weight, b + a * shift)
        return weight * a[:, None, None], bias, shift

    def read(self, g: Graph, shift: Array) -> str:
        """The graph's input in float32."""
        x = self.spec.name
        if x == "pixels":
            if g.quantizer is not None and not shift.any():
                # Pixels are uint8 as they come.
                one, zero = g.constant("pixels_scale", np.float32(1)), g.constant("pixels_zero", np.uint8(0))
                return g.dequantized(x, np.float32(1), [one, zero], "pixels_dequantized")
            x = g.add("Cast", [x], "pixels_float", to=TensorProto.FLOAT)
        if shift.any():
            x = g.add("Sub", [x, g.constant("background", shift[:, None, None])], "shifted")
        return g.activation(x)

    # -- the head -----------------------------------------------------------------------------------------------

    def sizes(self, pad: int) -> tuple[int, int, int, int]:
        """(rows, columns) of S2's map, (rows, columns) of C5's."""
        s2 = [(size + 2 * pad - 4) // 2 for size in (self.spec.height, self.spec.width)]
        c5 = [(size - 4) // 2 - 4 for size in s2]
        return s2[0], s2[1], c5[0], c5[1]

    def flat(self, pad: int) -> bool:
        """Whether C5's map is 1×1 and pooled, so that the head works on N×120 in place of a map."""
        return self.sizes(pad)[2:] == (1, 1) and self.model.global_pool != ""

    def c5(self, g: Graph, x: str, weight: Array, bias: Array, pad: int) -> str:
        if self.fast and self.flat(pad):
            x = g.requantized(g.add("Flatten", [x], "S4_flat"), x)
            return g.linear("C5_sum", x, weight.reshape(len(weight), -1), bias)
        return g.conv("C5_sum", x, weight, bias)

    def pooled(self, g: Graph, x: str, pad: int) -> tuple[str, int]:
        """C5's map as F6 takes it, and its rank."""
        if self.model.global_pool == "":
            return g.add("Transpose", [x], "C5_last", perm=[0, 2, 3, 1]), 4
        if self.flat(pad):
            return (x if self.fast else g.requantized(g.add("Flatten", [x], "C5_flat"), x)), 2
        op = "GlobalAveragePool" if self.model.global_pool == "avg" else "GlobalMaxPool"
        return g.activation(g.add("Flatten", [g.add(op, [x], "C5_pooled")], "C5_flat")), 2

    def output(self, g: Graph, x: str, rank: int) -> str:
        """The graph's output, from the output layer's tensor; without pooling (rank 4) the classes go to axis 1."""
        name = "logits" if self.model.num_classes else "features"
        if rank == 4:
            return g.add("Transpose", [x], name, perm=[0, 3, 1, 2])
        return g.add("Identity", [x], name)


class _Modern(_Form):
    architecture = "lenet5_modern"

    def write(self, g: Graph) -> str:
        model, (rows, columns, _, _) = self.model, self.sizes(2)
        weight, bias, shift = self.c1(2, 0.0)
        x = self.read(g, shift)
        pool = dict(kernel_shape=[2, 2], strides=[2, 2])
        if self.fast:
            c1 = g.conv("C1_sum", x, phases(weight), np.tile(bias, 4), strides=[2, 2], pads=[2] * 4)
            c1 = g.activation(g.add("Relu", [c1], "C1_phases"))
            x = g.add("Reshape", [c1, g.shape("C1_groups", 0, 4, 6, rows, columns)], "C1_grouped")
            x = g.requantized(g.add("ReduceMax", [x, g.shape("C1_over", 1)], "S2_map", keepdims=0), c1)
        else:
            c1 = g.conv("C1_sum", x, weight, bias, pads=[2] * 4)
            c1 = g.activation(g.add("Relu", [c1], "C1_map"))
            x = g.requantized(g.add("MaxPool", [c1], "S2_map", **pool), c1)
            self.maps |= dict(C1=c1, S2=x)
        c3 = g.conv("C3_sum", x, _array(model.C3.weight), _array(model.C3.bias))
        c3 = g.activation(g.add("Relu", [c3], "C3_map"))
        s4 = g.requantized(g.add("MaxPool", [c3], "S4_map", **pool), c3)
        c5 = self.c5(g, s4, _array(model.C5.weight), _array(model.C5.bias), 2)
        c5 = g.activation(g.add("Relu", [c5], "C5_map"))
        x, rank = self.pooled(g, c5, 2)
        x = g.linear("F6_sum", x, _array(model.F6.weight), _array(model.F6.bias), rank)
        f6 = g.add("Relu", [x], "F6_state")
        self.maps |= dict(C3=c3, S4=s4, C5=c5, F6=f6)
        if not model.num_classes:
            return self.output(g, f6, rank)
        x = g.linear("output", f6, _array(model.output.weight), _array(model.output.bias), rank)
        return self.output(g, x, rank)


class _Classic(_Form):
    architecture = "lenet5_classic"

    def __init__(self, model: LeNet5Modern | LeNet5Classic, spec: InputSpec, fast: bool) -> None:
        super().__init__(model, spec, fast)
        # f(x) = A tanh(S x). The fast form has S in the weights before, and A in the weights after, each squashing.
        self.a, self.s = (ScaledTanh.A, ScaledTanh.S) if fast else (1.0, 1.0)

    def squash(self, g: Graph, x: str, name: str) -> str:
        if self.fast:
            return g.add("Tanh", [x], name)
        x = g.add("Mul", [x, g.constant(f"{name}_S", np.float32(ScaledTanh.S))], f"{name}_scaled")
        x = g.add("Tanh", [x], f"{name}_tanh")
        return g.add("Mul", [x, g.constant(f"{name}_A", np.float32(ScaledTanh.A))], name)

    def write(self, g: Graph) -> str:
        model, a, s = self.model, self.a, self.s
        pad = int(model.pad.padding[0])
        rows, columns, _, _ = self.sizes(pad)
        weight, bias, shift = self.c1(pad, float(model.pad.value))
        x = self.read(g, shift)
        coefficient, offset = _array(model.S2.weight)[:, None, None], _array(model.S2.bias)[:, None, None]
        if self.fast:
            c1 = g.conv("C1_sum", x, phases(weight * s), np.tile(bias * s, 4), strides=[2, 2], pads=[pad] * 4)
            # In int8 too, C1's sums stay float32 up to the tanh: 256 steps over their whole range cost as much accuracy
            # as all the rest together, and integers would not be faster here.
            c1 = self.squash(g, c1, "C1_phases")
            x = g.add("Reshape", [c1, g.shape("C1_groups", 0, 4, 6, rows, columns)], "C1_grouped")
            x = g.add("ReduceSum", [x, g.shape("C1_over", 1)], "S2_total", keepdims=0)
        else:
            c1 = g.conv("C1_sum", x, weight, bias, pads=[pad] * 4)
            c1 = self.squash(g, c1, "C1_map")
            x = self.average(g, c1, "S2_total")
            self.maps["C1"] = c1
        x = g.add("Mul", [x, g.constant("S2.weight", coefficient * a * s)], "S2_weighted")
        x = g.add("Add", [x, g.constant("S2.bias", offset * s)], "S2_sum")
        s2 = g.activation(self.squash(g, x, "S2_map"))
        c3 = g.conv("C3_sum", s2, _array(model.C3.dense_weight()) * a * s, _array(model.C3.bias) * s)
        c3 = self.squash(g, g.activation(c3), "C3_map")
        coefficient, offset = _array(model.S4.weight)[:, None, None], _array(model.S4.bias)[:, None, None]
        if self.fast:
            kernel = np.ones((16, 1, 2, 2)) * coefficient[:, None] * a * s
            x = g.conv("S4_sum", c3, kernel, offset.ravel() * s, group=16, strides=[2, 2])
        else:
            x = g.add("Mul", [self.average(g, c3, "S4_total"), g.constant("S4.weight", coefficient)], "S4_weighted")
            x = g.add("Add", [x, g.constant("S4.bias", offset)], "S4_sum")
        s4 = g.activation(self.squash(g, x, "S4_map"))
        c5 = self.c5(g, s4, _array(model.C5.weight) * a * s, _array(model.C5.bias) * s, pad)
        c5 = g.activation(self.squash(g, g.activation(c5), "C5_map"))
        x, rank = self.pooled(g, c5, pad)
        x = g.linear("F6_sum", x, _array(model.F6.weight) * a * s, _array(model.F6.bias) * s, rank)
        f6 = self.squash(g, x, "F6_state")
        self.maps |= dict(S2=s2, C3=c3, S4=s4, C5=c5, F6=f6)
        if not model.num_classes:
            if self.fast:
                f6 = g.add("Mul", [f6, g.constant("F6_A", np.float32(a))], "F6_squashed")
            return self.output(g, f6, rank)
        return self.output(g, self.rbf(g, f6, rank), rank)

    def average(self, g: Graph, x: str, name: str) -> str:
        """The sum of each 2×2 block: the pooling operator averages, and the factor 4 is its own node."""
        x = g.add("AveragePool", [x], f"{name}_mean", kernel_shape=[2, 2], strides=[2, 2])
        return g.add("Mul", [x, g.constant(f"{name}_4", np.float32(4))], name)

    def rbf(self, g: Graph, x: str, rank: int) -> str:
        codes = _array(self.model.output.weight)
        if self.fast:
            # −Σ(a·t − w)² = Σ 2a·w·t − a²·t² − w², over the state t before its factor A.
            x = g.add("Concat", [x, g.add("Mul", [x, x], "F6_square")], "F6_and_square", axis=-1)
            weight = np.concatenate([2 * self.a * codes, np.full_like(codes, -(self.a**2))], axis=1)
            return g.linear("output", x, weight, -np.square(codes).sum(axis=1), rank)
        x = g.add("Unsqueeze", [x, g.shape("output_axis", -2)], "F6_row")
        x = g.add("Sub", [x, g.constant("output.weight", codes)], "output_difference")
        x = g.add(
            "ReduceSum", [g.add("Mul", [x, x], "output_square"), g.shape("output_over", -1)], "penalty", keepdims=0
        )
        return g.add("Neg", [x], "output")
