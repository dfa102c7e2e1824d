"""A finished folder: what is in it, and what it is good for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import lenet_zoo
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.evaluation import evaluate
from lenet_zoo.finetuning import finetune, load_splits, results
from lenet_zoo.finetuning.results import RESULTS

from .conftest import QUICK, Listener

pytest.importorskip("matplotlib")


@pytest.mark.parametrize("model", ["lenet5_modern", "lenet5_classic"])
def test_a_finished_folder(model: str, digits: Dataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = finetune(out, model=model, few_shot=3, changes=QUICK, command="as in the test")
    assert {path.name for path in out.iterdir()} == {*RESULTS, "log.jsonl"}
    card = json.loads((out / "card.json").read_text())
    assert card == json.loads(json.dumps(done.card))
    assert card["labels"] == list("0123456789")
    assert card["pictures"] == {"train": 30, "test": 898}
    assert card["command"] == "as in the test"
    for name in ("curves.png", "confusion.png", "mistakes.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 200
    # timm loads the folder, and the network is the one that was measured.
    loaded = timm.create_model(f"local-dir:{out}", pretrained=True)
    assert type(loaded) is type(done.model)
    assert loaded.pretrained_cfg["label_names"] == list("0123456789")
    test = load_splits("digits", few_shot=3).test
    logits = logits_of(done.model)(test.images.numpy())
    assert np.array_equal(logits_of(loaded)(test.images.numpy()), logits)
    assert card["metrics"]["test"]["correct"] == int((logits.argmax(1) == test.labels.numpy()).sum())
    # The ONNX file agrees on every test picture, and knows the classes.
    classifier = lenet_zoo.OnnxClassifier(out / "model.onnx")
    assert classifier.labels == tuple("0123456789")
    answers = classifier.predict_logits(test.images.numpy())
    assert np.array_equal(answers.argmax(1), logits.argmax(1))
    assert card["onnx"] == {
        "pictures": 898,
        "same_answer": 898,
        "largest_difference": pytest.approx(float(np.abs(answers - logits).max())),
    }


def test_the_files_have_ordinary_permissions(tmp_path: Path) -> None:
    finetune(tmp_path / "out", few_shot=1, changes={"epochs": 1})
    (tmp_path / "plain").touch()
    wanted = (tmp_path / "plain").stat().st_mode
    assert {path.stat().st_mode for path in (tmp_path / "out").iterdir()} == {wanted}


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        finetune(tmp_path / name, few_shot=2, seed=seed, changes=QUICK)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_fine_tuning_from_weights_beats_random_weights(tmp_path: Path) -> None:
    full = finetune(tmp_path / "full", few_shot=5, changes={"epochs": 5})
    scratch = finetune(tmp_path / "scratch", few_shot=5, scratch=True, changes={"epochs": 5})
    accuracy = [done.card["metrics"]["test"]["accuracy"] for done in (full, scratch)]
    assert accuracy[0] > 0.9
    assert accuracy[0] > accuracy[1] + 0.2


def test_a_folder_of_pictures_and_the_next_one_from_it(letters: Path, tmp_path: Path) -> None:
    said = Listener()
    done = finetune(tmp_path / "first", data_dir=letters, changes={"epochs": 8}, monitor=said)
    card = done.card
    assert (card["dataset"], card["labels"]) == ("letters", ["1", "a", "b"])
    assert card["pictures"] == {"train": 27, "validation": 3, "test": 6}
    assert card["start"]["classes_kept"] == 1
    assert card["metrics"]["test"]["accuracy"] > 0.8
    # A picture from the user's disk goes through file → character → answer.
    picture = next((letters / "b").iterdir())
    assert lenet_zoo.OnnxClassifier(tmp_path / "first" / "model.onnx").predict(picture)[0].label in card["labels"]
    again = finetune(tmp_path / "second", model=f"local-dir:{tmp_path / 'first'}", data_dir=letters, changes=QUICK)
    assert again.card["start"]["classes_kept"] == 3
    weights = tmp_path / "first" / "model.safetensors"
    third = finetune(tmp_path / "third", weights=weights, data_dir=letters, changes=QUICK)
    assert third.card["start"]["classes_kept"] == 3
    assert third.card["start"]["sha256"] == again.card["start"]["sha256"]


def test_colour_needs_three_channels_and_gets_them(colours: Path, tmp_path: Path) -> None:
    done = finetune(tmp_path / "out", data_dir=colours, in_chans=3, changes={"epochs": 15})
    assert done.card["metrics"]["test"]["accuracy"] == 1
    loaded = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    assert (loaded.in_chans, loaded.pretrained_cfg["input_size"]) == (3, (3, 28, 28))
    with Image.open(next((colours / "red").iterdir())) as image:
        x = lenet_zoo.create_transform(loaded)(image).unsqueeze(0)
    with torch.inference_mode():
        assert loaded.eval()(x).argmax(1).tolist() == [1]
    assert done.card["onnx"]["same_answer"] == done.card["onnx"]["pictures"] == 8
    # What is known of the network goes wherever the network goes: to a file of one's own, and out of its folder again.
    for network in (done.model, lenet_zoo.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)):
        assert network.card == done.model.card
        path = lenet_zoo.export_onnx(network, tmp_path / "own.onnx", input="pixels")
        classifier = lenet_zoo.OnnxClassifier(path)
        assert (classifier.labels, classifier.card.tag) == (("blue", "red"), "finetuned_colours")
        assert classifier.predict(sorted((colours / "red").iterdir())[0])[0].label == "red"


def test_mixed_precision_trains(tmp_path: Path) -> None:
    done = finetune(tmp_path / "out", few_shot=5, amp=True, changes=QUICK)
    assert done.card["recipe"]["precision"] == "bf16"
    assert done.card["metrics"]["test"]["accuracy"] > 0.9
    assert {value.dtype for value in done.model.state_dict().values()} == {torch.float32}


def test_of_many_classes_the_most_confused_are_drawn(tmp_path: Path) -> None:
    count = 70
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2 * count, 28, 28), dtype=torch.uint8, generator=random)
    part = Dataset("many", images, torch.arange(count).repeat(2), tuple(f"class {i}" for i in range(count)))
    found = evaluate(lambda pixels: np.eye(count)[np.arange(2 * count) % count], part)
    wrong = np.array(found.confusion)
    wrong[5, 6], wrong[5, 5] = 2, 0
    matrix, names = results._most_confused(replace(found, confusion=tuple(map(tuple, wrong))), part.classes)
    assert matrix.shape == (60, 60)
    assert {"class 5", "class 6"} <= set(names)
    at = names.index("class 5")
    assert matrix[at, names.index("class 6")] == 2
