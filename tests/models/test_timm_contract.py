"""What timm 1.0.31 demands of its own models, demanded of both networks."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import timm
import torch
from timm.models import group_parameters
from timm.optim import create_optimizer_v2, param_groups_layer_decay

import lenet_zoo
from lenet_zoo.errors import InputError

from .conftest import NAMES, batch, create, same_state

TAGS = ["lenet5_classic.mnist", "lenet5_modern.baseline_mnist", "lenet5_modern.mnist"]

pytestmark = [
    pytest.mark.parametrize("name", NAMES),
    pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning"),
]


# -------------------------------------------------------------------------------------------------- forward, backward


def test_forward_and_gradient_checkpointing_agree(name: str) -> None:
    model, x = create(name), batch()
    logits = model(x)
    assert logits.shape == (2, 10)
    assert logits.isfinite().all()
    model.set_grad_checkpointing()
    assert torch.equal(model(x), logits)


def test_backward_reaches_every_parameter(name: str) -> None:
    model = create(name, num_classes=42).train()
    logits = model(batch())
    assert logits.shape == (2, 42)
    logits.mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_gradient_checkpointing_gives_the_same_gradients(name: str) -> None:
    model, x = create(name).train(), batch(4)
    gradients = []
    for enable in (False, True):
        model.zero_grad()
        model.set_grad_checkpointing(enable)
        model(x).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_dropout_acts_in_training_only(name: str) -> None:
    model, x = create(name, drop_rate=0.5), batch()
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))


# ------------------------------------------------------------------------------------------------------- cfg and head


def test_default_cfg_and_the_head(name: str) -> None:
    model = create(name)
    cfg, state = model.default_cfg, model.state_dict()
    assert model.num_classes == cfg["num_classes"] == 10
    assert (model.num_features, model.head_hidden_size) == (120, 84)
    assert model.get_classifier() is model.output
    for key in ("classifier", "first_conv"):
        assert f"{cfg[key]}.weight" in state
    assert (cfg["input_size"], cfg["pool_size"], cfg["crop_pct"]) == ((1, 28, 28), (1, 1), 1.0)
    assert len(cfg["mean"]) == len(cfg["std"]) == 1

    x = batch(1)
    features = model.forward_features(x)
    assert features.shape == (1, model.num_features, *cfg["pool_size"])
    pre_logits = model.forward_head(features, pre_logits=True)
    assert pre_logits.shape == (1, model.head_hidden_size)

    model.reset_classifier(0)
    assert model.num_classes == 0
    assert torch.equal(model(x), pre_logits)

    model.reset_classifier(0, "")
    assert model(x).shape == (1, 84, *cfg["pool_size"])
    assert torch.equal(model(x)[:, :, 0, 0], pre_logits)

    unpooled = create(name, num_classes=0, global_pool="")
    assert unpooled(x).shape == (1, 84, *cfg["pool_size"])


def test_reset_classifier_keeps_device_dtype_and_mode(name: str) -> None:
    model = create(name, dtype=torch.float64)
    for training in (True, False):
        model.train(training)
        model.reset_classifier(7)
        assert model.num_classes == 7
        assert model.output.weight.dtype == torch.float64
        assert model.output.training == training
        assert model(batch().double()).shape == (2, 7)
    model.to("meta").reset_classifier(3)
    assert model.output.weight.is_meta


@pytest.mark.parametrize("classes", [-1, -10])
def test_a_negative_number_of_classes_is_refused(name: str, classes: int) -> None:
    with pytest.raises(InputError) as error:
        timm.create_model(name, num_classes=classes)
    assert str(error.value) == f"num_classes={classes}: give the number of classes, or 0 for no output layer"
    model = create(name)
    with pytest.raises(InputError):
        model.reset_classifier(classes)
    assert model.num_classes == 10
    assert model(batch()).shape == (2, 10)


def test_other_bad_arguments(name: str) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        timm.create_model(name, colour="red")
    with pytest.raises(InputError, match=r"^in_chans=0: a picture has at least 1 channel$"):
        timm.create_model(name, in_chans=0)
    with pytest.raises(InputError, match=r"^global_pool='median': one of 'avg', 'max' and '' \(no pooling\)$"):
        timm.create_model(name, global_pool="median")
    if name == "lenet5_classic":
        with pytest.raises(InputError, match=r"^pad=3: 2 for pictures of 28×28, 1 for 30×30, 0 for 32×32$"):
            timm.create_model(name, pad=3)


TAKES = "the network takes a float batch N×1×H×W with H, W ≥ 28"


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.rand(28, 28), f"a batch of 2 dimensions, shape (28, 28): {TAKES}"),
        (torch.rand(1, 28, 28), f"a batch of 3 dimensions, shape (1, 28, 28): {TAKES}"),
        (torch.rand(2, 3, 28, 28), f"a batch with 3 channels, shape (2, 3, 28, 28): {TAKES}"),
        (torch.rand(2, 1, 27, 28), f"pictures of 27×28 are too small: {TAKES}"),
        (torch.rand(2, 1, 28, 8), f"pictures of 28×8 are too small: {TAKES}"),
        (
            torch.zeros(2, 1, 28, 28, dtype=torch.uint8),
            f"a batch of dtype torch.uint8: {TAKES}; lenet_zoo.create_transform makes it from a picture",
        ),
        (
            torch.rand(2, 1, 28, 28, dtype=torch.float64),
            "a batch of dtype torch.float64 for a network in torch.float32: convert one of them with .to()",
        ),
        (torch.rand(2, 1, 28, 28).numpy(), f"a batch of type ndarray: {TAKES}, as a torch.Tensor"),
    ],
)
def test_a_wrong_batch_is_one_clear_line(name: str, x: Any, message: str) -> None:
    model = create(name)
    for call in (model, model.forward_features, model.forward_intermediates):
        with pytest.raises(InputError) as error:
            call(x)
        assert str(error.value) == message


def test_an_empty_batch_gives_no_logits(name: str) -> None:
    assert create(name)(batch(0)).shape == (0, 10)


# -------------------------------------------------------------------------------------------------- pretrained weights


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pretrained_on_replicated_grey_gives_the_same_logits(name: str, channels: int) -> None:
    grey = create(f"{name}.mnist", pretrained=True)
    wide = create(f"{name}.mnist", pretrained=True, in_chans=channels)
    x = batch(8)
    assert wide.in_chans == channels
    if name == "lenet5_classic":
        assert torch.equal(wide.pad(x)[:, :, 0, 0], torch.full((8, 1), -0.1))
    torch.testing.assert_close(wide(x.expand(-1, channels, -1, -1)), grey(x), rtol=1e-5, atol=2e-4)
    assert torch.equal(wide(x.expand(-1, channels, -1, -1)).argmax(1), grey(x).argmax(1))
    assert wide(batch(1, channels)).shape == (1, 10)


@pytest.mark.parametrize("classes", [5, 0])
def test_pretrained_with_another_number_of_classes_keeps_the_rest(name: str, classes: int) -> None:
    original = create(f"{name}.mnist", pretrained=True)
    model = create(f"{name}.mnist", pretrained=True, num_classes=classes)
    x = batch()
    assert model(x).shape == (2, classes or 84)
    hidden = original.forward_head(original.forward_features(x), pre_logits=True)
    assert torch.equal(model.forward_head(model.forward_features(x), pre_logits=True), hidden)


def test_pretrained_features(name: str) -> None:
    original = create(f"{name}.mnist", pretrained=True)
    backbone = create(f"{name}.mnist", pretrained=True, features_only=True)
    x = batch()
    for a, b in zip(backbone(x), original.forward_intermediates(x, intermediates_only=True), strict=True):
        assert torch.equal(a, b)


# ---------------------------------------------------------------------------------------------------- groups, optimiser


def test_layer_groups_follow_the_network(name: str) -> None:
    model = create(name)
    depth: dict[str, set[int]] = {}
    groups = group_parameters(model, model.group_matcher(), reverse=True)
    for key, group in groups.items():
        depth.setdefault(key.split(".")[0], set()).add(group)
    assert all(len(found) == 1 for found in depth.values())
    order = {key: min(found) for key, found in depth.items()}
    expected = {"C1": 0, "C3": 1, "C5": 2, "F6": 3}
    expected |= {"S2": 0, "S4": 1} if name == "lenet5_classic" else {"output": 4}
    assert order == expected


def test_layer_decay_and_weight_decay(name: str) -> None:
    model = create(name)
    groups = param_groups_layer_decay(model, weight_decay=0.1, layer_decay=0.5, no_weight_decay_list=[])
    assert sum(p.numel() for g in groups for p in g["params"]) == sum(p.numel() for p in model.parameters())
    scale = {id(p): g["lr_scale"] for g in groups for p in g["params"]}
    ladder = [scale[id(getattr(model, layer).weight)] for layer in ("C1", "C3", "C5", "F6")]
    assert ladder == sorted(ladder)
    assert len(set(ladder)) == 4
    assert ladder[-1] == (1.0 if name == "lenet5_classic" else 0.5)  # the 1998 output has nothing to learn

    optimizer = create_optimizer_v2(model, opt="sgd", lr=0.1, weight_decay=0.1, layer_decay=0.5)
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    for key, parameter in model.named_parameters():
        # biases and the subsampling coefficients are left alone
        assert decay[id(parameter)] == (0.0 if parameter.ndim == 1 else 0.1), key
    assert model.no_weight_decay() == set()


def test_an_optimiser_step_changes_every_layer(name: str) -> None:
    model = create(name).train()
    before = {key: p.detach().clone() for key, p in model.named_parameters()}
    optimizer = create_optimizer_v2(model, opt="adamw", lr=0.01)
    model(batch(8)).square().mean().backward()
    optimizer.step()
    assert all(not torch.equal(p, before[key]) for key, p in model.named_parameters())


# --------------------------------------------------------------------------------------------------------------- copies


def test_pickle_and_deepcopy(name: str) -> None:
    model, x = create(name), batch()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert same_state(model, twin)
        assert torch.equal(twin(x), model(x))
        assert twin.pretrained_cfg == model.pretrained_cfg


@pytest.mark.parametrize("changes", [{}, {"num_classes": 5}, {"in_chans": 3}, {"num_classes": 0}])
def test_save_for_hf_then_local_dir(name: str, changes: dict[str, Any], tmp_path: Any) -> None:
    model = create(name, **changes)
    timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    again = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert same_state(model, again)
    x = batch(2, model.in_chans)
    assert torch.equal(again(x), model(x))
    assert lenet_zoo.create_model(f"local-dir:{tmp_path}", pretrained=True).num_classes == model.num_classes


def test_registry(name: str) -> None:
    assert timm.is_model(name)
    assert timm.list_models("lenet5_*") == NAMES
    assert timm.models.is_model_pretrained(name)
    cfg = timm.get_pretrained_cfg(name)
    assert cfg.tag == "mnist"
    assert cfg.architecture == name
    assert set(TAGS) <= set(timm.list_pretrained("lenet5_*"))
    assert name in timm.list_models(module=name)


@pytest.mark.parametrize("form", [lambda cfg: cfg, lambda cfg: cfg.to_dict()], ids=["PretrainedCfg", "dict"])
def test_a_tag_of_lines_is_known_in_every_form_of_its_cfg(name: str, form: Any) -> None:
    cfg = timm.models.get_pretrained_cfg(f"{name}.numbers")
    model = timm.create_model(name, pretrained=True, pretrained_cfg=form(cfg))
    assert (model.global_pool, model.num_classes, model.card.tag) == ("", 11, "numbers")


def test_timms_input_config(name: str) -> None:
    config = timm.data.resolve_data_config({}, model=create(name))
    assert (config["input_size"], config["crop_pct"], config["interpolation"]) == ((1, 28, 28), 1.0, "bilinear")
    mean, std = config["mean"][0], config["std"][0]
    lowest, highest = (0 - mean) / std, (1 - mean) / std
    expected = (-0.1, 1.175) if name == "lenet5_classic" else (0.0, 1.0)
    assert (lowest, highest) == pytest.approx(expected, abs=1e-9)
