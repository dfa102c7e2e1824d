"""The graph computes the model's function, in every configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import lenet_zoo
from lenet_zoo.classify import read_metadata
from lenet_zoo.export import export_onnx

from .conftest import NAMES, Build, normalized, pictures, reference, run

CONFIGURATIONS: list[tuple[dict[str, Any], tuple[int, int] | None]] = [
    ({}, None),
    (dict(num_classes=26), None),
    (dict(in_chans=3), None),
    (dict(num_classes=0), None),
    (dict(global_pool="max"), None),
    (dict(global_pool=""), None),
    (dict(drop_rate=0.5), None),
    ({}, (45, 62)),
    (dict(global_pool="max"), (36, 40)),
    (dict(global_pool=""), (28, 61)),
]
CLASSIC_ONLY: list[tuple[dict[str, Any], tuple[int, int] | None]] = [
    (dict(pad=0), None),
    (dict(pad=1), None),
    (dict(num_classes=3, characters="xyz"), None),
    (dict(num_classes=100), None),
]


@pytest.mark.parametrize("fast", [True, False], ids=["fast", "layerwise"])
@pytest.mark.parametrize("input", ["pixels", "normalized"])
@pytest.mark.parametrize(
    ("name", "options", "size"),
    [(name, *case) for name in NAMES for case in CONFIGURATIONS] + [("lenet5_classic", *case) for case in CLASSIC_ONLY],
    ids=str,
)
def test_graph_is_the_model(
    network: Build, tmp_path: Path, name: str, options: dict[str, Any], size: Any, input: str, fast: bool
) -> None:
    model = network(name, **options)
    path = export_onnx(model, tmp_path / "m.onnx", input=input, fast=fast, input_size=size)
    height, width = size or (model.smallest_input,) * 2
    pixels = pictures(5, model.in_chans, height, width)
    x = normalized(model, pixels)
    for batch in (1, 5):
        (found,) = run(path, (pixels if input == "pixels" else x)[:batch])
        wanted = reference(model, x[:batch])
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * max(10, np.abs(wanted).max()))


def test_a_normalisation_of_ones_own_is_folded_exactly(network: Build, tmp_path: Path) -> None:
    # With this mean the padding's zeros are no longer pixels of value 0.
    model = network("lenet5_modern")
    model.pretrained_cfg = dict(model.pretrained_cfg, mean=(0.1307,), std=(0.3081,))
    pixels = pictures(4, 1, 28, 28)
    (found,) = run(export_onnx(model, tmp_path / "m.onnx", input="pixels"), pixels)
    np.testing.assert_allclose(found, reference(model, normalized(model, pixels)), atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_shipped_weights_label_every_test_digit_as_torch_does(name: str, tmp_path: Path, mnist_test: Any) -> None:
    model = lenet_zoo.create_model(name, pretrained=True)
    pixels = mnist_test.images.numpy()[:, None]
    (found,) = run(export_onnx(model, tmp_path / "m.onnx", input="pixels"), pixels)
    wanted = reference(model, normalized(model, pixels))
    assert np.array_equal(found.argmax(1), wanted.argmax(1))
    assert np.abs(found - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_are_the_softmax_of_the_logits(network: Build, tmp_path: Path, name: str) -> None:
    path = export_onnx(network(name), tmp_path / "m.onnx", input="pixels", probabilities=True)
    logits, probabilities = run(path, pictures(3, 1, 28, 28))
    np.testing.assert_allclose(probabilities, torch.from_numpy(logits).softmax(1), atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_intermediates_are_the_layers_states(network: Build, tmp_path: Path, name: str) -> None:
    model = network(name)
    path = export_onnx(model, tmp_path / "m.onnx", intermediates=True)
    x = normalized(model, pictures(2, 1, 28, 28))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [output.name for output in session.get_outputs()] == ["logits", "C1", "S2", "C3", "S4", "C5", "F6"]
    found = session.run(["C1", "S2", "C3", "S4", "C5", "F6"], {"input": x})
    with torch.inference_mode():
        features, maps = model.forward_intermediates(torch.from_numpy(x))
        wanted = [*maps, model.forward_head(features, pre_logits=True)]
    for got, right in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, right.numpy(), atol=1e-5)


def test_half_precision_weights_are_exported_as_their_values(network: Build, tmp_path: Path) -> None:
    model = network("lenet5_modern").half()
    path = export_onnx(model, tmp_path / "m.onnx")
    x = normalized(model, pictures(2, 1, 28, 28))
    np.testing.assert_allclose(run(path, x)[0], reference(model.float(), x), atol=1e-4)


def test_model_keeps_mode_gradients_and_device(network: Build, tmp_path: Path) -> None:
    model = network("lenet5_classic").train()
    model.F6.eval()
    tensors = [*model.parameters(), *model.buffers()]
    before = [(value.data_ptr(), value.clone()) for value in tensors]
    export_onnx(model, tmp_path / "m.onnx")
    assert model.training
    assert model.C1.training
    assert not model.F6.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    for value, place, (pointer, same) in zip(tensors, [*model.parameters(), *model.buffers()], before, strict=True):
        assert value is place
        assert value.data_ptr() == pointer
        assert torch.equal(value, same)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: the export of a GPU's network is not tested")
@pytest.mark.parametrize("name", NAMES)
def test_network_on_a_gpu_is_exported_and_stays_there(network: Build, tmp_path: Path, name: str) -> None:
    model = network(name)
    x = normalized(model, pictures(3, 1, 28, 28))
    wanted = reference(model, x)
    path = export_onnx(model.cuda(), tmp_path / "m.onnx")
    assert next(model.parameters()).is_cuda
    np.testing.assert_allclose(run(path, x)[0], wanted, atol=1e-5 * max(10, np.abs(wanted).max()))


def wrappers(model: nn.Module) -> list[nn.Module]:
    return [
        torch.compile(model),
        nn.DataParallel(model),
        nn.DataParallel(torch.compile(model)),
        torch.compile(nn.DataParallel(model)),
    ]


def test_compiled_and_parallel_wrappers_are_looked_through(network: Build, tmp_path: Path) -> None:
    model = network("lenet5_modern")
    plain = export_onnx(model, tmp_path / "plain.onnx").read_bytes()
    for wrapped in wrappers(model):
        assert export_onnx(wrapped, tmp_path / "wrapped.onnx").read_bytes() == plain


def test_wrapped_shipped_weights_keep_their_labels(tmp_path: Path) -> None:
    model = lenet_zoo.create_model("lenet5_modern.fashion_mnist", pretrained=True)
    card = lenet_zoo.model_card("lenet5_modern.fashion_mnist")
    for wrapped in wrappers(model):
        found = read_metadata(export_onnx(wrapped, tmp_path / "wrapped.onnx"))
        assert {key: found[key] for key in ("labels", "tag", "preparation")} == {
            key: card[key] for key in ("labels", "tag", "preparation")
        }
