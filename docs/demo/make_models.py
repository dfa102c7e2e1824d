"""Writes the page's networks, models/*.onnx, and src/networks.json and src/numbers.json, which describe them.

    python docs/demo/make_models.py

To be run again, and its result committed, when weights or the exporter change (a test compares). The files are what

    lenet_zoo.export_onnx(model, path, input="pixels", intermediates=True)

writes, with three changes. Large weights are stored in half precision and widened when the file is loaded: the page
loads both networks, and half the bytes are half the wait. The arithmetic stays in float32, except that the classic's
RBF layer is computed in float64: a wrong class has a logit of some −300, and WebAssembly and a desktop processor, which
add in different orders, would differ by 1e-4 in it. And the kernels are outputs, too: the page shows them, and
onnxruntime gives nothing out that is no output. Of the network that reads numbers the page takes the logits alone.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import lenet_zoo
from lenet_zoo._files import write_atomic
from lenet_zoo.models.layers import layer_table

HERE = Path(__file__).parent
# The 1998 network as it was trained in 1998: Eq. 9 pulls F6 towards the bitmaps, which the page shows. The modern one
# of many writers: what is drawn on the pad, or photographed, is no picture of MNIST.
NAMES = ("lenet5_classic.lecun1998_mnist", "lenet5_modern.handwriting")
NUMBERS = "lenet5_modern.numbers"
LARGE = 100  # elements; what is smaller stays as it is


def file_of(name: str) -> Path:
    stem = "lenet5_numbers" if name == NUMBERS else name.split(".")[0]
    return HERE / "models" / f"{stem}.onnx"


def halve(model: onnx.ModelProto) -> None:
    """Store each large float32 constant as float16, with a Cast (which runtimes fold away on loading) after it."""
    graph = model.graph
    casts = []
    for constant in graph.initializer:
        value = numpy_helper.to_array(constant)
        if value.dtype != np.float32 or value.size < LARGE:
            continue
        name = constant.name
        constant.CopyFrom(numpy_helper.from_array(value.astype(np.float16), f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], name=f"{name}_cast", to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def add_in_double(model: onnx.ModelProto) -> None:
    """Compute the classic's RBF layer, whose weights are whole numbers, in float64. (The modern network has none.)"""
    graph = model.graph
    nodes = []
    for node in graph.node:
        if "F6_and_square" not in node.input:
            nodes.append(node)
            continue
        for i, name in enumerate(node.input):
            nodes.append(helper.make_node("Cast", [name], [f"{name}_double"], f"{name}_double", to=TensorProto.DOUBLE))
            node.input[i] = f"{name}_double"
        (output,) = node.output
        node.output[0] = "output_double"
        narrow = helper.make_node("Cast", ["output_double"], [output], name="output_float", to=TensorProto.FLOAT)
        nodes += [node, narrow]
    del graph.node[:]
    graph.node.extend(nodes)


def give_kernels_out(model: onnx.ModelProto) -> None:
    """Make the weights of all layers but the last outputs of the graph, as `C1.weight`."""
    graph = model.graph
    for layer in ("C1", "S2", "C3", "S4", "C5", "F6"):
        for constant in list(graph.initializer):
            if constant.name in (f"{layer}_sum.weight", f"{layer}.weight"):
                name = f"{layer}.weight"
                if name != constant.name:
                    graph.node.append(helper.make_node("Identity", [constant.name], [name], name=f"{layer}_kernels"))
                graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(constant.dims)))


def exported(model: Any, *, layers: bool) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        lenet_zoo.export_onnx(model, path, input="pixels", intermediates=layers)
        return onnx.load(path)


def onnx_file(name: str, model: Any) -> bytes:
    """What models/*.onnx holds of a network."""
    graph = exported(model, layers=name != NUMBERS)
    if name != NUMBERS:
        give_kernels_out(graph)
    halve(graph)
    add_in_double(graph)
    # The file lives in the repository, beside what made it: its bytes are to change with the weights and the graph, and
    # not with the versions installed where it was made.
    facts = {entry.key: entry.value for entry in graph.metadata_props if entry.key != "created_with"}
    helper.set_model_props(graph, facts | {"storage": "fp16"})
    graph.producer_version = ""
    onnx.checker.check_model(graph, full_check=True)
    data: bytes = graph.SerializeToString(deterministic=True)
    return data


def description(name: str, model: Any) -> dict[str, Any]:
    """What the page says about a network, so that no number is typed into it."""
    test = lenet_zoo.model_card(name)["metrics"]["test"]
    facts = dict(network_facts(name, model), correct=test["correct"], total=test["total"])
    confidence = {key: value for key, value in model.card.confidence.as_dict().items() if key != "fitted_on"}
    return facts | dict(confidence=confidence, looks=model.card.looks)


def network_facts(name: str, model: Any) -> dict[str, Any]:
    """Layers, parameters and, for the classic, the 7×12 target bitmaps, 84 digits 0 and 1 per class."""
    rows = layer_table(model)
    layers = [dict(name=row.name, kind=row.kind, output=row.output, parameters=row.parameters) for row in rows]
    facts: dict[str, Any] = dict(name=name, parameters=sum(row.parameters for row in rows), layers=layers)
    if name.startswith("lenet5_classic"):
        facts["bitmaps"] = ["".join(str(int(dot > 0)) for dot in code) for code in model.output.weight.tolist()]
    return facts


def numbers_description(model: Any) -> dict[str, Any]:
    """What the page says about the network that reads numbers, and the temperature of its logits."""
    confidence = model.card.confidence
    parameters = sum(weights.numel() for weights in model.parameters())
    return dict(name=NUMBERS, parameters=parameters, temperature=confidence.temperature if confidence else 1.0)


def text(descriptions: Any) -> str:
    return json.dumps(descriptions, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    descriptions = []
    for name in (*NAMES, NUMBERS):
        model = lenet_zoo.create_model(name, pretrained=True).eval()
        path = file_of(name)
        write_atomic(path, onnx_file(name, model))
        if name == NUMBERS:
            write_atomic(HERE / "src" / "numbers.json", text(numbers_description(model)).encode())
        else:
            descriptions.append(description(name, model))
        print(f"{path.name}: {path.stat().st_size:,} bytes")
    write_atomic(HERE / "src" / "networks.json", text(descriptions).encode())


if __name__ == "__main__":
    main()
