"""Texts from elsewhere, in the characters that there are."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")

from lenet_zoo.figures.canvas import drawable


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("7", "7"),
        ("Ärmel → é", "Ärmel → é"),
        ("৭", "7"),  # Bangla, which the fonts of matplotlib lack
        ("౭ or \u0985", "7 or U+0985"),
        ("a\x1b[2J", "a\\x1b[2J"),
    ],
)
def test_what_the_fonts_lack_is_written_otherwise(text: str, drawn: str) -> None:
    assert drawable(text) == drawn
