"""A network as a LiteRT file (.tflite, once TensorFlow Lite): by litert-torch, and in int8 by ai-edge-quantizer."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lenet_zoo.cards import Card
from lenet_zoo.export.graph import InputSpec
from lenet_zoo.export.metadata import facts
from lenet_zoo.export.targets.conversion import Answers, as_layers, example, in_batches, missing, quiet
from lenet_zoo.models import LeNet5Classic, LeNet5Modern

__all__ = ["METADATA", "PRECISIONS", "build"]

PRECISIONS = ("fp32", "int8")
METADATA = "lenet_zoo"  # the name of the file's own entry among its metadata: a JSON object of texts
_PACKAGES = ("ai-edge-litert", "litert-torch", "torch")


class _Named(nn.Module):
    """The network with the names of a graph's input and output."""

    def __init__(self, layers: nn.Sequential, output: str) -> None:
        super().__init__()
        self.layers, self.output = layers, output


class _Pixels(_Named):
    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {self.output: self.layers(pixels)}


class _Normalized(_Named):
    def forward(self, input: torch.Tensor) -> dict[str, torch.Tensor]:
        return {self.output: self.layers(input)}


def build(
    model: LeNet5Modern | LeNet5Classic,
    card: Card,
    spec: InputSpec,
    precision: str,
    sha256: str,
    calibration: NDArray[np.uint8],
) -> tuple[bytes, Answers]:
    """The file, and what LiteRT's own interpreter answers with it.

    Args:
        model: whole, in evaluation mode, float32, on the CPU.
        card: what the file says of the network.
        spec: the pictures that it takes, `batch` at once.
        precision: one of `PRECISIONS`.
        sha256: of the weights.
        calibration: pictures that set int8's ranges, uint8 N×C×H×W.

    Raises: MissingExtraError without the converter.
    """
    with quiet():
        try:
            import litert_torch
        except ImportError as error:
            raise missing("litert", error) from error
        output = "logits" if model.num_classes else "features"
        network = (_Pixels if spec.name == "pixels" else _Normalized)(as_layers(model, spec), output).eval()
        data = bytes(litert_torch.convert(network, sample_kwargs={spec.name: example(spec)}).model_content())
        if precision == "int8":
            feeds = [{spec.name: batch} for batch in in_batches(calibration, spec)]
            data = _quantized(data, feeds, isinstance(model, LeNet5Classic))
        data = _with_metadata(data, facts(card, spec, precision, sha256, _PACKAGES))
        run = _interpreter(data, output)
    return data, lambda batch: run(**{spec.name: batch})[output]


def _quantized(data: bytes, feeds: list[dict[str, NDArray[Any]]], classic: bool) -> bytes:
    """The file with weights and activations in 8 bits; C1 and the answer stay float32, and the classic's output layer.

    C1 has 1 % of the weights, and with its one channel LiteRT takes longer for it in integers than for the rest. The
    terms of the classic's output layer are far larger than their sums: in 8 bits one label in ten would change.
    """
    from ai_edge_quantizer import quantizer, recipe
    from ai_edge_quantizer.algorithm_manager import AlgorithmName
    from ai_edge_quantizer.qtyping import TFLOperationName as Operation

    work = quantizer.Quantizer(data, recipe.static_wi8_ai8())
    exact = [("INPUT", ".*"), ("OUTPUT", ".*")]
    # The picture's way to C1, and C1, which is DEPTHWISE_CONV_2D for one channel.
    first = ("RESHAPE", "TRANSPOSE", "CONV_2D", "DEPTHWISE_CONV_2D")
    exact += [(operation, ".*(_Input_|Conv2d_C1;).*") for operation in first]
    if classic:
        exact += [("MUL", ".*"), ("CONCATENATION", ".*"), ("FULLY_CONNECTED", ".*logits.*")]
    for operation, tensors in exact:
        work.update_quantization_recipe(tensors, Operation(operation), algorithm_key=AlgorithmName.NO_QUANTIZE)
    return bytes(work.quantize(work.calibrate({"serving_default": feeds})).quantized_model)


def _with_metadata(data: bytes, known: dict[str, str]) -> bytes:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    file = flatbuffer_utils.read_model_from_bytearray(bytearray(data))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = json.dumps(known, ensure_ascii=False, sort_keys=True).encode()
    file.buffers.append(buffer)
    entry.name, entry.buffer = METADATA, len(file.buffers) - 1
    file.metadata = [*(file.metadata or []), entry]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(file))


def _interpreter(data: bytes, output: str) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter.get_signature_runner()
