"""`evaluate` and `plot confusion` on the user's own labelled folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lenet_zoo
from lenet_zoo.cli._app import run
from lenet_zoo.datasets.loading import Dataset


@pytest.fixture
def folder(digits: Dataset, tmp_path: Path) -> Path:
    """Five 7s, five 0s and five 3s, each in a folder of its name, and one of the 0s among the 3s."""
    for label in (7, 0, 3):
        (tmp_path / "own" / str(label)).mkdir(parents=True)
        for i in (digits.labels == label).nonzero()[:5, 0].tolist():
            Image.fromarray(255 - digits.images[i].numpy()).resize((90, 90)).save(tmp_path / "own" / f"{label}/{i}.png")
    some = next((tmp_path / "own" / "0").iterdir())
    some.rename(tmp_path / "own" / "3" / some.name)
    return tmp_path / "own"


def result(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, object]:
    assert run([*argv, "--json"]) == 0
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


def test_a_folder_is_evaluated(capsys: pytest.CaptureFixture[str], folder: Path, tmp_path: Path) -> None:
    found = result(capsys, "evaluate", "lenet5_modern", "--data-dir", str(folder))
    confusion = np.array(found["confusion"])
    assert confusion.sum(1).tolist() == [4, 0, 0, 6, 0, 0, 0, 5, 0, 0]
    assert (found["dataset"], found["split"], found["total"]) == (str(folder), "train", 15)
    assert 12 <= np.trace(confusion) == found["correct"] <= 14  # the misplaced one counts as a mistake
    assert confusion[3, 0] >= 1
    file = lenet_zoo.export_onnx(lenet_zoo.create_model("lenet5_modern", pretrained=True), tmp_path / "digits.onnx")
    again = result(capsys, "evaluate", str(file), "--data-dir", str(folder))
    assert again["confusion"] == found["confusion"]
    drawn = result(capsys, "plot", "confusion", "lenet5_modern", "--data-dir", str(folder), "-o", f"{tmp_path}/c.svg")
    assert drawn == {"labels": list("0123456789"), "confusion": found["confusion"]}
    assert (tmp_path / "c.svg").is_file()
    assert run(["evaluate", "lenet5_modern", "--data-dir", str(folder)]) == 0
    assert f"{found['correct']}/15 correct" in capsys.readouterr().out


def test_of_a_split_folder_the_test_pictures_count(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    split = folder.with_name("split")
    split.mkdir()
    folder.rename(split / "train")
    (split / "test" / "7").mkdir(parents=True)
    for path in sorted((split / "train" / "7").iterdir())[:2]:
        path.rename(split / "test" / "7" / path.name)
    for argv, name, total in (([], "test", 2), (["--train"], "train", 13)):
        found = result(capsys, "evaluate", "lenet5_modern", "--data-dir", str(split), *argv)
        assert (found["split"], found["total"]) == (name, total)


def test_a_folder_that_is_no_label_is_named(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "7").rename(folder / "seven")
    assert run(["evaluate", "lenet5_modern", "--data-dir", str(folder)]) == 2
    assert capsys.readouterr().err == (
        f"lenet-zoo: class 'seven' in {folder} is none of the network's labels: name its folders 0, 1, 2, 3, 4, 5, 6, "
        "7, 8, 9\n"
    )


@pytest.mark.parametrize(
    "argv",
    [["evaluate", "lenet5_modern"], ["plot", "confusion", "lenet5_modern", "--json"], ["finetune", "--out", "tuned"]],
)
def test_a_data_set_and_a_folder_exclude_each_other(
    capsys: pytest.CaptureFixture[str], folder: Path, argv: list[str]
) -> None:
    assert run([*argv, "--data-dir", str(folder), "--dataset", "digits"]) == 2
    said = "lenet-zoo: --dataset and --data-dir exclude each other: name one of them\n"
    assert capsys.readouterr().err == said
