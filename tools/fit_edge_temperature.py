"""Fit the temperature for pictures whose edge cuts ink off, and write it into the tags' cards. Never on the test set.

python tools/fit_edge_temperature.py lenet5_modern.mnist lenet5_classic.mnist     # data from LENET_ZOO_DATA

Characters that are cut out of a page are harder than MNIST's: parts are missing, parts of others stand beside them, and
a network that saw no such pictures does not know it. They are made here: three digits written close together on paper
with grain, of which the middle one is cut out by a box that is up to 15 % of its longer side too tight or too wide, on
each side. The digits are MNIST's last 10,000 training digits and those of the writers of `pendigits`' test half. Of the
pictures in which ink reaches the edge the temperature makes the mean confidence the share of right answers. It is for
the tags that learnt from whole digits alone (data set `mnist`).
"""

import argparse
from contextlib import suppress
from dataclasses import replace

import numpy as np
from PIL import Image

from lenet_zoo import cards
from lenet_zoo.cards import Confidence
from lenet_zoo.classify.confidence import fitted_temperature, none_of_these, probabilities
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.loading import load_dataset, validation_split
from lenet_zoo.errors import NoDigitError
from lenet_zoo.pictures.kernels import box_of
from lenet_zoo.pictures.preparation import Preparation
from lenet_zoo.registry import create_model

COUNT = 2_000  # of each data set
HEIGHTS = (40, 72)  # of MNIST's 28 pixels, in pixels of the page
STEPS = (0.62, 0.85)  # from one digit to the next, in these heights: MNIST's box is 0.71 of one
OFF = 0.15  # of a box's sides


def cut_out(three: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Three digits uint8 3×28×28 on a page, of which the middle one is cut out: uint8 H×W, dark on light."""
    height = int(random.integers(*HEIGHTS))
    step, middle = int(height * random.uniform(*STEPS)), height
    page = np.zeros((height + 24, 3 * height), np.uint8)
    for place, digit in enumerate(three):
        scaled = np.asarray(Image.fromarray(digit).resize((height, height), Image.Resampling.BILINEAR))
        left, top = middle + (place - 1) * step, 12 + int(random.integers(-5, 6))
        part = page[top : top + height, left : left + height]
        np.maximum(part, scaled, out=part)
        if place == 1:
            box = np.add(box_of(scaled >= 64), [top, top, left, left])
    wider = np.rint(random.uniform(-OFF, OFF, 4) * max(box[1] - box[0], box[3] - box[2])).astype(int)
    first, last, left, right = np.maximum(box + wider * [-1, 1, -1, 1], 0)
    ink = page[first:last, left:right] / 255
    paper, dark = random.uniform(170, 245), random.uniform(20, 110)
    grain = random.normal(0, random.uniform(1, 7), ink.shape)
    return np.clip(paper - (paper - dark) * ink + grain, 0, 255).astype(np.uint8)


def at_edge() -> tuple[np.ndarray, np.ndarray]:
    """Prepared pictures N×28×28 of which the edge cuts ink off, and their labels."""
    pictures, labels = [], []
    parts = [validation_split(load_dataset("mnist", train=True))[1], load_dataset("pendigits", train=False)]
    for seed, part in enumerate(parts):
        random, digits = np.random.default_rng(seed), part.images.numpy().reshape(-1, 28, 28)
        for _ in range(COUNT):
            which = random.integers(0, len(digits), 3)
            picture = cut_out(digits[which], random)
            with suppress(NoDigitError):
                pixels, reaches = Preparation().found(Image.fromarray(picture))
                if reaches:
                    pictures.append(pixels)
                    labels.append(int(part.labels[which[1]]))
    return np.stack(pictures), np.array(labels)


def fit(name: str, pictures: np.ndarray, labels: np.ndarray) -> Confidence:
    """The card's confidence with the temperature for these pictures; one that is lower than for others is none."""
    confidence = cards.load(name).confidence
    if confidence is None or cards.load(name).dataset != "mnist":
        raise SystemExit(f"{name} did not learn from MNIST's digits, or its card has no confidence yet")
    logits = logits_of(create_model(name, pretrained=True))(pictures)
    answered = ~none_of_these(probabilities(logits.copy(), confidence))
    logits, right = logits[answered], (logits.argmax(1) == labels)[answered]
    found = round(fitted_temperature(logits, int(right.sum()), len(right), confidence.j), 4)
    said = probabilities(logits.copy(), confidence).max(1)
    told = replace(confidence, edge_temperature=found if found > confidence.temperature else None)
    now = probabilities(logits.copy(), told, np.ones(len(right), np.bool_)).max(1)
    print(
        f"{name}: {len(right):,} answers, {right.mean():.3f} right; said {said.mean():.3f}, now {now.mean():.3f}; "
        f"wrong at 0.9 or more: {np.sum((said >= 0.9) & ~right)}, now {np.sum((now >= 0.9) & ~right)}"
    )
    return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="+", choices=cards.names())
    options = parser.parse_args()
    made = at_edge()
    for name in options.names:
        replace(cards.load(name), confidence=fit(name, *made)).write(cards.card_path(name))
        print(name, cards.load(name).confidence)
