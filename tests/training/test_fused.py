"""The fused layers are the networks' own, up to rounding: same names, same logits, same gradients."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lenet_zoo import create_model
from lenet_zoo.training.fused import MaxPoolReLU, fuse


def _gradients(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    logits = model(x)
    F.cross_entropy(logits, torch.arange(len(x)) % 10).backward()
    return logits.detach(), [p.grad for p in model.parameters()]


@pytest.mark.parametrize("name", ["lenet5_modern", "lenet5_classic"])
def test_logits_and_gradients_are_the_networks_own(name):
    model = create_model(name).train()
    fused = fuse(copy.deepcopy(model))
    assert list(fused.state_dict()) == list(model.state_dict())
    # Background is constant, so that many windows are ties.
    x = torch.zeros(12, 1, 28, 28)
    x[:, :, 8:20, 8:20] = torch.rand(12, 1, 12, 12)
    (logits, gradients), (fused_logits, fused_gradients) = _gradients(model, x), _gradients(fused, x)
    if name == "lenet5_modern":
        assert torch.equal(fused_logits, logits)
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(fused_gradients, gradients, strict=True))
    else:
        torch.testing.assert_close(fused_logits, logits, rtol=1e-5, atol=1e-4)
        for mine, theirs in zip(fused_gradients, gradients, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


def test_the_gradient_by_hand_is_the_derivative():
    x = torch.randn(2, 3, 6, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(MaxPoolReLU(), (x,))
    classic = fuse(create_model("lenet5_classic").double())
    assert torch.autograd.gradcheck(classic.S2, (torch.randn(2, 6, 4, 6, dtype=torch.float64, requires_grad=True),))


def test_a_tie_gives_its_gradient_to_one_pixel_as_torch_does():
    x = torch.ones(1, 1, 4, 4, requires_grad=True)
    MaxPoolReLU()(x).sum().backward()
    theirs = torch.ones(1, 1, 4, 4, requires_grad=True)
    F.max_pool2d(theirs, 2).sum().backward()
    assert torch.equal(x.grad, theirs.grad)
    assert int(x.grad.sum()) == 4


def test_other_networks_stay_as_they_are():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2))
    assert repr(fuse(copy.deepcopy(model))) == repr(model)
