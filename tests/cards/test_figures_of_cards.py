"""Every shipped tag does on the whole test set what its card says, picture for picture."""

import shlex
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest

import lenet_zoo
from lenet_zoo import cards
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.loading import load_dataset
from lenet_zoo.evaluation import evaluate
from lenet_zoo.training.recipe import load_recipe

SINGLE = [name for name in cards.names() if cards.load(name).preparation.kind != "line"]


@pytest.mark.parametrize("name", SINGLE)
def test_a_card_is_what_its_weights_do(name, request):
    card = cards.load(name).as_dict()
    sets = {"mnist": "mnist_test", "handwriting": "mnist_test", "fashion_mnist": "fashion_test"}
    fixture = sets.get(card["dataset"])  # the test set of handwriting is MNIST's
    if fixture:
        data = request.getfixturevalue(fixture)
    else:
        data = load_dataset(card["dataset"], train=False, root=request.getfixturevalue("scripts_root"))
    logits = logits_of(lenet_zoo.create_model(name, pretrained=True))(data.images.numpy())
    found, told = evaluate(lambda pixels: logits, data), card["metrics"]["test"]
    assert found.loss == pytest.approx(told["loss"], rel=1e-5)
    # A picture whose two best logits differ by less than float32's sums do may have either label: a processor with
    # other vectors sums in another order. There is one such among lenet5_classic.mnist's.
    second, best = np.sort(logits, axis=1)[:, -2:].T
    tied = int((best - second < 1e-6 * np.abs(logits).max(1)).sum())
    assert tied <= 2
    changed = np.abs(np.array(found.confusion) - told["confusion"]).sum()
    assert changed <= 2 * tied
    assert (abs(found.correct - told["correct"]), found.total) == (pytest.approx(0, abs=tied), told["total"])
    # The card agrees with itself to the last picture.
    matrix = np.array(told["confusion"])
    assert told["correct"] == int(np.trace(matrix))
    assert told["accuracy"] == told["correct"] / told["total"]
    assert list(told["per_class"]) == card["labels"] == list(data.classes)
    for row, (label, one) in enumerate(told["per_class"].items()):
        right, total = int(matrix[row, row]), int(matrix[row].sum())
        assert (one["correct"], one["total"], one["accuracy"]) == (right, total, right / total), label


@pytest.mark.parametrize("name", cards.names())
def test_a_card_says_how_the_weights_were_made(name):
    card = cards.load(name).as_dict()
    assert card["recipe"]["name"] in card["command"]
    assert {"torch", "lenet-zoo", "python"} <= card["created_with"].keys()
    assert card["seconds"] > 0
    seeds = card["seeds"]
    assert len(seeds["values"]) == seeds["n"] >= 1
    if seeds["n"] > 1:
        assert seeds["accuracy"][0] == card["metrics"][seeds["split"]]["accuracy"]
        assert seeds["mean"] == pytest.approx(sum(seeds["accuracy"]) / seeds["n"])
        assert seeds["sd"] > 0


@pytest.mark.parametrize("name", cards.names())
def test_a_cards_command_gives_its_recipe(name):
    """Whoever types the command today trains by the very fields that the weights were trained by."""
    card = cards.load(name).as_dict()
    words = shlex.split(card["command"])
    assert words[:3] == ["lenet-zoo", "train", card["architecture"]]
    given = dict(pairwise(words))
    assert given.get("--dataset", "mnist") == card["dataset"]
    recipe = load_recipe(
        given["--recipe"],
        architecture=card["architecture"],
        dataset=card["dataset"],
        changes=dict(value.split("=", 1) for option, value in pairwise(words) if option == "--set"),
    )
    told, today = card["recipe"], asdict(recipe)
    if today.pop("teacher", ""):
        assert "sha256" in str(told["teacher"])  # what the file was, not where it lay
    assert {key: told.get(key, value) for key, value in today.items()} == today
