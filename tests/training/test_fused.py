"""The fused layers are the networks' own, up to rounding: same names, same logits, same gradients."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lenet_zoo import create_model
from lenet_zoo.errors import InputError
from lenet_zoo.training.fused import MaxPoolReLU, fold, fuse
from lenet_zoo.training.teachers import Teacher


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


@pytest.mark.parametrize(("name", "parameters"), [("lenet5_modern", 61_706), ("lenet5_classic", 60_000)])
def test_normalised_layers_fold_into_the_plain_network(name, parameters):
    torch.manual_seed(0)
    model = fuse(create_model(name), batch_norm=True).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        x = torch.rand(64, 1, 28, 28)
        optimizer.zero_grad()
        F.cross_entropy(model(x), torch.arange(64) % 10).backward()
        optimizer.step()
    plain = create_model(name).eval()
    before = plain(x)
    plain.load_state_dict(fold(model.state_dict()))
    with torch.no_grad():
        expected = model.eval()(x)
        torch.testing.assert_close(plain(x), expected, rtol=1e-5, atol=1e-4)
    assert not torch.allclose(before, expected, atol=0.01)
    assert sum(value.numel() for value in plain.parameters()) == parameters
    assert fold(model.state_dict()).keys() == plain.state_dict().keys()


@pytest.mark.parametrize("name", ["lenet5_modern", "lenet5_classic"])
def test_each_hidden_layer_is_normalised_over_the_batch(name):
    model = fuse(create_model(name), batch_norm=True).train()
    seen = {}
    for name in ("act1", "act3", "act5", "act6"):
        norm = getattr(model, name).norm
        norm.register_forward_hook(lambda _, __, out, name=name: seen.__setitem__(name, out.detach()))
    model(torch.rand(64, 1, 28, 28))
    assert {name: out.shape[1] for name, out in seen.items()} == {"act1": 6, "act3": 16, "act5": 120, "act6": 84}
    for out in seen.values():
        assert out.mean((0, 2, 3)).abs().max() < 1e-5
        # 1, but for ε beside the small variance of an untrained network's sums.
        assert out.var((0, 2, 3), correction=0) == pytest.approx(1, abs=0.05)


def test_weights_without_normalised_layers_stay_as_they_are():
    state = create_model("lenet5_classic").state_dict()
    assert all(torch.equal(fold(state)[key], value) for key, value in state.items())
    assert list(fold(state)) == list(state)


def test_normalising_is_refused_for_other_networks():
    with pytest.raises(InputError) as refusal:
        fuse(Teacher(), batch_norm=True)
    assert str(refusal.value) == (
        "batch_norm=true is for lenet5_modern and lenet5_classic: a teacher does so by itself"
    )
