"""What is refused: wrong options, other networks, and graphs that differ from their model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import lenet_zoo
from lenet_zoo.errors import ArtifactError, InputError, WeightsError
from lenet_zoo.export import export_onnx, forms, verification

from .conftest import Build


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(input="image"), r"input='image': one of 'normalized', 'pixels' and 'pixels_float'"),
        (dict(precision="fp8"), r"precision='fp8': one of 'fp32', 'fp16' and 'int8'"),
        (dict(opset=12), r"opset=12: from 13 to 21"),
        (dict(batch=0), r"batch=0: how many pictures at once, at least 1; or None for any number"),
        (dict(intermediates=True, precision="fp16"), "intermediates=True and precision='fp16' exclude each other"),
        (dict(calibration=np.zeros((1, 28, 28), np.uint8)), "calibration pictures are for precision='int8'"),
        (dict(intermediates=True, precision="int8"), "intermediates=True and precision='int8' exclude each other"),
        (dict(input_size=(20, 28)), r"input_size=\(20, 28\): the network takes pictures of at least 28×28"),
        (
            dict(input_size=(10**6, 10**6)),
            r"input_size=\(1000000, 1000000\): pictures of up to 640,000 pixels, as of 800×800",
        ),
        (dict(opset=17.0), r"opset=17\.0: from 13 to 21"),
        (dict(batch=True), r"batch=True: how many pictures at once"),
        (dict(input_size=28), r"input_size=28: \(height, width\), whole numbers; or \(height, None\) for any width"),
        (dict(input_size=(28,)), r"input_size=\(28,\): \(height, width\), whole numbers"),
        (dict(input_size=(28.0, 28.0)), r"input_size=\(28\.0, 28\.0\): \(height, width\), whole numbers"),
        (dict(input_size=(None, 28)), r"input_size=\(None, 28\): the height is fixed"),
        (dict(precision="int8", calibration=[[1, 2], [1]]), "calibration pictures are no array: give uint8"),
        (dict(card=dict(dataset="\udc80")), "the card's 'dataset' cannot be written as JSON in UTF-8"),
        (dict(card=dict(metrics=dict(test=dict(seeds=np.int64(3))))), "the card's 'metrics' cannot be written as JSON"),
        (dict(card=dict(labels=["a"])), "1 labels for 10 classes"),
        (dict(card=dict(labels=["a"] * 10)), "the labels repeat one"),
    ],
)
def test_bad_options(network: Build, tmp_path: Path, options: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        export_onnx(network("lenet5_modern"), tmp_path / "m.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_probabilities_need_an_output_layer(network: Build, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="probabilities of a network without an output layer"):
        export_onnx(network("lenet5_modern", num_classes=0), tmp_path / "m.onnx", probabilities=True)


def test_other_modules_are_refused(network: Build, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a Linear cannot be exported"):
        export_onnx(nn.Linear(2, 2), tmp_path / "m.onnx")
    with pytest.raises(InputError, match="a FeatureListNet cannot be exported"):
        export_onnx(lenet_zoo.create_model("lenet5_modern", features_only=True), tmp_path / "m.onnx")
    pruned = network("lenet5_modern")
    pruned.prune_intermediate_layers(2)
    with pytest.raises(InputError, match="F6 is Identity where the network has Linear"):
        export_onnx(pruned, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weight_that_is_not_finite(network: Build, tmp_path: Path, value: float) -> None:
    model = network("lenet5_classic")
    with torch.no_grad():
        model.C3.weight[3, 1, 1] = value
    with pytest.raises(WeightsError, match=r"C3\.weight has 1 values that are not finite"):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("target", ["onnx", "c"])
def test_states_that_overflow_have_no_range_in_int8(network: Build, tmp_path: Path, target: str) -> None:
    model = network("lenet5_modern")
    with torch.no_grad():
        model.C3.weight *= 1e30
        model.C5.weight *= 1e30
    with pytest.raises(ArtifactError, match="the model's states of the calibration pictures are not finite"):
        lenet_zoo.export(model, tmp_path / "m", target=target, precision="int8")
    assert not list(tmp_path.iterdir())


def test_a_name_with_a_null_character_is_no_file(network: Build, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"cannot write .*: the name holds a null character"):
        export_onnx(network("lenet5_modern"), tmp_path / "a\0b.onnx")


def test_whole_numbers_may_be_numpy_s(network: Build, tmp_path: Path) -> None:
    path = export_onnx(network("lenet5_modern"), tmp_path / "m.onnx", batch=np.int64(2), opset=np.int64(17))  # type: ignore[arg-type]
    assert lenet_zoo.classify.read_metadata(path)["input"]["shape"] == [2, 1, 28, 28]


def test_large_pictures_are_compared_few_at_a_time(
    network: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = network("lenet5_modern"), []
    whole = lenet_zoo.export(model, tmp_path / "m.onnx")
    monkeypatch.setattr(verification, "MOST_PIXELS", 50 * 28 * 28)
    hook = nn.modules.module.register_module_forward_pre_hook(
        lambda module, given: seen.append(len(given[0])) if isinstance(module, type(model)) else None
    )
    with hook:
        parts = lenet_zoo.export(model, tmp_path / "m.onnx")
    assert max(seen) == 50
    assert parts.parity.pictures == whole.parity.pictures
    assert parts.parity.largest_logit == pytest.approx(whole.parity.largest_logit, rel=1e-5)


def test_meta_model_has_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"C1\.weight is on the meta device"):
        export_onnx(lenet_zoo.create_model("lenet5_modern", device="meta"), tmp_path / "m.onnx")


def test_a_wrong_graph_is_not_written(network: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, target = network("lenet5_modern"), tmp_path / "m.onnx"
    target.write_bytes(b"old")

    def shifted(weight: np.ndarray) -> np.ndarray:
        return np.roll(real(weight), 1, axis=-1)

    real = forms.phases
    monkeypatch.setattr(forms, "phases", shifted)
    with pytest.raises(ArtifactError, match=r"the graph is not the model: logits differ by up to [\d.]+, where"):
        export_onnx(model, target)
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_a_model_changed_behind_its_layers_is_noticed(network: Build, tmp_path: Path) -> None:
    model = network("lenet5_modern")
    model.F6.register_forward_hook(lambda module, args, output: output * 1.01)
    with pytest.raises(ArtifactError, match="the graph is not the model"):
        export_onnx(model, tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())
