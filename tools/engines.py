"""Who reads our ONNX files: every kind of file in every engine at hand → docs/data/engines.json.

    python tools/engines.py [ENGINE …] [--venvs FOLDER]

Both networks, each input, precision and form, in batches of 1, 7 and 64 digits; a file is read when the labels are
onnxruntime's and the logits are near. Compilers that take half a minute a file (`SLOW`) get the fast form alone, with
the inputs `normalized` and `pixels`. An engine that needs a Python environment of its own gets one in FOLDER (by
default beneath the user's cache), with pip. `tests/export/test_engines.py` runs the `READERS` that are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

NETWORKS = ("lenet5_modern", "lenet5_classic")
INPUTS = ("normalized", "pixels", "pixels_float")
CASES = [
    (network.split("_")[1], input, precision, form)
    for network in NETWORKS
    for precision in ("fp32", "fp16", "int8")
    for input in INPUTS
    for form in ("fast", "plain")
]
BATCHES = (1, 7, 64)
# How far logits may be from onnxruntime's, as a share of the largest one. int8 is computed in integers by one engine
# and in floats by another, and they round differently here and there.
NEAR = {"fp32": 1e-4, "fp16": 1e-2, "int8": 5e-2}

# A reader opens a file and gives the function from a batch to logits. It imports its engine itself, and nothing of this
# package: it runs in the engine's own environment.
Run = Callable[[np.ndarray], np.ndarray]


def onnxruntime(path: str) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(["logits"], {name: batch})[0]


def quantize_static(path: str) -> Run:
    """The file that onnxruntime's own quantizer makes of ours, in onnxruntime."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    digits = np.load(Path(path).with_name("digits.npy"))
    name = _input_of(path)

    class Digits(quantization.CalibrationDataReader):
        feeds = iter([{name: _as_input(digits, path)}])

        def get_next(self) -> Any:
            return next(self.feeds, None)

    quant_pre_process(path, f"{path}.prepared")
    quantization.quantize_static(f"{path}.prepared", f"{path}.quantized", Digits(), per_channel=True, reduce_range=True)
    return onnxruntime(f"{path}.quantized")


def version_converter(path: str) -> Run:
    """The file that `onnx.version_converter` makes of ours for opset 14, in onnxruntime; it knows no way to 13."""
    import onnx
    from onnx import version_converter

    onnx.save(version_converter.convert_version(onnx.load(path), 14), f"{path}.converted")
    return onnxruntime(f"{path}.converted")


def onnx_reference(path: str) -> Run:
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(path)
    return lambda batch: evaluator.run(["logits"], {evaluator.input_names[0]: batch})[0]


def openvino(path: str) -> Run:
    import openvino

    # Float32 arithmetic: on processors with bfloat16 OpenVINO would choose that.
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda batch: compiled([batch])["logits"]


def opencv(path: str) -> Run:
    import cv2

    net = cv2.dnn.readNetFromONNX(path)

    def run(batch: np.ndarray) -> np.ndarray:
        net.setInput(batch)
        return net.forward("logits").copy()

    return run


def onnx2torch(path: str) -> Run:
    import torch
    from onnx2torch import convert

    module = convert(path).eval()

    def run(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(batch)).numpy()

    return run


def tract(path: str) -> Run:
    import tract

    model = tract.onnx().load(path)
    model.set_input_fact(0, f"batch,{_picture(path)},{'u8' if _is_uint8(path) else 'f32'}")
    runnable = model.into_model().into_runnable()
    return lambda batch: runnable.run([batch])[0].to_numpy()


def tvm(path: str) -> Run:
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    module = relax.transform.DecomposeOpsForInference()(from_onnx(onnx.load(path)))
    machine = relax.VirtualMachine(tvm.compile(module, "llvm"), tvm.cpu())
    return lambda batch: machine["main"](tvm.runtime.tensor(batch)).numpy()


def iree(path: str) -> Run:
    import iree.compiler
    from iree import runtime

    imported = f"{path}.mlir"
    subprocess.run([Path(sys.executable).with_name("iree-import-onnx"), path, "-o", imported], check=True)
    compiled = iree.compiler.compile_file(imported, target_backends=["llvm-cpu"], input_type="onnx")
    module = runtime.load_vm_flatbuffer(compiled, driver="local-sync")
    # Beside the network's own function there is one that waits for nobody ("…$async") and one that initializes.
    (name,) = (name for name in module.vm_module.function_names if name.isidentifier() and not name.startswith("_"))
    return lambda batch: getattr(module, name)(batch).to_host()


def ncnn(path: str) -> Run:
    """By way of pnnx, ncnn's converter; picture by picture, as ncnn knows no batches."""
    import ncnn

    kind = "u8" if _is_uint8(path) else "f32"
    pnnx = Path(importlib.util.find_spec("pnnx").origin).with_name("pnnx")  # the program; its Python part needs torch
    command = [pnnx, path, f"inputshape=[1,{_picture(path)}]{kind}", "fp16=0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(path).parent)
    stem = str(Path(path).with_name(Path(path).stem.replace("-", "_")))  # pnnx does so
    if not Path(f"{stem}.ncnn.param").exists():
        raise RuntimeError(f"pnnx: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    net = ncnn.Net()
    net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    if net.load_param(f"{stem}.ncnn.param") or net.load_model(f"{stem}.ncnn.bin"):
        raise RuntimeError("ncnn cannot load what pnnx wrote")

    def one(picture: np.ndarray) -> np.ndarray:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(picture).clone())  # ncnn subtracts in place
        status, out = extractor.extract("out0")
        if status:
            raise RuntimeError(f"ncnn: status {status}")
        return np.array(out).reshape(-1)

    return lambda batch: np.stack([one(picture) for picture in batch])


_RUNTIMES = (onnxruntime, openvino, onnx_reference, opencv, ncnn, tract, tvm, iree)
_CONVERTERS = (onnx2torch, quantize_static, version_converter)
READERS: dict[str, Callable[[str], Run]] = {reader.__name__: reader for reader in (*_RUNTIMES, *_CONVERTERS)}


# Engine as the manual names it → its reader, and what pip installs for it ('' : what this environment has).
ENGINES: dict[str, tuple[str, str]] = {
    "onnxruntime 1.15": ("onnxruntime", "onnxruntime==1.15.1 numpy<2"),
    "onnxruntime 1.17": ("onnxruntime", "onnxruntime==1.17.3 numpy<2"),
    "onnxruntime 1.20": ("onnxruntime", "onnxruntime==1.20.0 numpy"),
    "onnxruntime": ("onnxruntime", ""),
    "OpenVINO": ("openvino", ""),
    "onnx.reference": ("onnx_reference", ""),
    "OpenCV 4.8": ("opencv", "opencv-python-headless==4.8.1.78 numpy<2"),
    "OpenCV 4.11": ("opencv", "opencv-python-headless==4.11.0.86 numpy<2.3"),
    "OpenCV 4.14": ("opencv", "opencv-python-headless==4.14.0.94 numpy"),
    "OpenCV 5": ("opencv", "opencv-python-headless==5.0.0.93 numpy"),
    "ncnn (pnnx)": ("ncnn", "ncnn pnnx numpy"),
    "tract": ("tract", "tract numpy"),
    "TVM": ("tvm", "apache-tvm onnx numpy"),
    "IREE": ("iree", "iree-base-compiler iree-base-runtime onnx numpy"),
    "onnx2torch": ("onnx2torch", ""),
    "quantize_static": ("quantize_static", ""),
    "version_converter": ("version_converter", ""),
}


SLOW = ("TVM", "IREE")


def stems_of(engine: str) -> list[str]:
    """The names of the files that an engine is given."""
    slow = engine in SLOW
    return ["-".join(case) for case in CASES if not slow or (case[1] != "pixels_float" and case[3] == "fast")]


def limit_of(engine: str, stem: str) -> str:
    """Why an engine cannot read a kind of file, whoever wrote it; else ''."""
    _, input, precision, _ = stem.split("-")
    if engine == "onnxruntime 1.15" and precision == "int8":
        return "opset 19 is too new: export with `opset=17`"
    if engine == "ncnn (pnnx)" and precision != "fp32":
        return "reads float32 files, and makes float16 and int8 of them itself"
    if engine == "ncnn (pnnx)" and input == "pixels":
        return 'no uint8 inputs: export with `input="pixels_float"`'
    if engine == "tract" and precision == "fp16":
        return "no float16 Gemm"
    if engine == "onnx2torch" and precision == "int8":
        return "no QuantizeLinear"
    if engine == "quantize_static" and precision != "fp32":
        return "quantizes float32 files"
    return ""


def _picture(path: str) -> str:
    return ",".join(map(str, np.load(Path(path).with_name("digits.npy"), mmap_mode="r").shape[1:]))


def _is_uint8(path: str) -> bool:
    return "-pixels-" in path


def _input_of(path: str) -> str:
    return "input" if "-normalized-" in path else "pixels"


def _as_input(digits: np.ndarray, path: str) -> np.ndarray:
    """uint8 digits as the file takes them: its name says how."""
    if _is_uint8(path):
        return digits
    values = digits.astype(np.float32)
    if "-normalized-" not in path:
        return values
    mean, std = json.loads(Path(path).with_name("normalization.json").read_text())[Path(path).name.split("-")[0]]
    return ((values / np.float32(255) - np.float32(mean)) / np.float32(std)).astype(np.float32)


def judge(found: np.ndarray, wanted: np.ndarray, near: float) -> str:
    """'' when the logits are the wanted ones, else what is wrong."""
    if found.shape != wanted.shape:
        return f"shape {found.shape} in place of {wanted.shape}"
    labels = int((found.argmax(1) != wanted.argmax(1)).sum())
    gap = float(np.abs(found - wanted).max() / max(10.0, np.abs(wanted).max()))
    if labels or not gap <= near:
        return f"wrong: {labels} of {len(found)} labels, logits {gap:.1g} of the largest"
    return ""


def try_file(reader: Callable[[str], Run], path: str) -> str:
    """'' when an engine answers as onnxruntime in every batch size, else what it says."""
    digits, wanted = (np.load(name) for name in (Path(path).with_name("digits.npy"), f"{path}.npy"))
    batches = _as_input(digits, path)
    near = NEAR["int8" if reader is quantize_static else Path(path).stem.split("-")[2]]
    try:
        run = reader(path)
        for size in BATCHES:
            problem = judge(run(np.ascontiguousarray(batches[:size])), wanted[:size], near)
            if problem:
                return f"{problem}, batch {size}"
    except Exception as error:  # an engine may raise anything
        return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return ""


def write_cases(folder: Path) -> list[Path]:
    """Every kind of file, with digits and onnxruntime's logits beside them."""
    import lenet_zoo
    from lenet_zoo.export.calibration import bundled

    digits = bundled("mnist")[: max(BATCHES) * 3 : 3, None]
    np.save(folder / "digits.npy", digits)
    models = {name.split("_")[1]: lenet_zoo.create_model(name, pretrained=True) for name in NETWORKS}
    cards = {name: model.card.input for name, model in models.items()}
    (folder / "normalization.json").write_text(json.dumps({name: (c.mean[0], c.std[0]) for name, c in cards.items()}))
    paths = []
    for network, input, precision, form in CASES:
        path = folder / f"{network}-{input}-{precision}-{form}.onnx"
        lenet_zoo.export_onnx(models[network], path, input=input, precision=precision, fast=form == "fast")
        np.save(f"{path}.npy", onnxruntime(str(path))(_as_input(digits, str(path))))
        paths.append(path)
    return paths


def read_all(reader: str, paths: list[str]) -> None:
    """Print one line a file: its path, a tab, and what `try_file` finds. The engine's own process does this."""
    for path in paths:
        print(path, try_file(READERS[reader], path), sep="\t", flush=True)


def in_own_process(python: str, reader: str, paths: list[Path]) -> Iterator[tuple[Path, str]]:
    """What `read_all` prints. A file on which the process dies is noted, and a new process takes the rest."""
    left = [str(path) for path in paths]
    while left:
        command = [python, __file__, "--read", reader, *left]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
        for path, problem in found:
            left.remove(path)
            yield Path(path), problem
        if left and done.returncode:
            last = (done.stderr.strip().splitlines() or [""])[-1]
            yield Path(left.pop(0)), f"the process died ({done.returncode}): {last}"[:160]


def environment(folder: Path, engine: str, packages: str) -> str:
    """The Python that has an engine: this one, or one of a virtual environment that is made where it is missing."""
    if not packages:
        return sys.executable
    place = folder / engine.replace(" ", "-")
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *packages.split()], check=True)
    return str(python)


def version_of(python: str, reader: str) -> str:
    package = {
        "opencv": "opencv-python-headless",
        "onnx_reference": "onnx",
        "tvm": "apache-tvm",
        "iree": "iree-base-runtime",
        "quantize_static": "onnxruntime",
        "version_converter": "onnx",
    }
    name = package.get(reader, reader)
    code = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
    return subprocess.run([python, "-c", code, name], capture_output=True, text=True, check=False).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"by default all: {', '.join(ENGINES)}")
    parser.add_argument("--venvs", type=Path, default=Path.home() / ".cache" / "lenet_zoo-engines")
    chosen = parser.parse_args()
    from lenet_zoo._files import write_atomic

    target = Path(__file__).parents[1] / "docs" / "data" / "engines.json"
    rows = json.loads(target.read_text()) if target.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        paths = write_cases(Path(folder))
        for engine in chosen.engines or ENGINES:
            reader, packages = ENGINES[engine]
            python = environment(chosen.venvs, engine, packages)
            limits = {stem: limit_of(engine, stem) for stem in stems_of(engine)}
            asked = [path for path in paths if limits.get(path.stem) == ""]
            found = {path.stem: problem.replace(folder, "") for path, problem in in_own_process(python, reader, asked)}
            found = {stem: found.get(stem, limit) for stem, limit in limits.items()}
            rows[engine] = {"version": version_of(python, reader), "files": found}
            print(engine, rows[engine]["version"], {name: problem for name, problem in found.items() if problem})
            ordered = {engine: rows[engine] for engine in ENGINES if engine in rows}
            write_atomic(target, json.dumps(ordered, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        read_all(sys.argv[2], sys.argv[3:])
    else:
        main()
