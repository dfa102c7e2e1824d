"""Ratios measured in one run on one machine.

Times of two runs are not comparable: machines have neighbours and clocks that change. So every contestant takes its
turn in every round, and a ratio is the median over the rounds of the two times of one round.
"""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lenet_zoo.classify import OnnxClassifier
from lenet_zoo.errors import InputError
from lenet_zoo.export import export_onnx
from lenet_zoo.models._base import LeNet5
from lenet_zoo.registry import create_model

__all__ = ["Inference", "Row", "interleave", "machine", "multiply_adds", "plot_inference", "time_inference"]

OURS = "ours, onnxruntime"
_PRODUCT = "matrix product,"
_SIDE = 1024

# A turn lasts at least this long, so that one picture is timed over many calls.
_TURN_SECONDS = 0.03
# Threads of the contestant before spin for some time in wait of more work, onnxruntime's for tens of milliseconds, and
# would take a core from the next one.
_PAUSE_SECONDS = 0.1

Call = Callable[[], object]


@dataclass(frozen=True)
class Row:
    """One contestant with one batch size and number of threads.

    Attributes:
        threads, batch: cores that it may use, and pictures per call.
        name: who.
        microseconds: per picture, median over the rounds.
        pictures_per_second: from that.
        ratio: how many times longer than `OURS` it takes, median over the rounds.
        share: of the machine's float32 matrix-product rate with that many threads, median over the rounds.
    """

    threads: int
    batch: int
    name: str
    microseconds: float
    pictures_per_second: float
    ratio: float
    share: float


@dataclass(frozen=True)
class Inference:
    """What `time_inference` measured.

    Attributes:
        model: the network's name.
        machine: processor and versions.
        rounds: how many turns each contestant had.
        multiply_adds: of the network, for one picture.
        ceiling: threads → multiply-adds per second of a float32 matrix product of size 1,024, median.
        rows: the results.
        absent: contestant → why it did not take part.
    """

    model: str
    machine: dict[str, str]
    rounds: int
    multiply_adds: int
    ceiling: dict[int, float]
    rows: list[Row]
    absent: dict[str, str]


def machine() -> dict[str, str]:
    """The processor, how many cores this process may use, and the versions of what computes."""
    processor = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                processor = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass  # not Linux
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    packages = {name: version(name) for name in ("torch", "onnxruntime", "numpy")}
    return {"processor": processor, "cores": str(cores), "python": platform.python_version(), **packages}


def multiply_adds(model: LeNet5) -> int:
    """Multiply-adds of one picture of nominal size, of the layers that have kernels; 416,520 for lenet5_modern."""
    side = model.smallest_input
    x = torch.zeros(1, model.in_chans, side, side)
    with torch.inference_mode():
        maps = model.forward_intermediates(x, intermediates_only=True)
    places = {name: maps[i].shape[2:].numel() for i, name in ((0, "C1"), (2, "C3"), (4, "C5"))}
    layers = {
        name: getattr(model, name).weight.numel() * places.get(name, 1) for name in ("C1", "C3", "C5", "F6", "output")
    }
    return sum(layers.values())


def interleave(calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """Let every call take its turn in every round; returns the seconds of one call, per round.

    A turn is one call to warm up and then as many as fill some 30 ms.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(_PAUSE_SECONDS)
            call()
            done, start = 0, time.perf_counter()
            while True:
                call()
                done += 1
                elapsed = time.perf_counter() - start
                if elapsed >= _TURN_SECONDS:
                    break
            times[name].append(elapsed / done)
    return times


def matrix_products(threads: int) -> dict[str, Call]:
    """A float32 matrix product of size 1,024, by torch and by onnxruntime."""
    torch.set_num_threads(threads)
    a, b = torch.rand(_SIDE, _SIDE), torch.rand(_SIDE, _SIDE)
    feed = {"a": a.numpy(), "b": b.numpy()}
    session = _session(_matmul(_SIDE), threads)
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
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


# --------------------------------------------------------------------------------------------------------- inference


def time_inference(
    name: str = "lenet5_modern",
    *,
    threads: Sequence[int] | None = None,
    batches: Sequence[int] = (1, 64, 1024),
    rounds: int = 15,
    compiled: bool = True,
    progress: Callable[[str], object] = lambda text: None,
) -> Inference:
    """Time a network in torch and in onnxruntime, side by side.

    Contestants: torch eager; torch.compile; a plain `torch.onnx.export` in onnxruntime; our float32 and int8 files in
    onnxruntime through `OnnxClassifier`; our float32 file in OpenVINO, where that is installed. Each is given what it
    takes (normalised float32, or uint8 pixels) and gives logits.

    Args:
        name: a network of the zoo, with weights.
        threads: numbers of threads to measure with; by default 1 and all cores of this process.
        batches: numbers of pictures per call.
        rounds: turns of each contestant.
        compiled: torch.compile takes part (compiling takes some 20 s per batch size).
        progress: called with a line of what is being done.

    Raises: InputError for a number below 1.
    """
    cores = int(machine()["cores"])
    threads = sorted({1, cores}) if threads is None else threads
    if not threads or not batches or min(rounds, *threads, *batches) < 1:
        raise InputError(f"threads={list(threads)}, batches={list(batches)}, rounds={rounds}: each at least 1")
    model = create_model(name, pretrained=True)
    if not isinstance(model, LeNet5):
        raise InputError(f"{name} is a {type(model).__name__}: lenet5_modern and lenet5_classic can be timed")
    before = torch.get_num_threads()
    rows: list[Row] = []
    absent: dict[str, str] = {}
    ceiling: dict[int, float] = {}
    macs = multiply_adds(model)
    try:
        with tempfile.TemporaryDirectory() as folder:
            files = _files(model, Path(folder))
            for count in threads:
                products = matrix_products(count)
                product_times: list[float] = []
                for batch in batches:
                    progress(f"{count} thread{'s' * (count > 1)}, batch {batch:,}")
                    calls = _contestants(model, files, count, batch, compiled, absent)
                    times = interleave(
                        {**calls, **{f"{_PRODUCT} {who}": call for who, call in products.items()}}, rounds
                    )
                    # The ceiling is the faster of the two, round by round, and has its turn among the others: the clock
                    # of a busy machine is not that of an idle one.
                    product = [
                        min(pair) for pair in zip(*(times.pop(f"{_PRODUCT} {who}") for who in products), strict=True)
                    ]
                    product_times += product
                    rows += _rows(times, count, batch, macs, product)
                ceiling[count] = _SIDE**3 / statistics.median(product_times)
    finally:
        torch.set_num_threads(before)
    return Inference(name, machine(), rounds, macs, ceiling, rows, absent)


def _rows(times: dict[str, list[float]], threads: int, batch: int, macs: int, product: list[float]) -> list[Row]:
    rows = []
    for name, seconds in times.items():
        per_picture = statistics.median(seconds) / batch
        ratio = statistics.median(one / ours for one, ours in zip(seconds, times[OURS], strict=True))
        ideal = [macs * batch * each / _SIDE**3 for each in product]  # at the product's rate in the same round
        share = statistics.median(best / one for best, one in zip(ideal, seconds, strict=True))
        rows.append(Row(threads, batch, name, 1e6 * per_picture, 1 / per_picture, ratio, share))
    return rows


def _files(model: LeNet5, folder: Path) -> dict[str, Path]:
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


def _contestants(
    model: LeNet5, files: Mapping[str, Path], threads: int, batch: int, compiled: bool, absent: dict[str, str]
) -> dict[str, Call]:
    side = model.smallest_input
    pixels = np.random.default_rng(0).integers(0, 256, (batch, side, side), dtype=np.uint8)
    x = torch.from_numpy(pixels[:, None]).float() / 255
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
    if compiled:
        try:
            calls["torch.compile"] = _compiled(model, x)
        except Exception as error:  # no compiler, or one that the installed torch cannot use
            absent["torch.compile"] = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
    try:
        calls["ours, OpenVINO"] = _openvino(files["fp32"], pixels[:, None], threads)
    except ImportError:
        absent["OpenVINO"] = "not installed"
    return calls


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


def plot_inference(result: Inference, path: str | os.PathLike[str]) -> Path:
    """Draw pictures per second, one panel per number of threads and batch size; .png, .svg or .pdf by the suffix.

    Raises: MissingExtraError without matplotlib.
    """
    from lenet_zoo import figures

    return figures.save(figures.bench(asdict(result)), path)
