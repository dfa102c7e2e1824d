"""Networks to learn from: two larger ones, or any of the zoo's.

The larger ones are trained by the same engine, and only ever for training: no tag ships one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from lenet_zoo import cards
from lenet_zoo.cards import Card
from lenet_zoo.errors import InputError, WeightsError
from lenet_zoo.models._base import LeNet5
from lenet_zoo.registry import load_network

__all__ = ["TEACHERS", "LargeTeacher", "Teacher", "labels_of", "load_teacher", "penalty_in"]


def _layer(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


class _Residual(nn.Module):
    """Two layers and a way around them (He et al. 2016, Fig. 2)."""

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*_layer(maps, maps), *_layer(maps, maps)[:-1])  # the last ReLU follows the sum

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = torch.relu(x + self.layers(x))
        return out


class Teacher(nn.Module):
    """A plain convolutional network with batch normalisation, 252,650 parameters for ten classes.

    N×1×28×28 float, pixels in [0, 1], → logits N×num_classes.
    """

    architecture = "teacher"
    in_chans = 1
    # What the engine and the evaluation read from a network of the zoo.
    pretrained_cfg: dict[str, Any] = dict(mean=(0.0,), std=(1.0,))  # noqa: RUF012

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.drop_rate = 0.0
        self.layers, features = self._features()
        self.output = nn.Linear(features, num_classes)

    def _features(self) -> tuple[nn.Sequential, int]:
        layers = nn.Sequential(
            *_layer(1, 32, kernel=5, stride=2),  # 32 × 14×14
            *_layer(32, 64),
            nn.MaxPool2d(2),  # 64 × 7×7
            *_layer(64, 128),
            *_layer(128, 128),
            nn.MaxPool2d(2),  # 128 × 3×3
            nn.Flatten(),
        )
        return layers, 128 * 9

    def forward(self, x: Tensor) -> Tensor:
        features = self.layers(x)
        if self.drop_rate:
            features = F.dropout(features, self.drop_rate, self.training)
        out: Tensor = self.output(features)
        return out


class LargeTeacher(Teacher):
    """A residual network, 1,923,786 parameters for ten classes: for pictures that are harder than digits."""

    architecture = "teacher_large"

    def _features(self) -> tuple[nn.Sequential, int]:
        layers = nn.Sequential(
            *_layer(1, 64, kernel=5, stride=2),  # 64 × 14×14
            _Residual(64),
            *_layer(64, 128, stride=2),  # 128 × 7×7
            _Residual(128),
            *_layer(128, 256, stride=2),  # 256 × 4×4
            _Residual(256),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        return layers, 256


# By the names under which they are trained.
TEACHERS: dict[str, type[Teacher]] = {kind.architecture: kind for kind in (Teacher, LargeTeacher)}


def load_teacher(file: str) -> Teacher | LeNet5:
    """Read weights that `lenet-zoo train` made, of a teacher or of a network of the zoo; in evaluation mode.

    Raises: InputError for a file that is missing, WeightsError for one that holds something else, or other
        weights than the card beside it names.
    """
    path = Path(file)
    if not path.is_file():
        raise InputError(
            f"no teacher {file}: make one with `lenet-zoo train teacher --recipe teacher --out FOLDER`, or take a tag "
            "of the zoo, as lenet5_modern.mnist"
        )
    card = cards.beside(path)
    if card is not None:
        Card.read(card).check_weights(path, card)
    try:
        state = load_file(path)
        if "C1.weight" in state:
            return load_network("lenet5_classic" if "C3.connection" in state else "lenet5_modern", path).eval()
        classes, features = state["output.weight"].shape
        kind = LargeTeacher if features == 256 else Teacher
        teacher = kind(classes)
        teacher.load_state_dict(state)
    except Exception as error:
        raise WeightsError(
            f"{file} holds the weights of no teacher and no network of the zoo: give the model.safetensors of one"
        ) from error
    return teacher.eval()


def labels_of(file: str) -> tuple[str, ...]:
    """The classes of a teacher, by the card beside its weights; () where there is none to say it."""
    path = cards.beside(Path(file))
    return () if path is None else Card.read(path).labels


def penalty_in(file: str) -> float:
    """−the logit of none of these in the training of a teacher, by the card beside its weights.

    Raises: InputError when there is no card, or it was not trained to know what is none of its classes; WeightsError
        for a card without that number.
    """
    path = cards.beside(Path(file))
    if path is None:
        raise InputError(
            f"no card lies beside the teacher {file}, to say whether it saw what is no digit, and with which j"
        )
    recipe = Card.read(path).recipe or {}
    if not recipe.get("no_digits"):
        raise InputError(
            f"the teacher {file} was trained without no_digits, by the card beside it: it has no answer for pictures "
            "that are no digit"
        )
    j = recipe.get("j")
    if not isinstance(j, int | float) or isinstance(j, bool):
        raise WeightsError(f"the card {path} is damaged: its recipe has no_digits and j={j!r}, which must be a number")
    return float(j)
