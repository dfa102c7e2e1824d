"""What usual tools make of our files runs as well, or is refused for the true reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, version_converter

import lenet_zoo
from lenet_zoo.classify import OnnxClassifier
from lenet_zoo.classify.torch import TorchClassifier
from lenet_zoo.errors import ArtifactError
from lenet_zoo.export.calibration import bundled

Change = Callable[[Path, Path], object]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Input → a file of trained weights."""
    folder = tmp_path_factory.mktemp("files")
    model = lenet_zoo.create_model("lenet5_modern", pretrained=True)
    kinds = ("pixels", "normalized")
    return {kind: lenet_zoo.export_onnx(model, folder / f"{kind}.onnx", input=kind) for kind in kinds}


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    return bundled("mnist")[::4].copy()


def optimise(level: str) -> Change:
    def change(source: Path, target: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(target)
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.log_severity_level = 3
        onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    return change


def fix_batch(size: int) -> Change:
    def change(source: Path, target: Path) -> None:
        from onnxruntime.tools.onnx_model_utils import make_dim_param_fixed

        model = onnx.load(source)
        make_dim_param_fixed(model.graph, "batch", size)
        onnx.save(model, target)

    return change


def halve(keep_io_types: bool) -> Change:
    def change(source: Path, target: Path) -> None:
        float16 = pytest.importorskip("onnxruntime.transformers.float16")
        onnx.save(float16.convert_float_to_float16(onnx.load(source), keep_io_types=keep_io_types), target)

    return change


def quantize_dynamic(source: Path, target: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(source, target)


def prepare_for_quantization(source: Path, target: Path) -> None:
    from onnxruntime.quantization import quant_pre_process

    quant_pre_process(source, target)


def convert_version(source: Path, target: Path) -> None:
    onnx.save(version_converter.convert_version(onnx.load(source), 15), target)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("input", ["pixels", "normalized"])
@pytest.mark.parametrize(
    ("change", "near"),
    [
        (optimise("ORT_ENABLE_BASIC"), 1e-5),
        (optimise("ORT_ENABLE_EXTENDED"), 1e-5),
        (optimise("ORT_ENABLE_ALL"), 1e-5),
        (fix_batch(1), 1e-5),
        (fix_batch(8), 1e-5),
        (halve(True), 1e-2),
        (halve(False), 1e-2),
        (quantize_dynamic, 5e-2),
        (prepare_for_quantization, 1e-5),
        (convert_version, 1e-5),
    ],
    ids=["basic", "extended", "all", "batch1", "batch8", "half", "half_io", "dynamic", "prepared", "opset15"],
)
def test_changed_files_answer_as_before(
    files: dict[str, Path], digits: np.ndarray, tmp_path: Path, change: Change, near: float, input: str
) -> None:
    change(files[input], tmp_path / "m.onnx")
    wanted = OnnxClassifier(files[input]).predict_logits(digits)
    classifier = OnnxClassifier(tmp_path / "m.onnx", threads=2)
    for count in (1, 7, len(digits)):  # less than a fixed batch, and more, and no multiple
        found = classifier.predict_logits(digits[:count])
        assert (found.shape, found.dtype) == ((count, 10), np.float32)
        assert np.abs(found - wanted[:count]).max() <= near * max(10, np.abs(wanted).max())
        assert np.array_equal(found.argmax(1), wanted[:count].argmax(1))


@pytest.mark.parametrize("architecture", ["lenet5_modern", "lenet5_classic"])
def test_int8_files_that_onnxruntime_optimised(digits: np.ndarray, tmp_path: Path, architecture: str) -> None:
    model = lenet_zoo.create_model(architecture, pretrained=True)
    path = lenet_zoo.export_onnx(model, tmp_path / "int8.onnx", input="pixels", precision="int8")
    optimise("ORT_ENABLE_ALL")(path, tmp_path / "m.onnx")
    wanted, found = (OnnxClassifier(one).predict_logits(digits) for one in (path, tmp_path / "m.onnx"))
    assert np.array_equal(found.argmax(1), wanted.argmax(1))


def test_files_of_the_first_version_are_read(digits: np.ndarray) -> None:
    # Of opset 21, with a DequantizeLinear on the uint8 input, a quantized bias everywhere and a trailing Identity.
    classifier = OnnxClassifier(Path(__file__).parents[1] / "fixtures" / "written_by_0.1.0.onnx")
    assert (classifier.metadata["opset"], classifier.metadata["precision"]) == (21, "int8")
    wanted = TorchClassifier(lenet_zoo.create_model("lenet5_modern.mnist", pretrained=True)).predict(digits)
    assert [answer.label for answer in classifier.predict(digits)] == [answer.label for answer in wanted]


# ------------------------------------------------------------------------------------------------------------ refusals


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(ArtifactError) as caught:
        call()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_weights_in_another_file(files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(onnx.load(files["pixels"]), path, save_as_external_data=True, size_threshold=0, location="m.data")
    assert refused(lambda: OnnxClassifier(path)) == (
        f"{path} keeps weights in another file 'm.data': only files that hold everything are read; "
        "onnx.save(onnx.load(FILE), NEW_FILE) puts them into one"
    )
    onnx.save(onnx.load(path), tmp_path / "one.onnx")
    assert OnnxClassifier(tmp_path / "one.onnx").size == (28, 28)


def test_ort_format(files: dict[str, Path], tmp_path: Path) -> None:
    optimise("ORT_ENABLE_BASIC")(files["pixels"], tmp_path / "m.ort")  # the suffix decides on the format
    assert refused(lambda: OnnxClassifier(tmp_path / "m.ort")) == (
        f"{tmp_path / 'm.ort'} is in onnxruntime's own ORT format, which onnxruntime alone reads: give the ONNX file "
        "that it was made of"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_answers_that_are_not_finite(files: dict[str, Path], digits: np.ndarray, tmp_path: Path, value: float) -> None:
    model = onnx.load(files["pixels"])
    (bias,) = (tensor for tensor in model.graph.initializer if tensor.name == "output.bias")
    bias.CopyFrom(numpy_helper.from_array(np.full(10, value, np.float32), bias.name))
    onnx.save(model, tmp_path / "m.onnx")
    classifier = OnnxClassifier(tmp_path / "m.onnx")
    for count in (1, 2, 50):
        for call in (classifier.predict, classifier.predict_array, classifier.predict_logits):
            assert refused(lambda call=call, count=count: call(digits[:count])) == (
                f"{tmp_path / 'm.onnx'} answers with values that are not finite (nan or inf): export it again"
            )


def with_last_node(source: Path, target: Path, kind: int, *inputs: str, op: str, **attributes: Any) -> None:
    """The file with a node after its logits, whose output takes their name."""
    model = onnx.load(source)
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(helper.make_node(op, ["before", *inputs], ["logits"], **attributes))
    model.graph.output[0].type.tensor_type.elem_type = kind
    onnx.save(model, target)


@pytest.mark.parametrize(("kind", "name"), [(TensorProto.INT64, "int64"), (TensorProto.STRING, "string")])
def test_logits_that_are_no_floats(files: dict[str, Path], tmp_path: Path, kind: int, name: str) -> None:
    path = tmp_path / "m.onnx"
    with_last_node(files["pixels"], path, kind, op="Cast", to=kind)
    assert refused(lambda: OnnxClassifier(path)) == f"{path} is damaged: its logits are tensor({name}), and not floats"


@pytest.mark.parametrize("count", [1, 2, 50])
def test_an_operator_that_fails(
    files: dict[str, Path], digits: np.ndarray, tmp_path: Path, count: int, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.onnx"
    with_last_node(files["pixels"], path, TensorProto.FLOAT, "sizes", op="Reshape")
    model = onnx.load(path)
    model.graph.initializer.append(numpy_helper.from_array(np.array([7, 10]), "sizes"))
    onnx.save(model, path)
    text = refused(lambda: OnnxClassifier(path).predict_array(digits[:count]))
    assert text.startswith(f"{path} cannot be run by onnxruntime {onnxruntime.__version__} (operator set ai.onnx 17): ")
    assert capfd.readouterr().err == ""  # nothing of onnxruntime's own beside the error


@pytest.mark.parametrize(("shape", "told"), [([], "[]"), (["batch", 784], "['batch', 784]")])
def test_inputs_that_are_no_pictures(tmp_path: Path, files: dict[str, Path], shape: list[Any], told: str) -> None:
    source = onnx.load(files["pixels"])
    properties = {entry.key: entry.value for entry in source.metadata_props}
    x = helper.make_tensor_value_info("pixels", TensorProto.UINT8, shape)
    y = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])
    nodes = [helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT)]
    nodes.append(helper.make_node("Reshape", ["float", "one"], ["flat"]))
    nodes.append(helper.make_node("Expand", ["flat", "sizes"], ["logits"]))
    sizes = [numpy_helper.from_array(np.array(v), n) for n, v in (("one", [-1, 1]), ("sizes", [1, 10]))]
    graph = helper.make_graph(nodes, "lenet5_modern", [x], [y], sizes)
    model = helper.make_model(graph, opset_imports=source.opset_import, ir_version=8)
    for declared, text in [
        (f"{shape}".replace("'", '"'), f"its input has shape {told}, and not batch × channels × height × width"),
        ('["batch", 1, 28, 28]', "its metadata says ('pixels', 'uint8', ['batch', 1, 28, 28])"),
    ]:
        convention = f'{{"name": "pixels", "dtype": "uint8", "shape": {declared}}}'
        helper.set_model_props(model, properties | {"input": convention})
        onnx.save(model, tmp_path / "m.onnx")
        assert refused(lambda: OnnxClassifier(tmp_path / "m.onnx", trusted=True)).endswith(text)
