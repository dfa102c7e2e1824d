"""Distillation: what a teacher says to the training pictures, and the loss of a network that learns from it.

A small network learns more from the probabilities of a better one than from labels alone, since they also say what a
picture nearly is (Hinton, Vinyals, Dean 2015).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lenet_zoo._files import write_atomic
from lenet_zoo.datasets.augment import Augmentation, draw
from lenet_zoo.models._card import weights_sha256
from lenet_zoo.training.distort import distorted
from lenet_zoo.training.processes import ALONE, Ranks, has_bf16
from lenet_zoo.training.teachers import Teacher

__all__ = ["EnsembleLogits", "TeacherLogits", "distillation_loss"]


class TeacherLogits:
    """A teacher's logits for the distorted pictures of each view, computed once and kept in a folder.

    A view is one distortion of the whole training set. Runs with other seeds, and a resumed run, find the same logits
    there; those of a damaged file are computed again. Pictures go through the teacher in the data set's order, so that
    its logits depend on nothing else. Rank zero alone reads and writes the folder.

    Args:
        teacher: takes pictures as in [0, 1].
        images: uint8 N×28×28, the training set.
        how: the distortions.
        folder: where the logits are kept; made when it is not there.
        ranks: they share the computing.
        compiled: distort the pictures through a compiled function, where that is possible.
    """

    def __init__(
        self,
        teacher: Teacher,
        images: Tensor,
        how: Augmentation,
        folder: Path,
        ranks: Ranks = ALONE,
        compiled: bool = False,
    ) -> None:
        self.images, self.how, self.ranks, self.compiled = images, how, ranks, compiled
        about = json.dumps([repr(how), weights_sha256(teacher.state_dict()), len(images)])
        self.folder = folder / hashlib.sha256(about.encode()).hexdigest()[:16]
        self.teacher = teacher.to(memory_format=torch.channels_last)
        self._views: dict[int, Tensor] = {}

    def view(self, number: int) -> Tensor:
        """Logits float32 N×classes of view `number`."""
        if number not in self._views:
            file = self.folder / f"view-{number}.safetensors"
            logits = self.ranks.on_rank_zero(lambda: _read(file) if file.is_file() else None)
            if logits is None:
                logits = self._compute(number)
                self.ranks.on_rank_zero(lambda: self._keep(file, logits))
            self._views[number] = logits
        return self._views[number]

    def _keep(self, file: Path, logits: Tensor) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(file, save({"logits": logits}, {"sha256": weights_sha256({"logits": logits})}))

    def _compute(self, number: int) -> Tensor:
        device = next(self.teacher.parameters()).device
        images = self.images.to(device)
        draws = draw(self.how, len(self.images), 0, number, self.images.shape[-1])

        @torch.no_grad()
        def logits_of(index: Tensor) -> Tensor:
            x = distorted(images, draws, index, self.compiled)
            with torch.autocast(device.type, torch.bfloat16, enabled=has_bf16(device)):
                return self.teacher(x.contiguous(memory_format=torch.channels_last)).float().cpu()

        return torch.cat(self.ranks.map(logits_of, torch.arange(len(self.images)).split(500)))


def _read(file: Path) -> Tensor | None:
    """The logits in a file, None where it is damaged. The files of earlier versions hold no checksum."""
    try:
        with safe_open(file, "pt") as content:
            logits: Tensor = content.get_tensor("logits")
            sha256 = (content.metadata() or {}).get("sha256")
    except SafetensorError:
        return None
    return logits if sha256 in (None, weights_sha256({"logits": logits})) else None


class EnsembleLogits:
    """What several teachers say together: the mean of their probabilities.

    Args:
        each: the logits of each of them, for the same pictures; they are kept one by one.
    """

    def __init__(self, each: Sequence[TeacherLogits]) -> None:
        self.each = each

    def view(self, number: int) -> Tensor:
        """Logits float32 N×classes of view `number`: the logarithms of the mean probabilities."""
        logs = torch.stack([logits.view(number).log_softmax(1) for logits in self.each])
        return logs.logsumexp(0) - math.log(len(self.each))


def distillation_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² KL(teacher ‖ network) at temperature T, summed over the pictures.

    T² keeps the gradient's size the same for every temperature (Hinton et al. 2015, section 2).

    Args:
        logits, teacher: of the network and of its teacher, float32 N×classes.
    """
    ours, theirs = F.log_softmax(logits / temperature, 1), F.log_softmax(teacher / temperature, 1)
    return temperature * temperature * F.kl_div(ours, theirs, reduction="sum", log_target=True)
