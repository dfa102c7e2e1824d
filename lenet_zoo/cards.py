"""Cards: what is known of a network, in one typed object and through one parser.

A card lies beside weights as JSON: one for each tag in `weights/`, and `card.json` in the folders that training and
fine-tuning write. An exported ONNX file and a timm folder's `config.json` hold parts of one. Whoever needs labels,
preparation, figures or provenance of a network reads them from its `Card` (`model.card`, `classifier.card`).

Nothing here imports torch, numpy or pillow: `lenet-zoo list` and a deployment read cards without them.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lenet_zoo._files import parse_json, read_regular, write_atomic
from lenet_zoo.errors import InputError, LenetZooError, WeightsError
from lenet_zoo.pictures.preparation import Preparation

__all__ = [
    "DIGITS",
    "FASHION",
    "NUMBERS",
    "SCRIPTS",
    "Card",
    "Confidence",
    "InputConvention",
    "beside",
    "card_path",
    "load",
    "names",
    "refuse_folder",
    "sha256_of",
    "shipped_as",
    "verify",
    "weight_path",
]

_FOLDER = Path(__file__).resolve().parent / "weights"

DIGITS: tuple[str, ...] = tuple("0123456789")
NUMBERS: tuple[str, ...] = (*DIGITS, "none")
SCRIPTS: dict[str, tuple[str, ...]] = {  # the digits 0 to 9 of scripts that have their own
    "bangla": tuple("০১২৩৪৫৬৭৮৯"),
    "devanagari": tuple("०१२३४५६७८९"),
    "telugu": tuple("౦౧౨౩౪౫౬౭౮౯"),
}
FASHION: tuple[str, ...] = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


@dataclass(frozen=True)
class InputConvention:
    """What the forward pass of a network takes: (pixel / 255 − mean) / std, float N×channels×height×width.

    Attributes:
        channels, height, width: of one picture.
        mean, std: one number per channel, of pixels in [0, 1].
    """

    channels: int = 1
    height: int = 28
    width: int = 28
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def as_dict(self) -> dict[str, Any]:
        return dict(shape=[self.channels, self.height, self.width], mean=list(self.mean), std=list(self.std))


@dataclass(frozen=True)
class Confidence:
    """How logits become probabilities: the softmax of logit / temperature (`lenet_zoo.classify.confidence`).

    Attributes:
        temperature: finite, above 0; below 1, answers are surer than by the plain softmax.
        j: penalty of the rubbish class ("none of these") of the 1998 paper's Eq. 9, whose logit is always −j; None
            for no such class.
        fitted_on: what the temperature was fitted on.
        edge_temperature: the temperature for pictures whose edge cuts ink off, as it is where characters are cut out of
            a page (`lenet_zoo.pictures.character.Found`); None for the same.

    Raises: InputError for a number out of range.
    """

    temperature: float
    j: float | None = None
    fitted_on: str = ""
    edge_temperature: float | None = None

    def __post_init__(self) -> None:
        for name in ("temperature", "j", "edge_temperature"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and value > 0) and (value is not None or name == "temperature"):
                raise InputError(f"its confidence has {name} {_short(value)}, and must have a finite number above 0")
        if not isinstance(self.fitted_on, str):
            raise InputError(f"its confidence was fitted on {_short(self.fitted_on)}, and must say so in a text")

    def as_dict(self) -> dict[str, Any]:
        found = dict(
            temperature=self.temperature,
            j=self.j,
            edge_temperature=self.edge_temperature,
            fitted_on=self.fitted_on or None,
        )
        return {key: value for key, value in found.items() if value is not None}


@dataclass(frozen=True)
class Card:
    """What is known of a network and its weights.

    Attributes:
        architecture: 'lenet5_classic', 'lenet5_modern', or a teacher's name.
        labels: one text per class, in the order of the logits.
        preparation: how a picture becomes pixels for it.
        input: what its forward pass takes; None in a card file that leaves it to the network's cfg.
        confidence: how logits become probabilities; None for the plain softmax.
        looks: in how many places a picture is read, 1 or 5 (`lenet_zoo.classify.looks`).
        tag: the name of the weights within the architecture.
        dataset: what they were trained on.
        params: trainable parameters.
        metrics: split → figures: loss, accuracy, correct, total, per_class, confusion.
        recipe: how they were trained: 'name' and the recipe's fields.
        licence: of the weights, as SPDX has it.
        sha256: of the weight file that the card lies beside.
        provenance: everything else: seeds, command, created_with, seconds, start, run, …
    """

    architecture: str = ""
    labels: tuple[str, ...] = ()
    preparation: Preparation = field(default_factory=Preparation)
    input: InputConvention | None = None
    confidence: Confidence | None = None
    looks: int = 1
    tag: str | None = None
    dataset: str | None = None
    params: int | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] | None = None
    licence: str | None = None
    sha256: str | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    # -- reading and writing ------------------------------------------------------------------------------------

    @classmethod
    def parse(
        cls,
        document: object,
        what: str,
        *,
        defaults: Card | None = None,
        error: type[LenetZooError] = WeightsError,
    ) -> Card:
        """A card from its JSON document; fields that this version does not know go to `provenance`.

        Args:
            document: the mapping.
            what: what an error calls it, such as 'the card FILE'.
            defaults: fields that the document lacks.
            error: the class of the errors.

        Raises: `error`, of one line, for a document or a field of the wrong type.
        """
        if not isinstance(document, Mapping):
            raise error(f"{what} is not a JSON object")
        fields: dict[str, Any] = {}
        rest: dict[str, Any] = {}
        for key, value in document.items():
            if not isinstance(key, str):
                raise error(f"{what} has a key that is not a text: {key!r}")
            if key not in _FIELDS:
                rest[key] = value
            elif value is not None:
                kind, wanted = _FIELDS[key]
                if not isinstance(value, kind) or isinstance(value, bool):
                    raise error(f"{what} is damaged: its {key!r} is {_short(value)}, and must be {wanted}")
                fields[key] = value
        try:
            if "labels" in fields:
                fields["labels"] = _labels(fields["labels"]) or (defaults or cls()).labels
            if "preparation" in fields:
                fields["preparation"] = Preparation(fields["preparation"])
            if "input" in fields:
                fields["input"] = _input(fields["input"])
            if "confidence" in fields:
                fields["confidence"] = _confidence(fields["confidence"])
            if "recipe" in fields and isinstance(fields["recipe"], str):
                fields["recipe"] = {"name": fields["recipe"]}
            if fields.get("looks", 1) not in (1, 5):
                raise ValueError(f"its looks are {fields['looks']}, and must be 1 or 5")
            _check_metrics(fields.get("metrics", {}))
        except ValueError as wrong:  # InputError is one
            raise error(f"{what} is damaged: {wrong}" if error is not InputError else str(wrong)) from None
        return replace(defaults or cls(), **fields, provenance={**(defaults.provenance if defaults else {}), **rest})

    @classmethod
    def read(cls, path: Path, *, defaults: Card | None = None) -> Card:
        """The card in a JSON file.

        Raises: FileNotFoundError when there is none, WeightsError when it is damaged.
        """
        try:
            document = parse_json(read_regular(path))
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            raise WeightsError(f"the card {path} cannot be read as JSON") from error
        return cls.parse(document, f"the card {path}", defaults=defaults)

    def as_dict(self) -> dict[str, Any]:
        """The card as plain JSON values; what is not known is left out."""
        found: dict[str, Any] = dict(
            architecture=self.architecture or None,
            tag=self.tag,
            params=self.params,
            dataset=self.dataset,
            preparation=self.preparation.kind,
            labels=list(self.labels),
            input=self.input.as_dict() if self.input else None,
            confidence=self.confidence.as_dict() if self.confidence else None,
            looks=self.looks if self.looks > 1 else None,
            recipe=dict(self.recipe) if self.recipe else None,
            metrics=dict(self.metrics) or None,
            licence=self.licence,
            **self.provenance,
            sha256=self.sha256,
        )
        return {key: value for key, value in found.items() if value is not None}

    def text(self) -> str:
        """The JSON file's content."""
        return json.dumps(self.as_dict(), ensure_ascii=False, indent=1, allow_nan=False) + "\n"

    def write(self, path: Path) -> None:
        """Write it to `path` in one step. Raises: OSError."""
        write_atomic(path, self.text())

    # -- changes ------------------------------------------------------------------------------------------------

    def without_claims(self) -> Card:
        """For a network whose weights have changed: what it takes and answers stays; tag, figures and origin go."""
        return Card(
            architecture=self.architecture,
            labels=self.labels,
            preparation=self.preparation,
            input=self.input,
            params=self.params,
        )

    def fitted(self, classes: int, channels: int, size: int) -> Card:
        """This card for a network of `classes` classes that takes `channels`×`size`×`size` pixels.

        If the card has not as many labels as there are classes, they become '0', '1', ….
        """
        labels = self.labels if len(self.labels) == classes else tuple(map(str, range(classes)))
        return replace(self, labels=labels, preparation=self.preparation.fitted(channels, size))

    def check_weights(self, weights: Path, path: Path) -> None:
        """Compare the SHA-256 of the file `weights` with this card's, which was read from `path`.

        Raises: WeightsError when they differ.
        """
        if self.sha256 is not None and sha256_of(weights) != self.sha256:
            raise WeightsError(
                f"the card {path} belongs to other weights than {weights}, whose SHA-256 it does not name: "
                "keep a weight file's own card beside it, or none"
            )


# Field → its type in JSON, and the name of that type in an error.
_FIELDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    **dict.fromkeys(("architecture", "tag", "dataset", "licence", "sha256", "preparation"), (str, "a text")),
    **dict.fromkeys(("params", "looks"), (int, "a whole number")),
    "labels": ((list, tuple), "a list of texts"),
    "recipe": ((dict, str), "an object"),
    **dict.fromkeys(("metrics", "confidence", "input"), (dict, "an object")),
}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _labels(labels: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(label, str) for label in labels):
        raise ValueError("its labels are not all text")
    if len(set(labels)) != len(labels):
        raise ValueError("the labels repeat one: two classes could not be told apart by name")
    return tuple(labels)


def _input(document: dict[str, Any]) -> InputConvention:
    shape = _numbers(document.get("shape"), 3)
    mean, std = (_numbers(document.get(key), int(shape[0])) for key in ("mean", "std"))
    if min(shape) < 1 or any(size != int(size) for size in shape) or min(std) <= 0:
        raise ValueError(f"its input {_short(document)} is no shape, mean and std")
    channels, height, width = map(int, shape)
    return InputConvention(channels, height, width, mean, std)


def _confidence(document: dict[str, Any]) -> Confidence:
    unknown = document.keys() - {"temperature", "j", "fitted_on", "edge_temperature"}
    if unknown or "temperature" not in document:
        raise ValueError(
            f"its confidence {_short(document)} must hold temperature and, if known, j, edge_temperature and fitted_on"
        )
    return Confidence(**document)


def _numbers(values: object, count: int) -> tuple[float, ...]:
    right = isinstance(values, list) and len(values) == count
    if not right or not all(isinstance(x, int | float) and not isinstance(x, bool) for x in values):  # type: ignore[attr-defined]
        raise ValueError(f"its input holds {_short(values)}, and must hold {count} numbers there")
    return tuple(map(float, values))  # type: ignore[call-overload]


def _check_metrics(metrics: dict[str, Any]) -> None:
    """Figures are read in many places, and printed: each split holds what `evaluate` counts, or a number."""
    for split, figures in metrics.items():
        if isinstance(figures, int | float):
            continue
        if not isinstance(figures, dict):
            raise ValueError(f"its figures of {split!r} are {_short(figures)}, and must be an object")
        for name in ("correct", "total", "accuracy", "loss"):
            value = figures.get(name, 0)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"its {name} of {split!r} is {_short(value)}, and must be a number")
        correct, total = figures.get("correct"), figures.get("total")
        if (correct, total) != (None, None) and not (correct is not None and total and 0 <= correct <= total):
            raise ValueError(
                f"of {split!r} it has {_short(correct)} correct of {_short(total)}: of 1 or more, or neither"
            )
        matrix = figures.get("confusion", [])
        if not isinstance(matrix, list | tuple) or not all(
            isinstance(row, list | tuple) and len(row) == len(matrix) and all(type(n) is int for n in row)
            for row in matrix
        ):
            raise ValueError(f"its confusion of {split!r} is {_short(matrix)}, and must be classes×classes numbers")


# ---------------------------------------------------------------------------------------------------- shipped cards


def names() -> list[str]:
    """Every `architecture.tag` that has a card in the package, sorted."""
    return sorted(path.name.removesuffix(".json") for path in _FOLDER.glob("*.*.json"))


def weight_path(name: str) -> Path:
    """Where the weights of `architecture.tag` are, whether or not the file is there."""
    return _FOLDER / f"{name}.safetensors"


def card_path(name: str) -> Path:
    """Where the card of `architecture.tag` is, whether or not the file is there."""
    return _FOLDER / f"{name}.json"


def load(name: str) -> Card:
    """The card of `architecture.tag`.

    Raises: WeightsError when there is none, or it is damaged.
    """
    path = card_path(name)
    try:
        document = parse_json(path.read_bytes())
    except FileNotFoundError:
        raise WeightsError(f"no card for {name!r} in {_FOLDER}: the known ones are {', '.join(names())}") from None
    except ValueError as error:
        raise WeightsError(f"the card {path} is damaged ({error}): reinstall lenet-zoo") from error
    return Card.parse(document, f"the card {path}")


def shipped_as(architecture: str, sha256: str) -> Card | None:
    """The shipped card of the weights with this SHA-256 (of their file), or None."""
    for name in names():
        if name.split(".")[0] == architecture:
            try:
                card = load(name)
            except WeightsError:
                continue  # a damaged card does not stop the use of another network
            if card.sha256 == sha256:
                return card
    return None


def beside(weights: Path) -> Path | None:
    """The card that lies beside a weight file: one of the same name in .json, or `card.json`; None without one."""
    return next(
        (path for path in (weights.with_suffix(".json"), weights.with_name("card.json")) if path.is_file()), None
    )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refuse_folder(path: Path) -> None:
    """Raises: WeightsError for a folder in the place of a weight file."""
    if path.is_dir():
        raise WeightsError(f"{path} is a folder: say local-dir:{path} in the network's place, or name a file in it")


def verify(path: str | os.PathLike[str]) -> Card | None:
    """Check that a weight file exists and, when it is one of ours, that its bytes are the card's.

    Returns: the card of a file of ours; None for any other file.

    Raises: WeightsError with the file's name, and with both hashes when they differ.
    """
    path = Path(path).resolve()
    refuse_folder(path)
    if not path.is_file():
        ours = ": reinstall lenet-zoo" if path.parent == _FOLDER else ""
        raise WeightsError(f"the weight file {path} is missing{ours}")
    if path.parent != _FOLDER:
        return None
    card, found = load(path.name.removesuffix(".safetensors")), sha256_of(path)
    if found != card.sha256:
        raise WeightsError(
            f"the weight file {path} is damaged or was altered: its SHA-256 is {found}, its card says {card.sha256}; "
            "reinstall lenet-zoo"
        )
    return card
