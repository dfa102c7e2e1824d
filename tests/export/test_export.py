from __future__ import annotations

import getpass
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import timm
import torch
from PIL import Image
from torch import nn

import lenet_zoo
from lenet_zoo import cards
from lenet_zoo.classify import read_metadata
from lenet_zoo.errors import ArtifactError, InputError, WeightsError
from lenet_zoo.export import export, export_onnx, forms, graph
from lenet_zoo.export.calibration import bundled
from lenet_zoo.registry import load_network

NAMES = ("lenet5_modern", "lenet5_classic")
Build = Callable[..., nn.Module]


def run(path: Path, x: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})


def reference(model: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model(torch.from_numpy(x)).numpy()


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)


def normalized(model: nn.Module, pixels: np.ndarray) -> np.ndarray:
    cfg = model.pretrained_cfg
    return ((pixels.astype(np.float32) / 255 - np.float32(cfg["mean"][0])) / np.float32(cfg["std"][0])).astype(
        np.float32
    )


# ------------------------------------------------------------------------------------------------- the same function

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
    before = {name: (value.data_ptr(), value.clone()) for name, value in model.state_dict().items()}
    export_onnx(model, tmp_path / "m.onnx")
    assert model.training
    assert model.C1.training
    assert not model.F6.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, value in model.state_dict().items():
        assert value.data_ptr() == before[name][0]
        assert torch.equal(value, before[name][1])


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


# ------------------------------------------------------------------------------------------------------ the artefact


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", NAMES)
def test_file_is_one_valid_dynamic_graph(network: Build, tmp_path: Path, name: str, precision: str) -> None:
    path = export_onnx(network(name), tmp_path / "m.onnx", precision=precision, input="pixels")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 10
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 21)]
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    (x,), (logits,) = inferred.graph.input, inferred.graph.output
    assert [d.dim_param or d.dim_value for d in x.type.tensor_type.shape.dim] == ["batch", 1, 28, 28]
    assert [d.dim_param or d.dim_value for d in logits.type.tensor_type.shape.dim] == ["batch", 10]
    assert x.type.tensor_type.elem_type == onnx.TensorProto.UINT8


def test_pixels_cost_no_work_but_a_cast(network: Build, tmp_path: Path) -> None:
    def operators(**options: Any) -> list[str]:
        path = export_onnx(network("lenet5_classic"), tmp_path / "m.onnx", **options)
        return [node.op_type for node in onnx.load(path).graph.node]

    pixels = operators(input="pixels")
    assert pixels[:2] == ["Cast", "Conv"]
    assert "Pad" not in pixels
    # The model's own padding with −0.1 costs one subtraction where pixels cost none.
    assert operators(input="normalized") == ["Sub", *pixels[1:]]


SCRIPT = """
import sys, torch, lenet_zoo
torch.manual_seed(1)
model = lenet_zoo.create_model(sys.argv[1])
lenet_zoo.export_onnx(model, sys.argv[2], input="pixels", precision=sys.argv[3])
"""


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_bytes_depend_on_weights_and_options_alone(tmp_path: Path, precision: str) -> None:
    found = []
    for i, seed in enumerate(("1", "2")):
        folder = tmp_path / f"folder{i}"
        folder.mkdir()
        env = dict(os.environ, PYTHONHASHSEED=seed, HOME=str(folder), OMP_NUM_THREADS="1")
        command = [sys.executable, "-c", SCRIPT, "lenet5_modern", f"m{i}.onnx", precision]
        subprocess.run(command, cwd=folder, env=env, check=True)
        found.append((folder / f"m{i}.onnx").read_bytes())
    assert found[0] == found[1]


def test_no_path_user_or_host_is_in_the_file(network: Build, tmp_path: Path) -> None:
    card = dict(labels=list("abcdefghij"), command=f"train --out {tmp_path}", dataset="mine")
    data = export_onnx(network("lenet5_classic"), tmp_path / "m.onnx", card=card).read_bytes()
    paths = {str(path) for path in (tmp_path, Path.cwd(), Path(lenet_zoo.__file__).parent, Path.home())} - {"/"}
    # A name of two letters may stand in any bytes.
    names = {name for name in (getpass.getuser(), socket.gethostname()) if len(name) > 3}
    for word in paths | names:
        assert word.encode() not in data, word


def test_metadata_of_shipped_weights_are_their_cards(tmp_path: Path) -> None:
    model = lenet_zoo.create_model("lenet5_modern", pretrained=True)
    card = lenet_zoo.model_card("lenet5_modern")
    found = read_metadata(export_onnx(model, tmp_path / "m.onnx", input="pixels"))
    for key in ("dataset", "licence", "labels", "tag"):
        assert found[key] == card[key], key
    assert found["recipe"] == card["recipe"]["name"]
    test = card["metrics"]["test"]
    assert found["metrics"]["test"] == {key: value for key, value in test.items() if isinstance(value, int | float)}
    assert found["model"] == "lenet5_modern"
    assert found["input"]["name"] == "pixels"
    assert found["input"]["dtype"] == "uint8"
    assert set(found["created_with"]) == {"lenet_zoo", "numpy", "onnx", "torch"}
    assert found["weights_sha256"] == hashlib.sha256(safetensors.torch.save(model.state_dict())).hexdigest()


def test_a_damaged_installation_does_not_stop_the_export_of_another_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = lenet_zoo.create_model("lenet5_modern.mnist", pretrained=True)
    folder = tmp_path / "weights"
    shutil.copytree(cards._FOLDER, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "lenet5_modern.baseline_mnist.safetensors").write_bytes(b"hello")
    monkeypatch.setattr(cards, "_FOLDER", folder)
    assert read_metadata(export_onnx(model, tmp_path / "m.onnx"))["tag"] == "mnist"


def test_changed_weights_claim_no_tag_and_no_accuracy(tmp_path: Path) -> None:
    model = lenet_zoo.create_model("lenet5_modern", pretrained=True)
    shipped = read_metadata(export_onnx(model, tmp_path / "m.onnx"))["weights_sha256"]
    with torch.no_grad():
        model.F6.bias[0] += 1e-3
    found = read_metadata(export_onnx(model, tmp_path / "m.onnx"))
    assert not {"tag", "metrics", "dataset", "licence"} & set(found)
    assert found["labels"] == list("0123456789")
    assert found["weights_sha256"] != shipped


def test_card_of_ones_own_travels_in_the_file(network: Build, tmp_path: Path) -> None:
    card = dict(labels=["Ä", "日本", "c"], dataset="mine", licence="MIT", metrics=dict(test=dict(accuracy=0.5)))
    path = export_onnx(network("lenet5_classic", num_classes=3), tmp_path / "m.onnx", card=card)
    found = read_metadata(path)
    assert {key: found[key] for key in card} == card
    assert lenet_zoo.OnnxClassifier(path).labels == ("Ä", "日本", "c")


# -------------------------------------------------------------------------------------------------------------- int8


@pytest.mark.parametrize(("name", "size", "lost"), [("lenet5_modern", 80_000, 0.05), ("lenet5_classic", 85_000, 0.1)])
def test_int8_is_small_and_loses_little(name: str, size: int, lost: float, tmp_path: Path, mnist_train: Any) -> None:
    # On the last 10,000 training digits, which no shipped choice of int8's was made on either.
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
    assert tensors["C5_sum.bias_quantized"].dtype == np.int32
    # Pairs of products must fit 16 bits on processors without VNNI.
    assert max(np.abs(t.astype(int)).max() for t in tensors.values() if t.dtype == np.int8) <= 63
    assert not any(node.op_type.startswith("Dynamic") for node in model.graph.node)


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


# ------------------------------------------------------------------------------------------------------- bad requests


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (dict(input="image"), r"input='image': one of 'normalized' and 'pixels'"),
        (dict(precision="fp16"), r"precision='fp16': one of 'fp32' and 'int8'"),
        (dict(calibration=np.zeros((1, 28, 28), np.uint8)), "calibration pictures are for precision='int8'"),
        (dict(intermediates=True, precision="int8"), "intermediates=True and precision='int8' exclude each other"),
        (dict(input_size=(20, 28)), r"input_size=\(20, 28\): the network takes pictures of at least 28×28"),
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


def test_meta_model_has_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"C1\.weight is on the meta device"):
        export_onnx(lenet_zoo.create_model("lenet5_modern", device="meta"), tmp_path / "m.onnx")


# --------------------------------------------------------------------------------------- verification and the target


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


def test_interrupted_export_leaves_the_old_file(
    network: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "m.onnx"
    old = export_onnx(network("lenet5_modern"), target).read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_onnx(network("lenet5_classic"), target)
    assert target.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_killed_export_leaves_the_old_file(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, lenet_zoo\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "lenet_zoo.export_onnx(lenet_zoo.create_model('lenet5_modern'), sys.argv[1])\n"
    )
    target = tmp_path / "m.onnx"
    target.write_bytes(b"old")
    killed = subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"


def test_full_target(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys, lenet_zoo\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "model = lenet_zoo.create_model('lenet5_modern')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try:\n"
        "    lenet_zoo.export_onnx(model, sys.argv[1])\n"
        "except lenet_zoo.errors.ArtifactError as error:\n"
        "    print(error)\n"
    )
    target = tmp_path / "m.onnx"
    done = subprocess.run([sys.executable, "-c", script, str(target)], capture_output=True, text=True, check=True)
    assert done.stdout == f"cannot write {target}: File too large\n"
    assert not list(tmp_path.iterdir())


def test_targets_that_cannot_be_written(network: Build, tmp_path: Path) -> None:
    model = network("lenet5_modern")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.onnx").mkdir()
    for target, text in [
        (tmp_path / "none" / "m.onnx", f"there is no folder {tmp_path / 'none'}"),
        (tmp_path / "file" / "m.onnx", "Not a directory"),
        (tmp_path / "folder.onnx", "it is a folder"),
        (Path("/dev/null"), "it is not a regular file"),
    ]:
        with pytest.raises(ArtifactError) as caught:
            export_onnx(model, target)
        assert str(caught.value) == f"cannot write {target}: {text}"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.onnx"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_without_permission(network: Build, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ArtifactError, match="Permission denied"):
        export_onnx(network("lenet5_modern"), tmp_path / "m.onnx")


# ------------------------------------------------------------------------------------------------------ command line


def lenet_zoo_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lenet_zoo", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_command_exports_weights_of_ones_own_with_their_card(network: Build, tmp_path: Path) -> None:
    model = network("lenet5_classic", num_classes=3)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "model.safetensors")
    sha256 = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    (tmp_path / "card.json").write_text(json.dumps(dict(labels=["x", "y", "z"], sha256=sha256, dataset="mine")))
    target = tmp_path / "m.onnx"
    arguments = [
        "export",
        "lenet5_classic",
        "--weights",
        tmp_path / "model.safetensors",
        "-o",
        target,
        "--input",
        "pixels",
    ]
    done = lenet_zoo_command(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["path"] == str(target)
    assert report["bytes"] == target.stat().st_size
    assert report["largest_difference"] <= 1e-5 * max(10, report["largest_logit"])
    assert read_metadata(target)["labels"] == ["x", "y", "z"]
    pixels = pictures(4, 1, 28, 28)
    wanted = reference(model, normalized(model, pixels))
    np.testing.assert_allclose(run(target, pixels)[0], wanted, atol=1e-5 * np.abs(wanted).max())

    (tmp_path / "card.json").write_text(json.dumps(dict(labels=["x", "y", "z"], sha256="0")))
    refused = lenet_zoo_command(*arguments)
    assert refused.returncode == 1
    assert "belongs to other weights" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module."])
def test_classes_and_channels_are_the_files(
    network: Build, tmp_path: Path, name: str, suffix: str, prefix: str
) -> None:
    state = {prefix + key: value for key, value in network(name, num_classes=26, in_chans=3).state_dict().items()}
    path = tmp_path / f"weights{suffix}"
    safetensors.torch.save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    model = load_network(name, path)
    assert (model.num_classes, model.in_chans) == (26, 3)
    assert (model.card.tag, model.card.labels) == (None, tuple(map(str, range(26))))


@pytest.mark.parametrize("inside", ["model", "state_dict", "model_ema", "state_dict_ema"])
def test_classes_are_those_of_a_checkpoints_network(network: Build, tmp_path: Path, inside: str) -> None:
    torch.save({inside: network("lenet5_modern", num_classes=26).state_dict(), "epoch": 3}, tmp_path / "last.pt")
    assert load_network("lenet5_modern", tmp_path / "last.pt").num_classes == 26


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"hello world", b"", b"\xff\xfe", b"PK\x03\x04", b"(lp0\n."])
@pytest.mark.parametrize("suffix", ["csv", "safetensors"])
def test_a_file_that_is_no_weight_file(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"weights.{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as error:
        load_network("lenet5_modern", path)
    assert str(error.value) == (
        f"{path} cannot be read as weights: give a .safetensors file or a state dict saved by torch"
    )


def test_a_folder_brings_its_card(network: Build, tmp_path: Path) -> None:
    timm.models.save_for_hf(network("lenet5_modern", num_classes=2), tmp_path, safe_serialization=True)
    assert load_network(f"local-dir:{tmp_path}").card.labels == ("0", "1")
    (tmp_path / "card.json").write_text(json.dumps(dict(labels=["x", "y"], preparation="picture")))
    model = load_network(f"local-dir:{tmp_path}")
    assert (model.num_classes, model.card.labels, model.card.preparation.kind) == (2, ("x", "y"), "picture")


def test_command_reports_size_and_parity(tmp_path: Path) -> None:
    done = lenet_zoo_command("export", "lenet5_modern", "-o", tmp_path / "m.onnx")
    assert done.returncode == 0, done.stderr
    size = (tmp_path / "m.onnx").stat().st_size
    first, second = done.stdout.splitlines()
    assert first == f"{tmp_path / 'm.onnx'}: {size:,} bytes"
    assert second.startswith("against lenet5_modern on 223 pictures: logits differ by at most ")


def test_export_returns_its_measurements(network: Build, tmp_path: Path) -> None:
    done = export(network("lenet5_modern"), tmp_path / "m.onnx")
    assert done.size == done.path.stat().st_size
    assert 0 <= done.parity.largest_difference < 1e-4
    assert done.parity.agreement == 1.0
