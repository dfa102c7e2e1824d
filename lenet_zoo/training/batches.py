"""The batches of a run: which pictures, in which order, distorted how."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from lenet_zoo.datasets.augment import Draws, draw
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.training.distort import distorted
from lenet_zoo.training.processes import Ranks
from lenet_zoo.training.recipe import Recipe

__all__ = ["Batches", "stream"]


class Batches:
    """The training set on its device, in a new order and with new distortions in every epoch.

    Args:
        data: the training set.
        recipe: batch size and distortions.
        seed: of order and distortions.
        mean, std: what the network's cfg says, of pixels in [0, 1].
        ranks: each gets an equal part of every batch, give or take one picture.
        compiled: distort them through a compiled function, where that is possible.
    """

    def __init__(
        self, data: Dataset, recipe: Recipe, seed: int, mean: float, std: float, ranks: Ranks, compiled: bool = False
    ) -> None:
        self.images = data.images.to(ranks.device)
        self.labels = data.labels.to(ranks.device)
        self.recipe, self.seed = recipe, seed
        self.mean, self.std = mean, std
        self.ranks, self.compiled = ranks, compiled
        self.pictures = math.ceil(len(self.labels) * recipe.portion)  # in an epoch

    def __len__(self) -> int:
        return -(-self.pictures // self.recipe.batch_size)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor, Tensor, int]]:
        """This rank's part of each batch of epoch `number`.

        Yields: pictures, float32 N×1×28×28, normalised; their labels and their places in the training set, int64 N; how
            many pictures the batch has on all ranks.
        """
        device = self.images.device
        order = torch.randperm(len(self.labels), generator=torch.Generator().manual_seed(stream(self.seed, number)))
        # Runs of every seed share the views, so that a teacher sees each view once.
        seed = 0 if self.recipe.views else self.seed
        draws = draw(self.recipe.augmentation, len(self.labels), seed, self.recipe.view(number), self.images.shape[-1])
        for whole in order[: self.pictures].split(self.recipe.batch_size):
            index = whole[self.ranks.rank :: self.ranks.world]
            x = self._distorted(index, draws)
            if (self.mean, self.std) != (0, 1):
                x = (x - self.mean) / self.std
            if self.recipe.channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
            yield x, self.labels[index.to(device)], index, len(whole)

    def _distorted(self, index: Tensor, draws: Draws) -> Tensor:
        device = self.images.device
        if not len(index):  # a batch of fewer pictures than ranks
            channels = self.images.shape[1:-2] or (1,)
            return torch.zeros(0, *channels, *self.images.shape[-2:], device=device)
        return distorted(self.images, draws, index, self.compiled)


def stream(seed: int, epoch: int) -> int:
    """The seed of an epoch's order; another than the distortions', which are drawn from the same two numbers."""
    return (seed * 1_000_003 + epoch) * 2 + 2**40
