"""A network as an ExecuTorch file (.pte), for XNNPACK: the CPUs of phones, tablets and computers."""

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
METADATA = "lenet_zoo"  # a method of the file that answers with its metadata: a JSON object of texts
_PACKAGES = ("executorch", "torch")


def build(
    model: LeNet5Modern | LeNet5Classic,
    card: Card,
    spec: InputSpec,
    precision: str,
    sha256: str,
    calibration: NDArray[np.uint8],
) -> tuple[bytes, Answers]:
    """The file, and what ExecuTorch's own runtime answers with it. Arguments as for `litert.build`.

    Raises: MissingExtraError without the converter.
    """
    with quiet():
        try:
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower
            from executorch.runtime import Runtime
        except ImportError as error:
            raise missing("executorch", error) from error
        network: nn.Module = as_layers(model, spec)
        given = (example(spec),)
        if precision == "int8":
            network = _quantized(network, given, in_batches(calibration, spec))
        known = json.dumps(facts(card, spec, precision, sha256, _PACKAGES), ensure_ascii=False, sort_keys=True)
        program = to_edge_transform_and_lower(
            torch.export.export(network, given),
            partitioner=[XnnpackPartitioner()],
            constant_methods={METADATA: known},
        )
        data = bytes(program.to_executorch().buffer)
        method = Runtime.get().load_program(data).load_method("forward")

    def answers(batch: NDArray[Any]) -> NDArray[np.float32]:
        (found,) = method.execute([torch.from_numpy(batch)])
        logits: NDArray[np.float32] = found.numpy().copy()  # the runtime writes the next answer into the same memory
        return logits

    return data, answers


def _quantized(network: nn.Module, given: tuple[torch.Tensor], calibration: list[NDArray[Any]]) -> nn.Module:
    """Weights and activations in 8 bits, each weight with a scale per output channel."""
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    observed = prepare_pt2e(torch.export.export(network, given).module(), quantizer)
    for batch in calibration:
        observed(torch.from_numpy(batch))
    converted: nn.Module = convert_pt2e(observed)
    return converted
