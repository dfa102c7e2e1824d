"""A file from a stranger is run only as far as it consists of what our networks, and usual tools, are made of."""

from __future__ import annotations

import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import lenet_zoo
from lenet_zoo.classify import OnnxClassifier
from lenet_zoo.classify.onnx_graph import _check_size
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
    with pytest.raises(ArtifactError, match=r"has maps of 864\.0 GB, which no network of the zoo has"):
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


def test_amounts_of_pad_are_known_and_small(tmp_path: Path, properties: dict[str, str]) -> None:
    wide = [0, 0, 0, 0, 0, 0, 2**20, 2**20]
    listed = helper.make_tensor("amounts", TensorProto.INT64, [8], wide)  # not as raw bytes
    as_node = helper.make_node("Constant", [], ["amounts"], value=listed)
    half = constant("half", [0, 0, 0, 0, 0, 0, 2**19, 2**19])
    computed = helper.make_node("Add", ["half", "half"], ["amounts"])
    for graph, why in (
        (padded([constant("amounts", wide)]), r"maps of 211,\d{3}\.\d GB"),
        (padded([listed]), r"maps of 211,\d{3}\.\d GB"),
        (padded([], as_node), r"maps of 211,\d{3}\.\d GB"),
        (padded([half], computed), "a map 'big' whose size is known only when it is run"),
    ):
        path = write(tmp_path / "m.onnx", properties, *graph)
        with pytest.raises(ArtifactError, match=f"has {why}, which no network of the zoo has"):
            OnnxClassifier(path)
    path = write(tmp_path / "m.onnx", properties, *padded([constant("amounts", [0, 0, 2, 2, 0, 0, 2, 2])]))
    assert np.allclose(OnnxClassifier(path).predict_array(np.zeros((2, 28, 28), np.uint8)), 0.1)


def with_most(of: str) -> list[Any]:
    """What makes logits of the largest value of a map."""
    most = helper.make_node("ReduceMax", [of], ["most"], keepdims=0)
    return [*FLAT, most, helper.make_node("Add", ["plain", "most"], ["logits"])]


def weights(name: str, *shape: int) -> TensorProto:
    return constant(name, np.zeros(shape), np.float32)


GROWING: dict[str, tuple[list[Any], list[TensorProto]]] = {
    "MatMul of a column and a row": (
        [helper.make_node("MatMul", ["column", "row"], ["big"])],
        [weights("column", 30_000, 1), weights("row", 1, 30_000)],
    ),
    "Gemm of a column and a row": (
        [helper.make_node("Gemm", ["column", "row"], ["big"], transA=1)],
        [weights("column", 1, 30_000), weights("row", 1, 30_000)],
    ),
    "the same by broadcasting": (
        [helper.make_node("Add", ["column", "row"], ["big"])],
        [weights("column", 30_000, 1), weights("row", 1, 30_000)],
    ),
    "pictures by pictures by pixels": (
        [
            helper.make_node("Transpose", ["float"], ["turned"], perm=[1, 0, 2, 3]),
            helper.make_node("Mul", ["float", "turned"], ["squared"]),
            helper.make_node("MatMul", ["squared", "wide"], ["big"]),
        ],
        [weights("wide", 28, 20_000)],
    ),
    "Reshape between": (
        [
            helper.make_node("Reshape", ["flat", "column"], ["tall"]),
            helper.make_node("MatMul", ["tall", "long"], ["big"]),
        ],
        [constant("column", [-1, 1]), weights("long", 1, 20_000)],
    ),
    "many of middling size": (
        [
            helper.make_node("MatMul", ["column", "row"], ["x0"]),
            *[helper.make_node("Neg", [f"x{i}"], [f"x{i + 1}"]) for i in range(40)],
            helper.make_node("Sum", [f"x{i}" for i in range(41)], ["big"]),
        ],
        [weights("column", 4_000, 1), weights("row", 1, 4_000)],
    ),
    "Gather of the same again and again": (
        [
            helper.make_node("Gather", ["flat", "zeros"], ["wide"], axis=1),
            helper.make_node("Gather", ["wide", "zeros"], ["big"], axis=0),
        ],
        [constant("zeros", np.zeros(30_000))],
    ),
    "Concat of itself again and again": (
        [
            helper.make_node("Identity", ["float"], ["x0"]),
            *[helper.make_node("Concat", [f"x{i}", f"x{i}"], [f"x{i + 1}"], axis=2) for i in range(33)],
            helper.make_node("Identity", ["x33"], ["big"]),
        ],
        [],
    ),
    "a convolution of very many maps": (
        [
            helper.make_node("Conv", ["float", "W1"], ["maps"], kernel_shape=[1, 1]),
            helper.make_node("Identity", ["maps"], ["big"]),
        ],
        [weights("W1", 20_000, 1, 1, 1)],
    ),
    "texts": (
        [
            helper.make_node("MatMul", ["column", "row"], ["numbers"]),
            helper.make_node("Cast", ["numbers"], ["texts"], to=TensorProto.STRING),
            helper.make_node("Cast", ["texts"], ["big"], to=TensorProto.FLOAT),
        ],
        [weights("column", 6_000, 1), weights("row", 1, 6_000)],
    ),
}


@pytest.mark.parametrize("how", GROWING)
def test_maps_are_measured_before_anything_is_run(tmp_path: Path, properties: dict[str, str], how: str) -> None:
    nodes, tensors = GROWING[how]
    last = with_most("big")
    path = write(tmp_path / "m.onnx", properties, [*last[:2], *nodes, *last[2:]], [WEIGHTS, *tensors])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ArtifactError, match=r"has maps of \d[\d,]*\.\d GB, which no network of the zoo has and which"):
        OnnxClassifier(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB


LABOUR: dict[str, tuple[list[Any], list[TensorProto]]] = {
    "a window as large as its map": (
        [helper.make_node("AveragePool", ["float"], ["big"], kernel_shape=[400, 400], pads=[399] * 4)],
        [],
    ),
    "a convolution over many maps": (
        [
            helper.make_node("Conv", ["float", "W1"], ["maps"], pads=[20] * 4),
            helper.make_node("Conv", ["maps", "W2"], ["big"], kernel_shape=[40, 40]),
        ],
        [weights("W1", 50, 1, 1, 1), weights("W2", 40, 50, 40, 40)],
    ),
    "the same product again and again": (
        [helper.make_node("MatMul", ["row", "column"], [f"x{i}"]) for i in range(100)]
        + [helper.make_node("Sum", [f"x{i}" for i in range(100)], ["big"])],
        [weights("row", 800, 2_000), weights("column", 2_000, 800)],
    ),
    "the largest of a large map again and again": (
        [helper.make_node("MatMul", ["column", "row"], ["all"])]
        + [helper.make_node("ReduceMax", ["all"], [f"x{i}"]) for i in range(200)]
        + [helper.make_node("Sum", [f"x{i}" for i in range(200)], ["big"])],
        [weights("column", 20_000, 1), weights("row", 1, 20_000)],
    ),
}


@pytest.mark.parametrize("how", LABOUR)
def test_work_is_measured_before_anything_is_run(tmp_path: Path, properties: dict[str, str], how: str) -> None:
    nodes, tensors = LABOUR[how]
    last = with_most("big")
    path = write(tmp_path / "m.onnx", properties, [*last[:2], *nodes, *last[2:]], [WEIGHTS, *tensors])
    with pytest.raises(ArtifactError, match=r"has operators of \d[\d,]* thousand million steps, which no network of"):
        OnnxClassifier(path)


@pytest.mark.parametrize("operator", ["Expand", "Tile", "ConvTranspose", "Resize", "Range", "OneHot", "Loop", "Scan"])
def test_operators_whose_only_use_is_to_grow(tmp_path: Path, properties: dict[str, str], operator: str) -> None:
    nodes = [helper.make_node(operator, ["plain", "one"], ["logits"])]
    path = write(tmp_path / "m.onnx", properties, [*FLAT, *nodes], [WEIGHTS, constant("one", [1, 1])])
    with pytest.raises(ArtifactError, match=f"has the operator {operator}, which no network of the zoo has"):
        OnnxClassifier(path)


def test_what_a_file_says_of_its_maps_is_not_believed(tmp_path: Path, properties: dict[str, str]) -> None:
    nodes = [
        helper.make_node("ReduceMax", ["flat"], ["brightest"], keepdims=0),
        helper.make_node("Cast", ["brightest"], ["times"], to=TensorProto.INT64),
        helper.make_node("Mul", ["times", "one_line"], ["amounts"]),
        helper.make_node("Pad", ["float", "amounts"], ["big"]),
    ]
    tensors = [WEIGHTS, constant("one_line", [0, 0, 0, 0, 0, 0, 2**20, 0])]
    path = write(tmp_path / "m.onnx", properties, [*FLAT, *nodes, *with_most("big")[3:]], tensors)
    model = onnx.load(path)
    model.graph.value_info.append(helper.make_tensor_value_info("big", TensorProto.FLOAT, ["batch", 1, 28, 28]))
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match="has a map 'big' whose size is known only when it is run, which no"):
        OnnxClassifier(path)


def test_an_input_that_stops_early(tmp_path: Path, properties: dict[str, str]) -> None:
    nodes = [*FLAT[:2], helper.make_node("MatMul", ["flat", "W"], ["logits"])]
    path = write(tmp_path / "m.onnx", properties, nodes, [WEIGHTS])
    more = b"\x3a\x04\x5a\x02\x12\x05"  # of the graph: an input of which 5 bytes are missing
    path.write_bytes(path.read_bytes() + more)
    with pytest.raises(ArtifactError, match=r"is truncated or damaged: 5 bytes are missing$"):
        OnnxClassifier(path)


def test_a_name_that_is_no_text(tmp_path: Path, properties: dict[str, str]) -> None:
    nodes = [*FLAT[:2], helper.make_node("MatMul", ["flat", "W"], ["logits"])]
    path = write(tmp_path / "m.onnx", properties, nodes, [WEIGHTS])
    path.write_bytes(path.read_bytes().replace(b"flat", b"\xff\xfe\xfd\xfc"))
    with pytest.raises(ArtifactError, match="is truncated or damaged: 'utf-8' codec can't decode byte 0xff"):
        OnnxClassifier(path)


def test_a_sparse_tensor_is_not_filled_up(tmp_path: Path, properties: dict[str, str]) -> None:
    nodes = [helper.make_node("Add", ["plain", "zeros"], ["logits"])]
    path = write(tmp_path / "m.onnx", properties, [*FLAT, *nodes], [WEIGHTS])
    model = onnx.load(path)
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(constant("zeros", [0], np.float32), constant("at", [0]), [2**40])
    )
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match="has a sparse tensor, which no network of the zoo has"):
        OnnxClassifier(path)


def test_a_batch_without_a_name_is_as_good_as_any(tmp_path: Path, properties: dict[str, str]) -> None:
    path = write(
        tmp_path / "m.onnx", properties, [*FLAT[:2], helper.make_node("MatMul", ["flat", "W"], ["logits"])], [WEIGHTS]
    )
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].ClearField("dim_param")
    onnx.save(model, path)
    assert np.allclose(OnnxClassifier(path).predict_array(np.zeros((2, 28, 28), np.uint8)), 0.1)


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


def test_of_two_names_of_an_attribute_the_last_counts() -> None:
    size = helper.make_attribute("kernel_shape", [200_001, 1])
    content = b"\x0a\x01x" + size.SerializeToString()
    assert onnx.AttributeProto.FromString(content).name == "kernel_shape"  # so it is read
    found: list[str] = []
    _check_size(memoryview(content), found)
    assert found == ["kernel_shape of 200,001 pixels"]
