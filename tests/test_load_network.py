"""`load_network`: any network by name, from weight files and folders."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from timm.data import resolve_data_config

import lenet_zoo
from lenet_zoo import cards
from lenet_zoo.errors import WeightsError
from lenet_zoo.registry import load_network

NAMES = ("lenet5_modern", "lenet5_classic")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module."])
def test_classes_and_channels_are_the_files(tmp_path: Path, name: str, suffix: str, prefix: str) -> None:
    network = lenet_zoo.create_model(name, num_classes=26, in_chans=3)
    state = {prefix + key: value for key, value in network.state_dict().items()}
    path = tmp_path / f"weights{suffix}"
    safetensors.torch.save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    model = load_network(name, path)
    assert (model.num_classes, model.in_chans) == (26, 3)
    x = torch.rand(2, 3, 28, 28)
    assert torch.equal(model(x), network.eval()(x))
    assert model.pretrained_cfg["input_size"] == (3, 28, 28)
    assert model.pretrained_cfg.get("description") is None  # which is of the tag's weights
    assert (model.card.tag, model.card.labels) == (None, tuple(map(str, range(26))))


def test_a_rubbish_class_is_the_files(tmp_path: Path) -> None:
    network = lenet_zoo.create_model("lenet5_classic", num_classes=11, j=33.5)
    safetensors.torch.save_file(network.state_dict(), tmp_path / "weights.safetensors")
    model = load_network("lenet5_classic", tmp_path / "weights.safetensors")
    assert (model.num_classes, model.j) == (11, 33.5)
    x = torch.zeros(1, 1, 28, 28)
    assert torch.equal(model(x), network.eval()(x))
    with pytest.raises(WeightsError, match=r"the weights in \S+ are not lenet5_modern's"):
        load_network("lenet5_modern", tmp_path / "weights.safetensors")


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ({"output.j": torch.tensor([1.0, 2.0])}, "do not fit lenet5_classic as it was asked for: "),
        ({"output.j": torch.tensor([float("nan")])}, "are damaged: output.j is [nan], and must be a finite"),
        ({"output.j": torch.tensor([-1.0])}, "are damaged: output.j is [-1.0], and must be a finite"),
        ({"C1.weight": torch.zeros(6, 0, 5, 5)}, "do not fit lenet5_classic as it was asked for: "),
        ({"C5.weight": torch.zeros(120, 399)}, "as it was asked for: C5.weight is 120×399 and must be 120×16×5×5"),
        ({"C1.weight": torch.tensor(1.0)}, "as it was asked for: C1.weight is one number and must be 6×1×5×5"),
        ({"F6.bias": torch.ones(84, dtype=torch.int32)}, "are not lenet5_classic's: F6.bias is int32, and must be "),
        ({"C1.bias": torch.ones(6, dtype=torch.complex64)}, "are not lenet5_classic's: C1.bias is complex64, and "),
    ],
)
def test_a_tensor_that_does_not_fit_is_named_with_its_file(
    tmp_path: Path, tensors: dict[str, torch.Tensor], why: str
) -> None:
    state = lenet_zoo.create_model("lenet5_classic", num_classes=11, j=20.0).state_dict() | tensors
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(state, path)
    with pytest.raises(WeightsError) as error:
        load_network("lenet5_classic", path)
    assert str(error.value).startswith(f"the weights in {path} ")
    assert why in str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_an_output_without_classes_does_not_fit(tmp_path: Path, name: str) -> None:
    state = lenet_zoo.create_model(name).state_dict() | {"output.weight": torch.zeros(0, 84)}
    safetensors.torch.save_file(state, tmp_path / "weights.safetensors")
    with pytest.raises(WeightsError, match=r"as it was asked for: output\.weight is 0×84 and must be 10×84"):
        load_network(name, tmp_path / "weights.safetensors")


@pytest.mark.parametrize("inside", ["model", "state_dict", "model_ema", "state_dict_ema"])
def test_classes_are_those_of_a_checkpoints_network(tmp_path: Path, inside: str) -> None:
    network = lenet_zoo.create_model("lenet5_modern", num_classes=26)
    torch.save({inside: network.state_dict(), "epoch": 3}, tmp_path / "last.pt")
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


@pytest.mark.parametrize("name", cards.names())
def test_a_tag_is_what_timm_makes_of_it(name: str) -> None:
    ours, timms = load_network(name), lenet_zoo.create_model(name, pretrained=True)
    assert not ours.training
    assert (type(ours), ours.global_pool, ours.card) == (type(timms), timms.global_pool, timms.card)
    assert ours.state_dict().keys() == timms.state_dict().keys()
    x = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert torch.equal(ours(x), timms(x))
    for key, value in ours.pretrained_cfg.items():
        assert timms.pretrained_cfg[key] == value
    assert resolve_data_config(model=ours) == resolve_data_config(model=timms)


def test_a_tag_is_exported_without_timm(tmp_path: Path) -> None:
    """timm takes longer to import than torch, and the whole rest of the command."""
    argv = ["export", "lenet5_modern", "-o", str(tmp_path / "digits.onnx")]
    code = (
        "import sys; from lenet_zoo.cli._app import run\n"
        f"print(run({argv!r}), sorted({{'timm', 'torchvision', 'torch._dynamo'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 []", done.stderr
    from_timms = lenet_zoo.create_model("lenet5_modern", pretrained=True)
    lenet_zoo.export_onnx(from_timms, tmp_path / "again.onnx")
    assert (tmp_path / "digits.onnx").read_bytes() == (tmp_path / "again.onnx").read_bytes()


def test_a_folder_brings_its_card(tmp_path: Path) -> None:
    timm.models.save_for_hf(lenet_zoo.create_model("lenet5_modern", num_classes=2), tmp_path, safe_serialization=True)
    assert load_network(f"local-dir:{tmp_path}").card.labels == ("0", "1")
    (tmp_path / "card.json").write_text(json.dumps(dict(labels=["x", "y"], preparation="picture")))
    model = load_network(f"local-dir:{tmp_path}")
    assert (model.num_classes, model.card.labels, model.card.preparation.kind) == (2, ("x", "y"), "picture")
