"""Larger networks to learn from. They are trained by the same engine, and only ever for training: no tag ships one.

A small network learns more from the answers of a better one than from labels alone, since they also say what a picture
nearly is (Hinton, Vinyals, Dean 2015).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from safetensors.torch import load_file, save
from torch import Tensor, nn

from lenet_zoo._files import write_atomic
from lenet_zoo.datasets.augment import Augmentation, augment, draw
from lenet_zoo.errors import InputError, WeightsError
from lenet_zoo.training.engine import has_bf16
from lenet_zoo.training.processes import on_main, shared

__all__ = ["TEACHERS", "Answers", "JointAnswers", "LargeTeacher", "Teacher", "load_teacher"]


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
TEACHERS: dict[str, type[Teacher]] = {"teacher": Teacher, "teacher_large": LargeTeacher}


def load_teacher(file: str) -> Teacher:
    """Read a teacher that `lenet-zoo train teacher` made; in evaluation mode.

    Raises: InputError for a file that is missing, WeightsError for one that holds something else.
    """
    path = Path(file)
    if not path.is_file():
        raise InputError(f"no teacher {file}: make one with `lenet-zoo train teacher --recipe teacher --out FOLDER`")
    try:
        state = load_file(path)
        classes, features = state["output.weight"].shape
        kind = LargeTeacher if features == 256 else Teacher
        teacher = kind(classes)
        teacher.load_state_dict(state)
    except Exception as error:
        raise WeightsError(f"{file} does not hold a teacher's weights: give the model.safetensors of one") from error
    return teacher.eval()


def _hash(model: nn.Module) -> str:
    return hashlib.sha256(save({k: v.cpu().contiguous() for k, v in model.state_dict().items()})).hexdigest()


class Answers:
    """What a teacher says to the distorted pictures of each view, computed once and kept in a folder.

    A view is one distortion of the whole training set. Runs with other seeds, and a resumed run, find the same answers
    there. Pictures go through the teacher in the data set's order, so that the answers depend on nothing else. The main
    process alone reads and writes the folder.

    Args:
        teacher: takes pictures as in [0, 1].
        images: uint8 N×28×28, the training set.
        how: the distortions.
        folder: where the answers are kept; made when it is not there.
        accelerator: the processes that share the asking; by default this one alone.
    """

    def __init__(
        self,
        teacher: Teacher,
        images: Tensor,
        how: Augmentation,
        folder: Path,
        accelerator: Accelerator | None = None,
    ) -> None:
        self.images, self.how = images, how
        self.accelerator = accelerator
        about = json.dumps([repr(how), _hash(teacher), len(images)])
        self.folder = folder / hashlib.sha256(about.encode()).hexdigest()[:16]
        self.teacher = teacher.to(memory_format=torch.channels_last)
        self._known: dict[int, Tensor] = {}

    def view(self, number: int) -> Tensor:
        """Logits N×classes of view `number`, float32."""
        if number not in self._known:
            file = self.folder / f"view-{number}.safetensors"
            known = on_main(self.accelerator, lambda: load_file(file)["logits"] if file.is_file() else None)
            if known is None:
                known = self._ask(number)
                on_main(self.accelerator, lambda: self._keep(file, known))
            self._known[number] = known
        return self._known[number]

    def _keep(self, file: Path, logits: Tensor) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(file, save({"logits": logits}))

    def _ask(self, number: int) -> Tensor:
        device = next(self.teacher.parameters()).device
        draws = draw(self.how, len(self.images), 0, number, self.images.shape[-1])

        @torch.no_grad()
        def ask(index: Tensor) -> Tensor:
            x = augment(self.images[index].to(device), draws[index].to(device))
            with torch.autocast(device.type, torch.bfloat16, enabled=has_bf16(device)):
                return self.teacher(x.contiguous(memory_format=torch.channels_last)).float().cpu()

        return torch.cat(shared(self.accelerator, torch.arange(len(self.images)).split(500), ask))


class JointAnswers:
    """What several teachers say together: the mean of their probabilities.

    Args:
        each: the answers of each of them, to the same pictures; they are kept one by one.
    """

    def __init__(self, each: Sequence[Answers]) -> None:
        self.each = each

    def view(self, number: int) -> Tensor:
        """Logits N×classes of view `number`, float32: the logarithms of the probabilities."""
        told = torch.stack([answers.view(number).log_softmax(1) for answers in self.each])
        return told.logsumexp(0) - math.log(len(self.each))
