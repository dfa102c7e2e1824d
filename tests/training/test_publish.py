"""What a finished run says of itself, beyond what `test_run.py` sees on whole runs."""

from __future__ import annotations

import pytest

from lenet_zoo.cards import Card
from lenet_zoo.training.publish import warn_at_chance


def _card(correct: int, totals: list[int], **recipe: object) -> Card:
    per_class = {str(name): dict(correct=0, total=total, accuracy=0.0) for name, total in enumerate(totals)}
    figures = dict(correct=correct, total=sum(totals), accuracy=correct / sum(totals), per_class=per_class)
    return Card(architecture="lenet5_modern", labels=tuple(per_class), metrics={"test": figures}, recipe=recipe)


@pytest.mark.parametrize(
    ("correct", "totals", "at_chance"),
    [
        (1_135, [1_000] * 9 + [1_135], True),  # one answer for all
        (0, [1_000] * 10, True),
        (1_400, [1_000] * 10, True),  # hardly better
        (2_000, [1_000] * 10, False),
        (5, [2] * 10, True),  # of twenty pictures, five are luck
        (12, [2] * 10, False),
        (905, [900, 100], True),  # nine tenths are of one class
        (950, [900, 100], False),
        (3, [1, 1, 1], False),  # too few to tell
        (7, [7], False),  # there is nothing to tell apart
    ],
)
def test_a_network_at_chance_is_told(correct: int, totals: list[int], at_chance: bool) -> None:
    said: list[str] = []
    warn_at_chance(_card(correct, totals), "test", said.append)
    assert bool(said) == at_chance


def test_the_line_says_what_to_change() -> None:
    said: list[str] = []
    warn_at_chance(_card(100, [100] * 10, lr=0.1), "test", said.append)
    warn_at_chance(_card(100, [100] * 10, method="lecun1998"), "test", said.append)
    start = "the network is at chance: 10.00 % on test, and one answer for all pictures gives 10.00 %: take "
    assert said == [start + end for end in (
        "a lower lr (--set lr=0.01), more epochs, or another recipe",
        "more epochs, or another recipe",
    )]  # fmt: skip
