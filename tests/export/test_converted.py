"""target='litert' and target='executorch': what their own runtimes answer with the file. `pip install ".[litert]"`, or
`".[executorch]"`, and then pytest of this file."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lenet_zoo
from lenet_zoo.errors import ArtifactError, InputError, MissingExtraError, to_install
from lenet_zoo.export.calibration import bundled
from lenet_zoo.export.targets import conversion, executorch, litert

from .conftest import NAMES, Build, normalized, pictures, reference

MODULES = {"litert": "litert_torch", "executorch": "executorch"}
Opened = tuple[Callable[[np.ndarray], np.ndarray], dict[str, str]]


def open_litert(path: Path, name: str) -> Opened:
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_litert.tools import flatbuffer_utils

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    run = interpreter.get_signature_runner()
    file = flatbuffer_utils.read_model(str(path))
    (entry,) = [one for one in file.metadata if one.name == litert.METADATA.encode()]
    return lambda x: run(**{name: x})["logits"], json.loads(bytes(file.buffers[entry.buffer].data))


def open_executorch(path: Path, name: str) -> Opened:
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(path)
    forward = program.load_method("forward")
    (known,) = program.load_method(executorch.METADATA).execute([])
    return lambda x: forward.execute([torch.from_numpy(x)])[0].numpy().copy(), json.loads(known)


OPEN = {"litert": open_litert, "executorch": open_executorch}


@pytest.fixture(params=MODULES)
def target(request: pytest.FixtureRequest) -> str:
    if importlib.util.find_spec(MODULES[request.param]) is None:
        pytest.skip(f"{request.param} is not installed: {to_install(request.param)}")
    return str(request.param)


@pytest.mark.filterwarnings("ignore")  # of the converters
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", NAMES)
def test_the_file_answers_as_the_network(target: str, name: str, precision: str, tmp_path: Path) -> None:
    model = lenet_zoo.create_model(name, pretrained=True)
    done = lenet_zoo.export(model, tmp_path / "m", target=target, input="pixels", precision=precision)
    run, known = OPEN[target](done.path, "pixels")
    digits = bundled()[::2, None]
    found = np.concatenate([run(digit[None]) for digit in digits])
    wanted = reference(model, normalized(model, digits))
    if precision == "fp32":
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * max(10, np.abs(wanted).max()))
    else:
        assert (found.argmax(1) == wanted.argmax(1)).mean() >= 0.99
        assert done.size <= 90_000
    assert known["tag"] == "mnist"
    assert json.loads(known["labels"]) == list("0123456789")
    assert json.loads(known["input"])["shape"] == [1, 1, 28, 28]
    assert str(tmp_path).encode() not in done.path.read_bytes()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("channels", [1, 2])
def test_litert_computes_c1_in_float32_and_the_other_convolutions_in_8_bits(
    network: Build, tmp_path: Path, channels: int
) -> None:
    """In integers C1 takes LiteRT longer than all the rest; with one channel it is a depthwise convolution there."""
    if importlib.util.find_spec("litert_torch") is None:
        pytest.skip(f"litert is not installed: {to_install('litert')}")
    model = network("lenet5_modern", in_chans=channels)
    lenet_zoo.export(model, tmp_path / "m", target="litert", precision="int8", batch=2)
    from ai_edge_litert.schema_py_generated import BuiltinOperator, TensorType
    from ai_edge_litert.tools import flatbuffer_utils

    file = flatbuffer_utils.read_model(str(tmp_path / "m"))
    (graph,) = file.subgraphs
    kinds = {tuple(tensor.shape): tensor.type for tensor in graph.tensors}
    assert kinds[(1, 5, 5, 6) if channels == 1 else (6, 5, 5, channels)] == TensorType.FLOAT32
    assert {kinds[shape] for shape in ((16, 5, 5, 6), (120, 5, 5, 16), (84, 120))} == {TensorType.INT8}
    operators = [file.operatorCodes[operator.opcodeIndex].builtinCode for operator in graph.operators]
    assert [operators.count(code) for code in (BuiltinOperator.QUANTIZE, BuiltinOperator.DEQUANTIZE)] == [1, 1]


@pytest.mark.filterwarnings("ignore")
def test_other_networks_in_batches(target: str, network: Build, tmp_path: Path) -> None:
    model = network("lenet5_classic", num_classes=3, in_chans=2, global_pool="max")
    done = lenet_zoo.export(model, tmp_path / "m", target=target, batch=3)
    run, known = OPEN[target](done.path, "input")
    x = normalized(model, pictures(3, 2, 28, 28))
    np.testing.assert_allclose(run(x), reference(model, x), rtol=0, atol=1e-4)
    assert json.loads(known["input"])["normalized"].startswith("before the graph")


@pytest.mark.filterwarnings("ignore")
def test_the_same_bytes_each_time_and_nothing_on_the_terminal(
    target: str, network: Build, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = network("lenet5_modern")
    first, second = (lenet_zoo.export(model, tmp_path / name, target=target).path.read_bytes() for name in "ab")
    assert first == second
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("target", MODULES)
def test_a_wrong_file_is_not_written(
    target: str, network: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = {"litert": litert, "executorch": executorch}[target]
    monkeypatch.setattr(module, "build", lambda *_: (b"file", lambda x: np.zeros((len(x), 10), np.float32)))
    with pytest.raises(ArtifactError, match="the file is not the model"):
        lenet_zoo.export(network("lenet5_modern"), tmp_path / "m", target=target)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", MODULES)
def test_a_missing_converter_is_named(
    target: str, network: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, MODULES[target], None)
    with pytest.raises(MissingExtraError) as caught:
        lenet_zoo.export(network("lenet5_modern"), tmp_path / "m", target=target)
    text = str(caught.value)
    assert text.startswith(f"target='{target}' needs {MODULES[target]}")
    assert text.endswith(to_install(target))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(precision="fp16"), "precision='fp16': one of 'fp32' and 'int8'"),
        (dict(opset=17), "opset is an option of target='onnx'"),
        (dict(batch=0), "batch=0: how many pictures at once"),
    ],
)
def test_options_of_others_are_refused(network: Build, tmp_path: Path, options: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        lenet_zoo.export(network("lenet5_modern"), tmp_path / "m", target="litert", **options)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("input", ["normalized", "pixels", "pixels_float"])
def test_plain_layers_over_the_files_own_input(name: str, input: str) -> None:
    from lenet_zoo.export.checks import float_copy, input_spec

    model = lenet_zoo.create_model(name, pretrained=True)
    spec = input_spec(float_copy(model), input, None, None)
    pixels = pictures(5, 1, 28, 28)
    layers = conversion.as_layers(float_copy(model), spec)
    assert "pool" not in dict(layers.named_children())
    assert all(0 not in tensor.stride() for tensor in layers.state_dict().values())  # ExecuTorch refuses these
    found = reference(layers, spec.feed(pixels))
    np.testing.assert_allclose(found, reference(model, normalized(model, pixels)), rtol=0, atol=1e-4)


def test_quiet_keeps_what_is_written_off_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    import os

    with conversion.quiet():
        print("a")
        os.write(2, b"b")
    print("c")
    os.write(2, b"d")
    assert capfd.readouterr() == ("c\n", "d")
