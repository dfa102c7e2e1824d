"""A small training set that needs no download: scikit-learn's digits, enlarged to 28×28."""

import struct
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lenet_zoo.data.datasets import Dataset


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """1,797 handwritten digits, uint8 28×28, in scikit-learn's order."""
    sklearn = pytest.importorskip("sklearn.datasets", reason="needs scikit-learn: pip install 'lenet-zoo[test]'")
    bunch = sklearn.load_digits()
    small = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16
    large = F.pad(F.interpolate(small, (20, 20), mode="bilinear"), (4, 4, 4, 4)).squeeze(1)
    return Dataset("digits", (large * 255).round().byte(), torch.from_numpy(bunch.target).long(), tuple("0123456789"))


@pytest.fixture(scope="session")
def few(digits) -> Dataset:
    """The first 300 of them."""
    return Dataset("digits", digits.images[:300], digits.labels[:300], digits.classes)


@pytest.fixture(scope="session")
def small_mnist(digits, tmp_path_factory) -> Path:
    """A data root whose MNIST/raw holds 600 of the digits for training and 200 for testing, in MNIST's own format."""
    root = tmp_path_factory.mktemp("data")
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for prefix, part in (("train", slice(0, 600)), ("t10k", slice(600, 800))):
        images, labels = digits.images[part].numpy(), digits.labels[part].byte().numpy()
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(
            struct.pack(">4i", 2051, len(images), 28, 28) + images.tobytes()
        )
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(labels)) + labels.tobytes())
    return root


@pytest.fixture
def broken_compiler(tmp_path) -> str:
    """A C++ compiler that fails."""
    script = tmp_path / "cxx"
    script.write_text("#!/bin/sh\necho 'cxx: out of order' >&2\nexit 1\n")
    script.chmod(0o755)
    return str(script)
