"""Tags answered from ONNX files in the user's cache: whole files of the right weights, or new ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

import lenet_zoo
from lenet_zoo import cards
from lenet_zoo.classify import cached
from lenet_zoo.classify.cached import cached_classifier
from lenet_zoo.classify.torch import TorchClassifier
from lenet_zoo.registry import load_network

TAG = "lenet5_modern.mnist"
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cached, "user_cache", lambda: tmp_path / "cache")
    return tmp_path / "cache" / "networks"


@pytest.fixture
def written() -> list[str]:
    """The tags that were exported."""
    return []


def logits(written: list[str], tag: str = TAG) -> np.ndarray:
    def write(path: Path) -> None:
        written.append(tag)
        lenet_zoo.export_onnx(load_network(tag), path, input="pixels")

    return cached_classifier(tag, write).predict_logits(PIXELS)


def test_a_file_is_written_once_and_gives_the_networks_answers(cache: Path, written: list[str]) -> None:
    first, second = logits(written), logits(written)
    assert written == [TAG]
    (file,) = cache.iterdir()
    assert hashlib.sha256(cards.load(TAG).text().encode()).hexdigest()[:16] in file.name
    assert np.array_equal(first, second)
    assert np.allclose(first, TorchClassifier(load_network(TAG)).predict_logits(PIXELS), atol=1e-4)
    other = "lenet5_modern.baseline_mnist"
    assert not np.allclose(logits(written, other), first)
    assert written == [TAG, other]


@pytest.mark.parametrize("damage", ["cut", "empty", "weight", "other"])
def test_a_damaged_file_is_not_used_and_replaced(cache: Path, written: list[str], damage: str) -> None:
    wanted = logits(written)
    (file,) = cache.iterdir()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0x40  # in the middle of C5's weights
    if damage == "cut":
        content = content[:-100]
    elif damage == "empty":
        content = bytearray()
    elif damage == "other":
        lenet_zoo.export_onnx(load_network("lenet5_modern.baseline_mnist"), file, input="pixels")
        content = bytearray(file.read_bytes())
    file.write_bytes(content)
    assert np.array_equal(logits(written), wanted)
    assert written == [TAG, TAG]
    assert np.array_equal(logits(written), wanted)
    assert written == [TAG, TAG]
    assert list(cache.iterdir()) == [file]


def test_a_cache_that_cannot_be_written_costs_time_alone(cache: Path, written: list[str]) -> None:
    cache.parent.write_text("a file where the folder would be")
    assert np.array_equal(logits(written), logits(written))
    assert written == [TAG, TAG]
