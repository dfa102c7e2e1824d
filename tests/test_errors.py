"""What all errors say alike: how to install, in one wording and a line that works, and the nearest known name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lenet_zoo.errors import did_you_mean, to_install

ROOT = Path(__file__).parents[1]
EXTRAS = set(re.findall(r"^([a-z]+) = \[$", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.M))


def test_the_line_takes_the_package_from_a_clone() -> None:
    """The package is on no index, where `pip install lenet-zoo` finds nothing."""
    assert to_install() == "run pip install . in a clone of lenet_zoo"
    assert to_install("heic") == 'run pip install ".[heic]" in a clone of lenet_zoo'


def test_nothing_else_says_how_to_install() -> None:
    named = set()
    for path in (ROOT / "lenet_zoo").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r"to_install\(['\"](\w+)['\"]\)", text))
        if path.name != "errors.py":
            assert "pip install" not in text, path
    assert {"heic", "plots", "ray", "score"} <= named <= EXTRAS


def test_no_page_and_no_example_asks_an_index_for_the_package() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").iterdir()]
    for path in pages:
        if path.is_file():
            asked = re.findall(r"pip install (?:-\S+ )*[\\\"']*lenet[-_]zoo.*", path.read_text(encoding="utf-8"))
            assert asked == [], path.name


@pytest.mark.parametrize(
    ("word", "meant"),
    [("trian", "train"), ("scor", "score"), ("c2", "c1"), ("nothing", ""), ("none", ""), ("x", "")],
)
def test_the_nearest_name_is_one_that_may_have_been_meant(word: str, meant: str) -> None:
    said = did_you_mean(word, ["train", "score", "predict", "c1"])
    assert said == (f" Did you mean {meant!r}?" if meant else "")
