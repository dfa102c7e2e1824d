"""A picture whose edge cuts ink off has a temperature of its own: in numpy, in predict, in score and in the card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lenet_zoo
from lenet_zoo import cards
from lenet_zoo.cards import Card, Confidence
from lenet_zoo.classify.confidence import probabilities
from lenet_zoo.classify.torch import TorchClassifier
from lenet_zoo.models._card import attach
from lenet_zoo.pictures.character import digit_from_image, find_character
from lenet_zoo.scoring.answering import answering
from lenet_zoo.scoring.parts import Rows

PICTURES = Path(__file__).parents[1] / "fixtures" / "pictures"
TAGS = [name for name in cards.names() if cards.load(name).dataset == "mnist"]
WARM = Confidence(0.5, None, "a test's own pictures", edge_temperature=2.0)


@pytest.mark.parametrize(
    ("name", "at_edge"),
    [
        *((name, False) for name in ("pen_fat", "mnist_like", "lined_paper", "squared_paper", "sheet_on_a_desk")),
        *((name, True) for name in ("touching_the_edge", "neighbours", "box_corner")),
    ],
)
def test_ink_at_the_edge_is_noticed_and_rules_are_none(name: str, at_edge: bool) -> None:
    found = find_character(PICTURES / f"{name}.png")
    assert found.at_edge is at_edge
    np.testing.assert_array_equal(found.pixels, digit_from_image(PICTURES / f"{name}.png"))


@pytest.mark.parametrize("j", [None, 3.0])
def test_each_row_has_the_temperature_of_its_kind(j: float | None) -> None:
    logits = np.random.default_rng(0).normal(-3, 2, (6, 10)).astype(np.float32)
    at_edge = np.array([True, False, False, True, True, False])
    found = probabilities(logits.copy(), Confidence(0.5, j, edge_temperature=2.0), at_edge)
    np.testing.assert_allclose(found[at_edge], probabilities(logits[at_edge], Confidence(2.0, j)), rtol=1e-6)
    np.testing.assert_array_equal(found[~at_edge], probabilities(logits[~at_edge], Confidence(0.5, j)))
    plain = probabilities(logits.copy(), Confidence(0.5, j), at_edge)
    np.testing.assert_array_equal(plain, probabilities(logits.copy(), Confidence(0.5, j)))


@pytest.fixture(scope="module")
def model() -> Any:
    made: Any = lenet_zoo.create_model("lenet5_modern", pretrained=True)
    attach(made, replace(made.card, confidence=WARM))
    return made


def cut_off() -> Image.Image:
    """A 7 without the left end of its bar."""
    picture = Image.open(PICTURES / "wide.png").convert("L")
    left, top, right, bottom = picture.point(lambda level: 255 * (level < 128)).getbbox() or (0, 0, 0, 0)
    return picture.crop((left + 6, top - 10, right + 10, bottom + 10))


def test_predict_and_score_are_less_sure_and_say_why(model: Any, tmp_path: Path) -> None:
    cut_off().save(tmp_path / "cut.png")
    classifier = TorchClassifier(model)
    pixels, at_edge = classifier.find(tmp_path / "cut.png")
    assert at_edge
    (whole,) = classifier.predict_array(pixels[None])
    (wanted,) = classifier.predict_array(pixels[None], np.array([True]))
    assert wanted.max() < whole.max() - 0.01
    (found,) = classifier.predict(tmp_path / "cut.png")
    assert (found.at_edge, found.reason) == (True, None)
    assert found.confidence == pytest.approx(wanted.max(), abs=1e-6)
    (rejected,) = classifier.predict(tmp_path / "cut.png", min_confidence=1)
    assert (rejected.label, rejected.at_edge) == (None, True)
    assert str(rejected.reason).endswith(" < 1: ink reaches the edge of the picture, which may cut the character off")
    network = answering(
        Path(lenet_zoo.export_onnx(model, tmp_path / "m.onnx", input="pixels")), {"top_k": 1, "min_confidence": 0.0}
    )
    rows, prepared = Rows(network.labels), network.prepare((tmp_path / "cut.png").read_bytes())
    network.answer(rows, {rows.add("cut"): prepared, rows.add("as pixels"): pixels}, {1})
    assert rows.confidence == pytest.approx([wanted.max(), whole.max()], abs=1e-4)


def test_the_card_keeps_it() -> None:
    card = Card.parse({"confidence": WARM.as_dict()}, "the card")
    assert card.confidence == WARM
    assert WARM.as_dict()["edge_temperature"] == 2.0
    assert "edge_temperature" not in Confidence(1.0).as_dict()
    with pytest.raises(lenet_zoo.errors.InputError, match="edge_temperature 0, and must have a finite number above 0"):
        Confidence(1.0, edge_temperature=0)


@pytest.mark.parametrize("name", TAGS)
def test_tags_that_learnt_from_whole_digits_are_less_sure_of_cut_ones(name: str) -> None:
    confidence = cards.load(name).confidence
    assert confidence is not None
    assert confidence.edge_temperature is not None
    assert confidence.edge_temperature > confidence.temperature
