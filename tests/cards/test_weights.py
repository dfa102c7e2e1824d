"""The weights that travel with the package: verified before they are loaded, whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import lenet_zoo
from lenet_zoo import cards
from lenet_zoo.errors import WeightsError
from lenet_zoo.registry import load_network

NAME = "lenet5_modern.mnist"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package's weights to spoil, which the package takes for its own."""
    copy = tmp_path / "weights"
    shutil.copytree(cards._FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(cards, "_FOLDER", copy)
    return copy


def load(folder: Path, name: str = NAME, **kwargs: Any) -> torch.nn.Module:
    overlay = dict(file=str(folder / f"{name}.safetensors"))
    return timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, **kwargs)


def refused(folder: Path, name: str = NAME, **kwargs: Any) -> str:
    with pytest.raises(WeightsError) as error:
        load(folder, name, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", cards.names())
def test_a_card_describes_its_file(name: str) -> None:
    card, path = cards.load(name).as_dict(), cards.weight_path(name)
    architecture, tag = name.split(".", 1)
    assert (card["architecture"], card["tag"]) == (architecture, tag)
    keys = {"architecture", "tag", "params", "dataset", "labels", "recipe", "metrics", "seeds", "licence", "sha256"}
    assert keys | {"created_with"} <= set(card)
    assert card["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    model = lenet_zoo.create_model(name, pretrained=True)
    assert card["params"] == sum(p.numel() for p in model.parameters())
    assert len(card["labels"]) == model.num_classes
    assert list(model.pretrained_cfg["label_names"]) == card["labels"]
    state = load_file(path)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(value.isfinite().all() for value in state.values())
    with safe_open(path, "pt") as file:
        # more than one entry would be written in an order that differs from run to run
        assert len(file.metadata() or {}) <= 1


def test_there_are_weights_to_check() -> None:
    assert {"lenet5_classic.mnist", "lenet5_modern.mnist", "lenet5_modern.baseline_mnist"} <= set(cards.names())


def test_an_untouched_copy_loads(folder: Path) -> None:
    assert load(folder).num_classes == 10


def test_a_missing_file(folder: Path) -> None:
    path = folder / f"{NAME}.safetensors"
    path.unlink()
    assert refused(folder) == f"the weight file {path} is missing: reinstall lenet-zoo"


@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty", "swapped", "other network"])
def test_a_file_that_is_not_the_cards(folder: Path, damage: str) -> None:
    path = folder / f"{NAME}.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[:-1]
    elif damage == "one bit":
        content[-100] ^= 1
    elif damage == "empty":
        content = bytearray()
    elif damage == "swapped":  # the right keys and shapes, the wrong numbers
        content = bytearray((folder / "lenet5_modern.baseline_mnist.safetensors").read_bytes())
    else:
        content = bytearray((folder / "lenet5_classic.mnist.safetensors").read_bytes())
    path.write_bytes(content)
    found, wanted = hashlib.sha256(content).hexdigest(), cards.load(NAME).as_dict()["sha256"]
    assert refused(folder) == (
        f"the weight file {path} is damaged or was altered: its SHA-256 is {found}, its card says {wanted}; "
        "reinstall lenet-zoo"
    )
    # nor through another spelling of the same path
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert "is damaged or was altered" in refused(link)
    assert "is damaged or was altered" in refused(folder, features_only=True)
    assert "is damaged or was altered" in refused(folder, num_classes=5)
    # nor without timm, as commands load it
    with pytest.raises(WeightsError, match="is damaged or was altered"):
        load_network(NAME)


def test_a_missing_card(folder: Path) -> None:
    (folder / f"{NAME}.json").unlink()
    others = ", ".join(cards.names())
    assert refused(folder) == f"no card for {NAME!r} in {folder}: the known ones are {others}"


@pytest.mark.parametrize("content", [b"", b'{"sha256": ', b"\xff\xfe"])
def test_a_damaged_card(folder: Path, content: bytes) -> None:
    path = folder / f"{NAME}.json"
    path.write_bytes(content)
    says = refused(folder)
    assert says.startswith(f"the card {path} is damaged (")
    assert says.endswith("): reinstall lenet-zoo")


def test_a_card_without_a_hash_vouches_for_nothing(folder: Path) -> None:
    (folder / f"{NAME}.json").write_text("{}")
    assert "its card says None" in refused(folder)


@pytest.mark.parametrize("classes", [10, 5])
@pytest.mark.parametrize("features_only", [False, True])
@pytest.mark.parametrize(
    ("asked", "given", "says"),
    [
        (
            "lenet5_modern",
            "lenet5_classic",
            "are not lenet5_modern's: they have an unknown C3.connection and 4 more",
        ),
        ("lenet5_classic", "lenet5_modern", "are not lenet5_classic's: they lack C3.connection and 4 more"),
    ],
)
def test_weights_of_the_other_network(
    tmp_path: Path, asked: str, given: str, says: str, features_only: bool, classes: int
) -> None:
    """Outside the package no card is at hand, so that the keys have to tell."""
    shutil.copy(cards.weight_path(f"{given}.mnist"), tmp_path / f"{asked}.mnist.safetensors")
    found = refused(tmp_path, f"{asked}.mnist", features_only=features_only, num_classes=classes)
    assert found == f"the weights in {tmp_path / asked}.mnist.safetensors {says}"


def test_a_kernel_of_another_shape(tmp_path: Path) -> None:
    state = load_file(cards.weight_path(NAME))
    state["F6.weight"] = torch.zeros(80, 120)
    save_file(state, tmp_path / f"{NAME}.safetensors")
    assert refused(tmp_path) == (
        f"the weights in {tmp_path / NAME}.safetensors do not fit lenet5_modern as it was asked for: F6.weight is "
        "80×120 and must be 84×120"
    )


def test_ones_own_file_needs_no_card(tmp_path: Path) -> None:
    shutil.copy(cards.weight_path("lenet5_modern.baseline_mnist"), tmp_path / "mine.safetensors")
    model = lenet_zoo.create_model("lenet5_modern", checkpoint_path=tmp_path / "mine.safetensors")
    baseline = lenet_zoo.create_model("lenet5_modern.baseline_mnist", pretrained=True)
    assert torch.equal(model.F6.weight, baseline.F6.weight)


def test_without_pretrained_no_file_is_touched(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.unlink()
    assert timm.create_model(NAME).num_classes == 10
