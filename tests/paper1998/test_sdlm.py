"""The optimiser's arithmetic, and its second derivatives against brute force in double precision."""

import re
import subprocess
import sys

import pytest
import torch
from torch import nn

from lenet_zoo.errors import InputError, TrainingError
from lenet_zoo.models.lenet5_classic import (
    RBF,
    LeNet5Classic,
    PartialConv2d,
    ScaledTanh,
    Subsample2d,
)
from lenet_zoo.paper1998.losses import MAPLoss, PenaltyLoss
from lenet_zoo.paper1998.sdlm import SDLM, curvature

LOSSES = [PenaltyLoss(), MAPLoss(0.5), MAPLoss(20.0)]


def randomize(model: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for p in model.parameters():
        p.data.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) * 0.5)
    return model


def random_codes(classes: int, width: int) -> torch.Tensor:
    return torch.randn(classes, width, generator=torch.Generator().manual_seed(9)).sign().double()


def pictures(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def small_net() -> nn.Sequential:
    """Every layer that the 1998 network has, once, in its order."""
    table = [[0], [1], [0, 1]]
    return randomize(
        nn.Sequential(
            nn.ConstantPad2d(1, -0.1),
            nn.Conv2d(1, 2, 3).double(),
            ScaledTanh(),
            Subsample2d(2).double(),
            ScaledTanh(),
            PartialConv2d(table, 2, 2).double(),
            ScaledTanh(),
            nn.Conv2d(3, 5, 2).double(),
            ScaledTanh(),
            nn.Flatten(),
            nn.Linear(5, 6).double(),
            ScaledTanh(),
            RBF(random_codes(4, 6)),
        )
    )  # type: ignore[return-value]


def brute_force(layers: list[nn.Module], image: torch.Tensor, target: torch.Tensor, loss: nn.Module) -> list:
    """h of one pattern by Eqs. 25-27, from dense Jacobians and an exact Hessian at the output, layer by layer.

    A unit's connection of weight k has ∂a_i/∂w_k for its input x_j, and ∂a_i/∂x_j for its weight u_ij.
    """
    states = [image]
    for layer in layers:
        states.append(layer(states[-1]).detach())
    jacobian = torch.autograd.functional.jacobian
    head = layers[-1]
    full = torch.autograd.functional.hessian(lambda x: loss(head(x), target), states[-2])
    second = full.reshape(states[-2].numel(), -1).diagonal()
    found = []
    for layer, x in reversed(list(zip(layers[:-1], states[:-2], strict=True))):
        for p in reversed(list(layer.parameters())):

            def weighted_sum(value, layer=layer, x=x, p=p):
                name = next(n for n, q in layer.named_parameters() if q is p)
                return torch.func.functional_call(layer, {name: value}, (x,)).reshape(-1)

            by_weight = jacobian(weighted_sum, p.detach()).reshape(len(second), -1)
            found.append((second[:, None] * by_weight.square()).sum(0).view_as(p))
        below = jacobian(lambda x, layer=layer: layer(x).reshape(-1), x).reshape(len(second), -1)
        second = (second[:, None] * below.square()).sum(0)
    return found[::-1]


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_curvature_is_the_brute_force_sum_over_connections(loss):
    net = small_net()
    images, target = pictures(3, 1, 6, 6), torch.tensor([2, 0, 3])
    h = curvature(net, images, target, loss)
    singles = [brute_force(list(net), images[n : n + 1], target[n : n + 1], loss) for n in range(3)]
    for i, p in enumerate(net.parameters()):
        expected = sum(single[i] for single in singles) / 3
        assert expected.abs().max() > 0
        torch.testing.assert_close(h[p], expected, rtol=1e-10, atol=1e-14)


def test_a_shared_weight_sums_over_its_connections_written_out():
    """Eq. 25 for a 2×2 kernel on a 3×3 picture and a 2×2 RBF state, with nothing but loops."""
    net = randomize(nn.Sequential(nn.Conv2d(1, 1, 2).double(), nn.Flatten(), RBF(random_codes(3, 4))))
    image = pictures(1, 1, 3, 3)
    h = curvature(net, image, torch.tensor([1]), PenaltyLoss())
    for i in range(2):
        for j in range(2):
            over_connections = sum(2 * float(image[0, 0, y + i, x + j]) ** 2 for y in range(2) for x in range(2))
            assert float(h[net[0].weight][0, 0, i, j]) == pytest.approx(over_connections, rel=1e-12)
    assert float(h[net[0].bias]) == pytest.approx(8)  # four connections to an input that is always 1


def test_a_coefficient_has_one_connection_per_unit_from_the_sum_of_its_inputs():
    net = randomize(nn.Sequential(Subsample2d(1).double(), nn.Flatten(), RBF(random_codes(3, 4))))
    image = pictures(1, 1, 4, 4)
    h = curvature(net, image, torch.tensor([0]), PenaltyLoss())
    sums = [float(image[0, 0, y : y + 2, x : x + 2].sum()) for y in (0, 2) for x in (0, 2)]
    assert float(h[net[0].weight]) == pytest.approx(sum(2 * s * s for s in sums), rel=1e-12)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Linear(5, 6), (5,)),
        (nn.Conv2d(2, 2, 2), (2, 3, 4)),
        (PartialConv2d([[0], [0, 1]], 2, 2), (2, 3, 4)),
        (Subsample2d(3), (3, 2, 4)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_above_one_layer_it_is_the_exact_gauss_newton_diagonal(layer, shape):
    """E = |x − w|² with x = f(a): the Gauss-Newton matrix is 2 JᵀJ, J = ∂x/∂w, and no diagonal was neglected yet."""
    randomize(layer.double())
    image = pictures(1, *shape)
    width = layer(image).numel()
    net = nn.Sequential(layer, ScaledTanh(), nn.Flatten(), RBF(random_codes(5, width)))
    h = curvature(net, image, torch.tensor([4]), PenaltyLoss())
    for name, p in layer.named_parameters():

        def states(value, name=name):
            return net[1:-1](torch.func.functional_call(layer, {name: value}, (image,))).reshape(-1)

        jacobian = torch.autograd.functional.jacobian(states, p.detach()).reshape(width, -1)
        gauss_newton = 2 * jacobian.T @ jacobian
        torch.testing.assert_close(h[p], gauss_newton.diagonal().view_as(p), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("j", [None, 1.5])
@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_at_the_output_it_is_the_exact_hessian_diagonal(loss, j):
    """A linear layer below the RBF without squashing: nothing is neglected at all. A rubbish class has no place."""
    net = randomize(nn.Sequential(nn.Linear(4, 6).double(), RBF(random_codes(5, 6), j)))
    images, target = pictures(8, 4), torch.arange(8) % (5 if j is None else 6)
    h = curvature(net, images, target, loss)

    def error(weight):
        return loss(torch.func.functional_call(net, {"0.weight": weight}, (images,)), target)

    hessian = torch.autograd.functional.hessian(error, net[0].weight.detach()).reshape(24, 24)
    torch.testing.assert_close(h[net[0].weight], hessian.diagonal().view(6, 4), rtol=1e-9, atol=1e-12)


def test_a_linear_output_takes_its_curvature_from_the_loss():
    net = randomize(nn.Sequential(nn.Linear(4, 3).double()))
    images, target = pictures(5, 4), torch.tensor([0, 1, 2, 0, 1])
    h = curvature(net, images, target, nn.CrossEntropyLoss())
    p = net(images).softmax(1)
    expected = torch.einsum("nc,nd->cd", p * (1 - p), images.square()) / 5
    torch.testing.assert_close(h[net[0].weight], expected.detach())


def test_an_odd_row_that_subsampling_drops_has_no_curvature():
    net = randomize(
        nn.Sequential(nn.Conv2d(1, 1, 1).double(), Subsample2d(1).double(), nn.Flatten(), RBF(random_codes(2, 2)))
    )
    image = pictures(1, 1, 3, 5)
    kept = image.clone()
    kept[..., 2, :] = kept[..., 4] = 77.0
    first, second = (curvature(net, i, torch.tensor([0]), PenaltyLoss())[net[0].weight] for i in (image, kept))
    torch.testing.assert_close(first, second)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
def test_the_network_of_1998_agrees_with_brute_force(loss):
    net = LeNet5Classic(dtype=torch.float64)
    layers = [
        *(net.pad, net.C1, net.act1, net.S2, net.act2, net.C3, net.act3, net.S4, net.act4, net.C5, net.act5),
        *(nn.Flatten(), net.F6, net.act6, net.output),
    ]
    image, target = pictures(1, 1, 28, 28).clamp(-0.1, 1.175), torch.tensor([7])
    h = curvature(net, image, target, loss)
    # C1's Jacobian alone has 4704 rows of 156: the layers above it and one of its maps will do
    expected = brute_force_above_c1(layers, image, target, loss)
    for name, p in net.named_parameters():
        if name in expected:
            torch.testing.assert_close(h[p], expected[name], rtol=1e-9, atol=1e-13, msg=name)
    assert {"S2.weight", "C3.weight", "S4.bias", "C5.weight", "F6.weight"} <= expected.keys()


def brute_force_above_c1(layers, image, target, loss):
    """`brute_force` from S2 on, named; F6's and C5's dense Jacobians are written as what they are, to stay small."""
    state = layers[2](layers[1](layers[0](image))).detach()
    above = layers[3:]
    c5, f6 = above[6], above[9]
    names = ["S2", "C3", "S4"]
    # C5 and F6 read each input once per unit: a_i = Σ u_ij x_j, without sharing
    states = [state]
    for layer in above:
        states.append(layer(states[-1]).detach())
    full = torch.autograd.functional.hessian(lambda x: loss(above[-1](x), target), states[-2])
    second = full.reshape(84, 84).diagonal()
    slope = [1.7159 * 2 / 3 * (1 - (x / 1.7159).square()) for x in states]
    found = {}
    second = second * slope[11].reshape(-1).square()
    found["F6.weight"], found["F6.bias"] = torch.outer(second, states[9].reshape(-1).square()), second
    second = (f6.weight.detach().square().T @ second) * slope[8].reshape(-1).square()
    found["C5.weight"] = torch.outer(second, states[6].reshape(-1).square()).view_as(c5.weight)
    found["C5.bias"] = second
    second = c5.weight.detach().square().view(120, 400).T @ second
    jacobian = torch.autograd.functional.jacobian
    for position in range(5, -1, -1):
        layer, x = above[position], states[position]
        for name, p in layer.named_parameters():
            by_weight = jacobian(
                lambda value, layer=layer, name=name, x=x: torch.func.functional_call(
                    layer, {name: value}, (x,)
                ).reshape(-1),
                p.detach(),
            ).reshape(len(second), -1)
            found[f"{names[position // 2]}.{name}"] = (second[:, None] * by_weight.square()).sum(0).view_as(p)
        if position == 0:
            break
        below = jacobian(lambda x, layer=layer: layer(x).reshape(-1), x).reshape(len(second), -1)
        second = (second[:, None] * below.square()).sum(0)
    return found


def test_under_equation_8_the_second_derivative_at_f6_is_2():
    net = randomize(nn.Sequential(nn.Linear(3, 4).double(), RBF(random_codes(2, 4))))
    h = curvature(net, pictures(6, 3), torch.zeros(6, dtype=torch.int64), PenaltyLoss())
    torch.testing.assert_close(h[net[0].bias], torch.full((4,), 2.0, dtype=torch.float64))


def test_curvature_is_no_squared_gradient_and_leaves_the_model_alone():
    """At the very minimum the gradient vanishes, but h does not."""
    net = nn.Sequential(nn.Linear(2, 2).double(), RBF(torch.eye(2, dtype=torch.float64)))
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].bias.copy_(torch.tensor([1.0, 0.0]))
    net.train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    h = curvature(net, pictures(4, 2), torch.zeros(4, dtype=torch.int64), PenaltyLoss())
    torch.testing.assert_close(h[net[0].bias], torch.full((2,), 2.0, dtype=torch.float64))
    assert net.training
    assert all(p.grad is None and not h[p].requires_grad for p in net.parameters())
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
    assert not any(m._forward_hooks for m in net.modules())


def test_what_is_no_chain_is_refused_by_name():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, x):
            return self.second(x + self.first(x))

    with pytest.raises(TrainingError, match=r"no second derivatives: second is not what first gives, as in a chain"):
        curvature(Residual(), torch.ones(2, 3), torch.tensor([0, 1]), nn.CrossEntropyLoss())

    unknown = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    with pytest.raises(TrainingError, match=r"no second derivatives for 1\.weight: its layer is none of those"):
        curvature(unknown, torch.ones(2, 3), torch.tensor([0, 1]), nn.CrossEntropyLoss())

    softmax = nn.Sequential(nn.Linear(3, 3), nn.Softmax(1))
    with pytest.raises(TrainingError, match="the output of the model is not what 0 gives"):
        curvature(softmax, torch.ones(2, 3), torch.tensor([0, 1]), nn.CrossEntropyLoss())


# -------------------------------------------------------------------------------------------------------- optimiser


def test_each_weight_moves_by_its_own_step():
    p = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    optimizer = SDLM([p], lr=5e-4, mu=0.02)
    optimizer.set_curvature({p: torch.tensor([0.0, 0.48, 4.98])})
    p.grad = torch.tensor([1.0, -2.0, 4.0])
    optimizer.step()
    # ε = 5e-4/(0.02 + h) = 0.025, 0.001, 0.0001
    torch.testing.assert_close(p.detach(), torch.tensor([1 - 0.025, 2 + 0.002, 3 - 0.0004]), rtol=1e-6, atol=0)
    torch.testing.assert_close(optimizer.step_sizes()[0], torch.tensor([0.025, 0.001, 0.0001]))


def test_it_is_an_ordinary_optimizer():
    """Groups, schedulers, closures, parameters without a gradient, and a state that survives saving."""
    a, b = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    optimizer = SDLM([{"params": [a], "lr": 1e-3}, {"params": [b]}], lr=5e-4)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 0.5**n)
    optimizer.set_curvature({a: torch.zeros(2), b: torch.ones(3)})

    def closure():
        optimizer.zero_grad()
        loss = (a * 3).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 6.0
    torch.testing.assert_close(a.detach(), torch.full((2,), 1 - 3 * 1e-3 / 0.02))
    assert b.tolist() == [1.0] * 3
    scheduler.step()
    torch.testing.assert_close(optimizer.step_sizes()[1], torch.full((3,), 2.5e-4 / 1.02))

    other = SDLM([{"params": [a]}, {"params": [b]}])
    other.load_state_dict(optimizer.state_dict())
    assert all(torch.equal(x, y) for x, y in zip(other.step_sizes(), optimizer.step_sizes(), strict=True))


def test_a_step_before_the_second_derivatives_is_an_error():
    p = nn.Parameter(torch.ones(2))
    p.grad = torch.ones(2)
    with pytest.raises(TrainingError, match=re.escape("SDLM has no second derivatives yet: call set_curvature(")):
        SDLM([p]).step()


@pytest.mark.parametrize(
    ("h", "message"),
    [
        (None, "needs an h of that shape, but got none"),
        (torch.ones(3), r"needs an h of that shape, but got one of shape \(3,\)"),
        (torch.tensor([1.0, -1.0]), "has negative or non-finite values"),
        (torch.tensor([1.0, torch.nan]), "has negative or non-finite values"),
    ],
)
def test_an_unusable_h_is_refused(h, message):
    p = nn.Parameter(torch.ones(2))
    with pytest.raises(InputError, match=message):
        SDLM([p]).set_curvature({} if h is None else {p: h})


@pytest.mark.parametrize(("kwargs", "message"), [(dict(lr=0.0), r"lr=0\.0"), (dict(mu=-1.0), r"mu=-1\.0")])
def test_rates_out_of_range_are_refused(kwargs, message):
    with pytest.raises(InputError, match=message):
        SDLM([nn.Parameter(torch.ones(2))], **kwargs)


def test_curvature_asks_for_nothing_that_torch_gives_up() -> None:
    """`torch.func.hessian` compiled rules by TorchScript, once in a process, and torch warned of that."""
    program = (
        "import torch\nfrom lenet_zoo.models.lenet5_classic import LeNet5Classic\n"
        "from lenet_zoo.paper1998.losses import MAPLoss\nfrom lenet_zoo.paper1998.sdlm import curvature\n"
        "curvature(LeNet5Classic(), torch.zeros(2, 1, 28, 28), torch.tensor([3, 8]), MAPLoss())"
    )
    subprocess.run([sys.executable, "-W", "error::FutureWarning", "-c", program], check=True)
