"""One character of a strip, alone: whole where it stands by itself, its own part where it touches another."""

from __future__ import annotations

import numpy as np

from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.pictures.components import components
from lenet_zoo.pictures.cutting import characters_alone, characters_of_texts


def beside(digits: Dataset, chosen: tuple[int, ...], step: int) -> tuple[np.ndarray, list[float]]:
    """Digits with their middles `step` px apart, and these middles."""
    line = np.zeros((28, 28 + step * (len(chosen) - 1)), np.uint8)
    for i, which in enumerate(chosen):
        place = line[:, step * i : step * i + 28]
        np.maximum(place, digits.images[which].numpy(), out=place)
    return line, [14.0 + step * i for i in range(len(chosen))]


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel().astype(float), other.ravel().astype(float))[0, 1])


def test_what_stands_by_itself_is_the_picture_that_it_was(digits: Dataset) -> None:
    chosen = (0, 1, 2, 3, 4)
    found = characters_alone(*beside(digits, chosen, 32))
    assert found.shape == (5, 28, 28)
    for picture, which in zip(found, chosen, strict=True):
        assert likeness(picture, digits.images[which].numpy()) > 0.85


def test_touching_characters_are_parted_and_each_is_nearer_to_itself(digits: Dataset) -> None:
    chosen = (0, 3, 5)
    line, middles = beside(digits, chosen, 12)
    assert components(line >= 64).count < 3  # they do touch
    found = characters_alone(line, middles)
    for i, picture in enumerate(found):
        like = [likeness(picture, digits.images[which].numpy()) for which in chosen]
        assert like.index(max(like)) == i


def test_a_dot_beside_a_character_goes_and_a_second_character_stays(digits: Dataset) -> None:
    line, (middle, _) = beside(digits, (0, 1), 32)
    alone = characters_alone(line[:, :28], [middle])
    dotted = line.copy()
    dotted[:, 28:] = 0
    dotted[22:25, 29:32] = 255
    np.testing.assert_array_equal(characters_alone(dotted, [middle]), alone)
    assert likeness(characters_alone(line, [middle])[0], alone[0]) < 0.8


def test_a_cell_without_ink_is_an_empty_picture(digits: Dataset) -> None:
    line, middles = beside(digits, (0,), 1)
    found = characters_alone(np.pad(line, ((0, 0), (0, 60))), [*middles, 70.0])
    assert found[0].any()
    assert not found[1].any()
    assert not characters_alone(np.zeros((28, 60), np.uint8), [14.0]).any()
    assert characters_alone(line, []).shape == (0, 28, 28)


def test_of_several_texts_only_what_differs_is_cut_out(digits: Dataset) -> None:
    line, middles = beside(digits, (0, 1, 2, 3), 32)
    left_out = middles[:2] + middles[3:]
    texts = [([5, 0, 4, 1], middles), ([5, 0, 9, 1], middles), ([5, 0, 1], left_out)]
    pictures, which = characters_of_texts(line, texts)
    # The first character is shared; so is the last, but the one without its neighbour has a larger cell and more ink.
    assert which[[0, 4, 8]].tolist() == [-1, -1, -1]
    assert which[2] == which[6] >= 0  # read twice, cut out once
    assert which.max() + 1 == len(pictures)
    np.testing.assert_array_equal(pictures[which[2]], characters_alone(line, middles)[2])
    same, none = characters_of_texts(line, texts[:1] * 2)
    assert len(same) == 0
    assert set(none.tolist()) == {-1}
