"""The file that reads lines, of any number and any width, in the engines that it is for."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

import lenet_zoo
from lenet_zoo.errors import to_install

WEB = Path(__file__).parents[2] / "docs" / "demo" / "node_modules" / "onnxruntime-web"
SHAPES = ((1, 28), (2, 60), (3, 203))


@pytest.fixture(scope="module", params=["lenet5_modern.numbers", "lenet5_classic.numbers"])
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = lenet_zoo.create_model(request.param, pretrained=True)
    return Path(lenet_zoo.export_onnx(model, tmp_path_factory.mktemp("lines") / "numbers.onnx", input="pixels"))


@pytest.fixture(scope="module")
def lines() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (count, 1, 28, width), np.uint8) for count, width in SHAPES]


@pytest.fixture(scope="module")
def wanted(path: Path, lines: list[np.ndarray]) -> list[np.ndarray]:
    """onnxruntime's answers along the lines, one every 2 px."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = [session.run(["logits"], {"pixels": pixels})[0] for pixels in lines]
    assert [one.shape for one in found] == [(n, 11, 1, (width - 28) // 2 + 1) for n, width in SHAPES]
    return found


def close(found: Any, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_onnx_reference(path: Path, lines: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    evaluator = ReferenceEvaluator(str(path))
    for pixels, answers in zip(lines[:2], wanted, strict=False):  # the reference is slow
        close(evaluator.run(["logits"], {"pixels": pixels})[0], answers)


def test_openvino(path: Path, lines: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    openvino = pytest.importorskip("openvino", reason=f"needs OpenVINO: {to_install('test')}")
    # Float32 arithmetic: on processors with bfloat16 OpenVINO would choose that.
    compiled = openvino.Core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for pixels, answers in zip(lines, wanted, strict=True):  # one compiled network for all widths
        close(compiled({"pixels": pixels})["logits"], answers)


SCRIPT = """
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
const [web, model, lines] = process.argv.slice(2);
const ort = await import(pathToFileURL(web + "/dist/ort.node.min.mjs").href);
ort.env.wasm.numThreads = 1;
const session = await ort.InferenceSession.create(readFileSync(model), { executionProviders: ["wasm"] });
const found = [];
for (const { pixels, dims } of JSON.parse(readFileSync(lines, "utf8"))) {
  const { logits } = await session.run({ pixels: new ort.Tensor("uint8", Uint8Array.from(pixels), dims) });
  found.push({ dims: logits.dims, data: [...logits.data] });
}
console.log(JSON.stringify(found));
"""


def test_onnxruntime_web(path: Path, lines: list[np.ndarray], wanted: list[np.ndarray], tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or not (WEB / "dist" / "ort.node.min.mjs").is_file():
        pytest.skip("needs Node.js and the page's packages: npm --prefix docs/demo ci")
    (tmp_path / "run.mjs").write_text(SCRIPT, "utf-8")
    told = [{"pixels": pixels.ravel().tolist(), "dims": pixels.shape} for pixels in lines]
    (tmp_path / "lines.json").write_text(json.dumps(told), "utf-8")
    command = [node, str(tmp_path / "run.mjs"), str(WEB), str(path), str(tmp_path / "lines.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for one, answers in zip(json.loads(done.stdout), wanted, strict=True):
        close(np.array(one["data"], np.float32).reshape(one["dims"]), answers)
