"""Every shipped tag does on the whole test set what its card says, picture for picture."""

import shlex
from dataclasses import asdict
from itertools import pairwise

import pytest

import lenet_zoo
from lenet_zoo import cards
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.evaluation import evaluate
from lenet_zoo.training.recipe import load_recipe


@pytest.mark.parametrize("name", cards.names())
def test_a_card_is_what_its_weights_do(name, request):
    card = cards.load_card(name)
    data = request.getfixturevalue({"mnist": "mnist_test", "fashion_mnist": "fashion_test"}[card["dataset"]])
    found = evaluate(logits_of(lenet_zoo.create_model(name, pretrained=True)), data)
    told = card["metrics"]["test"]
    assert (found.correct, found.total) == (told["correct"], told["total"])
    assert found.loss == pytest.approx(told["loss"], rel=1e-5)
    assert [list(row) for row in found.confusion] == told["confusion"]
    assert told["accuracy"] == found.accuracy
    assert list(told["per_class"]) == card["labels"] == list(data.classes)
    for (right, total), one in zip(found.per_class, told["per_class"].values(), strict=True):
        assert (one["correct"], one["total"], one["accuracy"]) == (right, total, right / total)


@pytest.mark.parametrize("name", cards.names())
def test_a_card_says_how_the_weights_were_made(name):
    card = cards.load_card(name)
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
    card = cards.load_card(name)
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
