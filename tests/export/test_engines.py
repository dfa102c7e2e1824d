"""Our files in the engines that are installed: `tools/engines.py` tries them in more, and more versions of them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from lenet_zoo.errors import to_install

TOOL = Path(__file__).parents[2] / "tools" / "engines.py"
# openvino and onnx.reference are in test_consumers.py.
MODULES = {
    "OpenCV 5": "cv2",
    "onnx2torch": "onnx2torch",
    "ncnn (pnnx)": "pnnx",
    "tract": "tract",
    "quantize_static": "onnxruntime",
    "version_converter": "onnx",
}


def load_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("engines", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


engines = load_tool()
STEMS = ["-".join(case) for case in engines.CASES]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with every kind of file."""
    folder = tmp_path_factory.mktemp("files")
    engines.write_cases(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("engine", MODULES)
def test_engine_answers_as_onnxruntime(files: Path, engine: str, stem: str) -> None:
    pytest.importorskip(MODULES[engine], reason=f"{engine} is not installed: {to_install('engines')}")
    limit = engines.limit_of(engine, stem)
    if limit:
        pytest.skip(f"{engine}: {limit}")
    reader = engines.READERS[engines.ENGINES[engine][0]]
    assert engines.try_file(reader, str(files / f"{stem}.onnx")) == ""


@pytest.mark.parametrize("stem", ["modern-pixels-fp32-fast", "classic-normalized-int8-plain"])
def test_wrong_answers_are_noticed(files: Path, stem: str) -> None:
    path = str(files / f"{stem}.onnx")
    run = engines.onnxruntime(path)
    found = {
        engines.try_file(lambda _, f=f: f, path)[:6]
        for f in (lambda x: run(x)[::-1], lambda x: run(x) * 2, lambda x: run(x)[:1], lambda x: run(x) * float("nan"))
    }
    assert found == {"wrong:", "shape "}
    assert engines.try_file(lambda _: 1 / 0, path) == "ZeroDivisionError: division by zero"


def test_the_manual_names_every_file_that_an_engine_does_not_read() -> None:
    rows = json.loads((TOOL.parents[1] / "docs" / "data" / "engines.json").read_text(encoding="utf-8"))
    assert list(rows) == list(engines.ENGINES)
    for engine, row in rows.items():
        assert row["version"]
        assert {stem.split("-")[0] + stem.split("-")[2] for stem in row["files"]} == {
            network + precision for network in ("modern", "classic") for precision in ("fp32", "fp16", "int8")
        }
        assert row["files"] == {stem: engines.limit_of(engine, stem) for stem in engines.stems_of(engine)}, engine
