"""The notebooks for teachers run, come to what their text says, and are stored with their outputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = ("finetune", "lenet_from_scratch")


def stored(name: str) -> Any:
    return nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)


def code_of(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(notebook: Any) -> str:
    return "".join(
        output.text
        for cell in code_of(notebook)
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stdout"
    )


def executed(name: str, folder: Path) -> Any:
    notebook = stored(name)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def check_finetune(notebook: Any) -> None:
    text = printed(notebook)
    assert "809 to train on, 90 to watch meanwhile, 898 to test on" in text
    accuracy = {name: float(value) for name, value in re.findall(r"(right|from scratch|fine-tuned): ([\d.]+) %", text)}
    assert accuracy["fine-tuned"] > accuracy["right"] > 90
    assert accuracy["fine-tuned"] > accuracy["from scratch"] + 2
    onnx, torch = re.search(r"ONNX: (\d+) of 898 right, torch: (\d+)", text).groups()  # type: ignore[union-attr]
    assert onnx == torch
    pictures = [
        output for cell in code_of(notebook) for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 3
    found = re.findall(r"(fine-tuned|1998): (\d+) to the right picture, (\d+) to the others", text)
    (tuned_own, tuned_others), (own, others) = [(int(a), int(b)) for _, a, b in found]
    assert own < 84 < others  # 84: an F6 of zeros
    assert 84 < tuned_own < tuned_others < 1.5 * tuned_own


def check_lenet_from_scratch(notebook: Any) -> None:
    text = printed(notebook)
    forward = re.findall(r"^(\w+): largest difference (\S+)$", text, re.M)
    backward = re.findall(r"^(\S+): largest difference (\S+) of (\S+)$", text, re.M)
    assert [name for name, _ in forward] == ["C1", "S2", "C3", "S4", "C5", "F6"]
    assert len(backward) == 12
    assert all(float(difference) < 1e-10 for _, difference in forward)
    assert all(float(difference) < 1e-10 < 0.1 < float(size) for _, difference, size in backward)
    before, after = [(float(e), int(right)) for e, right in re.findall(r"E = ([\d.]+), (\d+) % right", text)]
    assert after[0] < before[0] / 3
    assert after[1] > 60 > before[1]


CHECKS = {"finetune": check_finetune, "lenet_from_scratch": check_lenet_from_scratch}


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs(name: str, tmp_path: Path) -> None:
    CHECKS[name](executed(name, tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_stored_with_the_outputs_of_one_run_from_top_to_bottom(name: str) -> None:
    notebook = stored(name)
    nbformat.validate(notebook)
    CHECKS[name](notebook)
    assert [cell.execution_count for cell in code_of(notebook)] == list(range(1, len(code_of(notebook)) + 1))
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]
    assert not [one for one in outputs if one.output_type == "error" or one.get("name") == "stderr"]
    assert "/home/" not in str(outputs)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_named_in_the_readme(name: str) -> None:
    assert f"examples/{name}.ipynb" in (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
