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
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lenet_zoo._files import write_atomic
from lenet_zoo.datasets.augment import Augmentation, draw
from lenet_zoo.models._card import weights_sha256
from lenet_zoo.training.distort import distorted
from lenet_zoo.training.processes import ALONE, Ranks, has_bf16

__all__ = ["TeacherLogits", "distillation_loss"]


class TeacherLogits:
    """What teachers say to the distorted pictures of each view, computed once and kept in a folder.

    A view is one distortion of the whole training set. Runs with other seeds, and a resumed run, find the same logits
    there; those of a damaged file are computed again. Pictures go through the teachers in the data set's order, so that
    the logits depend on nothing else. Several teachers answer by the mean of their probabilities. Rank zero alone reads
    and writes the folder.

    Args:
        teachers: take pictures normalised as their `pretrained_cfg` says.
        images: uint8 N×28×28, the training set.
        how: the distortions.
        folder: where the logits are kept; made when it is not there.
        ranks: they share the computing.
        compiled: distort the pictures through a compiled function, where that is possible.
        j: where none of these is an answer, too: −its logit for the network that learns, and for each teacher.
    """

    def __init__(
        self,
        teachers: Sequence[nn.Module],
        images: Tensor,
        how: Augmentation,
        folder: Path,
        ranks: Ranks = ALONE,
        compiled: bool = False,
        j: tuple[float, Sequence[float]] | None = None,
    ) -> None:
        self.images, self.how, self.ranks, self.compiled, self.j = images, how, ranks, compiled, j
        known = [weights_sha256(one.state_dict()) for one in teachers]
        shown = hashlib.sha256(images.numpy().tobytes()).hexdigest()
        about = json.dumps([repr(how), known, shown, j])
        self.folder = folder / hashlib.sha256(about.encode()).hexdigest()[:16]
        self.teachers = [one.to(memory_format=torch.channels_last) for one in teachers]
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
        device = next(self.teachers[0].parameters()).device
        images = self.images.to(device)
        draws = draw(self.how, len(self.images), 0, number, self.images.shape[-1])

        def answer(teacher: nn.Module, x: Tensor) -> Tensor:
            cfg: Any = teacher.pretrained_cfg
            x = ((x - cfg["mean"][0]) / cfg["std"][0]).contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, torch.bfloat16, enabled=has_bf16(device)):
                return teacher(x).float()

        @torch.no_grad()
        def logits_of(index: Tensor) -> Tensor:
            x = distorted(images, draws, index, self.compiled)
            return self._together([answer(one, x) for one in self.teachers]).cpu()

        return torch.cat(self.ranks.map(logits_of, torch.arange(len(self.images)).split(500)))

    def _together(self, each: list[Tensor]) -> Tensor:
        """The logits of several teachers as those of one: the logarithms of their mean probabilities.

        With `j`, up to what gives none of these the logit that it has for the network that learns.
        """
        if self.j:
            each = [F.pad(one, (0, 1), value=-own) for one, own in zip(each, self.j[1], strict=True)]
        if len(each) > 1:
            each = [torch.stack([one.log_softmax(1) for one in each]).logsumexp(0) - math.log(len(each))]
        (logits,) = each
        return logits[:, :-1] - logits[:, -1:] - self.j[0] if self.j else logits


def _read(file: Path) -> Tensor | None:
    """The logits in a file, None where it is damaged. The files of earlier versions hold no checksum."""
    try:
        with safe_open(file, "pt") as content:
            logits: Tensor = content.get_tensor("logits")
            sha256 = (content.metadata() or {}).get("sha256")
    except SafetensorError:
        return None
    return logits if sha256 in (None, weights_sha256({"logits": logits})) else None


def distillation_loss(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² KL(teacher ‖ network) at temperature T, summed over the pictures.

    T² keeps the gradient's size the same for every temperature (Hinton et al. 2015, section 2).

    Args:
        logits, teacher: of the network and of its teacher, float32 N×classes.
    """
    ours, theirs = F.log_softmax(logits / temperature, 1), F.log_softmax(teacher / temperature, 1)
    return temperature * temperature * F.kl_div(ours, theirs, reduction="sum", log_target=True)
