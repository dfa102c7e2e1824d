"""A file from a stranger is run only as far as it consists of what our networks, and usual tools, are made of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lenet_zoo
from lenet_zoo.classify import OnnxClassifier
from lenet_zoo.cli._app import run
from lenet_zoo.errors import ArtifactError

SEVEN = str(Path(__file__).parents[1] / "fixtures" / "pictures" / "pen_fat.png")

FLAT = [
    helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
    helper.make_node("Flatten", ["float"], ["flat"]),
    helper.make_node("MatMul", ["flat", "W"], ["plain"]),
]
WEIGHTS = numpy_helper.from_array(np.zeros((784, 10), np.float32), "W")


def constant(name: str, value: Any, dtype: Any = np.int64) -> TensorProto:
    return numpy_helper.from_array(np.array(value, dtype), name)


BODY = helper.make_graph(
    [helper.make_node("Identity", ["c"], ["co"]), helper.make_node("Add", ["v", "v"], ["vo"])],
    "body",
    [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        helper.make_tensor_value_info("v", TensorProto.FLOAT, None),
    ],
    [
        helper.make_tensor_value_info("co", TensorProto.BOOL, []),
        helper.make_tensor_value_info("vo", TensorProto.FLOAT, None),
    ],
)
GRAPHS: dict[str, tuple[list[Any], list[TensorProto]]] = {
    "Loop": (
        [helper.make_node("Loop", ["n", "t", "plain"], ["logits"], body=BODY)],
        [constant("n", 2**62), constant("t", True, bool)],
    ),
    "Expand": (
        [
            helper.make_node("Expand", ["one", "s"], ["z"]),
            helper.make_node("ReduceMax", ["z"], ["most"], keepdims=0),
            helper.make_node("Add", ["plain", "most"], ["logits"]),
        ],
        [constant("one", [1], np.float32), constant("s", [2**31])],
    ),
    "ConstantOfShape": (
        [
            helper.make_node("ConstantOfShape", ["s"], ["z"]),
            helper.make_node("ReduceSum", ["z"], ["sum"], keepdims=0),
            helper.make_node("Add", ["plain", "sum"], ["logits"]),
        ],
        [constant("s", [2**32])],
    ),
}


@pytest.fixture(scope="module")
def properties(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    model = lenet_zoo.create_model("lenet5_modern", pretrained=True)
    path = lenet_zoo.export_onnx(model, tmp_path_factory.mktemp("base") / "m.onnx", input="pixels")
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def write(path: Path, properties: dict[str, str], nodes: list[Any], weights: list[TensorProto], side: int = 28) -> Path:
    shape = ["batch", 1, side, side]
    x = helper.make_tensor_value_info("pixels", TensorProto.UINT8, shape)
    y = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])
    model = helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], weights), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    convention = {**json.loads(properties["input"]), "shape": shape}
    helper.set_model_props(model, {**properties, "input": json.dumps(convention)})
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("operator", GRAPHS)
def test_what_could_take_any_time_or_memory_is_not_run(
    tmp_path: Path, properties: dict[str, str], operator: str
) -> None:
    nodes, weights = GRAPHS[operator]
    path = write(tmp_path / "m.onnx", properties, [*FLAT, *nodes], [WEIGHTS, *weights])
    with pytest.raises(ArtifactError) as refusal:
        OnnxClassifier(path)
    assert str(refusal.value) == (
        f"{path} has the operator {operator}, which no network of the zoo has and which could take any time and "
        "memory: if it is from somebody you trust, lenet_zoo.OnnxClassifier(FILE, trusted=True) runs it, as do "
        "`predict` and `evaluate` with --trusted"
    )


def test_huge_maps_and_pictures_are_not_run(tmp_path: Path, properties: dict[str, str]) -> None:
    pooled = [
        FLAT[0],
        helper.make_node("GlobalAveragePool", ["float"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "W"], ["logits"]),
    ]
    weights = [constant("W", np.zeros((1, 10)), np.float32)]
    path = write(tmp_path / "m.onnx", properties, pooled, weights, side=60_000)
    with pytest.raises(ArtifactError, match=r"over 1024×1024 pixels, 16 channels or 65,536 pictures"):
        OnnxClassifier(path)
    padded = [
        FLAT[0],
        helper.make_node("MaxPool", ["float"], ["big"], kernel_shape=[2, 2], pads=[0, 0, 90_000, 90_000]),
    ]
    pooled[1] = helper.make_node("GlobalAveragePool", ["big"], ["pooled"])
    path = write(tmp_path / "m.onnx", properties, [*padded, *pooled[1:]], weights)
    with pytest.raises(ArtifactError, match=r"has pads of 90,000 pixels, which no network of the zoo has"):
        OnnxClassifier(path)


def padded(amounts: list[TensorProto], *before: Any) -> tuple[list[Any], list[TensorProto]]:
    """A graph that pads its picture, and what follows."""
    nodes = [
        FLAT[0],
        *before,
        helper.make_node("Pad", ["float", "amounts"], ["big"]),
        helper.make_node("GlobalAveragePool", ["big"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "W"], ["logits"]),
    ]
    return nodes, [constant("W", np.zeros((1, 10)), np.float32), *amounts]


def test_amounts_of_pad_are_small_constants(tmp_path: Path, properties: dict[str, str]) -> None:
    wide = [0, 0, 0, 0, 0, 0, 2**20, 2**20]
    listed = helper.make_tensor("amounts", TensorProto.INT64, [8], wide)  # not as raw bytes
    as_node = helper.make_node("Constant", [], ["amounts"], value=listed)
    computed = helper.make_node("Add", ["half", "half"], ["amounts"])
    for graph, why in (
        (padded([constant("amounts", wide)]), "a Pad of 1,048,576 pixels"),
        (padded([listed]), "a Pad of 1,048,576 pixels"),
        (padded([], as_node), "a Pad of 1,048,576 pixels"),
        (padded([constant("half", [0, 0, 0, 0, 0, 0, 2**19, 2**19])], computed), "a Pad whose amounts are computed"),
    ):
        path = write(tmp_path / "m.onnx", properties, *graph)
        with pytest.raises(ArtifactError, match=f"has {why}, which no network of the zoo has"):
            OnnxClassifier(path)
    path = write(tmp_path / "m.onnx", properties, *padded([constant("amounts", [0, 0, 2, 2, 0, 0, 2, 2])]))
    assert np.allclose(OnnxClassifier(path).predict_array(np.zeros((2, 28, 28), np.uint8)), 0.1)


def test_maps_that_are_joined_with_themselves_again_and_again(tmp_path: Path, properties: dict[str, str]) -> None:
    nodes = [FLAT[0], *[helper.make_node("Concat", [f"x{i}", f"x{i}"], [f"x{i + 1}"], axis=2) for i in range(33)]]
    nodes[0] = helper.make_node("Cast", ["pixels"], ["x0"], to=TensorProto.FLOAT)
    nodes += [
        helper.make_node("GlobalAveragePool", ["x33"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["f"]),
    ]
    nodes += [helper.make_node("MatMul", ["f", "W"], ["logits"])]
    path = write(tmp_path / "m.onnx", properties, nodes, [constant("W", np.zeros((1, 10)), np.float32)])
    with pytest.raises(ArtifactError, match="has Concat that repeat their inputs 2,048 times, which no network"):
        OnnxClassifier(path)


def test_what_reads_numbers_is_looked_through_as_well(tmp_path: Path, properties: dict[str, str]) -> None:
    nodes, weights = GRAPHS["Loop"]
    path = write(tmp_path / "m.onnx", properties, [*FLAT, *nodes], [WEIGHTS, *weights])
    with pytest.raises(ArtifactError, match=r"has the operator Loop, .* you trust, run it in onnxruntime itself$"):
        lenet_zoo.OnnxReader(path)


def test_whoever_is_trusted_may_use_any_operator(tmp_path: Path, properties: dict[str, str]) -> None:
    nodes = [helper.make_node("Expand", ["plain", "s"], ["logits"])]
    path = write(tmp_path / "m.onnx", properties, [*FLAT, *nodes], [WEIGHTS, constant("s", [1, 10])])
    rows = OnnxClassifier(path, trusted=True).predict_array(np.zeros((2, 28, 28), np.uint8))
    assert np.allclose(rows, 0.1)
    assert (run(["predict", str(path), SEVEN]), run(["predict", str(path), SEVEN, "--trusted"])) == (1, 0)
