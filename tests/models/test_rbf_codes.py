"""The codes of the classic's RBF output: bitmaps of characters, and more for more classes."""

from __future__ import annotations

import hashlib

import pytest
import torch

from lenet_zoo.errors import InputError
from lenet_zoo.models.lenet5_classic import CHARACTERS, LeNet5Classic, rbf_codes


def test_bitmaps_of_the_digits() -> None:
    codes = torch.tensor(rbf_codes(10))
    assert codes.shape == (10, 84)
    assert set(codes.flatten().tolist()) == {-1, 1}
    rows = ["".join("#" if v == 1 else "." for v in codes[2].tolist()[7 * r : 7 * r + 7]) for r in range(12)]
    # the 2 of Fig. 3
    assert rows == [
        ".#####.",
        ".......",
        ".#####.",
        "##...##",
        "#....##",
        "....##.",
        "..###..",
        ".##....",
        "##.....",
        "#######",
        ".......",
        ".......",
    ]


def test_nearest_digits_of_fig_3_are_6_and_8() -> None:
    codes = torch.tensor(rbf_codes(10))
    distance = {(i, j): int((codes[i] != codes[j]).sum()) for i in range(10) for j in range(i)}
    assert min(distance.values()) == 12
    assert [pair for pair, d in distance.items() if d == 12] == [(8, 6)]


# SHA-256 over the codes, ink as 1 and paper as 0: a change would make every trained network useless.
CODES = {
    10: "a61b3bbe7e039b17",
    26: "cc5c96280564cfa8",
    36: "17447a56f51092d3",
    62: "2daaffc435f77dae",
    95: "f6924aa66f1cf909",
    96: "174545016b7db45c",
    97: "a351e67c2ced5131",
    1000: "28f2e2562c9dde53",
}


@pytest.mark.parametrize("num_classes", CODES)
def test_output_codes_are_distinct_and_the_same_everywhere(num_classes: int) -> None:
    codes = rbf_codes(num_classes)
    assert len(codes) == num_classes
    assert all(len(code) == 84 and set(code) <= {-1, 1} for code in codes)
    assert len({tuple(code) for code in codes}) == num_classes
    digest = hashlib.sha256(bytes(v == 1 for code in codes for v in code)).hexdigest()
    assert digest[:16] == CODES[num_classes]
    assert LeNet5Classic(num_classes=num_classes).output.weight.tolist() == codes


def test_few_classes_take_the_first_characters() -> None:
    assert CHARACTERS[:62] == "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    assert sorted(CHARACTERS) == [chr(c) for c in range(32, 128)]
    assert rbf_codes(96)[:62] == rbf_codes(62)
    assert rbf_codes(62)[10:36] == rbf_codes(26, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def test_codes_of_many_classes_are_far_apart_and_do_not_depend_on_their_number() -> None:
    assert rbf_codes(97) == rbf_codes(1000)[:97]
    codes = torch.tensor(rbf_codes(1000), dtype=torch.float32)
    distance = (84 - codes @ codes.T) / 2 + 84 * torch.eye(1000)
    assert distance.min() >= 12  # no worse than the digits


def test_characters_choose_the_bitmaps() -> None:
    model = LeNet5Classic(num_classes=3, characters="x7?")
    assert model.output.weight.tolist() == rbf_codes(3, "x7?")
    assert rbf_codes(1, "7")[0] == rbf_codes(10)[7]
    model.reset_classifier(2, characters="ab")
    assert model.output.weight.tolist() == rbf_codes(2, "ab")
    model.reset_classifier(10)
    assert model.output.weight.tolist() == rbf_codes(10)


@pytest.mark.parametrize(
    ("characters", "message"),
    [
        ("ab", "2 characters for 3 classes: give one character per class"),
        ("aba", "characters='aba' repeats one: each class needs a bitmap of its own"),
        ("abé", "no bitmap for 'é': the paper's set is printable ASCII"),
    ],
)
def test_characters_without_a_bitmap_of_their_own_are_refused(characters: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        LeNet5Classic(num_classes=3, characters=characters)
    assert str(error.value) == message
