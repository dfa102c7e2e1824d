"""Fine-tuning from weights to a finished folder: what is kept, what is trained, what is left when it goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits

import lenet_zoo
from lenet_zoo import cards, finetuning
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.loading import Dataset, load_dataset
from lenet_zoo.errors import DataError, InputError, TrainingError, UnknownModelError, WeightsError
from lenet_zoo.evaluation import evaluate
from lenet_zoo.finetuning import Splits, Start, finetune, learn, load_splits, results
from lenet_zoo.finetuning.results import RESULTS
from lenet_zoo.models import LeNet5Classic
from lenet_zoo.models.lenet5_classic import glyphs
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.monitor import Monitor
from lenet_zoo.training.recipe import Recipe

pytest.importorskip("matplotlib")

QUICK: dict[str, Any] = dict(epochs=2, warmup=0)


class Listener(Monitor):
    def __init__(self, stop_after: int | None = None) -> None:
        self.said: list[str] = []
        self.epochs = 0
        self.stop_after = stop_after

    def say(self, text: str) -> None:
        self.said.append(text)

    def epoch(self, record: dict[str, Any]) -> None:
        self.epochs += 1
        if self.epochs == self.stop_after:
            raise KeyboardInterrupt


@pytest.fixture(autouse=True)
def _short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetuning, "_LEAST_PER_EPOCH", 1)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits", train=True)


@pytest.fixture(autouse=True)
def _digits_are_made_once(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lenet_zoo.datasets.loading._digits", lambda: digits)


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of each of three classes: real digits under other names, '1' among them."""
    folder = tmp_path_factory.mktemp("data") / "letters"
    bunch = load_digits()
    for name, digit in (("1", 1), ("a", 0), ("b", 8)):
        (folder / name).mkdir(parents=True)
        for i in np.flatnonzero(bunch.target == digit)[:12]:
            paper = Image.new("L", (140, 140), 255)
            paper.paste(Image.fromarray((255 - bunch.images[i] * 15).astype("uint8")).resize((80, 80)), (30, 30))
            paper.save(folder / name / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares and discs in red and blue, whose grey is the same: only colour tells the classes apart."""
    folder = tmp_path_factory.mktemp("data") / "colours"
    random = np.random.default_rng(0)
    for name, channel in (("blue", 2), ("red", 0)):
        (folder / name).mkdir(parents=True)
        for i in range(20):
            pixels = np.zeros((40, 40, 3), np.uint8)
            top, left = random.integers(2, 18, 2)
            pixels[top : top + 20, left : left + 20, channel] = 220 if channel else 84  # the same luma
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


# ------------------------------------------------------------------------------------------------- the finished folder


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


# --------------------------------------------------------------------------------------------------- what is trained


def few(classes: str = "0123456789", of: Dataset | None = None) -> Dataset:
    images = of.images[:30] if of else torch.zeros(len(classes), 28, 28, dtype=torch.uint8)
    labels = of.labels[:30] if of else torch.arange(len(classes))
    return Dataset("few", images, labels, tuple(classes))


def test_rows_of_classes_with_known_names_are_kept() -> None:
    old = lenet_zoo.create_model("lenet5_modern.mnist", pretrained=True).output
    new = Start.named("lenet5_modern").build(few("x7a0")).output
    assert torch.equal(new.weight[1], old.weight[7])
    assert torch.equal(new.bias[3], old.bias[0])
    assert not any(torch.equal(new.weight[0], row) for row in old.weight)
    assert Start.named("lenet5_modern", scratch=True).kept("x7a0") == 0


def test_the_classic_takes_the_bitmaps_of_its_classes() -> None:
    network = Start.named("lenet5_classic").build(few("QZ7"))
    assert isinstance(network, LeNet5Classic)
    assert network.output.weight.tolist() == [glyphs()[c] for c in "QZ7"]
    named = replace(few("ab"), classes=("left", "right"))
    codes = Start.named("lenet5_classic").build(named).output.weight.tolist()
    assert codes == [glyphs()[c] for c in "01"]


@pytest.mark.parametrize(
    ("model", "freeze", "frozen"),
    [
        ("lenet5_modern", "c1,C3", {"C1", "C3"}),
        ("lenet5_modern", "body", {"C1", "S2", "C3", "S4", "C5", "F6"}),
        ("lenet5_classic", "body", {"C1", "S2", "C3", "S4", "C5"}),
        ("lenet5_classic", ["S2", "f6"], {"S2", "F6"}),
        ("lenet5_modern", "", set()),
    ],
)
def test_frozen_layers_stay_and_the_others_move(
    model: str, freeze: Any, frozen: set[str], digits: Dataset, tmp_path: Path
) -> None:
    start = Start.named(model, freeze=freeze)
    assert start.freeze == frozen
    data = Splits(few(of=digits), None, few(of=digits))
    for decay in (1.0, 0.7):
        recipe = Recipe(epochs=1, batch_size=10, lr=0.01, weight_decay=0.1, layer_decay=decay)
        before = start.build(data.train).state_dict()
        after = learn(start, data, recipe, RunFolder(tmp_path / f"{decay}"), device="cpu").model
        for name, parameter in after.named_parameters():
            assert torch.equal(parameter, before[name]) == (name.split(".")[0] in frozen), name


def test_lower_layers_move_less_with_layer_decay(digits: Dataset, tmp_path: Path) -> None:
    start = Start.named("lenet5_modern")
    data = Splits(few(of=digits), None, few(of=digits))
    before = start.build(data.train).state_dict()

    def moved(decay: float) -> dict[str, float]:
        # Adam's first step is ± the learning rate, whatever the gradient.
        recipe = Recipe(epochs=1, batch_size=30, lr=0.01, layer_decay=decay)
        after = learn(start, data, recipe, RunFolder(tmp_path / f"{decay}"), device="cpu").model.state_dict()
        return {layer: (after[f"{layer}.bias"] - before[f"{layer}.bias"]).abs().max().item() for layer in LAYERS}

    assert moved(1.0) == pytest.approx(dict.fromkeys(LAYERS, 0.01), rel=1e-3)
    # timm's groups from the output down: output, F6, C5, C3, C1.
    assert moved(0.5) == pytest.approx(
        {"output": 0.01, "F6": 0.005, "C5": 0.0025, "C3": 0.00125, "C1": 0.000625}, rel=1e-3
    )


LAYERS = ("C1", "C3", "C5", "F6", "output")


def test_patience_stops_and_keeps_the_best_epoch(digits: Dataset, tmp_path: Path) -> None:
    start = Start.named("lenet5_modern")
    part = few(of=digits)
    data = Splits(part, replace(part, labels=part.labels.roll(1)), part)  # the better it learns, the worse it validates
    recipe = Recipe(epochs=50, batch_size=30, lr=0.003, patience=4)
    result = learn(start, data, recipe, RunFolder(tmp_path), device="cpu")
    losses = [record["validation_loss"] for record in result.history]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 4
    found = evaluate(logits_of(result.model), data.validation)  # type: ignore[arg-type]
    assert found.loss == pytest.approx(losses[best])
    with pytest.raises(TrainingError, match="patience needs a validation set"):
        learn(start, Splits(part, None, part), recipe, RunFolder(tmp_path / "other"), device="cpu")


# -------------------------------------------------------------------------------------------------------------- data


def test_splits_are_disjoint_and_the_test_set_is_the_same_for_every_seed() -> None:
    one, other = (load_splits("digits", seed=seed) for seed in (0, 1))
    assert torch.equal(one.test.images, other.test.images)
    assert not torch.equal(one.train.images[:50], other.train.images[:50])
    assert one.validation is not None
    assert (len(one.train), len(one.validation), len(one.test)) == (809, 90, 898)
    assert one.fingerprint() != other.fingerprint()
    assert one.fingerprint() == load_splits("digits", seed=0).fingerprint()
    small = load_splits("digits", few_shot=5, seed=0)
    assert (len(small.train), small.validation) == (50, None)
    assert torch.equal(small.test.images, one.test.images)


def test_digits_are_made_as_mnist_is(digits: Dataset, mnist_train: Dataset) -> None:
    assert digits.images.shape == (1797, 28, 28)
    ours, theirs = digits.images.float(), mnist_train.images[:2000].float()
    assert (digits.images.amax((1, 2)) > 200).all()
    # Box within 20 px, and the centre of mass where MNIST has it.
    assert ((ours.amax(1) > 0).sum(1) <= 20).all()
    for images in (ours, theirs):
        rows = (images.sum(2) * (torch.arange(28) + 0.5)).sum(1) / images.sum((1, 2))
        assert rows.mean().item() == pytest.approx(14, abs=0.6)
    assert len(digits.images.unique()) > 100  # grey levels, not black and white


def test_few_pictures_are_repeated_within_an_epoch(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetuning, "_LEAST_PER_EPOCH", 100)
    data = finetuning._repeated(few(of=digits))
    assert len(data) == 120
    assert torch.equal(data.images[90:], digits.images[:30])
    assert finetuning._repeated(digits) is digits


def test_too_few_to_validate_is_said(letters: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    for source in letters.glob("*/*.png"):
        target = small / source.relative_to(letters)
        target.parent.mkdir(parents=True, exist_ok=True)
        if len(list(target.parent.iterdir())) < 4:
            shutil.copy(source, target)
    said = Listener()
    done = finetune(tmp_path / "out", data_dir=small, changes=QUICK, monitor=said)
    assert done.card["pictures"] == {"train": 9, "test": 3}
    assert said.said == [
        "a class has 3 pictures to train on: nothing is held out for validation, all epochs are trained"
    ]


# --------------------------------------------------------------------------------------------------------- bad input


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
        ({"dataset": "digitz"}, InputError, "Did you mean 'digits'?"),
        ({"recipe": "finetuen"}, InputError, "Did you mean 'finetune'?"),
        ({"recipe": "lecun1998", "changes": None}, InputError, "is the paper's own training"),
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
    with pytest.raises(TrainingError, match="holds a finished network: name another folder"):
        finetune(out, few_shot=1, changes=QUICK)


# ------------------------------------------------------------------------------------------------------ interruption


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    options: dict[str, Any] = dict(few_shot=3, changes={"epochs": 4})
    finetune(tmp_path / "whole", **options)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        finetune(out, **options, monitor=Listener(stop_after=2))
    assert {path.name for path in out.iterdir()} == {"checkpoint.pt", "log.jsonl"}
    with pytest.raises(TrainingError, match="go on with --resume"):
        finetune(out, **options)
    with pytest.raises(TrainingError, match="holds another run"):
        finetune(out, **{**options, "few_shot": 4}, resume=True)
    told = Listener()
    finetune(out, **options, resume=True, monitor=told)
    assert told.epochs == 2
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert {path.name for path in out.iterdir()} == {*RESULTS, "log.jsonl"}


@pytest.mark.parametrize("file", [RESULTS[0], RESULTS[3], RESULTS[-1]])
def test_an_interruption_among_the_results(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = dict(few_shot=1, changes={"epochs": 1})
    out = tmp_path / "out"
    write = RunFolder.write

    def stop(self: RunFolder, target: Path, data: bytes | str) -> None:
        if target.name == file:
            raise KeyboardInterrupt
        write(self, target, data)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            finetune(out, **options)
    assert (out / "checkpoint.pt").is_file()
    assert not (out / "card.json").exists()
    assert not list(out.glob(".*"))
    done = finetune(out, **options, resume=True)
    assert {path.name for path in out.iterdir()} == {*RESULTS, "log.jsonl"}
    assert done.card["onnx"]["same_answer"] == 898


def test_an_interruption_before_the_first_epoch_leaves_nothing(tmp_path: Path) -> None:
    class Impatient(Monitor):
        def begin(self, epochs: int, done: int, pictures: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(tmp_path / "out", few_shot=1, changes=QUICK, monitor=Impatient())
    assert not (tmp_path / "out").exists()


def test_a_finished_run_is_found_again(tmp_path: Path) -> None:
    options: dict[str, Any] = dict(few_shot=1, changes={"epochs": 1})
    out = tmp_path / "out"
    first = finetune(out, **options)
    stamps = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    again = finetune(out, **options, resume=True)
    assert again.card == json.loads(json.dumps(first.card))
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == stamps
    for (name, one), other in zip(first.model.state_dict().items(), again.model.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    with pytest.raises(TrainingError, match="holds another run: there seed=0, here 1"):
        finetune(out, **options, seed=1, resume=True)


def test_a_killed_process_leaves_a_checkpoint_or_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "lenet_zoo",
        "finetune",
        "--out",
        str(out),
        "--few-shot",
        "2",
        "--set",
        "epochs=500",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        deadline = time.monotonic() + 120
        while not (out / "checkpoint.pt").is_file():
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(child.pid, signal.SIGKILL)
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    assert state["epochs"] >= 1
    assert not (out / "card.json").exists()


def test_two_processes_end_where_one_does(tmp_path: Path) -> None:
    argv = ["-m", "lenet_zoo", "finetune", "--device", "cpu", "--set", "epochs=8", "--set", "patience=1"]
    argv += ["--set", "lr=0.01", "--json", "--out"]
    starts = {"one": [sys.executable], "two": [sys.executable, "-m", "torch.distributed.run", "--standalone"]}
    starts["two"] += ["--nproc-per-node", "2"]
    cards = {}
    for name, start in starts.items():
        done = subprocess.run([*start, *argv, str(tmp_path / name)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        cards[name] = json.loads(done.stdout)  # printed once
        assert {file.name for file in (tmp_path / name).iterdir()} == {*RESULTS, "log.jsonl"}
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in starts)
    assert max(float((one[key] - two[key]).abs().max()) for key in one) < 1e-3
    # Patience ended both in the same epoch.
    assert cards["one"]["epochs"] == cards["two"]["epochs"] < 8
    for split, figures in cards["one"]["metrics"].items():
        assert cards["two"]["metrics"][split]["loss"] == pytest.approx(figures["loss"], rel=1e-2)
    assert cards["two"]["onnx"]["same_answer"] == cards["two"]["onnx"]["pictures"]
