"""A figure reaches its file whole or not at all, and the same figure gives the same bytes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from lenet_zoo import figures
from lenet_zoo.errors import InputError


@pytest.mark.parametrize(
    ("suffix", "magic"), [(".svg", b"<?xml"), (".pdf", b"%PDF"), (".png", b"\x89PNG"), (".PNG", b"\x89PNG")]
)
def test_the_suffix_chooses_the_format_and_the_bytes_are_reproducible(
    tmp_path: Path, suffix: str, magic: bytes
) -> None:
    files = [tmp_path / f"{name}{suffix}" for name in "ab"]
    for file in files:
        assert figures.save(figures.confusion(np.eye(3, dtype=int), "abc"), file) == file
    assert files[0].read_bytes().startswith(magic)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert sorted(tmp_path.iterdir()) == files


@pytest.mark.parametrize(
    ("name", "said"),
    [("f.jpg", r"\.svg, \.pdf, \.png, and this name has '\.jpg'"), ("f", "has no suffix"), ("no/f.svg", "no folder")],
)
def test_targets_that_cannot_be_meant(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        figures.save(Figure(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_cannot_be_replaced_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken.svg").mkdir()
    with pytest.raises(InputError, match=r"taken\.svg: it is a folder$"):
        figures.save(Figure(), tmp_path / "taken.svg")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.svg"]


def test_a_folder_that_cannot_be_written_to_is_told_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda folder, mode: False)  # root may write everywhere
    with pytest.raises(InputError) as caught:
        figures.check_target(tmp_path / "f.svg")
    assert str(caught.value) == f"{tmp_path / 'f.svg'}: the folder {tmp_path} cannot be written to"


def test_an_old_file_stays_when_drawing_fails(tmp_path: Path) -> None:
    target = tmp_path / "f.png"
    target.write_text("old")
    broken = Figure(figsize=(1e5, 1e5))  # larger than matplotlib can paint
    with pytest.raises(Exception):  # noqa: B017, PT011  whatever matplotlib says
        figures.save(broken, target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_without_matplotlib_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from lenet_zoo.errors import MissingExtraError\n"
        "try:\n    import lenet_zoo.figures\n"
        "except MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == 'pictures are drawn by matplotlib: run pip install ".[plots]" in a clone of lenet_zoo\n'


def test_letters_are_outlines_so_that_no_font_is_needed(tmp_path: Path) -> None:
    text = figures.save(figures.confusion(np.eye(2, dtype=int), "ab"), tmp_path / "f.svg").read_text()
    assert "<text" not in text
    assert not re.search(r"\d{4}-\d\d-\d\dT", text)


def test_figures_leave_matplotlibs_settings_alone(tmp_path: Path) -> None:
    code = (
        "import numpy as np, matplotlib as m\n"
        "before = dict.copy(m.rcParams)\n"
        "from lenet_zoo import figures\n"
        "figures.save(figures.confusion(np.eye(2, dtype=int), 'ab'), 'f.svg')\n"
        "print([key for key, value in dict.items(m.rcParams) if before[key] != value])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "[]\n"
