"""Who takes part when inference is timed: one network in several engines, and a matrix product for comparison."""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lenet_zoo._onnxruntime import load_onnxruntime
from lenet_zoo.bench.timing import Call
from lenet_zoo.classify import OnnxClassifier
from lenet_zoo.errors import MissingExtraError, to_install
from lenet_zoo.export import export, export_onnx
from lenet_zoo.export.calibration import bundled, fit
from lenet_zoo.export.targets.conversion import quiet
from lenet_zoo.models._base import LeNet5

__all__ = ["OURS", "SIDE", "check_exporter", "contestants", "export_files", "matrix_products", "open_litert"]

OURS = "ours, onnxruntime"
SIDE = 1024  # rows and columns of the matrices that are multiplied


def check_exporter() -> None:
    """Fail early where torch's own ONNX exporter, which one contestant needs, cannot run.

    Raises: MissingExtraError without onnxscript.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"torch.onnx.export needs onnxscript: {to_install('bench')}") from error


def export_files(model: LeNet5, folder: Path) -> dict[str, Path]:
    """The network as files: 'plain', as torch.onnx.export writes it; 'fp32' and 'int8', as export_onnx does; and for
    engines that read one picture at a time, where their converters are installed, 'litert', 'litert int8' and 'ncnn'.
    """
    side = model.smallest_input
    x = torch.zeros(2, model.in_chans, side, side)
    plain = folder / "plain.onnx"
    torch.onnx.export(
        model, (x,), plain, dynamo=True, external_data=False, dynamic_shapes=({0: "batch"},), verbose=False
    )
    files = {
        "plain": plain,
        "fp32": export_onnx(model, folder / "fp32.onnx", input="pixels"),
        "int8": export_onnx(model, folder / "int8.onnx", input="pixels", precision="int8"),
    }
    try:
        for key, precision in (("litert", "fp32"), ("litert int8", "int8")):
            files[key] = export(model, folder / key, target="litert", input="pixels", precision=precision).path
    except MissingExtraError:
        pass
    if all(map(importlib.util.find_spec, ("ncnn", "pnnx"))):
        files["ncnn"] = _to_ncnn(model, folder)
    return files


def contestants(
    model: LeNet5, files: Mapping[str, Path], threads: int, batch: int, compiled: bool
) -> tuple[dict[str, Call], dict[str, str]]:
    """What is to be timed, each a call on the same random pictures.

    A batch of 1 is also timed as users feel it: the session alone, and `OnnxClassifier.predict` of a prepared digit and
    of a PNG file.

    Args:
        model: the network, in torch.
        files: as `export_files` makes them.
        threads: that each may use.
        batch: pictures per call.
        compiled: torch.compile takes part.

    Returns: name → call; and the name of who cannot take part → why.
    """
    side = model.smallest_input
    pixels = np.random.default_rng(0).integers(0, 256, (batch, model.in_chans, side, side), dtype=np.uint8)
    x = torch.from_numpy(pixels).float() / 255
    floats = x.numpy()
    torch.set_num_threads(threads)
    plain = _session(files["plain"].read_bytes(), threads)
    plain_input = plain.get_inputs()[0].name
    fp32, int8 = (OnnxClassifier(files[key], threads=threads) for key in ("fp32", "int8"))

    def eager() -> None:
        with torch.inference_mode():
            model(x)

    calls: dict[str, Call] = {
        "torch eager": eager,
        "plain export, onnxruntime": lambda: plain.run(None, {plain_input: floats}),
        OURS: lambda: fp32.predict_logits(pixels),
        "ours int8, onnxruntime": lambda: int8.predict_logits(pixels),
    }
    absent: dict[str, str] = {}
    if compiled:
        try:
            calls["torch.compile"] = _compiled(model, x)
        except Exception as error:  # no C++ compiler, or one that the installed torch cannot use
            absent["torch.compile"] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    for engine, make in {"OpenVINO": _openvino, "OpenCV": _opencv}.items():
        try:
            calls[f"ours, {engine}"] = make(files["fp32"], pixels, threads)
        except ImportError:
            absent[engine] = "not installed"
    for engine, key in {"LiteRT": "litert", "ncnn": "ncnn"}.items():
        if key not in files:
            absent[engine] = to_install("litert") if engine == "LiteRT" else "ncnn and pnnx are not installed"
        elif batch > 1:
            absent[f"{engine} beyond batch 1"] = "its files take one picture at a time"
        elif engine == "ncnn":
            calls["ours, ncnn"] = _ncnn(files[key], 255 * floats[0], threads)
        else:
            calls["ours, LiteRT"], calls["ours int8, LiteRT"] = (
                _litert(files[key], pixels, threads) for key in ("litert", "litert int8")
            )
    if batch == 1:
        calls |= _as_users_feel_it(fp32, files["fp32"], pixels, threads)
    return calls, absent


def _as_users_feel_it(
    classifier: OnnxClassifier, path: Path, pixels: NDArray[np.uint8], threads: int
) -> dict[str, Call]:
    """Less and more than `OURS`: the session alone, and whole answers, with labels and probabilities, of one digit."""
    session = _session(path.read_bytes(), threads)
    digit = fit(bundled("mnist")[:1], classifier.channels, *classifier.size)
    stream = io.BytesIO()
    Image.fromarray(digit[0, 0]).save(stream, "PNG")
    png = stream.getvalue()
    return {
        "ours, session alone": lambda: session.run(None, {"pixels": pixels}),
        "ours, predict an array": lambda: classifier.predict(digit),
        "ours, predict a PNG file": lambda: classifier.predict(png),
    }


def _compiled(model: LeNet5, x: torch.Tensor) -> Call:
    torch._dynamo.reset()  # the code is made for one number of threads
    run = torch.compile(model, dynamic=False)

    def call() -> None:
        with torch.inference_mode():
            run(x)

    call()
    return call


def _openvino(path: Path, pixels: np.ndarray, threads: int) -> Call:
    # It would report its use to its makers, and from a forked process, of which LiteRT's converter (JAX) warns.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino  # type: ignore[import-untyped]

    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(str(path), "CPU", options).create_infer_request()
    return lambda: request.infer({"pixels": pixels}, share_inputs=True)


def _opencv(path: Path, pixels: NDArray[np.uint8], threads: int) -> Call:
    import cv2

    cv2.setNumThreads(threads)
    net = cv2.dnn.readNetFromONNX(str(path))

    def call() -> object:
        net.setInput(pixels)
        return net.forward("logits")

    return call


def open_litert(path: Path, threads: int) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """What a file for LiteRT takes → its logits, in LiteRT's interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    with quiet():
        interpreter = Interpreter(str(path), num_threads=threads)
        interpreter.allocate_tensors()
    (taken,), (given,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(x: NDArray[Any]) -> NDArray[np.float32]:
        interpreter.set_tensor(taken["index"], x)
        interpreter.invoke()
        logits: NDArray[np.float32] = interpreter.get_tensor(given["index"])
        return logits

    return run


def _litert(path: Path, pixels: NDArray[np.uint8], threads: int) -> Call:
    run = open_litert(path, threads)
    return lambda: run(pixels)


def _to_ncnn(model: LeNet5, folder: Path) -> Path:
    """The network as pnnx converts it for ncnn, of one picture of floats 0 … 255."""
    path = export_onnx(model, folder / "floats.onnx", input="pixels_float")
    spec = importlib.util.find_spec("pnnx")
    assert spec is not None
    assert spec.origin is not None
    program = Path(spec.origin).with_name("pnnx")  # its Python part does no more than call it
    side = model.smallest_input
    shape = f"inputshape=[1,{model.in_chans},{side},{side}]f32"
    subprocess.run([program, path, shape, "fp16=0"], cwd=folder, check=True, capture_output=True)
    return folder / "floats.ncnn.param"


def _ncnn(path: Path, picture: NDArray[np.float32], threads: int) -> Call:
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    net.load_param(str(path))
    net.load_model(str(path.with_suffix(".bin")))

    def call() -> object:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(picture))
        return np.array(extractor.extract("out0")[1])

    return call


def matrix_products(threads: int) -> dict[str, Call]:
    """A float32 product of two `SIDE`×`SIDE` matrices, by torch and by onnxruntime."""
    torch.set_num_threads(threads)
    a, b = torch.rand(SIDE, SIDE), torch.rand(SIDE, SIDE)
    feed = {"a": a.numpy(), "b": b.numpy()}
    session = _session(_matmul(SIDE), threads)
    return {"torch": lambda: a @ b, "onnxruntime": lambda: session.run(None, feed)}


def _matmul(size: int) -> bytes:
    from onnx import TensorProto, helper

    a, b, c = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, size]) for name in "abc")
    graph = helper.make_graph([helper.make_node("MatMul", ["a", "b"], ["c"])], "product", [a, b], [c])
    data: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    ).SerializeToString()
    return data


def _session(model: bytes, threads: int) -> Any:
    onnxruntime = load_onnxruntime()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
