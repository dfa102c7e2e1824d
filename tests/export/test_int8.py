"""int8: how small, how close, and the pictures that calibrate it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

import lenet_zoo
from lenet_zoo.errors import ArtifactError, InputError
from lenet_zoo.export import export_onnx, graph
from lenet_zoo.export.calibration import bundled, sample

from .conftest import NAMES, Build, normalized, pictures, reference, run


@pytest.mark.parametrize(("name", "size", "lost"), [("lenet5_modern", 80_000, 0.05), ("lenet5_classic", 85_000, 0.1)])
def test_int8_is_small_and_loses_little(name: str, size: int, lost: float, tmp_path: Path, mnist_train: Any) -> None:
    # On the last 10,000 training digits: no setting of int8 was chosen on them.
    model = lenet_zoo.create_model(name, pretrained=True)
    pixels, labels = mnist_train.images.numpy()[-10_000:, None], mnist_train.labels.numpy()[-10_000:]
    path = export_onnx(model, tmp_path / "m.onnx", input="pixels", precision="int8")
    assert path.stat().st_size <= size
    exact = (reference(model, normalized(model, pixels)).argmax(1) == labels).mean()
    found = (run(path, pixels)[0].argmax(1) == labels).mean()
    assert 100 * (exact - found) <= lost


@pytest.mark.parametrize("name", NAMES)
def test_int8_weights_are_per_channel_and_static(network: Build, tmp_path: Path, name: str) -> None:
    model = onnx.load(export_onnx(network(name), tmp_path / "m.onnx", precision="int8"))
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    assert tensors["C5_sum.weight_quantized"].dtype == np.int8
    assert tensors["C5_sum.weight_quantized"].shape == (120, 400)
    assert tensors["C5_sum.weight_scale"].shape == (120,)
    assert tensors["C3_sum.bias_quantized"].dtype == np.int32
    assert tensors["C5_sum.bias"].dtype == np.float32  # OpenCV reads a quantized bias of Gemm wrong
    # Pairs of products must fit 16 bits on processors without VNNI.
    assert max(np.abs(t.astype(int)).max() for t in tensors.values() if t.dtype == np.int8) <= 63
    assert not any(node.op_type.startswith("Dynamic") for node in model.graph.node)


@pytest.mark.parametrize(
    ("name", "before_c3"),
    [
        ("lenet5_modern", "Cast Conv ReorderOutput Reshape MaxPool Reshape Gather QuantizeLinear Transpose"),
        ("lenet5_classic", "Cast Conv Conv ReorderOutput QuantizeLinear Transpose"),
    ],
)
def test_onnxruntime_computes_in_integers_where_that_is_faster(name: str, before_c3: str, tmp_path: Path) -> None:
    model = lenet_zoo.create_model(name, pretrained=True)
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    path = export_onnx(model, tmp_path / "m.onnx", input="pixels", precision="int8")
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    run = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    start = run.index("QLinearConv")
    # C1 in floats, and S2's maximum too, which takes 15 times as long in integers. No run dequantizes a weight.
    assert [op for op in run[:start] if op != "ReorderInput"] == before_c3.split()
    assert run.count("QLinearConv") == 1
    assert run.count("QGemm") == 2
    assert run.count("DequantizeLinear") == {"lenet5_modern": 1, "lenet5_classic": 3}[name]


def test_calibration_pictures_set_the_ranges(network: Build, tmp_path: Path) -> None:
    model = network("lenet5_modern")
    pixels = np.clip(pictures(64, 28, 28), 0, 40)
    np.save(tmp_path / "mine.npy", pixels)
    results = [
        export_onnx(model, tmp_path / "m.onnx", precision="int8", calibration=source).read_bytes()
        for source in (None, pixels, tmp_path / "mine.npy", torch.from_numpy(pixels))
    ]
    assert results[0] != results[1]
    assert results[1] == results[2] == results[3]


@pytest.mark.parametrize(("size", "count"), [(28 * 28, 1_000), (448 * 448, 83), (1 << 30, 1)])
def test_calibration_takes_as_many_pictures_as_fit_in_memory(size: int, count: int) -> None:
    numbers = np.arange(1_200)  # each stands for a picture
    drawn = sample(numbers, size)
    assert len(np.unique(drawn)) == count
    if count > 1:
        assert drawn.max() > 1_100 > 100 > drawn.min()
    assert np.array_equal(drawn, sample(numbers, size))


@pytest.mark.parametrize(
    ("calibration", "text"),
    [
        (np.zeros((2, 28, 28), np.float32), r"calibration pictures are float32 of shape \(2, 28, 28\): give uint8"),
        (np.zeros((28, 28), np.uint8), r"calibration pictures are uint8 of shape \(28, 28\)"),
        (np.zeros((0, 28, 28), np.uint8), r"calibration pictures are uint8 of shape \(0, 28, 28\)"),
        (np.zeros((2, 3, 28, 28), np.uint8), "pictures of 3 channels for a network of 1"),
        ("nowhere.npy", "no calibration file nowhere.npy"),
    ],
)
def test_bad_calibration(network: Build, tmp_path: Path, calibration: object, text: str) -> None:
    with pytest.raises(InputError, match=text):
        export_onnx(network("lenet5_modern"), tmp_path / "m.onnx", precision="int8", calibration=calibration)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_pictures_calibrates(network: Build, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for i, digit in enumerate(bundled()[:12]):
        Image.fromarray(digit).save(tmp_path / "pictures" / f"{i:02}.png")
    model = network("lenet5_modern")
    options = dict(precision="int8", input="pixels")
    found = export_onnx(model, tmp_path / "a.onnx", calibration=tmp_path / "pictures", **options)
    wanted = export_onnx(model, tmp_path / "b.onnx", calibration=bundled()[:12], **options)
    assert found.read_bytes() == wanted.read_bytes()


def test_a_folder_is_prepared_as_for_the_network(network: Build, tmp_path: Path) -> None:
    options = dict(precision="int8", input="pixels")

    def same(model: nn.Module, shown: np.ndarray, taken: np.ndarray, **more: Any) -> bool:
        folder = tmp_path / f"pictures{len(list(tmp_path.glob('pictures*')))}"
        folder.mkdir()
        for i, pixels in enumerate(shown):
            Image.fromarray(pixels).save(folder / f"{i:02}.png")
        found = export_onnx(model, tmp_path / "a.onnx", calibration=folder, **options, **more)
        wanted = export_onnx(model, tmp_path / "b.onnx", calibration=taken, **options, **more)
        return found.read_bytes() == wanted.read_bytes()

    clothes = bundled("fashion_mnist")[:48]  # of 12, one that changes its label would be too many
    fashion = lenet_zoo.create_model("lenet5_modern.fashion_mnist", pretrained=True)
    assert same(fashion, clothes, clothes)
    colour = pictures(12, 28, 28, 3)
    card = dict(labels=list("abcdefghij"), preparation="picture")
    assert same(network("lenet5_modern", in_chans=3), colour, colour.transpose(0, 3, 1, 2), card=card)
    larger = np.stack([lenet_zoo.digit_from_image(Image.fromarray(digit), 32) for digit in bundled()[:12]])
    assert same(network("lenet5_classic", pad=0), bundled()[:12], larger)


def test_calibration_file_with_a_pickle_is_not_opened(network: Build, tmp_path: Path) -> None:
    np.save(tmp_path / "p.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(InputError, match=r"p\.npy is not a \.npy array"):
        export_onnx(network("lenet5_modern"), tmp_path / "m.onnx", precision="int8", calibration=tmp_path / "p.npy")


def test_broken_int8_scale_is_noticed(network: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lenet_zoo.create_model("lenet5_modern", pretrained=True)
    real = graph.Quantizer.activation

    def wrong(self: graph.Quantizer, name: str) -> Any:
        scale, zero = real(self, name)
        return (scale / np.float32(20), zero) if name == "C3_map" else (scale, zero)

    monkeypatch.setattr(graph.Quantizer, "activation", wrong)
    with pytest.raises(ArtifactError, match=r"the int8 graph is too far from the model: [\d.]+% of 200 pictures"):
        export_onnx(model, tmp_path / "m.onnx", precision="int8")
    assert not list(tmp_path.iterdir())
