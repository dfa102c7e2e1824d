"""The fused layers are the networks' own, up to rounding: same names, same logits, same gradients."""

import copy
import os
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lenet_zoo import create_model
from lenet_zoo.errors import InputError
from lenet_zoo.training import fused as fused_module
from lenet_zoo.training.fused import MaxPoolReLU, fold, fuse, is_compiled


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


def test_normalised_layers_fold_into_the_plain_network():
    torch.manual_seed(0)
    model = fuse(create_model("lenet5_modern"), batch_norm=True).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        x = torch.rand(64, 1, 28, 28)
        optimizer.zero_grad()
        F.cross_entropy(model(x), torch.arange(64) % 10).backward()
        optimizer.step()
    plain = create_model("lenet5_modern").eval()
    before = plain(x)
    plain.load_state_dict(fold(model.state_dict()))
    with torch.no_grad():
        expected = model.eval()(x)
        torch.testing.assert_close(plain(x), expected, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(before, expected, atol=0.01)
    assert sum(value.numel() for value in fold(model.state_dict()).values()) == 61_706


def test_each_hidden_layer_is_normalised_over_the_batch():
    model = fuse(create_model("lenet5_modern"), batch_norm=True).train()
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
        fuse(create_model("lenet5_classic"), batch_norm=True)
    assert str(refusal.value) == "batch_norm=true is for lenet5_modern: leave it false for any other network"


# ------------------------------------------------------------------------------------------------- the compiled layers


def compiled(batch_norm: bool = False) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = fuse(create_model("lenet5_modern"), batch_norm, compiled=True).train()
    if not is_compiled(model):
        pytest.skip("needs a C++ compiler")
    return model


def pair(batch_norm: bool = False) -> tuple[nn.Module, nn.Module]:
    """A compiled network, and the same one as torch has it, in float64."""
    torch.manual_seed(5)
    mine = compiled(batch_norm)
    for name, p in mine.named_parameters():
        if ".norm." in name:  # a negative scale turns the order of a window around
            nn.init.normal_(p)
    theirs = fuse(create_model("lenet5_modern"), batch_norm).train()
    theirs.load_state_dict(mine.state_dict())
    return mine, theirs.double()


def pictures(count: int) -> torch.Tensor:
    x = torch.zeros(count, 1, 28, 28)  # background is constant, so that many windows are ties
    x[:, :, 6:22, 5:23] = torch.rand(count, 1, 16, 18)
    return x


@pytest.mark.parametrize("batch_norm", [False, True], ids=["plain", "normalised"])
def test_the_compiled_layers_are_autograds_within_rounding(batch_norm):
    mine, theirs = pair(batch_norm)
    x = pictures(48)
    for _ in range(2):  # the second batch meets running statistics of the first
        logits, gradients = _gradients(mine.zero_grad() or mine, x)
        expected, expected_gradients = _gradients(theirs.zero_grad() or theirs, x.double())
    torch.testing.assert_close(logits.double(), expected, rtol=1e-5, atol=1e-5)
    for (name, _), gradient, wanted in zip(mine.named_parameters(), gradients, expected_gradients, strict=True):
        if batch_norm and name in ("C1.bias", "C3.bias"):
            assert not gradient.any(), name  # what is normalised has lost its bias, and its gradient is exactly none
        elif not (batch_norm and name in ("C5.bias", "F6.bias")):
            torch.testing.assert_close(gradient.double(), wanted, rtol=1e-4, atol=2e-5 * float(wanted.abs().max()))
    for (name, buffer), wanted in zip(mine.named_buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(buffer.double(), wanted.double(), rtol=1e-5, atol=1e-6, msg=name)


def slopes(like: torch.Tensor) -> torch.Tensor:
    return (torch.arange(like.numel()) % 11 - 5).view_as(like).to(like.dtype)


def lower_stage(groups: int, threads: int) -> list[torch.Tensor]:
    """C3 to S4 by `stage.cpp`: result, mean and variance, and the gradients at inputs, kernels, bias, γ and β."""
    compiled()  # skips where there is no compiler
    library = fused_module._library()
    torch.manual_seed(1)
    x = torch.randn(groups, 6, 14, 14, library.lanes, requires_grad=True)
    parts = [torch.randn(shape, requires_grad=True) for shape in ((16, 6, 5, 5), (16,), (16,), (16,))]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        out, mean, var = fused_module._Stage.apply(x, *parts, 1e-5, *library.stages["C3"])
        return [out, mean, var, *torch.autograd.grad((out * slopes(out)).sum(), [x, *parts])]
    finally:
        torch.set_num_threads(before)


def test_a_stage_and_its_gradients_are_autograds_at_the_border_too():
    out, mean, var, *gradients = lower_stage(2, threads=1)
    lanes = out.shape[-1]
    torch.manual_seed(1)
    x = torch.randn(2, 6, 14, 14, lanes).double().requires_grad_()
    parts = [torch.randn(shape).double().requires_grad_() for shape in ((16, 6, 5, 5), (16,), (16,), (16,))]
    kernel, bias, gamma, beta = parts
    sums = F.conv2d(x.permute(0, 4, 1, 2, 3).reshape(2 * lanes, 6, 14, 14), kernel, bias)
    normal = F.batch_norm(sums, None, None, gamma, beta, training=True)
    pooled = F.max_pool2d(normal.relu(), 2).view(2, lanes, 16, 5, 5).permute(0, 2, 3, 4, 1)
    torch.testing.assert_close(out.double(), pooled, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(mean.double(), sums.mean((0, 2, 3)) - bias, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(var.double(), sums.var((0, 2, 3), correction=0), rtol=1e-5, atol=1e-4)
    expected = torch.autograd.grad((pooled * slopes(out).double()).sum(), [x, *parts])
    for mine, theirs in zip(gradients, expected, strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()) + 1e-9)


def test_the_number_of_threads_changes_no_bit():
    one = lower_stage(5, threads=1)
    for threads in (2, 3, 9):
        assert all(torch.equal(a, b) for a, b in zip(one, lower_stage(5, threads), strict=True))


def test_a_number_that_is_none_stays_one():
    mine = compiled()
    x = pictures(16)
    x[3, 0, 10, 10] = float("nan")
    with torch.no_grad():
        logits = mine(x)
        assert logits[3].isnan().all()
        assert logits[:3].isfinite().all()
        mine.C3.weight[0, 0, 0, 0] = float("nan")
        assert mine(pictures(16)).isnan().all()


@pytest.mark.parametrize(
    ("x", "mode"),
    [
        (torch.rand(15, 1, 28, 28), "train"),
        (torch.rand(16, 1, 32, 32), "train"),
        (torch.rand(16, 1, 28, 28, requires_grad=True), "train"),
        (torch.rand(16, 1, 28, 28), "eval"),
        (torch.rand(0, 1, 28, 28), "train"),
    ],
    ids=["no whole group", "larger", "gradient at the pictures", "evaluation", "empty"],
)
def test_what_does_not_suit_the_compiled_layers_goes_torchs_way(x, mode):
    torch.manual_seed(5)
    mine = compiled()
    theirs = fuse(create_model("lenet5_modern"))
    theirs.load_state_dict(mine.state_dict())
    assert torch.equal(mine.train(mode == "train")(x), theirs.train(mode == "train")(x))


def test_copies_and_mixed_precision():
    mine = compiled()
    assert is_compiled(copy.deepcopy(mine))  # the moving average of a run is one
    x = pictures(16)
    plain = fuse(create_model("lenet5_modern")).train()
    plain.load_state_dict(mine.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mine(x), plain(x))


def test_other_networks_are_not_compiled():
    assert not is_compiled(fuse(create_model("lenet5_classic"), compiled=True))
    assert not is_compiled(fuse(create_model("lenet5_modern")))


@pytest.mark.parametrize(
    ("compiler", "message"),
    [
        ("no-such-compiler", r"no C\+\+ compiler found \(CXX=no-such-compiler\); training goes on through torch alone"),
        (
            None,
            r"cannot compile stage\.cpp: cxx: out of order; training goes on through torch alone, about half as",
        ),
    ],
    ids=["none", "broken"],
)
@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell script")
def test_without_a_compiler_training_goes_on_with_a_warning(monkeypatch, broken_compiler, compiler, message):
    monkeypatch.setenv("CXX", compiler or broken_compiler)
    fused_module._library.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match=message):
            model = fuse(create_model("lenet5_modern"), compiled=True)
    finally:
        fused_module._library.cache_clear()
    assert not is_compiled(model)
