"""The notebook for teachers runs from top to bottom, and comes to what its text says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOK = Path(__file__).parents[1] / "examples" / "finetune.ipynb"


def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    printed = "".join(
        output.text
        for cell in code
        for output in cell.outputs
        if output.output_type == "stream" and output.name == "stdout"
    )
    assert "809 to train on, 90 to watch meanwhile, 898 to test on" in printed
    accuracy = {
        name: float(value) for name, value in re.findall(r"(right|from scratch|fine-tuned): ([\d.]+) %", printed)
    }
    assert accuracy["fine-tuned"] > accuracy["right"] > 90
    assert accuracy["fine-tuned"] > accuracy["from scratch"] + 2
    onnx, torch = re.search(r"ONNX: (\d+) of 898 right, torch: (\d+)", printed).groups()  # type: ignore[union-attr]
    assert onnx == torch
    pictures = [output for cell in code for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 3
    assert list(tmp_path.iterdir()) == []


def test_the_notebook_is_stored_without_output() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in notebook.cells if cell.cell_type == "code")
