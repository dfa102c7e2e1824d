"""The classic's weights: as they are drawn, loaded and saved."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from timm.utils import ModelEmaV2
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import lenet_zoo
from lenet_zoo import cards
from lenet_zoo.errors import WeightsError
from lenet_zoo.models.lenet5_classic import LeNet5Classic, rbf_codes

from .conftest import TABLE_I, paper_pictures

# ----------------------------------------------------------------------------------------------- initialisation

FAN_IN = {"C1": 25, "C5": 400, "F6": 120}


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_kernels_start_uniform_within_the_bound_of_their_fan_in(power: float) -> None:
    """power 1/2 is the default, power 1 the appendix as printed (p. 41)."""
    model = LeNet5Classic()
    model.init_weights(power=power, generator=torch.Generator().manual_seed(0))
    groups = {name: (getattr(model, name).weight, fan_in) for name, fan_in in FAN_IN.items()}
    rows = iter(model.C3.weight)
    for target in range(16):
        reads = sum(row[target] == "X" for row in TABLE_I)
        groups[f"C3 map {target}"] = (torch.stack([next(rows) for _ in range(reads)]), 25 * reads)
    for name, (weight, fan_in) in groups.items():
        bound = 2.4 / fan_in**power
        assert weight.abs().max() <= bound, name
        assert weight.abs().max() > 0.85 * bound, name
        # 25 values or more: the standard deviation of a uniform distribution is bound/√3
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.25), name
    for name in ("C1", "C3", "C5", "F6", "S2", "S4"):
        assert not getattr(model, name).bias.any()
    assert set(model.S2.weight.tolist() + model.S4.weight.tolist()) == {0.25}


def test_the_bound_printed_in_the_paper_kills_the_signal() -> None:
    """C5's bound is 0.006 then, and F6 hardly depends on the picture; with the square root it does."""
    spread = {}
    for power in (0.5, 1.0):
        model = LeNet5Classic().eval()
        model.init_weights(power=power, generator=torch.Generator().manual_seed(0))
        features = model.forward_features(paper_pictures(16, 1, 28, 28) * torch.linspace(0, 1, 16).view(-1, 1, 1, 1))
        spread[power] = model.forward_head(features, pre_logits=True).std(0).mean().item()
    assert spread[1.0] < 0.01 < 0.1 < spread[0.5]


def test_initial_weights_follow_the_generator() -> None:
    a, b = LeNet5Classic(), LeNet5Classic()
    a.init_weights(generator=torch.Generator().manual_seed(3))
    b.init_weights(generator=torch.Generator().manual_seed(3))
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))
    b.init_weights(generator=torch.Generator().manual_seed(4))
    assert not torch.equal(a.F6.weight, b.F6.weight)


# ---------------------------------------------------------------------------------------------- adapting weights


def test_weights_with_another_connection_table_are_refused(model: LeNet5Classic) -> None:
    state = model.state_dict()
    state["C3.connection"] = state["C3.connection"].flip(0)
    with pytest.raises(WeightsError, match="C3's connections are not those of Table I"):
        timm.create_model("lenet5_classic", pretrained=True, pretrained_cfg_overlay=dict(state_dict=state))


def test_loaded_weights_keep_the_characters_that_were_asked_for(model: LeNet5Classic) -> None:
    overlay = dict(state_dict=model.state_dict())
    loaded = timm.create_model(
        "lenet5_classic", pretrained=True, pretrained_cfg_overlay=overlay, characters="abcdefghij"
    )
    assert loaded.output.weight.tolist() == rbf_codes(10, "abcdefghij")
    assert torch.equal(loaded.F6.weight, model.F6.weight)


def test_output_codes_survive_a_round_trip_of_the_weights() -> None:
    letters = LeNet5Classic(num_classes=3, characters="abc")
    fresh = LeNet5Classic(num_classes=3)
    fresh.load_state_dict(letters.state_dict())
    assert torch.equal(fresh.output.weight, letters.output.weight)


def test_a_saved_network_remembers_its_characters_and_its_padding(tmp_path: Path) -> None:
    def again() -> LeNet5Classic:
        timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
        return timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()

    model = timm.create_model("lenet5_classic", num_classes=3, characters="xyz", pad=0).eval()
    x = paper_pictures(2, 1, 32, 32)
    assert torch.equal(again()(x), model(x))
    model.reset_classifier(4)
    assert torch.equal(again()(x), model(x))
    model.reset_classifier(4, characters="xyz", j=30)  # and a rubbish class
    assert torch.equal(again()(x), model(x))
    assert again().j == 30
    model = timm.create_model("lenet5_classic", num_classes=4, j=20, pad=0).eval()
    assert torch.equal(again()(x), model(x))


# ------------------------------------------------------------------------------- averaged, moved and emptied weights


def _averaged(model: nn.Module, decay: float) -> Iterator[nn.Module]:
    """A model of the tools that average a training's states, after five updates."""
    timms = ModelEmaV2(model, decay=decay)
    torchs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    for _ in range(5):
        timms.update(model)
        torchs.update_parameters(model)
    yield timms.module
    yield torchs.module


@pytest.mark.parametrize("decay", [0.9, 0.95, 0.9995, 0.9999])
def test_an_average_of_the_same_weights_is_the_network(decay: float) -> None:
    model = timm.create_model("lenet5_classic.mnist", pretrained=True).eval()
    x = paper_pictures(4, 1, 28, 28)
    for averaged in _averaged(model, decay):
        torch.testing.assert_close(averaged(x), model(x), rtol=0, atol=2e-4)
        overlay = dict(state_dict=averaged.state_dict())
        loaded = timm.create_model("lenet5_classic", pretrained=True, pretrained_cfg_overlay=overlay).eval()
        assert torch.equal(loaded(x), averaged(x))


def test_a_network_from_the_meta_device_has_all_that_is_no_weight(model: LeNet5Classic) -> None:
    x = paper_pictures(2, 1, 28, 28)
    with torch.device("meta"):
        emptied, assigned = LeNet5Classic(num_classes=11, j=40), LeNet5Classic()
    emptied.to_empty(device="cpu").init_weights()
    assert emptied.output.weight.tolist() == rbf_codes(10)
    assert (emptied(x)[:, 10] == -40).all()
    assigned.load_state_dict(model.state_dict(), assign=True)
    assert torch.equal(assigned(x), model(x))


def test_loading_other_connections_is_an_error_and_computes_with_table_i(model: LeNet5Classic) -> None:
    x = paper_pictures(2, 1, 28, 28)
    before, state = model(x), model.state_dict()
    state["C3.connection"] = state["C3.connection"].flip(0)
    with pytest.raises(RuntimeError, match=r"C3\.connection joins other maps than the table of this layer"):
        model.load_state_dict(state)
    assert torch.equal(model(x), before)


def test_loaded_weights_bring_their_own_penalty() -> None:
    network = LeNet5Classic(num_classes=3, j=7)
    network.load_state_dict(LeNet5Classic(num_classes=3, j=2).state_dict())
    assert network.j == 2
    assert (network(paper_pictures(2, 1, 28, 28))[:, 2] == -2).all()


def test_a_penalty_that_is_none_is_not_loaded() -> None:
    state = LeNet5Classic(num_classes=11, j=40).state_dict() | {"output.j": torch.tensor([-1.0])}
    with pytest.raises(WeightsError, match=r"^the weights are damaged: output\.j is \[-1\.0\], and must be a finite"):
        timm.create_model("lenet5_classic.numbers", pretrained=True, pretrained_cfg_overlay=dict(state_dict=state))


@pytest.mark.parametrize("name", ["lenet5_classic.numbers", "lenet5_modern.numbers"])
def test_a_weight_file_has_the_classes_of_the_tag_it_is_loaded_as(name: str) -> None:
    model = lenet_zoo.create_model(name, checkpoint_path=cards.weight_path(name))
    assert (model.num_classes, model.card.tag) == (11, "numbers")
    ten = lenet_zoo.create_model("lenet5_classic.numbers", num_classes=10)
    assert (ten.num_classes, ten.j) == (10, None)
