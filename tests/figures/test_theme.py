"""Everything is legible on a light and on a dark page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from lenet_zoo import figures
from lenet_zoo.errors import InputError

from .conftest import DIGITS


def contrast(first: str, second: str) -> float:
    """WCAG 2's contrast ratio."""

    def luminance(colour: str) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", figures.THEMES.values(), ids=figures.THEMES)
def test_everything_written_is_legible_on_its_page(theme: figures.Theme) -> None:
    assert contrast(theme.ink, theme.paper) > 7
    assert contrast(theme.muted, theme.paper) > 4.5
    assert all(contrast(colour, theme.paper) >= 3 for colour in (theme.negative, theme.positive, *theme.series[:3]))


def test_the_page_is_painted(tmp_path: Path) -> None:
    for name, theme in figures.THEMES.items():
        text = figures.save(figures.confusion(np.eye(2, dtype=int), "ab", name), tmp_path / "f.svg").read_text()
        assert f"fill: {theme.paper}" in text


def test_an_unknown_theme_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"'drak'\. Did you mean 'dark'"):
        figures.maps({}, DIGITS, "drak")
