"""`TorchClassifier`: pictures to labels, with a network in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lenet_zoo.classify.answers import Classifier
from lenet_zoo.errors import InputError, WeightsError
from lenet_zoo.models._base import LeNet5, unwrapped
from lenet_zoo.pictures.preparation import LINE

__all__ = ["TorchClassifier", "logits_of", "normalized"]

_BATCH = 1_000


def normalized(model: nn.Module, pixels: Tensor) -> Tensor:
    """uint8 pixels N×H×W, or N×C×H×W, as the forward pass of a network takes them, on its device and in its dtype.

    The network's cfg says how, also that of one in a wrapper (`torch.compile`); grey is repeated over its channels.
    """
    network: Any = unwrapped(model)
    cfg = network.pretrained_cfg
    like = next(model.parameters())
    mean, std = (torch.tensor(cfg[key]).view(1, -1, 1, 1) for key in ("mean", "std"))
    x = (pixels.unsqueeze(1) if pixels.ndim == 3 else pixels).cpu().float() / 255
    return ((x - mean) / std).expand(-1, network.in_chans, -1, -1).to(like.device, like.dtype)


def logits_of(model: nn.Module) -> Callable[[np.ndarray | Tensor], np.ndarray]:
    """A function from uint8 pixels N×28×28 (or N×C×28×28 in colour) to the float32 logits N×classes of a torch network.

    Pixels are an array or a tensor, such as a `Dataset`'s images or a batch that a DataLoader makes of them. They are
    normalised as the network's cfg says; grey is repeated over its channels. The network runs in evaluation mode, 1,000
    pictures at a time, and has its own mode back afterwards.

    Raises (the function): InputError for pixels that are not uint8, of another shape, and for none; WeightsError for
        answers that are not finite.
    """

    def run(pixels: np.ndarray | Tensor) -> np.ndarray:
        if isinstance(pixels, np.ndarray):
            # Copied, if it runs backwards, which torch does not take, or is read-only, of which it warns.
            pixels = np.require(pixels, requirements=["C", "W"])
        pixels = torch.as_tensor(pixels)
        if pixels.dtype != torch.uint8:
            raise InputError(f"pixels are {pixels.dtype}: give uint8, 0 background and 255 ink")
        if not len(pixels):
            raise InputError("an empty batch: give at least one picture")
        channels: Any = unwrapped(model).in_chans
        if pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[1] not in (1, channels)):
            raise InputError(f"pixels of shape {tuple(pixels.shape)}: give N×H×W, or N×{channels}×H×W")
        was_training = model.training
        model.eval()
        try:
            out = []
            with torch.inference_mode():
                for start in range(0, len(pixels), _BATCH):
                    out.append(model(normalized(model, pixels[start : start + _BATCH])).float().cpu())
            logits = torch.cat(out).numpy()
        finally:
            model.train(was_training)
        if not np.isfinite(logits).all():
            raise WeightsError("the network answers with values that are not finite: its weights may be damaged")
        return logits

    return run


class TorchClassifier(Classifier):
    """A network of the zoo as a classifier, with the same methods as `OnnxClassifier`.

    Args:
        model: from `lenet_zoo.create_model`, on any device, compiled or not.

    Raises: InputError for another network, and for one that reads numbers.
    """

    def __init__(self, model: nn.Module) -> None:
        network = unwrapped(model)
        if not isinstance(network, LeNet5):
            raise InputError(f"a {type(network).__name__} is no network of the zoo: take one of create_model")
        self.card = network.card
        if self.card.preparation.kind == LINE:
            raise InputError(
                "this network reads numbers, not single characters: take `lenet-zoo read` or lenet_zoo.read"
            )
        if network.num_classes == 0:
            raise InputError("the network has no output layer (num_classes=0): there is no label to give")
        if network.global_pool == "":
            raise InputError("the network answers at every position (global_pool=''): call it yourself")
        self.size = network.picture_size()
        self.channels = network.in_chans
        self._logits = logits_of(model)

    def predict_logits(self, pixels: np.ndarray) -> np.ndarray:
        """The network's logits of each picture as it stands: float32 N×classes, larger is better.

        Raises: InputError for other pixels than `predict_array` takes; WeightsError for answers that are not finite.
        """
        return self._logits(self._checked(pixels))
