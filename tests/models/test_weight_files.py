"""Weight files in the forms that training scripts give them: each is read, or refused with the reason."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import lenet_zoo
from lenet_zoo.errors import WeightsError

State = dict[str, Tensor]


def under(prefix: str, state: State) -> State:
    return {prefix + key: value for key, value in state.items()}


FORMS: dict[str, Callable[[State], Any]] = {
    "plain": lambda state: state,
    "DDP": lambda state: under("module.", state),
    "torch.compile": lambda state: under("_orig_mod.", state),
    "DDP of compiled": lambda state: under("module._orig_mod.", state),
    "compiled DDP": lambda state: under("_orig_mod.module.", state),
    "Lightning": lambda state: {
        "epoch": 3,
        "pytorch-lightning_version": "2.5",
        "state_dict": under("model.", state),
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}}],
        "hyper_parameters": {"lr": 1e-3},
    },
    "Lightning, net": lambda state: {"state_dict": {**under("net.", state), "loss.weight": torch.ones(10)}},
    "model_state_dict": lambda state: {"epoch": 1, "model_state_dict": state, "optimizer_state_dict": {}, "loss": 0.1},
    "model": lambda state: {"model": state, "epoch": 1},
    "net": lambda state: {"net": state, "acc": 99.1, "epoch": 1},
    "timm's with its arguments": lambda state: {"state_dict": state, "args": argparse.Namespace(lr=0.1), "version": 2},
    "numpy's figures": lambda state: {"state_dict": state, "best": np.float64(99.1), "epoch": np.int64(3)},
    "averaged": lambda state: {"n_averaged": torch.tensor(5), **under("module.", state)},
    "averaged beside the last": lambda state: {"state_dict": {k: v + 1 for k, v in state.items()}, "model_ema": state},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["lenet5_modern", "lenet5_classic"])
def test_a_checkpoint_is_read(tmp_path: Path, name: str, form: str) -> None:
    state = lenet_zoo.create_model(name, pretrained=True).state_dict()
    path = tmp_path / "checkpoint.pth"
    torch.save(FORMS[form](state), path)
    model = lenet_zoo.create_model(name, checkpoint_path=path)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert "state_dict" not in model.pretrained_cfg  # type: ignore[operator]  # they would stay in memory twice


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_a_checkpoint_of_another_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    state = lenet_zoo.create_model("lenet5_modern", pretrained=True).state_dict()
    torch.save({key: value.to(dtype) for key, value in state.items()}, tmp_path / "other.pth")
    model = lenet_zoo.create_model("lenet5_modern", checkpoint_path=tmp_path / "other.pth")
    assert all(torch.equal(value, state[key].to(dtype).float()) for key, value in model.state_dict().items())


@pytest.mark.parametrize("form", ["plain", "Lightning"])
def test_a_flipped_bit_is_refused(tmp_path: Path, form: str) -> None:
    state = lenet_zoo.create_model("lenet5_modern", pretrained=True).state_dict()
    path = tmp_path / "checkpoint.pth"
    torch.save(FORMS[form](state), path)
    good = path.read_bytes()
    weights = good.index(state["F6.weight"].numpy().tobytes())
    path.write_bytes(good[:weights] + bytes([good[weights] ^ 0x40]) + good[weights + 1 :])
    with pytest.raises(
        WeightsError, match=r"checkpoint\.pth is damaged: the checksum of its part 'checkpoint/data/\d+'"
    ):
        lenet_zoo.create_model("lenet5_modern", checkpoint_path=path)
    directory = good.rindex(b"PK\x01\x02")
    path.write_bytes(good[:directory] + b"PK\x01\x03" + good[directory + 4 :])
    with pytest.raises(WeightsError, match=r"checkpoint\.pth is damaged: [^\n]+$"):
        lenet_zoo.create_model("lenet5_modern", checkpoint_path=path)


@pytest.mark.parametrize("how", ["before 1.6", "without checksums"])
def test_a_file_without_checksums_is_read(tmp_path: Path, how: str) -> None:
    state = lenet_zoo.create_model("lenet5_modern", pretrained=True).state_dict()
    path = tmp_path / "checkpoint.pth"
    torch.serialization.set_crc32_options(how != "without checksums")
    try:
        torch.save(state, path, _use_new_zipfile_serialization=how != "before 1.6")
    finally:
        torch.serialization.set_crc32_options(True)
    model = lenet_zoo.create_model("lenet5_modern", checkpoint_path=path)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


def test_a_pickled_network_is_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "whole.pth"
    torch.save(lenet_zoo.create_model("lenet5_modern"), path)
    with pytest.raises(WeightsError) as error:
        lenet_zoo.create_model("lenet5_modern", checkpoint_path=path)
    assert str(error.value) == (
        f"{path} holds a pickled lenet_zoo.models.lenet5_modern.LeNet5Modern, which could run any code and is not "
        "read: save the weights alone, torch.save(model.state_dict(), 'whole.pth')"
    )


def test_several_networks_in_a_file_are_named(tmp_path: Path) -> None:
    state = lenet_zoo.create_model("lenet5_modern").state_dict()
    path = tmp_path / "pair.pth"
    torch.save({"state_dict": {**under("student.", state), **under("teacher.", state)}}, path)
    with pytest.raises(WeightsError) as error:
        lenet_zoo.create_model("lenet5_modern", checkpoint_path=path)
    assert str(error.value) == (
        f"{path} holds the weights of several networks, 'state_dict.student', 'state_dict.teacher': save one state "
        "dict alone"
    )


def test_a_file_without_tensors(tmp_path: Path) -> None:
    path = tmp_path / "log.pth"
    torch.save({"epoch": 3, "loss": [0.1]}, path)
    with pytest.raises(WeightsError, match="holds no tensors: give a"):
        lenet_zoo.create_model("lenet5_modern", checkpoint_path=path)
