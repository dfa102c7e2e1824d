"""Eq. 8 and Eq. 9 against the formulas, written out in the paper's penalties y = −z."""

import math

import pytest
import torch
from torch.nn import functional as F

from lenet_zoo.errors import InputError
from lenet_zoo.paper1998.losses import MAPLoss, PenaltyLoss


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    penalties = torch.rand(7, 10, generator=generator, dtype=torch.float64) * 60
    return -penalties, torch.randint(0, 10, (7,), generator=generator)


def test_penalty_loss_is_the_mean_penalty_of_the_right_class(batch):
    logits, target = batch
    expected = sum(-float(logits[n, target[n]]) for n in range(7)) / 7
    assert float(PenaltyLoss()(logits, target)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("j", [0.1, 1.0, 20.0])
def test_map_loss_is_equation_9(batch, j):
    logits, target = batch
    expected = 0.0
    for n in range(7):
        y = [-float(z) for z in logits[n]]
        expected += y[target[n]] + math.log(math.exp(-j) + sum(math.exp(-y_i) for y_i in y))
    assert float(MAPLoss(j)(logits, target)) == pytest.approx(expected / 7, rel=1e-12)


def test_map_loss_without_rubbish_would_be_cross_entropy(batch):
    logits, target = batch
    assert float(MAPLoss(1e6)(logits, target)) == pytest.approx(float(F.cross_entropy(logits, target)), rel=1e-12)
    assert float(MAPLoss(1.0)(logits, target)) > float(F.cross_entropy(logits, target)) + 0.1


def test_penalty_loss_moves_the_right_class_alone_and_map_loss_pushes_the_others_away():
    logits = torch.tensor([[-5.0, -2.0, -40.0]], requires_grad=True)
    (slope,) = torch.autograd.grad(PenaltyLoss()(logits, torch.tensor([0])), logits)
    assert slope.tolist() == [[-1.0, 0.0, 0.0]]

    (slope,) = torch.autograd.grad(MAPLoss(1.0)(logits, torch.tensor([0])), logits)
    share = [math.exp(-y) / (math.exp(-5) + math.exp(-2) + math.exp(-40) + math.exp(-1)) for y in (5, 2, 40)]
    torch.testing.assert_close(slope, torch.tensor([[share[0] - 1, share[1], share[2]]]))


def test_huge_penalties_do_not_overflow():
    logits = torch.tensor([[-5000.0, -9000.0]])
    assert float(MAPLoss(1.0)(logits, torch.tensor([1]))) == pytest.approx(9000 - 1)


@pytest.mark.parametrize("j", [0.0, -1.0, math.inf, math.nan])
def test_rubbish_needs_a_positive_finite_penalty(j):
    with pytest.raises(InputError, match=r"the rubbish class of Eq\. 9 takes a positive, finite penalty"):
        MAPLoss(j)


def test_the_repr_names_the_loss_and_its_j():
    assert repr(PenaltyLoss()) == "PenaltyLoss()"
    assert repr(MAPLoss(0.5)) == "MAPLoss(j=0.5)"
