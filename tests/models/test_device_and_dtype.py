"""Devices, dtypes and memory formats."""

from __future__ import annotations

import copy

import pytest
import torch

from .conftest import NAMES, batch, create

pytestmark = [
    pytest.mark.parametrize("name", NAMES),
    pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning"),
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_dtype_reaches_every_floating_tensor(name: str, dtype: torch.dtype) -> None:
    model = create(name, dtype=dtype)
    tensors = [t for t in model.state_dict().values() if t.is_floating_point()]
    assert {t.dtype for t in tensors} == {dtype}
    assert model(batch().to(dtype)).dtype == dtype
    assert torch.get_default_dtype() == torch.float32


def test_low_precision_agrees_with_float32(name: str) -> None:
    model, x = create(name), batch(16)
    exact = model(x)
    for dtype, tolerance in ((torch.float16, 0.01), (torch.bfloat16, 0.06)):
        rough = copy.deepcopy(model).to(dtype)(x.to(dtype)).float()
        assert (rough - exact).abs().max() < tolerance * exact.abs().max()


def test_autocast(name: str) -> None:
    model, x = create(name), batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(x)
        assert model(x.bfloat16()).shape == (2, 10)
    assert (logits.float() - model(x)).abs().max() < 0.06 * model(x).abs().max()


def test_meta_device_then_weights(name: str) -> None:
    model = create(name, device="meta")
    assert all(t.is_meta for t in model.state_dict().values())
    assert model(batch().to("meta")).shape == (2, 10)
    source, x = create(name), batch()
    model.to_empty(device="cpu").load_state_dict(source.state_dict())
    assert torch.equal(model(x), source(x))


def test_device_context(name: str) -> None:
    with torch.device("meta"):
        model = create(name)
    assert all(t.is_meta for t in model.state_dict().values())


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_memory_format(name: str, memory_format: torch.memory_format) -> None:
    model, x = create(name), batch(4)
    logits = model(x)
    model = model.to(memory_format=memory_format)
    torch.testing.assert_close(model(x.to(memory_format=memory_format)), logits, rtol=1e-5, atol=1e-5)
