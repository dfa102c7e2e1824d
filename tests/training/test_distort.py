"""The compiled distortions are those of `augment`, up to rounding, each picture by itself."""

import warnings

import pytest
import torch
from torch import Tensor

from lenet_zoo.datasets.augment import Augmentation, augment, draw
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.training import distort
from lenet_zoo.training.batches import Batches
from lenet_zoo.training.distort import distorted
from lenet_zoo.training.processes import ALONE
from lenet_zoo.training.recipe import Recipe

# Each kind alone, where it can go wrong alone, and all together.
KINDS = {
    "nothing": Augmentation(),
    "affine": Augmentation(rotation=180, scale=1, aspect=0.5, slant=0.5, shift=12, flip=0.5),
    "elastic": Augmentation(elastic=1),
    "many knots": Augmentation(elastic=1, elastic_knots=14),
    "tilt": Augmentation(tilt=0.9),
    "thickness": Augmentation(thickness=1),
    "erase": Augmentation(erase=0.7, erase_size=28),
    "neighbours": Augmentation(neighbours=0.7),
    "marks": Augmentation(marks=0.9),
    "all": Augmentation(
        rotation=12, scale=0.2, aspect=0.2, slant=0.35, shift=2.5, elastic=0.5, thickness=0.5, flip=0.3, erase=0.2,
        tilt=0.15, neighbours=0.3, marks=0.5,
    ),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def compiler() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if distort._library() is None:
            pytest.skip("needs a C++ compiler")


@pytest.mark.parametrize("how", KINDS.values(), ids=KINDS)
def test_they_are_augments_within_rounding(few: Dataset, how: Augmentation) -> None:
    draws = draw(how, len(few), seed=3, epoch=1)
    index = torch.randperm(len(few), generator=torch.Generator().manual_seed(1))[:150]
    mine = distorted(few.images, draws, index, compiled=True)
    expected = augment(few.images[index], draws[index], few.images)
    assert (mine.shape, mine.dtype) == (expected.shape, expected.dtype)
    torch.testing.assert_close(mine, expected, rtol=0, atol=1e-4)


def test_each_has_the_same_bits_in_every_batch_and_on_every_number_of_threads(few: Dataset) -> None:
    draws = draw(KINDS["all"], len(few), seed=3, epoch=1)
    whole = distorted(few.images, draws, torch.arange(len(few)), compiled=True)
    some = torch.tensor([7, 299, 0])
    assert torch.equal(distorted(few.images, draws, some, compiled=True), whole[some])
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(distorted(few.images, draws, torch.arange(len(few)), compiled=True), whole)
    finally:
        torch.set_num_threads(threads)


def test_what_is_not_compiled_goes_through_torch(few: Dataset) -> None:
    def same(images: Tensor) -> None:
        draws = draw(KINDS["all"], len(images), 0, 1, images.shape[-1])
        index = torch.tensor([4, 2])
        assert torch.equal(distorted(images, draws, index, compiled=True), augment(images[index], draws[index], images))

    same(few.images[:6].float() / 255)
    same(few.images[:6, None].expand(-1, 3, -1, -1))
    same(few.images[:6, :20, :20])


@pytest.mark.parametrize("compiled", [False, True])
def test_batches_take_them_when_they_are_told(few: Dataset, monkeypatch: pytest.MonkeyPatch, compiled: bool) -> None:
    def fails(*_: object) -> None:
        raise AssertionError("through torch")

    monkeypatch.setattr(distort, "augment", fails)
    batches = Batches(few, Recipe(rotation=10), 0, 0.0, 1.0, ALONE, compiled)
    if compiled:
        x, *_ = next(batches.epoch(1))
        assert x.shape == (256, 1, 28, 28)
    else:
        with pytest.raises(AssertionError, match="through torch"):
            next(batches.epoch(1))
