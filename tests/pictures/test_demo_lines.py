"""The pictures of numbers that the browser page is tested with (docs/demo/tests) become the same strips here."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from lenet_zoo.classify.decoding import beam_search, best_path, log_probability, spans
from lenet_zoo.errors import NoDigitError
from lenet_zoo.pictures.cutting import characters_alone, characters_of_texts
from lenet_zoo.pictures.line import lines_from_image

FOLDER = Path(__file__).parents[1] / "fixtures" / "lines"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="ascii"))
DECODING = json.loads((FOLDER / "decoding.json").read_text(encoding="ascii"))


def test_every_picture_has_an_expectation_and_every_expectation_a_picture() -> None:
    assert sorted(EXPECTED) == sorted(path.name for path in FOLDER.glob("*.png"))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_picture_of_a_number_becomes_the_same_strips_as_in_the_browser(name: str) -> None:
    wanted = EXPECTED[name]
    if "error" in wanted:
        with pytest.raises(NoDigitError) as caught:
            lines_from_image(FOLDER / name)
        assert str(caught.value) == f"{FOLDER / name}: {wanted['error']}"
        return
    strips = lines_from_image(FOLDER / name)
    assert [strip.pixels.shape[1] for strip in strips] == [strip["width"] for strip in wanted["strips"]]
    for strip, same in zip(strips, wanted["strips"], strict=True):
        pixels = np.frombuffer(base64.b64decode(same["pixels"]), np.uint8).reshape(28, -1)
        np.testing.assert_array_equal(strip.pixels, pixels)
        alone = np.frombuffer(base64.b64decode(same["alone"]), np.uint8).reshape(-1, 28, 28)
        middles = np.arange(22.5, pixels.shape[1] - 12, 15).tolist()  # some are whole characters, some are parts
        np.testing.assert_array_equal(characters_alone(pixels, middles), alone)
        classes = [i % 10 for i in range(len(middles))]
        texts = [(classes, middles), ([*classes[:-1], 9], middles), (classes[:-2], middles[:-2])]
        assert characters_of_texts(pixels, texts)[1].tolist() == same["which"]
        half = pixels.shape[1] / 2
        assert [list(strip.box(0, half)), list(strip.box(half, 1e4))] == same["boxes"]


@pytest.mark.parametrize("case", DECODING.values(), ids=DECODING)
def test_answers_along_a_line_become_the_same_text_as_in_the_browser(case: dict) -> None:
    logits = np.array(case["logits"])
    answers = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    text = best_path(answers)
    assert list(text) == case["best_path"]
    assert log_probability(answers, text) == pytest.approx(case["log_probability"], abs=1e-9)
    assert [list(span) for span in spans(answers, text)] == case["spans"]
    for path, (classes, log) in zip(beam_search(answers), case["beam"], strict=False):
        assert list(path.classes) == classes
        assert path.log_probability == pytest.approx(log, abs=1e-9)
