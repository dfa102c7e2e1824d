"""What docs/demo keeps in the repository is what its scripts make of the shipped weights and data."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import onnxruntime
import pytest

import lenet_zoo
from lenet_zoo.datasets.loading import Dataset

DEMO = Path(__file__).parents[2] / "docs" / "demo"
STALE = "run `python docs/demo/make_models.py` and commit what it writes"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DEMO / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def make_models() -> ModuleType:
    return script("make_models")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_page_carries_the_shipped_weights(make_models: ModuleType, place: int) -> None:
    name = (*make_models.NAMES, make_models.NUMBERS)[place]
    path = make_models.file_of(name)
    committed = path.read_bytes()
    made = make_models.onnx_file(name, lenet_zoo.create_model(name, pretrained=True))
    assert committed == made, f"{path.name} is not of the weights {name}: {STALE}"


def test_the_page_describes_the_shipped_networks(make_models: ModuleType) -> None:
    models = {name: lenet_zoo.create_model(name, pretrained=True) for name in make_models.NAMES}
    made = make_models.text([make_models.description(name, model) for name, model in models.items()])
    committed = (DEMO / "src" / "networks.json").read_text(encoding="utf-8")
    assert committed == made, f"networks.json is not of these weights: {STALE}"
    numbers = make_models.numbers_description(lenet_zoo.create_model(make_models.NUMBERS, pretrained=True))
    committed = (DEMO / "src" / "numbers.json").read_text(encoding="utf-8")
    assert committed == make_models.text(numbers), f"numbers.json is not of these weights: {STALE}"


@pytest.mark.parametrize("place", [0, 1])
def test_half_precision_costs_no_digit(make_models: ModuleType, place: int, mnist_test: Dataset) -> None:
    name = make_models.NAMES[place]
    session = onnxruntime.InferenceSession(make_models.file_of(name), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"pixels": mnist_test.images[:, None].numpy()})
    correct = int((logits.argmax(1) == mnist_test.labels.numpy()).sum())
    assert correct == lenet_zoo.model_card(name)["metrics"]["test"]["correct"]


def test_the_samples_are_the_real_digits() -> None:
    pytest.importorskip("scipy")
    pytest.importorskip("sklearn")
    made = json.loads(script("make_samples").text())
    committed = json.loads((DEMO / "src" / "samples.json").read_text(encoding="ascii"))
    assert [sample["label"] for sample in committed] == list(range(10))
    for sample, again in zip(committed, made, strict=True):
        assert len(sample["strokes"]) == len(again["strokes"])
        for stroke, once_more in zip(sample["strokes"], again["strokes"], strict=True):
            np.testing.assert_allclose(stroke, once_more, atol=2e-3)  # the filters are scipy's, of any version


def test_the_lockfile_names_no_registry() -> None:
    packages = json.loads((DEMO / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    assert len(packages) > 10
    assert [name for name, package in packages.items() if "resolved" in package] == []
