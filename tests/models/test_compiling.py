"""TorchScript, tracing, FX, torch.export and torch.compile: the same logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models import get_notrace_functions, get_notrace_modules
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from lenet_zoo.errors import InputError
from lenet_zoo.models._base import LeNet5

from .conftest import NAMES, batch, create

pytestmark = [
    pytest.mark.parametrize("name", NAMES),
    pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning"),
]


def fx_model(model: LeNet5) -> nn.Module:
    arguments = dict(
        leaf_modules=get_notrace_modules(), autowrap_functions=get_notrace_functions(), param_shapes_constant=True
    )
    train_nodes, eval_nodes = get_graph_node_names(model, tracer_kwargs=arguments)
    return create_feature_extractor(
        model,
        train_return_nodes=[train_nodes[-1]],
        eval_return_nodes=[eval_nodes[-1]],
        tracer_kwargs=arguments,
    )


@pytest.mark.parametrize("pool", ["avg", ""])
def test_torchscript(name: str, pool: str, tmp_path: Any) -> None:
    model, x = create(name, global_pool=pool, scriptable=True), batch(size=36)
    scripted = torch.jit.script(model)
    assert torch.equal(scripted(x), model(x))
    scripted.save(tmp_path / "model.pt")
    assert torch.equal(torch.jit.load(tmp_path / "model.pt")(x), model(x))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_torch_jit_trace(name: str) -> None:
    model = create(name)
    traced = torch.jit.trace(model, batch())
    for x in (batch(), batch(5)):
        assert torch.equal(traced(x), model(x))


def test_fx_forward(name: str) -> None:
    model, x = create(name), batch()
    traced = fx_model(model).eval()
    assert torch.equal(next(iter(traced(x).values())), model(x))
    # the check of the batch is part of the graph
    with pytest.raises(InputError, match=r"^a batch with 3 channels"):
        traced(batch(1, 3))


def test_fx_backward(name: str) -> None:
    model = fx_model(create(name, num_classes=42)).train()
    logits = next(iter(model(batch()).values()))
    assert logits.shape == (2, 42)
    logits.mean().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_fx_then_torchscript(name: str) -> None:
    model, x = create(name), batch()
    scripted = torch.jit.script(fx_model(model).eval())
    assert torch.equal(next(iter(scripted(x).values())), model(x))


def test_fx_features_then_torchscript(name: str) -> None:
    model = create(name, features_only=True, feature_cls="fx")
    maps = torch.jit.script(model)(batch())
    assert [m.shape[1] for m in maps] == [6, 6, 16, 16, 120]


def test_torch_export(name: str) -> None:
    model, x = create(name), batch(3)
    with torch.no_grad():
        exported = torch.export.export(model, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
        for n in (1, 3, 9):
            torch.testing.assert_close(exported(x[:1].expand(n, -1, -1, -1)), model(x[:1]).expand(n, -1))


def test_torch_compile_traces_the_whole_forward(name: str) -> None:
    model, x = create(name), batch()
    with torch.no_grad():
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        assert torch.equal(compiled(x), model(x))
