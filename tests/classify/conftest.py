from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import lenet_zoo


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Write an ONNX file of a network with random weights; the same request gives the same file."""
    folder = tmp_path_factory.mktemp("exported")
    files: dict[str, Path] = {}

    def write(name: str = "lenet5_modern", model: dict[str, Any] | None = None, **options: Any) -> Path:
        key = repr((name, model, options))
        if key not in files:
            torch.manual_seed(1)
            network = lenet_zoo.create_model(name, **(model or {}))
            with torch.no_grad():
                if name.startswith("lenet5_modern"):
                    for parameter in network.parameters():
                        parameter.mul_(2.5)  # logits of a trained network's size
            files[key] = lenet_zoo.export_onnx(network, folder / f"{len(files)}.onnx", **options)
        return files[key]

    return write
