"""The files in the hands of programs that are not ours."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from PIL import Image

import lenet_zoo
from lenet_zoo.errors import to_install
from lenet_zoo.export.calibration import bundled

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=["fp32", "int8"])
def precision(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=["lenet5_modern", "lenet5_classic"])
def artefact(request: pytest.FixtureRequest, precision: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = lenet_zoo.create_model(request.param, pretrained=True)
    path = tmp_path_factory.mktemp("artefact") / f"{request.param}.{precision}.onnx"
    return lenet_zoo.export_onnx(model, path, input="pixels", precision=precision, probabilities=True)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return bundled("mnist")[:40, None]


@pytest.fixture(scope="module")
def answers(artefact: Path, pixels: np.ndarray) -> list[np.ndarray]:
    """onnxruntime's logits and probabilities."""
    session = onnxruntime.InferenceSession(artefact, providers=["CPUExecutionProvider"])
    return session.run(["logits", "probabilities"], {"pixels": pixels})


def test_onnxruntime_batch_by_batch(artefact: Path, pixels: np.ndarray, answers: list[np.ndarray]) -> None:
    session = onnxruntime.InferenceSession(artefact, providers=["CPUExecutionProvider"])
    for size in (1, 3, 40):
        logits, probabilities = session.run(None, {"pixels": pixels[:size]})
        np.testing.assert_allclose(logits, answers[0][:size], rtol=1e-5, atol=1e-3)
        np.testing.assert_allclose(probabilities, answers[1][:size], atol=1e-4)
        np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


def test_onnx_reference(artefact: Path, pixels: np.ndarray, answers: list[np.ndarray], precision: str) -> None:
    # onnxruntime computes int8 in integers, the reference in floats: a rounding apart, here and there one step.
    logits, probabilities = ReferenceEvaluator(str(artefact)).run(None, {"pixels": pixels})
    tolerance = 1e-5 if precision == "fp32" else 0.02
    assert np.abs(logits - answers[0]).max() <= tolerance * np.abs(answers[0]).max()
    assert np.array_equal(logits.argmax(1), answers[0].argmax(1))
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


def test_openvino(artefact: Path, pixels: np.ndarray, answers: list[np.ndarray], precision: str) -> None:
    openvino = pytest.importorskip("openvino", reason=f"needs OpenVINO: {to_install('test')}")
    # Float32 arithmetic: on processors with bfloat16 OpenVINO would choose that.
    compiled = openvino.Core().compile_model(str(artefact), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = compiled({"pixels": pixels})
    logits = found["logits"]
    tolerance = 1e-5 if precision == "fp32" else 0.03
    assert np.abs(logits - answers[0]).max() <= tolerance * np.abs(answers[0]).max()
    assert np.array_equal(logits.argmax(1), answers[0].argmax(1))
    np.testing.assert_allclose(found["probabilities"].sum(1), 1, atol=1e-5)


def script_of_the_docs() -> str:
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(# read_digit\.py.*?)```", page, re.DOTALL)
    return script


def test_script_without_this_package(
    artefact: Path, pixels: np.ndarray, answers: list[np.ndarray], tmp_path: Path
) -> None:
    script = script_of_the_docs()
    assert "lenet_zoo" not in script.replace("lenet_zoo.export_onnx", "")
    code = [line for line in script.splitlines() if line.strip() and not line.startswith("#")]
    assert len(code) <= 10
    (tmp_path / "read_digit.py").write_text(script, encoding="utf-8")
    Image.fromarray(pixels[0, 0]).save(tmp_path / "digit.png")
    command = [sys.executable, "read_digit.py", str(artefact), "digit.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    label, confidence = done.stdout.split()
    assert label == str(answers[0][0].argmax())
    assert float(confidence) == pytest.approx(float(answers[1][0].max()), abs=1e-3)


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment made by the install command of docs/deploy.md: what an ONNX file needs, and no torch."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^\$ (pip install --no-deps .+)$", page, re.MULTILINE)
    path = os.pathsep.join([str(python.parent), os.environ["PATH"]])
    done = subprocess.run(
        command, shell=True, cwd=ROOT, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    if "No matching distribution found" in done.stderr:
        pytest.skip(f"pip cannot reach a package index: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return python


def test_environment_without_torch(
    bare_python: Path, artefact: Path, pixels: np.ndarray, answers: list[np.ndarray], tmp_path: Path
) -> None:
    script = (
        "import importlib.util, sys, numpy as np, lenet_zoo\n"
        "assert not any(map(importlib.util.find_spec, ['torch', 'timm', 'onnx']))\n"
        "assert 'site-packages' in lenet_zoo.__file__\n"
        "classifier = lenet_zoo.OnnxClassifier(sys.argv[1])\n"
        "print(*[p.label for p in classifier.predict(np.load('pixels.npy')[:, 0])])\n"
        "print(classifier.predict('digit.png')[0].label)\n"
    )
    np.save(tmp_path / "pixels.npy", pixels)
    Image.fromarray(pixels[0, 0]).save(tmp_path / "digit.png")
    command = [bare_python, "-I", "-c", script, artefact]  # -I: whatever PYTHONPATH says
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    labels, one = done.stdout.splitlines()
    assert labels.split() == [str(i) for i in answers[0].argmax(1)]
    assert one == str(answers[0][0].argmax())
    command = [bare_python, "-I", "-m", "lenet_zoo", "predict", artefact, "digit.png", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)[0]["label"] == one
