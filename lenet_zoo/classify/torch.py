"""`TorchClassifier`: pictures to labels, with a network in torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from lenet_zoo.classify.answers import Classifier
from lenet_zoo.errors import InputError
from lenet_zoo.models._base import LeNet5

__all__ = ["TorchClassifier", "logits_of"]

_BATCH = 1_000


def logits_of(model: nn.Module) -> Callable[[np.ndarray | Tensor], np.ndarray]:
    """A function from uint8 pixels N×28×28 (or N×C×28×28 in colour) to the float32 logits N×classes of a torch network.

    Pixels are an array or a tensor, such as a `Dataset`'s images or a batch that a DataLoader makes of them. They are
    normalised as the network's cfg says; grey is repeated over its channels. The network runs in evaluation mode, 1,000
    pictures at a time, and has its own mode back afterwards.

    Raises (the function): InputError for pixels that are not uint8.
    """
    cfg = model.pretrained_cfg
    mean, std = (torch.tensor(cfg[key]).view(1, -1, 1, 1) for key in ("mean", "std"))  # type: ignore[index]
    channels = int(model.in_chans)  # type: ignore[arg-type]

    def run(pixels: np.ndarray | Tensor) -> np.ndarray:
        pixels = torch.as_tensor(pixels)
        if pixels.dtype != torch.uint8:
            raise InputError(f"pixels are {pixels.dtype}: give uint8, 0 background and 255 ink")
        like = next(model.parameters())
        was_training = model.training
        model.eval()
        try:
            out = []
            with torch.inference_mode():
                for start in range(0, len(pixels), _BATCH):
                    x = pixels[start : start + _BATCH].cpu().float() / 255
                    x = (((x.unsqueeze(1) if x.ndim == 3 else x) - mean) / std).expand(-1, channels, -1, -1)
                    out.append(model(x.to(like.device, like.dtype)).float().cpu())
            return torch.cat(out).numpy()
        finally:
            model.train(was_training)

    return run


class TorchClassifier(Classifier):
    """A network of the zoo as a classifier, with the same methods as `OnnxClassifier`.

    Args:
        model: from `lenet_zoo.create_model`, on any device.
    """

    def __init__(self, model: LeNet5) -> None:
        self.card = model.card
        self.size = model.picture_size()
        self.channels = model.in_chans
        self._logits = logits_of(model)

    def predict_logits(self, pixels: np.ndarray) -> np.ndarray:
        """As `predict_array`, but the logits: float32 N×classes, larger is better."""
        return self._logits(self._checked(pixels))
