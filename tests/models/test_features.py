"""Feature maps: all of timm's ways to take them, and networks pruned to them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from timm.models import FeatureInfo, FeatureListNet
from timm.models._features_fx import FeatureGraphNet
from torch import Tensor

from lenet_zoo.errors import InputError

from .conftest import NAMES, batch, create

pytestmark = [
    pytest.mark.parametrize("name", NAMES),
    pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning"),
]


def check_features(info: FeatureInfo, maps: list[Tensor], size: int) -> None:
    assert len(info.channels()) == len(maps) >= 3
    assert info.reduction() == sorted(info.reduction())
    for channels, reduction, features in zip(info.channels(), info.reduction(), maps, strict=True):
        assert features.shape[:2] == (2, channels)
        assert max(features.shape[2:]) <= math.ceil(size / reduction) + 1
        assert features.isfinite().all()


@pytest.mark.parametrize("size", [28, 96])
@pytest.mark.parametrize("kind", ["list", "hook", "dict", "fx", "getter"])
def test_features_only(name: str, kind: str, size: int) -> None:
    whole = create(name)
    model = create(name, features_only=True, feature_cls=kind)
    inner = {"hook": "body", "fx": "graph_module", "getter": "model"}.get(kind)
    missing, _ = (model.get_submodule(inner) if inner else model).load_state_dict(whole.state_dict(), strict=False)
    assert not missing
    x = batch(size=size)
    maps = model(x)
    maps = list(maps.values()) if isinstance(maps, dict) else maps
    check_features(model.feature_info, maps, size)
    for a, b in zip(maps, whole.forward_intermediates(x, intermediates_only=True), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("indices", [(0,), (1, 3), (2, 4), (-1,)])
@pytest.mark.parametrize("kind", ["list", "getter"])
def test_features_at_chosen_levels(name: str, kind: str, indices: tuple[int, ...]) -> None:
    model = create(name, features_only=True, feature_cls=kind, out_indices=indices)
    maps = model(batch())
    channels = [(6, 6, 16, 16, 120)[i] for i in indices]
    assert [m.shape[1] for m in maps] == channels == model.feature_info.channels()
    # what lies above the last level is gone
    names = {key.split(".")[-2] for key, _ in model.named_parameters()}
    assert ("C5" in names) == (max(i % 5 for i in indices) == 4)
    assert not names & {"F6", "output"}


def test_default_feature_extractor_is_timms_list(name: str) -> None:
    assert isinstance(create(name, features_only=True), FeatureListNet)
    assert isinstance(create(name, features_only=True, feature_cls="fx"), FeatureGraphNet)


def test_forward_intermediates(name: str) -> None:
    model, x = create(name), batch(size=36)
    features, maps = model.forward_intermediates(x)
    check_features(FeatureInfo(model.feature_info, (0, 1, 2, 3, 4)), maps, 36)
    assert torch.equal(features, model.forward_features(x))
    assert torch.equal(features, maps[-1])

    everything = model.forward_intermediates(x, intermediates_only=True)
    assert all(torch.equal(a, b) for a, b in zip(everything, maps, strict=True))

    last, two = model.forward_intermediates(x, indices=2)
    assert all(torch.equal(a, b) for a, b in zip(two, maps[-2:], strict=True))
    assert torch.equal(last, features)

    stopped, one = model.forward_intermediates(x, indices=[1], stop_early=True)
    assert torch.equal(stopped, maps[1])
    assert torch.equal(one[0], maps[1])
    unstopped, one = model.forward_intermediates(x, indices=[1])
    assert torch.equal(unstopped, features)
    assert len(one) == 1

    model.set_grad_checkpointing()
    assert torch.equal(model.forward_intermediates(x)[0], features)
    with pytest.raises(InputError, match=r"^output_fmt='NLC': the maps are 'NCHW'$"):
        model.forward_intermediates(x, output_fmt="NLC")


@pytest.mark.parametrize(("indices", "kept"), [(1, [4]), ([0], [0]), ([1, 2], [1, 2]), ([-2], [3])])
def test_prune_intermediate_layers(name: str, indices: Any, kept: list[int]) -> None:
    model, x = create(name), batch()
    maps = model.forward_intermediates(x, intermediates_only=True)
    assert model.prune_intermediate_layers(indices) == kept
    pruned = model.forward_intermediates(x, indices=kept, intermediates_only=True)
    assert all(torch.equal(a, maps[i]) for a, i in zip(pruned, kept, strict=True))
    assert torch.equal(model(x), maps[kept[-1]])
    left = {key.split(".")[0] for key, _ in model.named_parameters()}
    assert not left & {"F6", "output", *["C1", "S2", "C3", "S4", "C5"][kept[-1] + 1 :]}


def test_prune_can_spare_the_head(name: str) -> None:
    model, x = create(name), batch()
    logits = model(x)
    model.prune_intermediate_layers(1, prune_head=False)
    assert torch.equal(model(x), logits)
