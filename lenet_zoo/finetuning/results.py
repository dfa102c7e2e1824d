"""What a fine-tuned network leaves in its folder: weights, ONNX file, figures and, last, the card."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lenet_zoo import cards
from lenet_zoo._files import naming
from lenet_zoo.cards import Card, Confidence
from lenet_zoo.classify.confidence import fitted_temperature
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import WeightsError
from lenet_zoo.evaluation import Evaluation, evaluate
from lenet_zoo.finetuning.splits import Splits
from lenet_zoo.finetuning.start import Start
from lenet_zoo.hub import hub_files
from lenet_zoo.models._card import attach, weight_bytes
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.engine import diverged
from lenet_zoo.training.monitor import Result
from lenet_zoo.training.publish import figures_of, versions
from lenet_zoo.training.recipe import Recipe

__all__ = ["RESULTS", "write_results"]

# A figure of a confusion matrix has room for so many classes.
_MOST_IN_FIGURE = 60

# Fewer validation pictures do not tell 90 % from 99 %.
_LEAST_TO_CALIBRATE = 100

RESULTS = (
    "model.safetensors",
    "config.json",
    "model.onnx",
    "curves.png",
    "confusion.png",
    "mistakes.png",
    "README.md",
    "card.json",  # written last: a folder with a card is complete
)


def write_results(
    folder: RunFolder,
    start: Start,
    data: Splits,
    result: Result,
    recipe: Recipe,
    recipe_name: str,
    run: Mapping[str, Any],
    command: str,
) -> Card:
    """Make every file of the result beside the checkpoint, then put them in place, the card last."""
    from lenet_zoo import figures
    from lenet_zoo.classify import OnnxClassifier
    from lenet_zoo.export import export_onnx

    home, network, classes = folder.path, result.model, data.test.classes
    run_network = logits_of(network)
    try:
        logits = run_network(data.test.images.numpy())
    except WeightsError as error:  # no loss was measured after the last update
        raise diverged("after the last update: no weights were written") from error
    watched = None if data.validation is None else run_network(data.validation.images.numpy())
    confidence = _confidence(watched, data.validation)
    found = evaluate(lambda pixels: logits, data.test, confidence)
    for abandoned in home.glob(".result-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    with naming(home), tempfile.TemporaryDirectory(prefix=".result-", dir=home) as name:
        staging = Path(name)
        (staging / "model.safetensors").write_bytes(weight_bytes(network.state_dict(), {"format": "pt"}))
        card = _card(start, data, result, recipe, recipe_name, found, watched, confidence)
        card = replace(
            card,
            sha256=cards.sha256_of(staging / "model.safetensors"),
            provenance={**card.provenance, "run": dict(run), "command": command},
        )
        attach(network, card)
        onnx = export_onnx(network, staging / "model.onnx", input="pixels")
        answers = OnnxClassifier(onnx).predict_logits(data.test.images.numpy())
        parity = dict(
            pictures=len(answers),
            same_answer=int((answers.argmax(1) == logits.argmax(1)).sum()),
            largest_difference=float(np.abs(answers - logits).max()),
        )
        card = replace(card, provenance={**card.provenance, "onnx": parity})
        figures.save(figures.curves({data.test.name: result.history}), staging / "curves.png")
        figures.save(figures.confusion(*_most_confused(found, classes)), staging / "confusion.png")
        worst = figures.worst_mistakes(logits, data.test.labels.numpy())
        # Characters are drawn dark on light, as on paper; pictures as they are.
        theme = "dark" if data.test.preparation.kind == "picture" else "light"
        sheet = figures.mistakes(worst, data.test.images.numpy(), classes, theme=theme)
        figures.save(sheet, staging / "mistakes.png")
        for file, text in hub_files(network, card).items():
            (staging / file).write_text(text, encoding="utf-8")
        card.write(staging / "card.json")
        for file in RESULTS:
            folder.write(home / file, (staging / file).read_bytes())
    folder.checkpoint.unlink(missing_ok=True)
    return card


def _most_confused(found: Evaluation, classes: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """The confusion matrix and the names of its classes: all, or those with most mistakes if there are too many."""
    matrix = np.array(found.confusion)
    wrong = matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal()
    shown = np.sort(np.argsort(-wrong, kind="stable")[:_MOST_IN_FIGURE])
    return matrix[np.ix_(shown, shown)], [classes[i] for i in shown]


def _confidence(logits: np.ndarray | None, validation: Dataset | None) -> Confidence | None:
    """The new network's temperature, by its logits for validation pictures; None without enough of them."""
    if logits is None or validation is None or len(validation) < _LEAST_TO_CALIBRATE:
        return None
    correct = int((logits.argmax(1) == validation.labels.numpy()).sum())
    temperature = fitted_temperature(logits, correct, len(validation))
    return Confidence(temperature, fitted_on=f"{len(validation):,} validation pictures")


def _card(
    start: Start,
    data: Splits,
    result: Result,
    recipe: Recipe,
    recipe_name: str,
    found: Evaluation,
    watched: np.ndarray | None,
    confidence: Confidence | None,
) -> Card:
    classes = data.test.classes
    network: Any = result.model
    metrics = {"test": figures_of(found, classes)}
    if data.validation is not None and watched is not None:
        metrics["validation"] = figures_of(evaluate(lambda pixels: watched, data.validation, confidence), classes)
    sizes = {
        name: len(part)
        for name, part in (("train", data.train), ("validation", data.validation), ("test", data.test))
        if part is not None
    }
    return Card(
        architecture=start.architecture,
        tag=f"finetuned_{data.train.name}",
        params=sum(p.numel() for p in network.parameters()),
        dataset=data.train.name,
        preparation=data.train.preparation,
        labels=classes,
        input=network.card.input,
        confidence=confidence,
        recipe={"name": Path(recipe_name).stem, **recipe.as_dict()},
        metrics=metrics,
        provenance=dict(
            pictures=sizes,
            start=dict(
                model="random weights" if start.scratch else start.model,
                sha256=start.sha256,
                classes_kept=start.kept(classes),
                frozen=sorted(start.freeze),
            ),
            epochs=len(result.history),
            seconds=round(result.seconds, 1),
            created_with=versions(),
        ),
    )
