"""The file: one valid graph, the same bytes everywhere, and what it says of itself."""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import safetensors.torch
import torch

import lenet_zoo
from lenet_zoo import cards
from lenet_zoo.classify import read_metadata
from lenet_zoo.export import export_onnx

from .conftest import NAMES, Build


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", NAMES)
def test_file_is_one_valid_dynamic_graph(network: Build, tmp_path: Path, name: str, precision: str) -> None:
    path = export_onnx(network(name), tmp_path / "m.onnx", precision=precision, input="pixels")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    opset, ir_version = {"fp32": (17, 8), "int8": (19, 9)}[precision]
    assert model.ir_version == ir_version
    assert [(o.domain, o.version) for o in model.opset_import] == [("", opset)]
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
