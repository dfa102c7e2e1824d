"""The compiled stages of both networks are torch's layers, up to rounding: same logits, same gradients."""

import copy
import os
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lenet_zoo import create_model
from lenet_zoo.training import stages
from lenet_zoo.training.fused import fuse
from lenet_zoo.training.stages import is_compiled

NAMES = ["lenet5_modern", "lenet5_classic"]


def gradients_of(model: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    logits = model(x)
    F.cross_entropy(logits, torch.arange(len(x)) % 10).backward()
    return logits.detach(), [p.grad for p in model.parameters()]


def compiled(batch_norm: bool = False, name: str = "lenet5_modern") -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = fuse(create_model(name), batch_norm, compiled=True).train()
    if not is_compiled(model):
        pytest.skip("needs a C++ compiler")
    return model


def pair(batch_norm: bool = False, name: str = "lenet5_modern") -> tuple[nn.Module, nn.Module]:
    """A compiled network, and the same one as torch has it, in float64."""
    torch.manual_seed(5)
    mine = compiled(batch_norm, name)
    for key, p in mine.named_parameters():
        if ".norm." in key:  # a negative scale turns the order of a window around
            nn.init.normal_(p)
    theirs = fuse(create_model(name), batch_norm).train()
    theirs.load_state_dict(mine.state_dict())
    return mine, theirs.double()


def pictures(count: int) -> torch.Tensor:
    x = torch.zeros(count, 1, 28, 28)  # background is constant, so that many windows are ties
    x[:, :, 6:22, 5:23] = torch.rand(count, 1, 16, 18)
    return x


@pytest.mark.parametrize(
    ("batch_norm", "name"),
    [(False, "lenet5_modern"), (True, "lenet5_modern"), (True, "lenet5_classic")],
    ids=["plain", "normalised", "classic-normalised"],
)
def test_the_compiled_layers_are_autograds_within_rounding(batch_norm, name):
    mine, theirs = pair(batch_norm, name)
    x = pictures(48)
    for _ in range(2):  # the second batch meets running statistics of the first
        logits, gradients = gradients_of(mine.zero_grad() or mine, x)
        expected, expected_gradients = gradients_of(theirs.zero_grad() or theirs, x.double())
    torch.testing.assert_close(logits.double(), expected, rtol=1e-5, atol=1e-5)
    for (name, _), gradient, wanted in zip(mine.named_parameters(), gradients, expected_gradients, strict=True):
        if batch_norm and name in ("C1.bias", "C3.bias"):
            assert not gradient.any(), name  # what is normalised has lost its bias, and its gradient is exactly none
        elif not (batch_norm and name in ("C5.bias", "F6.bias")):
            torch.testing.assert_close(gradient.double(), wanted, rtol=1e-4, atol=2e-5 * float(wanted.abs().max()))
    for (name, buffer), wanted in zip(mine.named_buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(buffer.double(), wanted.double(), rtol=1e-5, atol=1e-6, msg=name)


def test_the_classic_networks_compiled_layers_are_autograds_within_rounding():
    torch.manual_seed(5)
    mine = compiled(name="lenet5_classic")
    with torch.no_grad():  # as after some training: each coefficient and each offset another one
        for p in (mine.S2.weight, mine.S2.bias, mine.S4.weight, mine.S4.bias, mine.C1.bias, mine.C3.bias):
            p.add_(torch.randn_like(p) / 4)
    theirs = create_model("lenet5_classic").train()
    theirs.load_state_dict(mine.state_dict())
    x = pictures(48)
    logits, gradients = gradients_of(mine, x)
    expected, expected_gradients = gradients_of(theirs.double(), x.double())
    for (name, _), gradient, wanted in zip(mine.named_parameters(), gradients, expected_gradients, strict=True):
        torch.testing.assert_close(
            gradient.double(), wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()), msg=name
        )
    torch.testing.assert_close(logits.double(), expected, rtol=1e-5, atol=1e-4)


def slopes(like: torch.Tensor) -> torch.Tensor:
    return (torch.arange(like.numel()) % 11 - 5).view_as(like).to(like.dtype)


def lower_stage(groups: int, threads: int) -> list[torch.Tensor]:
    """C3 to S4 by `stage.cpp`: result, mean and variance, and the gradients at inputs, kernels, bias, γ and β."""
    compiled()  # skips where there is no compiler
    library = stages.library_of("stage.cpp")
    torch.manual_seed(1)
    x = torch.randn(groups, 6, 14, 14, library.lanes, requires_grad=True)
    parts = [torch.randn(shape, requires_grad=True) for shape in ((16, 6, 5, 5), (16,), (16,), (16,))]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        out, mean, var = stages._Stage.apply(x, *parts, 1e-5, *library.stages["C3"])
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


def test_both_stages_in_one_are_autograds_at_the_border_too():
    compiled()  # skips where there is no compiler
    library = stages.library_of("lower.cpp")
    torch.manual_seed(1)
    x = torch.rand(2 * library.lanes, 1, 28, 28)
    parts = [torch.randn(shape, requires_grad=True) for shape in ((6, 1, 5, 5), (6,), (16, 6, 5, 5), (16,))]
    out = stages._Lower.apply(x, *parts, library)
    gradients = torch.autograd.grad((out * slopes(out)).sum(), parts)
    exact = [part.detach().double().requires_grad_() for part in parts]
    middle = F.max_pool2d(F.conv2d(x.double(), *exact[:2], padding=2).relu(), 2)
    expected = F.max_pool2d(F.conv2d(middle, *exact[2:]).relu(), 2).flatten(1)
    torch.testing.assert_close(out.double(), expected, rtol=1e-6, atol=1e-6 * float(expected.detach().max()))
    for mine, theirs in zip(gradients, torch.autograd.grad((expected * slopes(expected)).sum(), exact), strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=0, atol=2e-6 * float(theirs.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_threads_changes_no_bit_of_a_network(name):
    mine, x, found = compiled(name=name), pictures(80), []
    before = torch.get_num_threads()
    try:
        for threads in (1, 3, 9):
            torch.set_num_threads(threads)
            found.append(torch.autograd.grad(mine.forward_features(x).sum(), [mine.C1.weight])[0])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, found[0]) for one in found)


@pytest.mark.parametrize("name", NAMES)
def test_a_number_that_is_none_stays_one(name):
    mine = compiled(name=name)
    x = pictures(16)
    x[3, 0, 10, 10] = float("nan")
    with torch.no_grad():
        logits = mine(x)
        assert logits[3].isnan().all()
        assert logits[:3].isfinite().all()
        mine.C3.weight.view(-1)[0] = float("nan")
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
@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_suit_the_compiled_layers_goes_torchs_way(x, mode, name):
    torch.manual_seed(5)
    mine = compiled(name=name)
    theirs = fuse(create_model(name))
    theirs.load_state_dict(mine.state_dict())
    assert torch.equal(mine.train(mode == "train")(x), theirs.train(mode == "train")(x))


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_mixed_precision(name):
    mine = compiled(name=name)
    assert is_compiled(copy.deepcopy(mine))  # the moving average of a run is one
    x = pictures(16)
    plain = fuse(create_model(name)).train()
    plain.load_state_dict(mine.state_dict())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mine(x), plain(x))


def test_other_networks_are_not_compiled():
    assert not is_compiled(fuse(nn.Sequential(nn.Conv2d(1, 6, 5)), compiled=True))
    assert not any(is_compiled(fuse(create_model(name))) for name in NAMES)


@pytest.mark.parametrize(
    ("compiler", "message"),
    [
        ("no-such-compiler", r"no C\+\+ compiler found \(CXX=no-such-compiler\); training goes on through torch alone"),
        (
            None,
            r"cannot compile lower\.cpp: cxx: out of order; training goes on through torch alone, about half as",
        ),
    ],
    ids=["none", "broken"],
)
@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell script")
def test_without_a_compiler_training_goes_on_with_a_warning(monkeypatch, broken_compiler, compiler, message):
    monkeypatch.setenv("CXX", compiler or broken_compiler)
    stages.library_of.cache_clear()
    try:
        with pytest.warns(RuntimeWarning, match=message):
            model = fuse(create_model("lenet5_modern"), compiled=True)
    finally:
        stages.library_of.cache_clear()
    assert not is_compiled(model)
