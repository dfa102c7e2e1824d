"""Likely texts are looked at again, character by character; sure ones and impossible ones are not."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from lenet_zoo.classify.decoding import beam_search, log_probability, log_softmax
from lenet_zoo.classify.second_look import likeliest

PIXELS = np.zeros((28, 60), np.uint8)
TEXTS = (3, 5), (3, 8)
PIXELS[4:24, 10:18] = PIXELS[4:24, 40:48] = 255


def answers(doubt: float) -> np.ndarray:
    """A 3 and then a 5, or by `doubt` an 8."""
    logits = np.zeros((17, 11))
    logits[:, 10] = 12
    logits[1, [3, 10]] = 12, 0
    logits[15, [5, 8, 10]] = 12, 12 + doubt, 0
    return log_softmax(logits)


def never(pictures: np.ndarray) -> np.ndarray:
    raise AssertionError("no second look is wanted")


def network(look, doubt: float, **lines: np.ndarray):  # type: ignore[no-untyped-def]
    """The logits of `look` for characters alone; `answers(doubt)`, or those of a name in `lines`, for the line."""

    def run(pictures: np.ndarray) -> np.ndarray:
        assert pictures.dtype == np.uint8
        if pictures.shape[1:] == (28, 28):
            return log_softmax(look(pictures))[:, None]
        # The line as it is was read before: its rows are here, and those of the others.
        name = {60: "moved", 42: "narrow", 84: "wide"}[pictures.shape[2]]
        assert pictures.shape[:2] == (2 if name == "moved" else 3, 28)
        first, *_, last = pictures.any(2).argmax(1)
        assert first - last == (2 if name == "moved" else 1)
        return np.stack([lines.get(name, answers(doubt))] * len(pictures))

    return run


def seen(*odds: tuple[int, float]):  # type: ignore[no-untyped-def]
    """Says the same of each picture."""

    def look(pictures: np.ndarray) -> np.ndarray:
        logits = np.zeros((len(pictures), 11))
        for label, logit in odds:
            logits[:, label] = logit
        return logits

    return look


def test_what_is_sure_is_taken_as_it_is() -> None:
    found = likeliest(answers(-8), PIXELS, never)
    assert found is not None
    assert found.classes == (3, 5)
    assert math.exp(found.log_probability) > 0.9
    assert found.log_probability == pytest.approx(1.5 * log_probability(answers(-8), (3, 5)))  # with caution


@pytest.mark.parametrize(("label", "wanted"), [(5, (3, 5)), (8, (3, 8))])
def test_the_second_look_decides_between_likely_texts(label: int, wanted: tuple[int, ...]) -> None:
    for doubt in (-0.3, 0.3):
        found = likeliest(answers(doubt), PIXELS, network(seen((label, 6.0)), doubt))
        assert found is not None
        assert found.classes == wanted


def test_what_says_nothing_changes_no_order_and_makes_no_surer() -> None:
    rows = answers(0.5)
    found, texts = likeliest(rows, PIXELS, network(seen(), 0.5)), beam_search(rows)
    assert found is not None
    assert found.classes == texts[0].classes
    assert texts[1].log_probability < found.log_probability <= texts[0].log_probability


def test_a_clear_look_makes_surer_but_never_as_sure_as_what_is_taken_at_once() -> None:
    rows = answers(0.0)
    found = likeliest(rows, PIXELS, network(seen((3, 30.0), (5, 30.0)), 0.0))
    texts = beam_search(rows)[:6]
    assert found is not None
    assert texts[0].log_probability + 0.3 < found.log_probability
    assert math.exp(found.log_probability) == pytest.approx(0.89)


def test_each_character_is_looked_at_in_three_places_whose_mean_decides() -> None:
    shown = []

    def look(pictures: np.ndarray) -> np.ndarray:
        """Says 8 of a picture whose ink begins in the middle place, and 5 of the others, surer."""
        shown.append(pictures)
        tops = pictures.any(2).argmax(1)
        logits = np.zeros((len(pictures), 11))
        logits[tops == np.median(tops), 8] = 5.0
        logits[tops != np.median(tops), 5] = 7.0
        return logits

    found = likeliest(answers(0.3), PIXELS, network(look, 0.3))
    assert found is not None
    assert found.classes == (3, 5)
    (pictures,) = shown
    places = pictures.reshape(3, -1, 28, 28)
    np.testing.assert_array_equal(places[1][:, 1:], places[0][:, :-1])
    np.testing.assert_array_equal(places[2][:, :-1], places[0][:, 1:])


def test_a_text_is_as_likely_as_in_the_mean_of_three_widths_and_three_rows() -> None:
    one, moved, narrow, wide = answers(0.5), answers(0.25), answers(-4.0), answers(-0.5)
    found = likeliest(one, PIXELS, network(seen(), 0, moved=moved, narrow=narrow, wide=wide))
    assert found is not None
    assert found.classes == (3, 5)  # the line as it is says 38
    all_nine = [one, *[moved] * 2, *[narrow] * 3, *[wide] * 3]
    mean = {text: np.mean([math.exp(log_probability(rows, text)) for rows in all_nine]) for text in TEXTS}
    shares = {text: value ** (1 / 1.5) for text, value in mean.items()}  # looks that say nothing bring texts together
    wanted = sum(mean.values()) * shares[3, 5] / sum(shares.values())
    assert math.exp(found.log_probability) == pytest.approx(wanted, rel=0.02)


@pytest.mark.parametrize("names", [["moved", "narrow"], ["narrow", "wide"]])
def test_a_text_that_only_other_widths_or_rows_give_is_weighed(names: list[str]) -> None:
    other = answers(0.0)[:, [9, *range(9), 10]]  # 46 and 49
    others = dict.fromkeys(names, other)
    found = likeliest(answers(0.0), PIXELS, network(seen((4, 9.0), (6, 9.0)), 0, **others))
    assert found is not None
    assert found.classes == (4, 6)


def test_only_texts_that_match_are_looked_at() -> None:
    found = likeliest(answers(-8), PIXELS, network(seen((8, 30.0)), -8), re.compile("38"))
    assert found is not None
    assert found.classes == (3, 8)
    assert likeliest(answers(0.0), PIXELS, network(seen(), 0.0), re.compile(r"\d{30}")) is None


def test_a_text_that_has_no_room_in_the_line_is_left_out() -> None:
    """Read wider, a line has more places."""

    def said(length: int, *there: tuple[int, int]) -> np.ndarray:
        logits = np.zeros((length, 11))
        logits[:, 10] = 6
        for place, label in there:
            logits[place, [label, 10]] = 6, 5
        return log_softmax(logits)

    def run(pictures: np.ndarray) -> np.ndarray:
        width = pictures.shape[2]
        assert width >= 28  # the network's window
        answers = said(8, (1, 3), (3, 3), (5, 3)) if width == 42 else said((width - 26) // 2, (0, 3))
        return np.stack([answers] * len(pictures))

    found = likeliest(said(2, (0, 3)), np.zeros((28, 30), np.uint8), run)
    assert found is not None
    assert found.classes == (3,)
