"""A folder of a user's own pictures: what is read, how it is split, and every way in which it can be wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from lenet_zoo.datasets.folders import MOST_CLASSES, few_per_class, load_folder, split_by_class
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import DataError, InputError
from lenet_zoo.pictures.character import digit_from_image
from lenet_zoo.pictures.preparation import Preparation


def scan(digit: int) -> Image.Image:
    """A real handwritten digit, dark on paper, 140 px wide."""
    paper = Image.new("L", (140, 140), 255)
    paper.paste(Image.fromarray((255 - load_digits().images[digit] * 15).astype("uint8")).resize((80, 80)), (30, 30))
    return paper


def fill(folder: Path, counts: dict[str, int], start: int = 0) -> Path:
    """Picture i of class '0' … '9' is a digit of that class; of any other class, some digit."""
    targets = load_digits().target
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        own = np.flatnonzero(targets == int(name)) if name.isdigit() else np.arange(len(targets))
        for i in own[start : start + count]:
            scan(int(i)).save(folder / name / f"{i:04}.png")
    return folder


def test_a_folder_per_class_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    fill(tmp_path / "set", {"7": 2, "0": 3})
    data = load_folder(tmp_path / "set")
    assert set(data) == {"train"}
    train = data["train"]
    assert (train.name, train.classes) == ("set", ("0", "7"))
    assert train.labels.tolist() == [0, 0, 0, 1, 1]
    files = sorted((tmp_path / "set").rglob("*.png"))
    assert np.array_equal(train.images.numpy(), np.stack([digit_from_image(file) for file in files]))


def test_nested_hidden_and_foreign_files(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "a" / "more").mkdir()
    scan(5).save(tmp_path / "a" / "more" / "deep.jpg")
    (tmp_path / "a" / ".hidden").mkdir()
    scan(5).save(tmp_path / "a" / ".hidden" / "x.png")
    scan(5).save(tmp_path / "a" / ".x.png")
    (tmp_path / "a" / "notes.txt").write_text("none of this is a picture")
    (tmp_path / ".git").mkdir()
    (tmp_path / "readme.md").write_text("about")
    train = load_folder(tmp_path)["train"]
    assert train.classes == ("a", "b")
    assert train.labels.tolist() == [0, 0, 0, 1, 1]


def test_links_are_followed_and_those_to_nothing_are_named(tmp_path: Path) -> None:
    fill(tmp_path / "set", {"a": 1, "b": 1})
    elsewhere = fill(tmp_path, {"elsewhere": 3}) / "elsewhere"
    (tmp_path / "set" / "a" / "linked").symlink_to(elsewhere)
    (elsewhere / "circle").symlink_to(tmp_path / "set" / "a")
    (tmp_path / "set" / "c").symlink_to(elsewhere)
    (tmp_path / "set" / "b" / "gone.png").symlink_to("nothing.png")
    said: list[str] = []
    train = load_folder(tmp_path / "set", say=said.append)["train"]
    assert (train.classes, torch.bincount(train.labels).tolist()) == (("a", "b", "c"), [4, 1, 4])
    assert said[0].startswith("left out: ")
    assert said[0].endswith("gone.png: no such file or folder")
    with pytest.raises(DataError, match=r"gone\.png"):
        load_folder(tmp_path / "set", strict=True)
    (tmp_path / "set" / "d").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"/d is a link to nothing: mend it or remove it"):
        load_folder(tmp_path / "set")


def test_a_split_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"0": 3, "1": 3})
    fill(tmp_path / "val", {"0": 1, "1": 1}, start=3)
    fill(tmp_path / "test", {"1": 2}, start=4)
    data = load_folder(tmp_path)
    assert {split: len(part) for split, part in data.items()} == {"train": 6, "validation": 2, "test": 2}
    assert data["test"].classes == ("0", "1")
    assert data["test"].labels.tolist() == [1, 1]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    fill(tmp_path, {"train": 2, "bus": 2})
    assert load_folder(tmp_path)["train"].classes == ("bus", "train")
    # … and be alone with another split's name: there are pictures, not classes, in it.
    fill(tmp_path / "other", {"train": 2, "test": 2})
    assert load_folder(tmp_path / "other")["train"].classes == ("test", "train")


def test_pictures_as_they_are_match_create_transform(tmp_path: Path) -> None:
    import lenet_zoo

    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(random.integers(0, 256, (50, 70, 3), dtype=np.uint8)).save(tmp_path / name / "x.png")
    image = Image.open(tmp_path / "a" / "x.png")
    for channels in (1, 3):
        data = load_folder(tmp_path, preparation=Preparation("picture", channels))["train"]
        assert data.images.shape == ((2, 28, 28) if channels == 1 else (2, 3, 28, 28))
        wanted = lenet_zoo.create_transform(lenet_zoo.create_model("lenet5_modern", in_chans=channels))(image)
        found = data.images[0].view(channels, 28, 28) / 255
        assert torch.equal(found, wanted)


def test_modes_of_pictures() -> None:
    grey = np.linspace(0, 255, 28 * 28).astype(np.uint8).reshape(28, 28)
    image = Image.fromarray(grey)
    assert np.array_equal(Preparation("picture").pixels(image), grey)
    assert np.array_equal(Preparation("picture", 3).pixels(image), np.stack([grey] * 3))
    sixteen = Image.fromarray(grey.astype(np.uint16) * 257)
    assert np.abs(Preparation("picture").pixels(sixteen).astype(int) - grey).max() <= 1
    clear = Image.new("RGBA", (28, 28), (0, 0, 0, 0))
    assert (Preparation("picture", 3).pixels(clear) == 0).all()  # the background of the networks' pictures
    palette = Image.new("RGB", (28, 28), (255, 0, 0)).quantize(4)
    assert Preparation("picture", 3).pixels(palette)[:, 0, 0].tolist() == [255, 0, 0]


def test_broken_pictures_are_named_left_out_and_counted(tmp_path: Path) -> None:
    fill(tmp_path, {"0": 3, "1": 3})
    broken = sorted((tmp_path / "0").iterdir())[1]
    broken.write_bytes(broken.read_bytes()[:60])
    (tmp_path / "1" / "blank.png").touch()
    Image.new("L", (40, 40), 255).save(tmp_path / "1" / "white.png")
    said: list[str] = []
    train = load_folder(tmp_path, say=said.append)["train"]
    assert train.labels.tolist() == [0, 0, 1, 1, 1]
    assert [line.split(":")[0] for line in said[:3]] == ["left out"] * 3
    for line, name in zip(said, (broken.name, "blank.png", "white.png"), strict=False):
        assert name in line
        assert line.count(name) == 1
    assert said[3].startswith("3 of 8 pictures")
    with pytest.raises(DataError, match=broken.name):
        load_folder(tmp_path, strict=True)


def test_mixed_channels_are_said(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 3, "b": 3})
    Image.effect_noise((40, 40), 50).convert("RGB").save(tmp_path / "a" / "grey-stored-as-rgb.png")
    said: list[str] = []
    load_folder(tmp_path, preparation=Preparation("picture"), say=said.append)
    assert said == []  # nothing has colour here
    red = tmp_path / "b" / "red.png"
    Image.new("RGB", (40, 40), (200, 30, 30)).save(red)
    load_folder(tmp_path, preparation=Preparation("picture"), say=said.append)
    assert said == [f"1 of 8 pictures are in colour, such as {red}: all become grey"]
    said.clear()
    images = load_folder(tmp_path, preparation=Preparation("picture", 3), say=said.append)["train"].images
    assert said == [f"1 of 8 pictures are in colour, such as {red}: grey ones get three equal channels"]
    assert torch.equal(images[0, 0], images[0, 1])
    with pytest.raises(DataError, match=r"red\.png: with --strict all must be of one kind"):
        load_folder(tmp_path, preparation=Preparation("picture", 3), strict=True)


def wrong(tmp_path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        load_folder(tmp_path, **options)  # type: ignore[arg-type]
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    assert wrong(tmp_path / "none").startswith(f"no folder {tmp_path / 'none'}")
    (tmp_path / "file").touch()
    assert "is a file: give a folder" in wrong(tmp_path / "file")
    (tmp_path / "flat").mkdir()
    scan(0).save(tmp_path / "flat" / "0.png")
    assert "has no folders in it: give one that holds a folder of pictures per class" in wrong(tmp_path / "flat")


def test_one_class(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 2})
    assert wrong(tmp_path) == f"{tmp_path} has one class, 'a': give at least two, a folder of pictures for each"


def test_an_empty_class(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 2, "b": 0, "c": 1})
    assert wrong(tmp_path) == f"class 'b' in {tmp_path} has no pictures: put some in, or remove the folder"


def test_a_class_of_broken_pictures_alone(tmp_path: Path) -> None:
    fill(tmp_path, {"a": 2, "b": 1})
    (tmp_path / "b" / "0000.png").write_bytes(b"no picture")
    assert wrong(tmp_path) == f"class 'b' in {tmp_path} has no picture that can be used"


def test_too_many_classes(tmp_path: Path) -> None:
    for i in range(MOST_CLASSES + 1):
        (tmp_path / f"{i:05}").mkdir()
    assert wrong(tmp_path) == f"1,001 classes in {tmp_path}: LeNet-5 is fine-tuned to 1,000 at most"


@pytest.mark.parametrize(("one", "other"), [("a", "A"), ("ß", "SS"), ("caf\u00e9", "cafe\u0301")])
def test_classes_that_differ_only_by_case(tmp_path: Path, one: str, other: str) -> None:
    fill(tmp_path, {one: 1, other: 1, "z": 1})
    text = wrong(tmp_path)
    assert repr(one) in text
    assert repr(other) in text
    assert "differ only by case: rename one" in text


def test_a_test_class_that_is_not_trained(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"0": 1, "1": 1})
    fill(tmp_path / "test", {"2": 1})
    assert wrong(tmp_path) == f"class '2' is in {tmp_path}'s test pictures and not among those to train on"


def test_an_empty_split(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"0": 1, "1": 1})
    (tmp_path / "val").mkdir()
    assert "has a folder of validation pictures without any" in wrong(tmp_path)
    fill(tmp_path / "val", {"0": 1})
    next((tmp_path / "val" / "0").iterdir()).write_bytes(b"broken")
    assert wrong(tmp_path) == f"none of {tmp_path}'s validation pictures can be used"
    fill(tmp_path / "valid", {"0": 1})
    assert "holds both" in wrong(tmp_path)


def test_preparations_out_of_range() -> None:
    for arguments, text in (
        (("photo",), "prepare='photo': one of 'character' and 'picture'"),
        (("picture", 2), "in_chans=2: pictures have 1 channel (grey) or 3 (colour)"),
        (("character", 3), "characters are brought to MNIST's form, which is grey"),
    ):
        with pytest.raises(InputError) as caught:
            Preparation(*arguments)  # type: ignore[arg-type]
        assert text in str(caught.value)


# ------------------------------------------------------------------------------------------------------------ splits


def numbered(*per_class: int) -> Dataset:
    """Picture i of all is filled with i."""
    labels = torch.cat([torch.full((count,), label) for label, count in enumerate(per_class)])
    images = torch.arange(len(labels), dtype=torch.uint8)[:, None, None].expand(-1, 28, 28)
    return Dataset("numbered", images, labels, tuple(map(str, range(len(per_class)))))


def ids(data: Dataset) -> list[int]:
    return data.images[:, 0, 0].tolist()


def test_a_split_is_stratified_complete_and_reproducible() -> None:
    data = numbered(50, 20, 3, 2)
    rest, part = split_by_class(data, 0.2, seed=3)
    assert torch.bincount(part.labels).tolist() == [10, 4, 1, 1]
    assert sorted(ids(rest) + ids(part)) == list(range(75))
    assert ids(part) == sorted(ids(part))
    again = split_by_class(data, 0.2, seed=3)
    assert ids(again[1]) == ids(part)
    assert ids(split_by_class(data, 0.2, seed=4)[1]) != ids(part)
    # The draw is a fixed one: a new version must not mix what was trained on with what is tested on.
    assert ids(split_by_class(numbered(10, 10), 0.3, seed=0)[1]) == [1, 4, 7, 13, 14, 19]


def test_almost_all_held_out_leaves_one_to_train_on() -> None:
    rest, _ = split_by_class(numbered(5, 5), 0.99)
    assert torch.bincount(rest.labels).tolist() == [1, 1]


def test_a_class_of_one_picture_cannot_be_split() -> None:
    with pytest.raises(DataError, match="class '1' has one picture: at least two are needed"):
        split_by_class(numbered(5, 1), 0.2)
    with pytest.raises(InputError, match="a part of 1 cannot be held out"):
        split_by_class(numbered(5, 5), 1)


def test_few_per_class() -> None:
    few = few_per_class(numbered(50, 20, 3), 3, seed=1)
    assert torch.bincount(few.labels).tolist() == [3, 3, 3]
    assert ids(few) == ids(few_per_class(numbered(50, 20, 3), 3, seed=1))
    assert ids(few) != ids(few_per_class(numbered(50, 20, 3), 3, seed=2))
    with pytest.raises(DataError, match="class '2' has 3 pictures to train on, fewer than the 4 asked for"):
        few_per_class(numbered(50, 20, 3), 4)
    with pytest.raises(InputError, match="0 pictures per class: at least 1"):
        few_per_class(numbered(5, 5), 0)
