"""Pictures read in several places: which places, what comes of them, and which networks ask for it."""

import json
from pathlib import Path

import numpy as np
import pytest
from onnx import load

import lenet_zoo
from lenet_zoo import cards
from lenet_zoo.cards import Card
from lenet_zoo.classify import OnnxClassifier
from lenet_zoo.classify.confidence import probabilities
from lenet_zoo.classify.looks import mean_logits, moved
from lenet_zoo.classify.onnx_file import read_metadata
from lenet_zoo.classify.torch import TorchClassifier
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import ArtifactError, WeightsError

TAG = "lenet5_modern.handwriting"


def test_a_look_is_a_pixel_away_over_background() -> None:
    picture = np.arange(1, 7, dtype=np.uint8).reshape(1, 2, 3)
    assert [look[0].tolist() for look in moved(picture)] == [
        [[4, 5, 6], [0, 0, 0]],
        [[0, 0, 0], [1, 2, 3]],
        [[2, 3, 0], [5, 6, 0]],
        [[0, 1, 2], [0, 4, 5]],
    ]
    assert picture.tolist() == [[[1, 2, 3], [4, 5, 6]]]


def test_five_looks_are_averaged_and_one_is_left_alone() -> None:
    def logits(pixels: np.ndarray) -> np.ndarray:
        return pixels[:, 0, :2].astype(np.float32)  # the first two pixels

    picture = np.arange(10, 60, 10, dtype=np.uint8).reshape(1, 1, 5)
    assert mean_logits(logits, picture, 1).tolist() == [[10, 20]]
    # Of one row: itself, nothing above or below it, from the right, from the left.
    assert mean_logits(logits, picture, 5).tolist() == [[(10 + 20 + 0) / 5, (20 + 30 + 10) / 5]]


@pytest.mark.parametrize("name", cards.names())
def test_networks_for_pictures_from_paper_look_five_times(name: str) -> None:
    assert cards.load(name).looks == (5 if name.endswith(".handwriting") else 1)


@pytest.mark.parametrize("count", [1, 3])
def test_both_classifiers_answer_by_the_mean_of_the_looks(count: int, tmp_path: Path, digits: Dataset) -> None:
    model, pixels = lenet_zoo.create_model(TAG, pretrained=True).eval(), digits.images[:count].numpy()
    torch = TorchClassifier(model)
    one = torch.predict_logits(pixels)
    looks = [torch.predict_logits(np.roll(pixels, step, axis)) for axis in (1, 2) for step in (-1, 1)]  # empty borders
    wanted = probabilities(np.mean([one, *looks], 0), model.card.confidence)
    np.testing.assert_allclose(torch.predict_array(pixels), wanted, atol=1e-5)
    onnx = OnnxClassifier(lenet_zoo.export_onnx(model, tmp_path / "m.onnx", input="pixels"))
    assert onnx.card.looks == 5
    np.testing.assert_allclose(onnx.predict_array(pixels), wanted, atol=1e-4)
    np.testing.assert_allclose(onnx.predict_logits(pixels), one, atol=2e-4)
    assert [answer.confidence for answer in onnx.predict(pixels)] == pytest.approx(wanted.max(1).tolist(), abs=1e-4)


def test_the_file_says_how_often_to_look(tmp_path: Path) -> None:
    path = lenet_zoo.export_onnx(lenet_zoo.create_model(TAG, pretrained=True), tmp_path / "m.onnx")
    assert read_metadata(path)["looks"] == 5
    once = lenet_zoo.export_onnx(lenet_zoo.create_model("lenet5_modern", pretrained=True), tmp_path / "once.onnx")
    assert "looks" not in read_metadata(once)


@pytest.mark.parametrize("value", [0, 2, 3, "5", True, 5.0, [5]])
def test_another_number_of_looks_is_refused(value: object, tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text(json.dumps({"labels": ["a", "b"], "looks": value}))
    with pytest.raises(
        WeightsError, match=r"card\.json is damaged: its '?looks'? (is|are) [^\n]+, and must be [^\n]+$"
    ):
        Card.read(tmp_path / "card.json")


def test_a_file_with_another_number_of_looks_is_refused(tmp_path: Path) -> None:
    path = lenet_zoo.export_onnx(lenet_zoo.create_model(TAG, pretrained=True), tmp_path / "m.onnx")
    model = load(path)
    next(entry for entry in model.metadata_props if entry.key == "looks").value = "7"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match=r"m\.onnx is damaged: its looks are 7, and must be 1 or 5$"):
        OnnxClassifier(path)
