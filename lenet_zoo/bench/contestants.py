"""Who takes part when inference is timed: one network in several engines, and a matrix product for comparison."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lenet_zoo._onnxruntime import load_onnxruntime
from lenet_zoo.bench.timing import Call
from lenet_zoo.classify import OnnxClassifier
from lenet_zoo.errors import MissingExtraError, to_install
from lenet_zoo.export import export_onnx
from lenet_zoo.models._base import LeNet5

__all__ = ["OURS", "SIDE", "check_exporter", "contestants", "export_files", "matrix_products"]

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
    """The network as ONNX files: 'plain', as torch.onnx.export writes it; 'fp32' and 'int8', as export_onnx does."""
    side = model.smallest_input
    x = torch.zeros(2, model.in_chans, side, side)
    plain = folder / "plain.onnx"
    torch.onnx.export(
        model, (x,), plain, dynamo=True, external_data=False, dynamic_shapes=({0: "batch"},), verbose=False
    )
    return {
        "plain": plain,
        "fp32": export_onnx(model, folder / "fp32.onnx", input="pixels"),
        "int8": export_onnx(model, folder / "int8.onnx", input="pixels", precision="int8"),
    }


def contestants(
    model: LeNet5, files: Mapping[str, Path], threads: int, batch: int, compiled: bool
) -> tuple[dict[str, Call], dict[str, str]]:
    """What is to be timed, each a call on the same random pictures.

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
    try:
        calls["ours, OpenVINO"] = _openvino(files["fp32"], pixels, threads)
    except ImportError:
        absent["OpenVINO"] = "not installed"
    return calls, absent


def _compiled(model: LeNet5, x: torch.Tensor) -> Call:
    torch._dynamo.reset()  # the code is made for one number of threads
    run = torch.compile(model, dynamic=False)

    def call() -> None:
        with torch.inference_mode():
            run(x)

    call()
    return call


def _openvino(path: Path, pixels: np.ndarray, threads: int) -> Call:
    import openvino  # type: ignore[import-untyped]

    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(str(path), "CPU", options).create_infer_request()
    return lambda: request.infer({"pixels": pixels}, share_inputs=True)


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
