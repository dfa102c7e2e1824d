"""`model.plain()`: the same function as a chain of torch's own layers, for tools that know no others."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.ao import quantization
from torch.ao.quantization import quantize_fx

import lenet_zoo
from lenet_zoo.export.calibration import bundled
from lenet_zoo.models.lenet5_classic import RBF, FullConnection, PartialConv2d, ScaledTanh, Subsample2d
from lenet_zoo.models.plain import WithSquares

NAMES = ("lenet5_modern", "lenet5_classic")
OWN = {nn.Conv2d, nn.Linear, nn.ReLU, nn.Tanh, nn.MaxPool2d, nn.ConstantPad2d, nn.AdaptiveAvgPool2d, nn.Flatten}


def digits(model: Any) -> torch.Tensor:
    mean, std = (model.pretrained_cfg[key][0] for key in ("mean", "std"))
    return (torch.from_numpy(bundled()[:, None].copy()) / 255 - mean) / std


@pytest.mark.parametrize("name", NAMES)
def test_plain_layers_give_the_same_logits(name: str) -> None:
    model = lenet_zoo.create_model(name, pretrained=True).train()
    before = copy.deepcopy(model.state_dict())
    plain = model.plain()
    assert {type(layer) for layer in plain} <= {*OWN, WithSquares}
    assert not any(parameter.requires_grad for parameter in plain.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.training
    assert not plain.training
    x = digits(model)
    torch.testing.assert_close(plain(x), model.eval()(x), rtol=0, atol=1e-4)
    for parameter in plain.parameters():
        parameter.zero_()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "apart"), [("lenet5_modern.fashion_mnist", 0.0), ("lenet5_classic.fashion_mnist", 5e-4)]
)
def test_of_clothes_the_logits_differ_by_rounding(name: str, apart: float, fashion_test: Any) -> None:
    """Those of the classic go down to −280, and are sums of larger terms in its plain form."""
    model = lenet_zoo.create_model(name, pretrained=True)
    mean, std = (model.pretrained_cfg[key][0] for key in ("mean", "std"))
    x = (fashion_test.images[:2_000, None] / 255 - mean) / std
    with torch.inference_mode():
        torch.testing.assert_close(model.plain()(x), model(x), rtol=0, atol=apart)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "options",
    [
        dict(num_classes=0),
        dict(num_classes=26, in_chans=3),
        dict(global_pool="max"),
        dict(global_pool=""),
        dict(global_pool="", num_classes=0),
    ],
    ids=str,
)
def test_every_form_of_the_networks(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = lenet_zoo.create_model(name, **options).eval().double()
    if name == "lenet5_classic":
        with torch.no_grad():
            for layer in (model.S2, model.S4, model.C3):
                layer.weight.uniform_(-0.4, 0.4)
                layer.bias.uniform_(-0.4, 0.4)
    x = torch.randn(2, options.get("in_chans", 1), 36, 40, dtype=torch.float64)
    torch.testing.assert_close(model.plain()(x), model(x))


def eager(model: nn.Module, x: torch.Tensor, kind: str) -> torch.Tensor:
    stubbed = nn.Sequential(quantization.QuantStub(), model, quantization.DeQuantStub()).eval()
    stubbed.qconfig = quantization.get_default_qconfig(kind)
    prepared = quantization.prepare(stubbed)
    prepared(x)
    return quantization.convert(prepared)(x)


def fx(model: nn.Module, x: torch.Tensor, kind: str) -> torch.Tensor:
    prepared = quantize_fx.prepare_fx(model, quantization.get_default_qconfig_mapping(kind), (x,))
    prepared(x)
    return quantize_fx.convert_fx(prepared)(x)


@pytest.mark.filterwarnings("ignore")  # torch's own, of its quantization
@pytest.mark.skipif("qnnpack" not in torch.backends.quantized.supported_engines, reason="torch has no qnnpack here")
@pytest.mark.parametrize("way", [eager, fx])
@pytest.mark.parametrize("name", NAMES)
def test_torch_quantizes_plain_layers(name: str, way: Callable[..., torch.Tensor]) -> None:
    # qnnpack: the sums of fbgemm saturate on processors without VNNI.
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "qnnpack"
    try:
        model = lenet_zoo.create_model(name, pretrained=True).eval()
        x = digits(model)
        same = way(model.plain(), x, "qnnpack").argmax(1) == model(x).argmax(1)
    finally:
        torch.backends.quantized.engine = before
    assert same.float().mean() >= 0.98


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif("qnnpack" not in torch.backends.quantized.supported_engines, reason="torch has no qnnpack here")
@pytest.mark.parametrize("name", NAMES)
def test_torch_trains_plain_layers_for_quantization(name: str) -> None:
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "qnnpack"
    try:
        model = lenet_zoo.create_model(name, pretrained=True).eval()
        x = digits(model)
        labels = model(x).argmax(1)
        stubbed = nn.Sequential(quantization.QuantStub(), model.plain(), quantization.DeQuantStub()).train()
        stubbed.requires_grad_(True).qconfig = quantization.get_default_qat_qconfig("qnnpack")
        prepared = quantization.prepare_qat(stubbed)
        optimizer = torch.optim.SGD(prepared.parameters(), 1e-4)
        for batch, wanted in zip(x.split(20), labels.split(20), strict=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(prepared(batch), wanted).backward()
            optimizer.step()
        same = quantization.convert(prepared.eval())(x).argmax(1) == labels
    finally:
        torch.backends.quantized.engine = before
    assert same.float().mean() >= 0.98


@pytest.mark.parametrize("name", NAMES)
def test_a_traced_network_reads_no_weight_for_its_check(name: str) -> None:
    model = lenet_zoo.create_model(name)
    traced = torch.fx.symbolic_trace(model)
    assert "C1.weight" not in {node.target for node in traced.graph.nodes if node.op == "get_attr"}
    x = torch.randn(2, 1, 28, 28)
    torch.testing.assert_close(traced(x), model(x))
    # … and not the dtype of the day when it was traced.
    torch.testing.assert_close(traced.double()(x.double()), model.double()(x.double()))
    with pytest.raises(lenet_zoo.errors.InputError, match="a batch with 3 channels"):
        traced(torch.randn(2, 3, 28, 28))


def test_the_layers_of_1998_are_modules_as_torch_has_them() -> None:
    convolution = PartialConv2d([[0], [0, 1]], 2, 5)
    assert repr(convolution) == "PartialConv2d(2, 2, kernel_size=5, connections=3 of 4)"
    assert 0 < convolution.weight[0].abs().max() <= 2.4 / 25**0.5
    assert convolution.weight[1:].abs().max() <= 2.4 / 50**0.5
    assert repr(Subsample2d(6)) == "Subsample2d(6, kernel_size=2, stride=(2, 2))"
    assert repr(FullConnection(120, 84)) == "FullConnection(in_features=120, out_features=84)"
    assert repr(RBF(torch.ones(10, 84))) == "RBF(in_features=84, out_features=10)"
    assert [type(module) for module in ScaledTanh().children()] == [nn.Tanh]
    assert not isinstance(FullConnection(120, 84), nn.Linear)  # its weight is viewed as a kernel
    for module in (convolution, Subsample2d(6), FullConnection(120, 84)):
        before = copy.deepcopy(module.state_dict())
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.fill_(7)
        module.reset_parameters()
        assert all(value.abs().max() < 7 for key, value in module.named_parameters())
        assert module.state_dict().keys() == before.keys()


def test_a_recorded_seed_gives_the_weights_that_it_gave() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    PartialConv2d([[0]], 1, 5)
    assert torch.equal(torch.rand(1), expected)
    torch.manual_seed(3)
    ours = FullConnection(120, 84).weight
    torch.manual_seed(3)
    assert torch.equal(ours, nn.Linear(120, 84).weight)
