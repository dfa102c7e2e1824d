"""What can be asked for beside the defaults: float32 pixels, float16, an opset, a fixed batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from torch import nn

import lenet_zoo
from lenet_zoo.classify import OnnxClassifier, read_metadata
from lenet_zoo.errors import ArtifactError
from lenet_zoo.export import export_onnx, forms
from lenet_zoo.export.calibration import bundled

NAMES = ("lenet5_modern", "lenet5_classic")
NEAR = {"fp32": 1e-5, "fp16": 1e-2}  # of the largest logit
Build = Callable[..., nn.Module]


def run(path: Path, x: np.ndarray, output: str = "logits") -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run([output], {session.get_inputs()[0].name: x})[0]


@pytest.fixture(scope="module", params=NAMES)
def trained(request: pytest.FixtureRequest) -> nn.Module:
    return lenet_zoo.create_model(request.param, pretrained=True)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return bundled("mnist")[:40, None]


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "layerwise"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_float_pixels_answer_as_uint8_ones(
    trained: nn.Module, pixels: np.ndarray, tmp_path: Path, precision: str, fast: bool
) -> None:
    options = dict(precision=precision, fast=fast)
    floats = export_onnx(trained, tmp_path / "f.onnx", input="pixels_float", **options)
    integers = export_onnx(trained, tmp_path / "i.onnx", input="pixels", **options)
    found = read_metadata(floats)["input"]
    assert (found["name"], found["dtype"], found["normalized"]) == ("pixels", "float32", "inside the graph")
    wanted = run(integers, pixels)
    np.testing.assert_allclose(run(floats, pixels.astype(np.float32)), wanted, atol=1e-5 * np.abs(wanted).max())
    classifiers = [OnnxClassifier(path) for path in (floats, integers)]
    for count in (1, 40):
        first, second = (classifier.predict_array(pixels[:count]) for classifier in classifiers)
        np.testing.assert_allclose(first, second, atol=1e-4)


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "layerwise"])
@pytest.mark.parametrize("input", ["normalized", "pixels", "pixels_float"])
def test_float16_is_half_the_size_and_near(
    trained: nn.Module, pixels: np.ndarray, tmp_path: Path, input: str, fast: bool
) -> None:
    half = export_onnx(trained, tmp_path / "h.onnx", input=input, precision="fp16", fast=fast, probabilities=True)
    full = export_onnx(trained, tmp_path / "f.onnx", input=input, fast=fast)
    assert half.stat().st_size < 0.55 * full.stat().st_size
    assert read_metadata(half)["precision"] == "fp16"
    model = onnx.load(half)
    kinds = {
        tensor.data_type
        for tensor in model.graph.initializer
        if not tensor.name.startswith(("output", "temperature", "rubbish"))
    }
    assert onnx.TensorProto.FLOAT not in kinds
    outputs = [output.type.tensor_type.elem_type for output in model.graph.output]
    assert outputs == [onnx.TensorProto.FLOAT] * 2
    found, wanted = (OnnxClassifier(path).predict_logits(pixels) for path in (half, full))
    assert np.abs(found - wanted).max() <= NEAR["fp16"] * max(10, np.abs(wanted).max())
    assert np.array_equal(found.argmax(1), wanted.argmax(1))


@pytest.mark.parametrize("options", [dict(num_classes=0), dict(global_pool=""), dict(global_pool="max"), {}], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_float16_of_other_heads(network: Build, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    session = onnxruntime.InferenceSession(
        export_onnx(network(name, **options), tmp_path / "m.onnx", precision="fp16"),
        providers=["CPUExecutionProvider"],
    )
    assert [output.type for output in session.get_outputs()] == ["tensor(float)"]


def test_a_wrong_float16_graph_is_not_written(network: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = forms.phases
    monkeypatch.setattr(forms, "phases", lambda weight: np.roll(real(weight), 1, axis=-1))
    with pytest.raises(ArtifactError, match="the graph is not the model"):
        export_onnx(network("lenet5_modern"), tmp_path / "m.onnx", precision="fp16")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "layerwise"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize(("opset", "ir_version"), [(13, 7), (15, 8), (18, 8), (19, 9), (21, 10)])
def test_opset_and_the_oldest_ir_version_for_it(
    trained: nn.Module, pixels: np.ndarray, tmp_path: Path, opset: int, ir_version: int, precision: str, fast: bool
) -> None:
    options = dict(input="pixels", precision=precision, fast=fast, probabilities=True)
    path = export_onnx(trained, tmp_path / "m.onnx", opset=opset, **options)
    found = read_metadata(path)
    assert (found["opset"], found["ir_version"]) == (opset, ir_version)
    wanted = run(export_onnx(trained, tmp_path / "d.onnx", **options), pixels)
    near = NEAR.get(precision, 1e-5) * np.abs(wanted).max()
    np.testing.assert_allclose(run(path, pixels), wanted, rtol=0, atol=near)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("input", ["pixels", "normalized"])
@pytest.mark.parametrize("batch", [1, 7])
def test_fixed_batch(
    trained: nn.Module, pixels: np.ndarray, tmp_path: Path, batch: int, input: str, precision: str
) -> None:
    options = dict(input=input, precision=precision)
    path = export_onnx(trained, tmp_path / "m.onnx", batch=batch, **options)
    assert read_metadata(path)["input"]["shape"] == [batch, 1, 28, 28]
    graph = onnx.load(path).graph
    for tensor in (*graph.input, *graph.output):
        assert tensor.type.tensor_type.shape.dim[0].dim_value == batch
    wanted = OnnxClassifier(export_onnx(trained, tmp_path / "free.onnx", **options)).predict_logits(pixels)
    classifier = OnnxClassifier(path, threads=2)
    for count in (1, 6, 7, 8, 40):
        found = classifier.predict_logits(pixels[:count])
        np.testing.assert_allclose(found, wanted[:count], rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("input", ["pixels", "normalized"])
@pytest.mark.parametrize("fast", [True, False], ids=["fast", "layerwise"])
@pytest.mark.parametrize("name", NAMES)
def test_graphs_hold_what_every_importer_reads(
    network: Build, tmp_path: Path, name: str, fast: bool, input: str, precision: str
) -> None:
    graph = onnx.load(
        export_onnx(network(name), tmp_path / "m.onnx", fast=fast, input=input, precision=precision)
    ).graph
    kinds = {node.op_type for node in graph.node}
    assert not {kind for kind in kinds if kind.startswith("Reduce")} | (kinds & {"Identity", "Unsqueeze"})
    for node in graph.node:
        names = {attribute.name for attribute in node.attribute}
        if node.op_type == "Conv":
            assert names == {"kernel_shape", "strides", "pads", "dilations", "group"}
        if node.op_type.endswith("Pool"):
            assert names == {"kernel_shape", "strides", "pads"}
        if node.op_type == "DequantizeLinear":
            assert node.input[0] != graph.input[0].name
        if node.op_type == "Gemm":
            assert node.input[2] in {tensor.name for tensor in graph.initializer}


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "layerwise"])
@pytest.mark.parametrize("name", NAMES)
def test_a_network_without_an_output_layer_in_int8_and_with_its_maps(
    network: Build, pixels: np.ndarray, tmp_path: Path, name: str, fast: bool
) -> None:
    model = network(name, num_classes=0)

    def features(**options: Any) -> dict[str, np.ndarray]:
        path = export_onnx(model, tmp_path / "m.onnx", input="pixels", fast=fast, **options)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(None, {"pixels": pixels}), strict=True))

    full, int8 = features(), features(precision="int8")
    assert [*full] == [*int8] == ["features"]
    assert np.abs(int8["features"] - full["features"]).max() < 0.15 * np.abs(full["features"]).max()
    if not fast:
        maps = features(intermediates=True)
        assert [*maps] == ["features", "C1", "S2", "C3", "S4", "C5", "F6"]
        np.testing.assert_array_equal(maps["features"], full["features"])
