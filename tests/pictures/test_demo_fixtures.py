"""The pictures that the browser page is tested with (docs/demo/tests) become the same digits here."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from lenet_zoo.classify.torch import logits_of
from lenet_zoo.errors import NoDigitError
from lenet_zoo.pictures.character import digit_from_image, find_character
from lenet_zoo.registry import load_network

FOLDER = Path(__file__).parents[1] / "fixtures" / "pictures"
EXPECTED = json.loads((FOLDER / "expected.json").read_text(encoding="ascii"))


def test_every_picture_has_an_expectation_and_every_expectation_a_picture() -> None:
    assert sorted(EXPECTED) == sorted(path.name for path in FOLDER.glob("*.png"))


@pytest.mark.parametrize("name", [name for name, wanted in EXPECTED.items() if "digit" in wanted])
def test_a_picture_becomes_the_same_bytes_as_in_the_browser(name: str) -> None:
    wanted = np.frombuffer(base64.b64decode(EXPECTED[name]["digit"]), np.uint8).reshape(28, 28)
    pixels, at_edge = find_character(FOLDER / name)
    np.testing.assert_array_equal(pixels, wanted)
    assert at_edge is EXPECTED[name]["at_edge"]


@pytest.mark.parametrize("network", ["lenet5_modern.handwriting", "lenet5_classic.lecun1998_mnist"])  # the page's
def test_those_that_show_a_digit_are_read(network: str) -> None:
    found = {name: wanted for name, wanted in EXPECTED.items() if "digit" in wanted}
    pixels = [np.frombuffer(base64.b64decode(wanted["digit"]), np.uint8).reshape(28, 28) for wanted in found.values()]
    logits = logits_of(load_network(network))(np.stack(pixels))
    assert dict(zip(found, logits.argmax(1).tolist(), strict=True)) == {
        name: wanted["label"] for name, wanted in found.items()
    }


@pytest.mark.parametrize("name", [name for name, wanted in EXPECTED.items() if "error" in wanted])
def test_a_picture_without_a_digit_is_refused_with_the_same_words_as_in_the_browser(name: str) -> None:
    with pytest.raises(NoDigitError) as caught:
        digit_from_image(FOLDER / name)
    assert str(caught.value) == f"{FOLDER / name}: {EXPECTED[name]['error']}"
