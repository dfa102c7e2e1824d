"""transformers, through its wrapper of timm: `pip install ".[ecosystem]"`, then `pytest tests/ecosystem`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import lenet_zoo
from lenet_zoo.errors import to_install
from lenet_zoo.hub import hub_files
from lenet_zoo.models._card import weight_bytes
from lenet_zoo.models.lenet5_classic import rbf_codes

transformers = pytest.importorskip("transformers", reason=f"needs transformers: {to_install('ecosystem')}")
DIGIT = Path(__file__).parents[1] / "fixtures" / "pictures" / "mnist_like.png"


@pytest.fixture(params=["lenet5_modern", "lenet5_classic"])
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A pretrained network; `tmp_path` is its folder."""
    model: Any = lenet_zoo.create_model(request.param, pretrained=True)
    for name, text in hub_files(model, model.card).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "model.safetensors").write_bytes(weight_bytes(model.state_dict(), {"format": "pt"}))
    return model


def test_the_auto_classes_load_the_folder_as_it_stands(network: Any, tmp_path: Path) -> None:
    model = transformers.AutoModelForImageClassification.from_pretrained(tmp_path)
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    pixels = processor(Image.open(DIGIT).convert("L"))["pixel_values"]
    torch.testing.assert_close(model(pixels).logits, network(pixels))
    assert model.config.id2label == dict(enumerate("0123456789"))


def test_the_pipeline_reads_colour_with_the_networks_own_preparation(network: Any, tmp_path: Path) -> None:
    """transformers' pipeline makes three channels of every picture."""
    read = transformers.pipeline("image-classification", str(tmp_path))
    best = read(str(DIGIT))[0]
    assert best["label"] == "8"
    wide = Image.open(DIGIT).convert("RGB").resize((60, 40))
    ours = lenet_zoo.create_transform(network)(wide)
    torch.testing.assert_close(read.image_processor(wide)["pixel_values"], ours[None])


def test_the_processor_takes_tensors(network: Any, tmp_path: Path) -> None:
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path)
    pixels = torch.from_numpy(np.array(Image.open(DIGIT).convert("RGB")))
    ours = lenet_zoo.create_transform(network)(Image.open(DIGIT))
    torch.testing.assert_close(processor(pixels.permute(2, 0, 1))["pixel_values"], ours[None])


def test_another_number_of_classes_starts_from_finite_weights(network: Any, tmp_path: Path) -> None:
    model = transformers.AutoModelForImageClassification.from_pretrained(
        tmp_path, num_labels=36, ignore_mismatched_sizes=True
    )
    output = model.timm_model.output
    assert torch.isfinite(output.weight).all()
    if network.architecture == "lenet5_classic":
        assert output.weight.tolist() == rbf_codes(36)
    assert torch.equal(model.timm_model.F6.weight, network.F6.weight)
