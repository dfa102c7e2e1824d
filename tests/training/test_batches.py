"""The batches of a run: order, portions, ranks and views."""

import torch

from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.training.batches import Batches
from lenet_zoo.training.processes import Ranks
from lenet_zoo.training.recipe import Recipe


def batches(data: Dataset, recipe: Recipe, seed: int = 0, rank: int = 0, world: int = 1) -> Batches:
    return Batches(data, recipe, seed, 0.0, 1.0, Ranks(torch.device("cpu"), rank, world))


def test_an_epoch_shows_every_picture_once_in_an_order_of_its_own(few):
    shown = batches(few, Recipe(batch_size=64))
    orders = []
    for number in (1, 2):
        parts = [(x, y, index) for x, y, index, _ in shown.epoch(number)]
        assert [len(y) for _, y, _ in parts] == [64, 64, 64, 64, 44]
        index = torch.cat([part[2] for part in parts])
        assert torch.equal(index.sort().values, torch.arange(300))
        assert torch.equal(torch.cat([part[0] for part in parts])[:, 0], few.images[index] / 255)
        assert torch.equal(torch.cat([part[1] for part in parts]), few.labels[index])
        orders.append(index)
    assert not torch.equal(*orders)
    again = torch.cat([index for _, _, index, _ in shown.epoch(1)])
    assert torch.equal(again, orders[0])
    other = torch.cat([index for _, _, index, _ in batches(few, Recipe(batch_size=64), seed=1).epoch(1)])
    assert not torch.equal(other, orders[0])


def test_a_portion_of_the_pictures_is_drawn_anew_for_each_epoch(few):
    shown = batches(few, Recipe(batch_size=64, portion=0.5))
    first, second = (torch.cat([index for _, _, index, _ in shown.epoch(number)]) for number in (1, 2))
    assert len(shown) == 3
    assert len(first) == len(first.unique()) == len(second) == 150
    assert not torch.equal(first.sort().values, second.sort().values)


def test_several_processes_share_each_batch_without_changing_a_picture(few, rich):
    alone = list(batches(few, rich).epoch(3))
    shared = [list(batches(few, rich, rank=rank, world=3).epoch(3)) for rank in range(3)]
    for whole, *parts in zip(alone, *shared, strict=True):
        assert {size for *_, size in parts} == {len(whole[1])}
        index = torch.cat([part[2] for part in parts])
        assert torch.equal(index.sort().values, whole[2].sort().values)
        x = torch.cat([part[0] for part in parts])
        torch.testing.assert_close(x[index.argsort()], whole[0][whole[2].argsort()], rtol=0, atol=1e-6)


def test_views_return_and_are_shared_by_all_seeds(few):
    recipe = Recipe(batch_size=300, views=2, rotation=10)

    def shown(seed, epoch):
        x, _, index, _ = next(iter(batches(few, recipe, seed).epoch(epoch)))
        return x[index.argsort()]

    assert torch.allclose(shown(0, 1), shown(0, 3), atol=1e-6)
    assert torch.allclose(shown(0, 1), shown(5, 1), atol=1e-6)
    assert not torch.allclose(shown(0, 1), shown(0, 2), atol=1e-2)


def test_without_views_each_seed_has_distortions_of_its_own(few):
    one, other = (next(batches(few, Recipe(batch_size=300, rotation=10), seed).epoch(1)) for seed in (0, 1))
    assert not torch.allclose(one[0][one[2].argsort()], other[0][other[2].argsort()], atol=1e-2)


def test_pictures_are_as_the_network_takes_them(few):
    mean, std = 0.1 / 1.275, 1 / 1.275  # lenet5_classic's
    shown = Batches(few, Recipe(batch_size=300), 0, mean, std, Ranks(torch.device("cpu")))
    ((x, _, index, _),) = shown.epoch(1)
    torch.testing.assert_close(x[:, 0], few.images[index] / 255 * 1.275 - 0.1)
