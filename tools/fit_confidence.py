"""Fit a shipped tag's temperature, and write it into the tag's card as its `confidence`. Never on the test set.

lenet-zoo train lenet5_classic --recipe lecun1998 --val --out run      # the card's command with --val
python tools/fit_confidence.py lenet5_classic.lecun1998_mnist --run run
python tools/fit_confidence.py lenet5_modern.mnist                     # data from LENET_ZOO_DATA

The pictures are the last 10,000 of the training set. The shipped weights were trained on them, too, and are surer of
them than of new ones. So a validation run, which was not, gives the logits (--run). Where its weights are gone and its
figures are in the card, the shipped weights give the logits, and the figures tell how many answers are right. That is
the cautious way: answers to new pictures are then a little less sure than they are right. For the tags `handwriting`,
the pictures that people of whom nothing was trained on wrote, of `pendigits`, are added, and `j` is fitted, too, all on
the mean logits of the looks that their card then asks for. For tags that read lines, 3,000 lines of 2 to 8 of these
pictures in the style WRITTEN, which their training leaves out.
What `lenet-zoo evaluate` says of them belongs into their card then.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from lenet_zoo import cards
from lenet_zoo.cards import Card, Confidence
from lenet_zoo.classify.confidence import fitted_temperature
from lenet_zoo.classify.decoding import log_probability, log_softmax
from lenet_zoo.classify.looks import mean_logits
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.lines import WRITTEN, LineMaker
from lenet_zoo.datasets.loading import load_dataset, validation_split
from lenet_zoo.pictures.preparation import LINE
from lenet_zoo.registry import create_model, load_network
from lenet_zoo.training.lines import answers_of

# For the tags `handwriting`, which are for pictures from paper. With five looks lenet5_modern.handwriting misread 67 of
# the 3,498 digits of `pendigits`, with one 79, and took 4.5 in 100 of our own pictures that are no digit for one, with
# one 5.2. With two more, narrower and wider, these were 67 and 4.3.
LOOKS = 5


def same_recipe(one: Card, other: Card) -> bool:
    """Whether both were trained alike, by the fields that both recipes have: a later version adds some.

    The teacher may be another: that of a validation run has not seen the validation pictures either.
    """
    first, second = one.recipe or {}, other.recipe or {}
    shared = (first.keys() & second.keys()) - {"teacher", "description"}
    told = [(card.architecture, card.dataset) for card in (one, other)]
    return told[0] == told[1] and all(first[key] == second[key] for key in shared)


def fit_handwriting(name: str) -> Confidence:
    """Both numbers by digits of `pendigits`' test writers, whom no network has seen, and MNIST's last training digits.

    `j` keeps 99 of 100 of them.
    """
    parts = [validation_split(load_dataset("mnist", train=True))[1], load_dataset("pendigits", train=False)]
    pictures, labels = (
        np.concatenate([getattr(part, what).numpy() for part in parts]) for what in ("images", "labels")
    )
    logits = mean_logits(logits_of(create_model(name, pretrained=True)), pictures, LOOKS)
    j = round(-float(np.quantile(logits.max(1), 0.01)), 2)
    answered = logits.max(1) >= -j
    right = int((logits.argmax(1) == labels)[answered].sum())
    temperature = fitted_temperature(logits, right, int(answered.sum()), j)
    return Confidence(round(temperature, 4), j, "the last 10,000 training pictures and the test pictures of pendigits")


def fit_lines(name: str) -> Confidence:
    """The temperature at which the right texts of lines are likeliest."""
    digits = validation_split(load_dataset(cards.load(name).dataset or "", train=True))[1]
    maker, answers = LineMaker(digits, WRITTEN, seed=1), answers_of(create_model(name, pretrained=True).eval())
    lines = [
        (logits, text)
        for made in (maker.make(100, (2, 8)) for _ in range(30))
        for logits, text in zip(answers(made.images.numpy()).astype(np.float64), made.texts, strict=True)
    ]

    def loss(temperature: float) -> float:
        return -sum(log_probability(log_softmax(logits / temperature), text) for logits, text in lines)

    low, high = 0.5, 2.5  # the loss has one minimum: a third that cannot hold it goes
    while high - low > 0.01:
        first, second = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, second) if loss(first) < loss(second) else (first, high)
    return Confidence(
        round((low + high) / 2, 2), None, "3,000 lines, as people write them, of the last 10,000 training digits"
    )


def fit(name: str, run: Path | None) -> Confidence:
    card = cards.load(name)
    if card.preparation.kind == LINE:
        return fit_lines(name)
    if card.dataset == "handwriting":
        return fit_handwriting(name)
    pictures = validation_split(load_dataset(card.dataset or "", train=True))[1]
    recipe = card.recipe or {}
    j = recipe["j"] if recipe.get("equation") == 9 else None
    if run is None:
        logits = logits_of(create_model(name, pretrained=True))(pictures.images.numpy())
        if j is not None or "validation" not in card.metrics:
            raise SystemExit(f"{name}: give --run, a folder that its command made with --val")
        figures = card.metrics["validation"]
        correct, total, how = figures["correct"], figures["total"], "with the accuracy of"
    else:
        if not same_recipe(card, Card.read(run / "validation" / "card.json")):
            raise SystemExit(f"{run} is a run of another recipe than {name}")
        weights = run / "validation" / "model.safetensors"
        logits = logits_of(load_network(card.architecture, weights))(pictures.images.numpy())
        answered = logits.max(1) >= -(j or float("inf"))
        right = logits.argmax(1) == pictures.labels.numpy()
        correct, total, how = int(right[answered].sum()), int(answered.sum()), "by"
    fitted_on = f"the last {len(pictures):,} training pictures, {how} a run of the recipe without them"
    return Confidence(round(fitted_temperature(logits, correct, total, j), 4), j, fitted_on)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=cards.names())
    parser.add_argument("--run", type=Path)
    options = parser.parse_args()
    found = fit(options.name, options.run)
    card = cards.load(options.name)
    # Figures by another temperature would be wrong from now on.
    old = ("calibration_error", "none_of_these")
    metrics = {split: {k: v for k, v in one.items() if k not in old} for split, one in card.metrics.items()}
    looks = LOOKS if card.dataset == "handwriting" and card.preparation.kind != LINE else 1
    replace(card, confidence=found, looks=looks, metrics=metrics).write(cards.card_path(options.name))
    print(options.name, found)
