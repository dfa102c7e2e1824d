"""Wrong arguments, folders and weights: one clear line, and nothing left behind."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import lenet_zoo
from lenet_zoo import cards
from lenet_zoo._files import one_writer
from lenet_zoo.errors import DataError, InputError, TrainingError, UnknownModelError, WeightsError
from lenet_zoo.finetuning import finetune

from .conftest import QUICK, Listener

pytest.importorskip("matplotlib")


def refused(kind: type[Exception], out: Path, **options: Any) -> str:
    with pytest.raises(kind) as caught:
        finetune(out, **{"few_shot": 1, "changes": {"epochs": 1}, **options})
    assert not out.exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"model": "lenet5_moderm"}, UnknownModelError, "Did you mean 'lenet5_modern'?"),
        (
            {"model": "lenet5_modern.numbers"},
            InputError,
            "lenet5_modern.numbers answers all along a line: start from a network of single characters, such as "
            "lenet5_modern.handwriting",
        ),
        ({"dataset": "digitz"}, InputError, "Did you mean 'digits'?"),
        ({"recipe": "finetuen"}, InputError, "Did you mean 'finetune'?"),
        ({"recipe": "lecun1998", "changes": None}, InputError, "has the method lecun1998, which trains from the start"),
        ({"recipe": "best"}, InputError, "learns from a teacher (distill=1), and here is none: set teacher="),
        ({"freeze": "c2"}, InputError, "no layer 'c2' to freeze. Did you mean"),
        ({"freeze": "body,output"}, InputError, "leaves nothing to train"),
        ({"in_chans": 2}, InputError, "in_chans=2: pictures have 1 channel (grey) or 3 (colour)"),
        ({"few_shot": 0}, InputError, "0 pictures per class: at least 1"),
        ({"few_shot": 500}, DataError, "fewer than the 500 asked for"),
        ({"test_part": 1.5}, InputError, "a part of 1.5 cannot be held out"),
        ({"val_part": -1}, InputError, "val_part=-1"),
        ({"scratch": True, "weights": "x.safetensors"}, InputError, "leave weights out, or scratch"),
        ({"weights": "none.safetensors"}, WeightsError, "no weight file none.safetensors"),
        ({"changes": {"epoch": 1}}, InputError, "Did you mean 'epochs'?"),
        ({"layer_decay": 2}, InputError, "layer_decay=2.0: 0 or more, 1 at most"),
        ({"device": "tpu"}, InputError, "no device 'tpu' here"),
        ({"data_dir": "nowhere"}, DataError, "no folder nowhere"),
    ],
)
def test_wrong_arguments_leave_nothing(
    options: dict[str, Any], kind: type[Exception], text: str, tmp_path: Path
) -> None:
    assert text in refused(kind, tmp_path / "out", **options)


def test_bad_folders_leave_nothing(letters: Path, tmp_path: Path) -> None:
    single = tmp_path / "single"
    shutil.copytree(letters / "a", single / "a")
    assert "has one class, 'a'" in refused(DataError, tmp_path / "out", data_dir=single)
    broken = tmp_path / "broken"
    shutil.copytree(letters, broken)
    bad = sorted((broken / "a").iterdir())[0]
    bad.write_bytes(bad.read_bytes()[:50])
    assert str(bad) in refused(DataError, tmp_path / "out", data_dir=broken, strict=True)
    said = Listener()
    finetune(tmp_path / "fine", data_dir=broken, few_shot=2, changes={"epochs": 1}, monitor=said)
    assert f"left out: {bad}" in said.said[0]
    assert said.said[1].startswith("1 of 36 pictures")


def test_weights_of_another_shape(tmp_path: Path) -> None:
    state = lenet_zoo.create_model("lenet5_modern").state_dict()
    state["C3.weight"] = torch.zeros(16, 6, 3, 3)
    save_file(state, tmp_path / "small.safetensors")
    text = refused(WeightsError, tmp_path / "out", weights=tmp_path / "small.safetensors")
    assert "C3.weight" in text
    classic = load_file(cards.weight_path("lenet5_classic.mnist"))
    save_file(classic, tmp_path / "classic.safetensors")
    text = refused(WeightsError, tmp_path / "out", weights=tmp_path / "classic.safetensors")
    assert "not lenet5_modern's" in text
    grey = lenet_zoo.create_model("lenet5_modern").state_dict()
    save_file(grey, tmp_path / "grey.safetensors")
    text = refused(InputError, tmp_path / "out", weights=tmp_path / "grey.safetensors", in_chans=3)
    assert "holds weights for 1 channels and in_chans=3 was asked for" in text


def test_weights_that_are_no_numbers_are_not_blamed_on_the_learning_rate(tmp_path: Path) -> None:
    state = lenet_zoo.create_model("lenet5_modern").state_dict()
    state["F6.bias"][:3] = torch.nan
    save_file(state, tmp_path / "nan.safetensors")
    text = refused(WeightsError, tmp_path / "out", weights=tmp_path / "nan.safetensors")
    assert text == "F6.bias has 3 values that are not finite (nan or inf): train it again"


def test_nothing_of_another_is_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"holds a config\.json that is not of this run"):
        finetune(out, few_shot=1, changes=QUICK)
    assert [path.name for path in out.iterdir()] == ["config.json"]
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="is a file: name a folder"):
        finetune(tmp_path / "file", few_shot=1, changes=QUICK)
    (out / "config.json").unlink()
    finetune(out, few_shot=1, changes=QUICK)
    with pytest.raises(
        TrainingError, match="holds a finished network: begin anew with --overwrite, or name another folder"
    ):
        finetune(out, few_shot=1, changes=QUICK)
    (out / "notes.txt").write_text("mine")
    done = finetune(out, few_shot=2, changes=QUICK, overwrite=True)
    assert done.card["pictures"]["train"] == 20
    assert (out / "notes.txt").read_text() == "mine"


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    """Two fine-tunes of one folder deleted each other's results: the second is refused, and touches nothing."""
    out = tmp_path / "out"
    with one_writer(out, TrainingError):
        (out / "theirs").touch()
        with pytest.raises(TrainingError) as caught:
            finetune(out, few_shot=1, changes=QUICK)
        assert str(caught.value) == (
            f"{out}: another process is at work there: wait until it is done, or name another folder"
        )
        assert sorted(path.name for path in out.iterdir()) == [".lock", "theirs"]
    assert finetune(out, few_shot=1, changes=QUICK).folder == out


@pytest.mark.parametrize("inside", [".", "new", "3/new", "../pictures/new"])
def test_no_run_is_written_among_the_pictures(tmp_path: Path, inside: str) -> None:
    (tmp_path / "pictures/3").mkdir(parents=True)
    with pytest.raises(InputError, match=r"is inside the pictures' folder .* name a folder outside it$"):
        finetune(tmp_path / "pictures" / inside, data_dir=tmp_path / "pictures")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["3", "pictures"]
