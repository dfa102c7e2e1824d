"""Pictures that can be learnt in seconds."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="module")
def blobs() -> tuple[torch.Tensor, torch.Tensor]:
    """600 pictures that can be learnt: class c is a bright square whose place and size depend on c, in noise."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 10, (600,), generator=generator)
    images = torch.randint(0, 60, (600, 28, 28), generator=generator, dtype=torch.uint8)
    for image, c in zip(images, labels.tolist(), strict=True):
        image[4 + 2 * c : 8 + 2 * c, 5 + c : 12 + c] = 255
    return images, labels
