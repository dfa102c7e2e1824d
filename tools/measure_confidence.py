"""What a threshold of confidence costs and catches, per tag → docs/data/confidence.json.

python tools/measure_confidence.py letters=FOLDER omniglot=FOLDER    # data sets from LENET_ZOO_DATA

Each folder holds pictures of one character that is no digit. They are shown to the networks that read digits. Nothing
is chosen by these figures: the temperatures are those of the cards.

`separation` says how well the confidence tells digits from these characters: the confidence that keeps 99 of 100 of
MNIST's last 10,000 training digits, how many of the others reach it, and the area under the ROC curve: the probability
that a digit's confidence is above that of one of the others.
"""

import contextlib
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import lenet_zoo
from lenet_zoo import cards
from lenet_zoo._files import write_atomic
from lenet_zoo.classify.confidence import calibration_error, none_of_these, probabilities
from lenet_zoo.classify.looks import mean_logits
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.loading import load_dataset, validation_split
from lenet_zoo.errors import NoDigitError
from lenet_zoo.pictures.reading import pictures_in

THRESHOLDS = (0.0, 0.5, 0.9, 0.95, 0.99)


def characters(folder: str) -> tuple[np.ndarray, int]:
    """The pictures in which a character is found, as pixels, and how many pictures there are."""
    paths, found = pictures_in(folder), []
    for path in paths:
        with contextlib.suppress(NoDigitError):
            found.append(lenet_zoo.digit_from_image(path))
    return np.stack(found), len(paths)


def separation(digits: np.ndarray, others: np.ndarray, total: int) -> dict[str, float]:
    """How confidence tells digits from others, of `total` pictures in which a character was found in `len(others)`."""
    known = np.sort(digits.max(1))
    best = np.concatenate([others.max(1), np.zeros(total - len(others))])
    threshold = np.quantile(known, 0.01)
    passed = int((~none_of_these(others) & (others.max(1) >= threshold)).sum())
    below = (np.searchsorted(known, best, "left") + np.searchsorted(known, best, "right")) / 2
    return dict(threshold=float(threshold), passed=passed, auc=1 - float(below.mean()) / len(known))


validation = validation_split(load_dataset("mnist", train=True))[1].images.numpy()
others = {name: characters(folder) for name, folder in (argument.split("=", 1) for argument in sys.argv[1:])}
tags = []
for name in cards.names():
    if cards.load(name).preparation.kind == "line":  # has no single answers to count
        continue
    card = cards.load(name)
    logits = partial(mean_logits, logits_of(lenet_zoo.create_model(name, pretrained=True)), count=card.looks)
    data = load_dataset(card.dataset or "", train=False)
    answers = logits(data.images.numpy())
    right = answers.argmax(1) == data.labels.numpy()
    plain, rows = probabilities(answers.copy()), probabilities(answers.copy(), card.confidence)
    known = ~none_of_these(rows)
    reads_digits = card.labels == cards.DIGITS
    shown = {kind: logits(pixels) for kind, (pixels, _) in others.items()} if reads_digits else {}
    sure = {kind: probabilities(one, card.confidence) for kind, one in shown.items()}
    digits = probabilities(logits(validation), card.confidence) if reads_digits else np.zeros((0, 10))
    thresholds: list[dict[str, Any]] = []
    for threshold in THRESHOLDS:
        kept = known & (rows.max(1) >= threshold)
        passed = {k: int((~none_of_these(one) & (one.max(1) >= threshold)).sum()) for k, one in sure.items()}
        thresholds.append(
            dict(
                threshold=threshold,
                right_rejected=int((right & ~kept).sum()),
                wrong_kept=int((~right & kept).sum()),
                let_through=passed,
            )
        )
    tags.append(
        dict(
            name=name,
            right=int(right.sum()),
            wrong=int((~right).sum()),
            none_of_these=int((~known).sum()),
            mean_confidence=dict(plain=float(plain.max(1).mean()), fitted=float(rows[known].max(1).mean())),
            calibration_error=dict(
                plain=calibration_error(plain.max(1), right), fitted=calibration_error(rows[known].max(1), right[known])
            ),
            thresholds=thresholds,
            separation={k: separation(digits, one, others[k][1]) for k, one in sure.items()},
        )
    )
    print(json.dumps(tags[-1]))
found = dict(others={kind: total for kind, (_, total) in others.items()}, tags=tags)
write_atomic(Path(__file__).parents[1] / "docs" / "data" / "confidence.json", json.dumps(found, indent=1) + "\n")
