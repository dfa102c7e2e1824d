"""How weights move: learning rate, optimiser, and the average over the last updates."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import torch
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn

from lenet_zoo.training.recipe import Recipe

__all__ = ["Average", "learning_rate", "optimizer_for", "towards"]


def learning_rate(recipe: Recipe, progress: float) -> float:
    """The learning rate when the part `progress` (0 … 1) of a run's updates is done."""
    if progress < recipe.warmup:
        rise = progress / recipe.warmup
        if recipe.schedule == "onecycle":
            return recipe.lr * (1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * rise)) / 2)
        return recipe.lr * rise
    if recipe.schedule == "constant":
        return recipe.lr
    left = 1 - (progress - recipe.warmup) / (1 - recipe.warmup) if recipe.warmup < 1 else 1.0
    if recipe.schedule != "linear":
        left = (1 - math.cos(math.pi * left)) / 2
    return recipe.lr * (recipe.final_lr + (1 - recipe.final_lr) * left)


def optimizer_for(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser over the parameters that are trained; `lr_scale` of a group multiplies the rate."""
    if recipe.layer_decay != 1:
        groups = param_groups_layer_decay(model, recipe.weight_decay, layer_decay=recipe.layer_decay)
    else:
        trained = [p for p in model.parameters() if p.requires_grad]
        kernels, rest = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim <= 1]
        groups = [dict(params=kernels, weight_decay=recipe.weight_decay), dict(params=rest, weight_decay=0.0)]
    fused = next(model.parameters()).device.type in ("cpu", "cuda", "mps")
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=fused)
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=fused)


def towards(state: Mapping[str, Tensor], other: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """A state with a share of another one's weights in it; what is no float stays as it is."""
    mixed = {key: torch.lerp(one, other[key], share) for key, one in state.items() if one.is_floating_point()}
    return {**state, **mixed}


class Average:
    """Exponential moving average of weights and running statistics.

    Attributes:
        model: the network with the averaged weights, in evaluation mode.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay
        self._pairs = [
            (mine, theirs)
            for mine, theirs in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True)
            if mine.is_floating_point()
        ]

    def update(self, updates: int) -> None:
        """Take in the network's weights after update number `updates`, from 0."""
        # Early on the average is short, so that it does not remember the initial weights for long.
        decay = min(self.decay, (1 + updates) / (10 + updates))
        mine, theirs = ([pair[i] for pair in self._pairs] for i in (0, 1))
        torch._foreach_lerp_(mine, theirs, 1 - decay)
