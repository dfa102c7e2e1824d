"""lenet5_classic is the network of LeCun et al. 1998, checked against what the paper prints."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import lenet_zoo
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import InputError
from lenet_zoo.models.lenet5_classic import RBF, FullConnection, LeNet5Classic, PartialConv2d, ScaledTanh, Subsample2d

from .conftest import TABLE_I, paper_pictures


def test_trainable_parameters_per_layer() -> None:
    model = LeNet5Classic()
    counts = {name: sum(p.numel() for p in layer.parameters()) for name, layer in model.named_children()}
    assert {name: n for name, n in counts.items() if n} == {
        "C1": 156,
        "S2": 12,
        "C3": 1_516,
        "S4": 32,
        "C5": 48_120,
        "F6": 10_164,
    }
    assert sum(p.numel() for p in model.parameters()) == 60_000
    assert all(p.requires_grad for p in model.parameters())
    assert model.output.weight.numel() == 840


def test_connections_per_layer() -> None:
    """Counted on the network itself: how many outputs (with their own bias) and inputs each unit reads."""
    model = LeNet5Classic().double().eval()
    x = paper_pictures(1, 1, 28, 28).double()
    found = {}
    for name, modules in model.stages():
        for module in modules[:-1]:
            x = module(x)
        layer = next(m for m in modules if isinstance(m, torch.nn.Conv2d | PartialConv2d | Subsample2d))
        _, maps, rows, columns = x.shape
        if isinstance(layer, Subsample2d):
            reads = [4] * maps
        elif isinstance(layer, PartialConv2d):
            reads = [25 * int(n) for n in (layer.connection // 6).bincount()]
        else:
            reads = [layer.weight[0].numel()] * maps
        found[name] = sum((n + 1) * rows * columns for n in reads)
        x = modules[-1](x)
    found["F6"] = 84 * (120 + 1)
    found["output"] = model.output.weight.numel()
    assert found == {
        "C1": 122_304,
        "S2": 5_880,
        "C3": 151_600,
        "S4": 2_000,
        "C5": 48_120,
        "F6": 10_164,
        "output": 840,
    }
    assert sum(found.values()) == 340_908


def test_shapes_layer_by_layer(model: LeNet5Classic) -> None:
    features, maps = model.forward_intermediates(paper_pictures(2, 1, 28, 28))
    assert [tuple(m.shape[1:]) for m in maps] == [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5), (120, 1, 1)]
    assert features.shape == (2, 120, 1, 1)
    assert model.forward_head(features, pre_logits=True).shape == (2, 84)
    assert model.forward_head(features).shape == (2, 10)


def test_c3_reads_what_table_i_prints(model: LeNet5Classic) -> None:
    for target in range(16):
        for source in range(6):
            x = torch.zeros(1, 6, 5, 5)
            x[0, source] = 1.0
            reached = (model.C3(x) - model.C3(torch.zeros(1, 6, 5, 5)))[0, target, 0, 0].abs() > 0
            assert bool(reached) == (TABLE_I[source][target] == "X"), (source, target)
    assert model.C3.weight.shape == (60, 5, 5)
    assert model.C3.connection.tolist() == sorted(model.C3.connection.tolist())


def test_an_absent_connection_gets_no_gradient_and_no_parameter(model: LeNet5Classic) -> None:
    dense = model.C3.dense_weight()
    present = torch.tensor([[row[target] == "X" for row in TABLE_I] for target in range(16)])
    assert dense.shape == (16, 6, 5, 5)
    assert torch.equal(dense.flatten(2).abs().sum(2) > 0, present)
    model(paper_pictures(4, 1, 28, 28)).sum().backward()
    assert model.C3.weight.grad.flatten(1).abs().sum(1).min() > 0


def test_squashing_function() -> None:
    f = ScaledTanh()
    assert (f.A, f.S) == (1.7159, 2 / 3)
    assert f(torch.tensor([1.0, -1.0])).tolist() == pytest.approx([1.0, -1.0], abs=1e-4)
    assert f(torch.tensor([0.0, 1e9, -1e9])).tolist() == pytest.approx([0.0, 1.7159, -1.7159])
    a = torch.linspace(-3, 3, 25, dtype=torch.float64)
    assert torch.allclose(f(a), 1.7159 * torch.tanh(2 / 3 * a))


def test_squashing_follows_every_layer_up_to_f6(model: LeNet5Classic) -> None:
    x = 50 * paper_pictures(3, 1, 28, 28)  # drives every layer far into saturation
    features, maps = model.forward_intermediates(x)
    for state in [*maps, features, model.forward_head(features, pre_logits=True)]:
        assert 1.0 < state.abs().max() <= 1.7159


def test_subsampling_adds_its_four_inputs() -> None:
    layer = Subsample2d(2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([1.0, 0.5]))
        layer.bias.copy_(torch.tensor([0.0, 7.0]))
    x = torch.arange(32.0).reshape(1, 2, 4, 4)
    assert layer(x)[0, 0].tolist() == [[0 + 1 + 4 + 5, 2 + 3 + 6 + 7], [8 + 9 + 12 + 13, 10 + 11 + 14 + 15]]
    assert layer(x)[0, 1, 0, 0].item() == 0.5 * (16 + 17 + 20 + 21) + 7
    assert Subsample2d(3)(torch.ones(1, 3, 5, 7)).tolist() == torch.ones(1, 3, 2, 3).tolist()  # starts as the average


def test_rbf_is_the_negated_squared_distance() -> None:
    layer = RBF(torch.tensor([[1.0, -1.0, 1.0], [-1.0, -1.0, -1.0]]))
    assert layer(torch.tensor([[1.0, -1.0, 1.0]])).tolist() == [[0.0, -8.0]]
    assert layer(torch.tensor([[0.5, 0.0, -2.0]])).tolist() == [[-(0.25 + 1 + 9), -(2.25 + 1 + 1)]]
    assert not list(layer.parameters())


def test_f6_is_an_ordinary_linear_layer() -> None:
    layer = FullConnection(120, 84)
    x = torch.randn(7, 120)
    torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias), rtol=0, atol=3e-6)


def test_the_field_is_padded_with_background(model: LeNet5Classic) -> None:
    """A 28×28 picture and the 32×32 field made by hand (−0.1 all around) give the same logits."""
    x = paper_pictures(3, 1, 28, 28)
    field = torch.full((3, 1, 32, 32), -0.1)
    field[:, :, 2:30, 2:30] = x
    unpadded = LeNet5Classic(pad=0).eval()
    unpadded.load_state_dict(model.state_dict())
    assert torch.equal(unpadded(field), model(x))
    with pytest.raises(InputError, match=r"^pictures of 28×28 are too small: .* H, W ≥ 32$"):
        unpadded(x)


def test_input_range_is_the_papers() -> None:
    """Background −0.1, ink 1.175 (p. 6)."""
    from PIL import Image

    picture = np.zeros((28, 28), np.uint8)
    picture[10:18] = 255
    x = lenet_zoo.create_transform("lenet5_classic")(Image.fromarray(picture))
    assert (x.shape, x.dtype) == ((1, 28, 28), torch.float32)
    assert (x.min().item(), x.max().item()) == pytest.approx((-0.1, 1.175), abs=1e-6)


def test_input_is_about_normalised_on_the_training_set(mnist_train: Dataset) -> None:
    """The mean is about 0 and the variance about 1, which is why the paper chose the range (p. 6)."""
    field = torch.full((2_000, 32, 32), -0.1)
    field[:, 2:30, 2:30] = mnist_train.images[:2_000] / 255 * 1.275 - 0.1
    assert abs(field.mean().item()) < 0.1
    assert abs(field.var().item() - 0.125) < 0.05  # the paper says roughly 1; on its own pixels it is 0.12


def naive_forward(state: dict[str, NDArray[np.float64]], picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """The penalties y of one 28×28 picture, straight from pp. 6-9, with loops and in float64."""

    def squash(a: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1.7159 * np.tanh(2 / 3 * a)

    def subsample(x: NDArray[np.float64], coefficient: NDArray[np.float64], bias: NDArray[np.float64]):
        maps, rows, columns = x.shape
        out = np.zeros((maps, rows // 2, columns // 2))
        for m in range(maps):
            for i in range(rows // 2):
                for j in range(columns // 2):
                    four = x[m, 2 * i, 2 * j] + x[m, 2 * i, 2 * j + 1]
                    four += x[m, 2 * i + 1, 2 * j] + x[m, 2 * i + 1, 2 * j + 1]
                    out[m, i, j] = coefficient[m] * four + bias[m]
        return out

    field = np.full((32, 32), -0.1)
    field[2:30, 2:30] = picture
    c1 = np.zeros((6, 28, 28))
    for m in range(6):
        for i in range(28):
            for j in range(28):
                window = field[i : i + 5, j : j + 5]
                c1[m, i, j] = (state["C1.weight"][m, 0] * window).sum() + state["C1.bias"][m]
    s2 = squash(subsample(squash(c1), state["S2.weight"], state["S2.bias"]))
    c3 = np.zeros((16, 10, 10))
    kernel = iter(state["C3.weight"])
    for m in range(16):
        c3[m] = state["C3.bias"][m]
        for source in range(6):
            if TABLE_I[source][m] == "X":
                weight = next(kernel)
                for i in range(10):
                    for j in range(10):
                        c3[m, i, j] += (weight * s2[source, i : i + 5, j : j + 5]).sum()
    s4 = squash(subsample(squash(c3), state["S4.weight"], state["S4.bias"]))
    c5 = squash(np.array([(w * s4).sum() + b for w, b in zip(state["C5.weight"], state["C5.bias"], strict=True)]))
    f6 = squash(np.array([(w * c5).sum() + b for w, b in zip(state["F6.weight"], state["F6.bias"], strict=True)]))
    return np.array([sum((f6[j] - code[j]) ** 2 for j in range(84)) for code in state["output.weight"]])


def test_equals_a_naive_forward_pass_written_from_the_paper(model: LeNet5Classic) -> None:
    model = model.double()
    state = {name: value.numpy() for name, value in model.state_dict().items()}
    x = paper_pictures(2, 1, 28, 28).double()
    logits = model(x).detach().numpy()
    for i in range(2):
        np.testing.assert_allclose(-logits[i], naive_forward(state, x[i, 0].numpy()), rtol=1e-10)


def test_a_larger_picture_is_a_space_displacement_network(model: LeNet5Classic) -> None:
    """n = (W − 32)/4 + 1 columns of answers (pp. 27-29), each equal to the network on a window of its own."""
    model = LeNet5Classic(pad=0, global_pool="").eval()
    window = LeNet5Classic(pad=0).eval()
    window.load_state_dict(model.state_dict())
    for width in (32, 36, 64, 100):
        x = paper_pictures(1, 1, 32, width)
        logits = model(x)
        n = (width - 32) // 4 + 1
        assert logits.shape == (1, 10, 1, n)
        for k in range(n):
            alone = window(x[:, :, :, 4 * k : 4 * k + 32])
            torch.testing.assert_close(logits[:, :, 0, k], alone, rtol=1e-5, atol=1e-5)
    assert model(paper_pictures(2, 1, 40, 48)).shape == (2, 10, 3, 5)
    assert model(paper_pictures(0, 1, 40, 48)).shape == (0, 10, 3, 5)


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_a_larger_picture_is_pooled_before_f6(model: LeNet5Classic, pool: str) -> None:
    model.reset_classifier(10, pool)
    x = paper_pictures(2, 1, 36, 36)
    features = model.forward_features(x)
    assert features.shape == (2, 120, 3, 3)
    pooled = features.mean((2, 3)) if pool == "avg" else features.amax((2, 3))
    assert torch.equal(model(x), model.forward_head(pooled[:, :, None, None]))


def test_the_rubbish_class_has_the_penalty_j_whatever_the_picture_is(model: LeNet5Classic) -> None:
    """Eq. 9: e^−j beside the e^−y of the ten classes; a penalty is −logit here."""
    with_rubbish = LeNet5Classic(num_classes=11, j=40).eval()
    assert sum(p.numel() for p in with_rubbish.parameters()) == 60_000
    state = model.state_dict()
    with_rubbish.load_state_dict({**state, "output.j": torch.tensor([40.0])})
    x = paper_pictures(3, 1, 28, 28)
    logits = with_rubbish(x)
    assert torch.equal(logits[:, :10], model(x))
    assert (logits[:, 10] == -40).all()
    torch.testing.assert_close(with_rubbish.plain()(x), logits, rtol=0, atol=1e-4)
    assert torch.equal(torch.jit.script(with_rubbish)(x), logits)
    with_rubbish.reset_classifier(4, characters="abc", j=7)
    assert (with_rubbish(x)[:, 3] == -7).all()
    with_rubbish.reset_classifier(3)
    assert (with_rubbish.j, with_rubbish(x).shape) == (None, (3, 3))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (dict(j=0.0), "j=0.0: the penalty of a rubbish class is a finite number above 0"),
        (dict(j=float("nan")), "j=nan: the penalty of a rubbish class is a finite number above 0"),
        (dict(j=40, num_classes=1), "j=40 and num_classes=1: a rubbish class is the last of at least 2"),
        (dict(j=40, num_classes=0), "j=40 and num_classes=0: a rubbish class is the last of at least 2"),
        (dict(j=40, num_classes=3, characters="abc"), "3 characters for 2 classes"),
    ],
)
def test_an_impossible_rubbish_class_is_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=re.escape(why)):
        LeNet5Classic(**options)
    with pytest.raises(InputError, match=re.escape(why)):
        LeNet5Classic().reset_classifier(**dict(num_classes=10) | options)


def test_classes_that_do_not_fit_their_characters_change_nothing() -> None:
    model = lenet_zoo.create_model("lenet5_classic", pretrained=True)
    with pytest.raises(InputError):
        model.reset_classifier(5, characters="ab")
    for options in (dict(num_classes=10, global_pool="bad"), dict(num_classes=-1)):
        with pytest.raises(InputError):
            model.reset_classifier(**options, j=3)
    assert (model.j, "j" in getattr(model, "_model_args", {})) == (None, False)
    assert (model.num_classes, model.characters, len(model.card.labels)) == (10, None, 10)
    assert model(torch.zeros(1, 1, 28, 28)).shape == (1, 10)
