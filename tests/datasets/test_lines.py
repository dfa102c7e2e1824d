"""Lines of digits: what is written stands in them, and nothing depends on anything but the seed."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from lenet_zoo.datasets.lines import (
    AMOUNT,
    APART,
    HEIGHT,
    MILD,
    SIGNED,
    TOUCHING,
    WRITTEN,
    LineMaker,
    Lines,
    LineStyle,
)
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import InputError
from lenet_zoo.pictures.components import components


def groups(image: np.ndarray) -> int:
    """How many stretches of columns with ink there are."""
    filled = (image > 60).any(0)
    return int(np.count_nonzero(np.diff(filled.astype(int), prepend=0) == 1))


def stand_apart(lines: Lines) -> bool:
    """Whether each digit stands to the right of the one before: without room, the last would lie in a heap."""
    return all(min(np.diff(centres), default=3) >= 3 for centres in lines.centres)


def test_the_seed_decides_all(few: Dataset) -> None:
    one, same, other = (LineMaker(few, WRITTEN, seed).make(6, (1, 6)) for seed in (3, 3, 4))
    assert torch.equal(one.images, same.images)
    assert one.texts == same.texts
    assert one.texts != other.texts


@pytest.mark.parametrize("name", [field.name for field in fields(LineStyle)])
def test_every_amount_of_a_style_changes_what_is_drawn(few: Dataset, name: str) -> None:
    value = getattr(MILD, name)
    more = tuple(one + 1 for one in value) if isinstance(value, tuple) else value + 1
    mild, strong = (LineMaker(few, style, 6).make(12, (4, 4)) for style in (MILD, replace(MILD, **{name: more})))
    assert not np.array_equal(mild.images, strong.images)


def test_digits_apart_stand_as_they_are_with_gaps_between(few: Dataset) -> None:
    whole = Dataset("bars", torch.zeros(2, 28, 28, dtype=torch.uint8), torch.tensor([1, 7]), tuple("0123456789"))
    whole.images[0, 4:24, 13:16] = 255
    whole.images[1, 4:24, 9:19] = 255
    lines = LineMaker(whole, APART, 0).make(20, (5, 5))
    assert lines.images.dtype == torch.uint8
    assert lines.images.shape == (20, HEIGHT, lines.widths.max())
    for image, width, text in zip(lines.images.numpy(), lines.widths, lines.texts, strict=True):
        assert not image[:, width:].any()
        filled = np.concatenate([[False], image.any(0), [False]]).astype(int)
        starts, ends = np.flatnonzero(np.diff(filled) == 1), np.flatnonzero(np.diff(filled) == -1)
        assert (ends - starts).tolist() == [{1: 3, 7: 10}[label] for label in text]
        assert ((starts[1:] - ends[:-1] >= 2) & (starts[1:] - ends[:-1] <= 10)).all()
        assert image[4:24].sum() == image.sum()  # nobody stands higher or lower


def test_the_middle_of_each_digit_is_told(few: Dataset) -> None:
    lines = LineMaker(few, APART, 1).make(10, (1, 7))
    for image, text, centres in zip(lines.images.numpy(), lines.texts, lines.centres, strict=True):
        assert len(text) == len(centres)
        assert list(centres) == sorted(centres)
        assert all((image[:, max(0, round(centre) - 8) : round(centre) + 8] > 60).any() for centre in centres)


def test_touching_digits_hang_together(few: Dataset) -> None:
    apart = LineMaker(few, APART, 2).make(20, (4, 4)).images.numpy()
    together = LineMaker(few, replace(TOUCHING, touching=1.0), 2).make(20, (4, 4)).images.numpy()
    assert np.mean([groups(image) for image in apart]) > 3.9
    assert np.mean([groups(image) for image in together]) < 2
    pieces = [components(image > 38).count for image in together]  # 0.15 of 255, as the maker brings them together
    assert np.mean(pieces) < 2.5


def test_what_stands_between_is_not_in_the_text(few: Dataset) -> None:
    style = replace(APART, gap=(8.0, 10.0), separators=1.0)
    plain, dotted = (LineMaker(few, one, 5).make(12, (3, 3)) for one in (replace(style, separators=0.0), style))
    assert all(len(text) == 3 for text in dotted.texts)
    assert (
        np.mean([groups(x) for x in dotted.images.numpy()]) > np.mean([groups(x) for x in plain.images.numpy()]) + 1.5
    )


def test_marks_after_the_last_digit_are_not_in_the_text(few: Dataset) -> None:
    plain, closed = (LineMaker(few, replace(APART, ends=share), 5).make(30, (1, 1)) for share in (0.0, 1.0))
    assert all(len(text) == 1 for text in closed.texts)
    assert closed.widths.mean() > plain.widths.mean() + 8
    assert np.mean([groups(x) for x in closed.images.numpy()]) > 1.6


def test_what_encloses_an_amount_is_drawn_at_its_ends_and_not_read(few: Dataset) -> None:
    whole = Dataset("bars", torch.zeros(1, 28, 28, dtype=torch.uint8), torch.tensor([1]), tuple("0123456789"))
    whole.images[0, 4:24, 13:16] = 255
    plain = LineMaker(whole, APART, 3).make(40, (2, 2))
    lines = LineMaker(whole, replace(APART, enclosed=1.0), 3).make(40, (2, 2))
    assert lines.texts == plain.texts == ((1, 1),) * 40
    assert min(first for first, _ in lines.centres) > max(first for first, _ in plain.centres)
    for image, (first, last) in zip(lines.images.numpy(), lines.centres, strict=True):
        assert image[:, : round(first) - 3].any()
        assert image[:, round(last) + 3 :].any()
    assert stand_apart(LineMaker(few, AMOUNT, 1).make(60, (1, 20)))  # there is room for all of it


def test_signs_stand_between_digits_and_around_them_and_are_not_read(few: Dataset) -> None:
    whole = Dataset("bars", torch.zeros(1, 28, 28, dtype=torch.uint8), torch.tensor([1]), tuple("0123456789"))
    whole.images[0, 4:24, 13:16] = 255
    lines = LineMaker(whole, replace(APART, signs=1.0), 3).make(60, (2, 2))
    assert lines.texts == ((1, 1),) * 60
    for image, (first, last) in zip(lines.images.numpy(), lines.centres, strict=True):
        assert image[:, : round(first) - 3].any()
        assert image[:, round(first) + 3 : round(last) - 3].any()
        assert image[:, round(last) + 3 :].any()
    most = LineMaker(few, replace(SIGNED, signs=1.0, gap=(12.0, 12.0)), 1).make(40, (1, 20))
    assert stand_apart(most)  # there is room for all of it


def test_joined_digits_have_a_stroke_between(few: Dataset) -> None:
    style = replace(APART, gap=(3.0, 5.0))
    apart, joined = (LineMaker(few, replace(style, joined=share), 4).make(20, (4, 4)) for share in (0.0, 1.0))
    assert np.mean([groups(x) for x in joined.images.numpy()]) < np.mean([groups(x) for x in apart.images.numpy()]) - 1


def test_a_one_gets_an_upstroke_and_a_seven_a_bar() -> None:
    bars = Dataset("bars", torch.zeros(2, 28, 28, dtype=torch.uint8), torch.tensor([1, 7]), tuple("0123456789"))
    bars.images[:, 4:24, 13:16] = 255
    plain, drawn = (LineMaker(bars, replace(APART, strokes=share), 0).make(40, (1, 1)) for share in (0.0, 1.0))
    assert plain.texts == drawn.texts
    wider = [(a > 0).any(0).sum() > (b > 0).any(0).sum() for a, b in zip(drawn.images, plain.images, strict=True)]
    ones = [text == (1,) for text in plain.texts]
    assert all(wide for wide, one in zip(wider, ones, strict=True) if one)
    assert 0.2 < np.mean([wide for wide, one in zip(wider, ones, strict=True) if not one]) < 0.8


def test_round_numbers_end_in_zeros(few: Dataset) -> None:
    lines = LineMaker(few, replace(WRITTEN, round=1.0, strangers=0.0, empty=0.0), 0).make(20, (3, 7))
    assert all(text[-1] == 0 for text in lines.texts)
    assert {sum(label == 0 for label in text) for text in lines.texts} > {1, 3}


def test_more_of_the_first_pictures_can_be_asked_for(few: Dataset) -> None:
    data = Dataset("marked", few.images, torch.arange(len(few)).clamp(max=10), few.classes)
    lines = LineMaker(data, APART, 0, more=(10, 1.0)).make(10, (5, 5))
    assert all(label < 10 for text in lines.texts for label in text)


def test_a_stranger_is_drawn_and_not_read(few: Dataset) -> None:
    threes = Dataset("threes", few.images, torch.full_like(few.labels, 3), few.classes)
    lines = LineMaker(threes, replace(APART, strangers=1.0), 0).make(20, (4, 4))
    assert 0.3 < np.mean([len(text) for text in lines.texts]) / 4 < 0.7
    assert all(image.any() for image in lines.images)
    for label in (0, 1, 6, 8, 9):  # turned or mirrored, these are still digits
        same = Dataset("same", few.images, torch.full_like(few.labels, label), few.classes)
        assert set(LineMaker(same, replace(APART, strangers=1.0), 0).make(20, (4, 4)).texts) == {(label,) * 4}


def test_what_fits_below_the_one_before_still_stands_to_its_right() -> None:
    bars = Dataset("bars", torch.zeros(2, 28, 28, dtype=torch.uint8), torch.tensor([7, 1]), tuple("0123456789"))
    bars.images[0, 4:7, 4:24] = 255
    bars.images[1, 20:23, 4:24] = 255
    assert stand_apart(LineMaker(bars, APART, 0).make(20, (4, 4)))


def test_an_empty_line_has_no_text(few: Dataset) -> None:
    lines = LineMaker(few, replace(WRITTEN, empty=1.0), 0).make(3, (2, 5))
    assert lines.texts == ((), (), ())
    assert lines.images.shape[1] == HEIGHT


def test_the_styles_leave_room(few: Dataset) -> None:
    """Twenty digits of the largest size still lie in the line side by side."""
    lines = LineMaker(few, replace(WRITTEN, height=(1.2, 1.2), gap=(12.0, 12.0)), 0).make(4, (20, 20))
    assert stand_apart(lines)


def test_other_pictures_are_refused(few: Dataset) -> None:
    wide = Dataset("wide", torch.zeros(2, 32, 32, dtype=torch.uint8), torch.tensor([1, 2]), few.classes)
    with pytest.raises(InputError, match="pictures of 28×28 pixels in grey, wide has 32×32"):
        LineMaker(wide)
    with pytest.raises(InputError, match="2 lines of 3 to 1 digits"):
        LineMaker(few).make(2, (3, 1))
