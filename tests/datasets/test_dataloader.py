"""A data set in torch's DataLoader, and its pictures in a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import lenet_zoo
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.loading import Dataset, load_dataset, validation_split
from lenet_zoo.errors import InputError


@pytest.mark.parametrize("workers", [0, 1])
def test_a_dataloader_takes_it(small_mnist: Path, workers: int) -> None:
    data = load_dataset("mnist", train=False, root=small_mnist)
    picture, label = data[3]
    assert torch.equal(picture, data.images[3][None])
    assert (label, len(list(data))) == (int(data.labels[3]), 200)
    batches = list(DataLoader(data, batch_size=64, num_workers=workers))
    assert torch.equal(torch.cat([pictures for pictures, _ in batches])[:, 0], data.images)
    assert torch.equal(torch.cat([labels for _, labels in batches]), data.labels)
    model = lenet_zoo.create_model("lenet5_classic", pretrained=True)
    logits = logits_of(model)
    found = np.concatenate([logits(pictures) for pictures, _ in batches])
    assert np.allclose(found, logits(data.images.numpy()), atol=1e-4)
    ready = load_dataset("mnist", train=False, root=small_mnist, transform=lenet_zoo.create_transform(model))
    (pictures, _), *_ = DataLoader(ready, batch_size=200, num_workers=workers)
    assert np.allclose(model(pictures).detach().numpy(), found, atol=1e-4)
    assert len(validation_split(ready, 5)[1][0][0]) == 1
    with pytest.raises(InputError, match=r"^pixels are torch\.float32: give uint8, 0 background and 255 ink$"):
        logits(pictures)


def test_pictures_in_colour_have_their_channels_first() -> None:
    data = Dataset("two", torch.zeros(2, 3, 28, 28, dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b"))
    assert (tuple(data[1][0].shape), data[1][1]) == ((3, 28, 28), 1)
