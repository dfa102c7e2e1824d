"""What errors say of installing: one wording for all, and a line that works."""

from __future__ import annotations

import re
from pathlib import Path

from lenet_zoo.errors import to_install

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
