"""`lenet-zoo read`, as a person meets it, with the weights that ship."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lenet_zoo
from lenet_zoo.cli._app import run
from lenet_zoo.datasets import lines
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import InputError

NAME = "lenet5_modern.numbers"


@pytest.fixture
def number(mnist_test: Dataset, tmp_path: Path) -> Path:
    """7, 2, 1 and 0 in a row, dark on paper."""
    assert mnist_test.labels[:4].tolist() == [7, 2, 1, 0]
    line = np.concatenate([mnist_test.images[i].numpy() for i in range(4)], 1)
    path = tmp_path / "number.png"
    ink = np.kron(np.pad(line, 8), np.ones((3, 3), np.uint8))
    Image.fromarray(235 - (ink * 0.8).astype(np.uint8)).save(path)
    return path


@pytest.mark.parametrize("name", [NAME, "lenet5_classic.numbers"])
def test_a_number_is_read(capsys: pytest.CaptureFixture[str], number: Path, name: str) -> None:
    assert run(["read", name, str(number), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["text"] == "7210"
    assert [one["label"] for one in row["characters"]] == list("7210")
    assert row["confidence"] > 0.5
    assert run(["read", name, str(number), "--expect", "4"]) == 0
    assert capsys.readouterr().out.startswith(f"{number}: 7210 (")
    found = lenet_zoo.read(number, name=name)
    assert (found.text, found.confidence) == (row["text"], pytest.approx(row["confidence"]))


def test_each_of_several_lines_is_printed(capsys: pytest.CaptureFixture[str], number: Path) -> None:
    one = np.asarray(Image.open(number))
    Image.fromarray(np.concatenate([one, one])).save(number)
    assert run(["read", NAME, str(number)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{number}, line 1: 7210 (")
    assert second.startswith(f"{number}, line 2: 7210 (")
    assert lenet_zoo.read(number).text == "7210\n7210"


def test_a_blank_picture_is_rejected(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    Image.new("L", (200, 60), 255).save(tmp_path / "blank.png")
    assert run(["read", NAME, str(tmp_path)]) == 0
    assert "blank.png: rejected: no number: the picture is of one tone" in capsys.readouterr().out
    assert run(["read", NAME, str(tmp_path), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["reason"] == "no number: the picture is of one tone"  # without the path, which the row has


def test_networks_of_the_other_kind_are_named(capsys: pytest.CaptureFixture[str], number: Path) -> None:
    assert run(["read", "lenet5_modern.mnist", str(number)]) == 2
    assert "reads single characters, not numbers: take lenet5_modern.numbers" in capsys.readouterr().err
    assert run(["predict", NAME, str(number)]) == 2
    assert "reads numbers, not single characters: take `lenet-zoo read`" in capsys.readouterr().err
    with pytest.raises(InputError, match="expect='\\('"):
        lenet_zoo.read(number, expect="(")


@pytest.mark.parametrize("expect", ["0", "-3"])
def test_a_number_has_a_digit(capsys: pytest.CaptureFixture[str], number: Path, expect: str) -> None:
    assert run(["read", NAME, str(number), "--expect", expect]) == 2
    assert f"expect={expect}: how many digits, or a regular expression" in capsys.readouterr().err


def test_lines_of_a_data_sets_digits_are_evaluated(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = lines.lines_of_five
    monkeypatch.setattr(lines, "lines_of_five", lambda data, style, count: whole(data, style, count // 500))
    assert run(["evaluate", NAME, "--dataset", "digits", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["name"], found["dataset"], found["split"]) == (NAME, "digits", "test")
    assert {style: one["total"] for style, one in found["lines"].items()} == dict(apart=20, touching=20, written=20)
    assert found["lines"]["apart"]["correct"] >= 15
    assert run(["evaluate", NAME, "--dataset", "digits"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{NAME} on lines of 5 digits of digits\n")
    assert f"{100 * found['lines']['written']['accuracy']:.2f} %" in said


def test_own_pictures_of_numbers_are_evaluated(
    capsys: pytest.CaptureFixture[str], number: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "numbers"
    folder.mkdir()
    for name in ("7210.png", "7211-not.png"):
        (folder / name).write_bytes(number.read_bytes())
    Image.new("L", (200, 60), 255).save(folder / "31.png")
    (folder / "5.png").write_bytes(b"no picture")
    assert run(["evaluate", NAME, "--data-dir", str(folder), "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["name"], found["dataset"], found["split"]) == (NAME, str(folder), "all")
    figures = found["numbers"]
    # The blank picture is refused, which is two characters wrong; the one that is no picture is left out by name.
    assert (figures["correct"], figures["total"], figures["refused"]) == (1, 3, 1)
    assert (figures["edits"], figures["characters"], figures["accuracy"]) == (3, 10, pytest.approx(1 / 3))
    assert figures["sure_wrong"] == figures["sure"] // 2
    assert "left out: " in printed.err
    assert "5.png" in printed.err
    assert " ".join(printed.err.split()).endswith(f"1 of 4 pictures in {folder} were left out")
    assert run(["evaluate", NAME, "--data-dir", str(folder)]) == 0
    assert "33.33 %" in capsys.readouterr().out
    assert run(["evaluate", NAME, "--data-dir", str(folder), "--train"]) == 2
    assert "no training set" in capsys.readouterr().err
    (folder / "labels.csv").write_text("file,label\n7211-not.png,7210\n")
    assert run(["evaluate", NAME, "--data-dir", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["numbers"]["correct"] == 1
    (folder / "labels.csv").write_text("file,label\n5.png,5\n")
    assert run(["evaluate", NAME, "--data-dir", str(folder)]) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith("pictures can be read")
