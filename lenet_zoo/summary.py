"""What a network is made of and how well it does: the layer table, and the figures of an evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from lenet_zoo.errors import InputError
from lenet_zoo.models._base import LeNet5
from lenet_zoo.models.lenet5_classic import RBF, PartialConv2d, Subsample2d
from lenet_zoo.runtime.answers import Classifier

if TYPE_CHECKING:
    from lenet_zoo.data.datasets import Dataset

__all__ = ["Evaluation", "Layer", "TorchClassifier", "evaluate", "layer_table", "logits_of"]


@dataclass(frozen=True)
class Layer:
    """One row of the layer table.

    Attributes:
        name: the paper's name (C1, S2, C3, S4, C5, F6) or 'output'.
        kind: what it does.
        output: the shape of its output for one picture, without the batch.
        parameters: trainable ones.
        connections: counted as the paper counts them: one per input that a unit reads, and one per bias.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    connections: int


def layer_table(model: nn.Module) -> list[Layer]:
    """The layers of a network of the zoo, for one picture of its nominal size.

    Raises: InputError for any other module.
    """
    if not isinstance(model, LeNet5):
        raise InputError(f"a layer table is made of the zoo's networks, not of {type(model).__name__}")
    like = model.C1.weight
    size = model.smallest_input
    x = torch.zeros(1, model.in_chans, size, size, device=like.device, dtype=like.dtype)
    rows = []
    with torch.no_grad():
        for name, modules in model.stages():
            for module in modules:
                x = module(x)
            core = next(module for module in modules if _kind(module))
            rows.append(_row(name, core, tuple(x.shape[1:])))
        hidden = model.forward_head(x, pre_logits=True)
        rows.append(_row("F6", model.F6, tuple(hidden.shape[1:])))
        if model.num_classes:
            rows.append(_row("output", model.output, (model.num_classes,)))
    return rows


def _kind(module: nn.Module) -> str:
    if isinstance(module, PartialConv2d):
        return f"convolution {module.kernel_size}×{module.kernel_size}, {module.weight.shape[0]} kernels"
    if isinstance(module, nn.Conv2d):
        height, width = module.kernel_size
        return f"convolution {height}×{width}" + (f", padding {module.padding[0]}" if module.padding[0] else "")
    if isinstance(module, Subsample2d):
        return "subsampling 2×2, trainable"
    if isinstance(module, nn.MaxPool2d):
        return "max pooling 2×2"
    if isinstance(module, nn.Linear):
        return "full"
    if isinstance(module, RBF):
        return f"RBF, {module.weight.numel()} fixed"
    return ""


def _row(name: str, module: nn.Module, output: tuple[int, ...]) -> Layer:
    parameters = sum(p.numel() for p in module.parameters())
    positions = output[1] * output[2] if len(output) == 3 else 1
    if isinstance(module, Subsample2d):
        connections = (4 + 1) * output[0] * positions
    elif isinstance(module, nn.MaxPool2d):
        connections = 4 * output[0] * positions
    elif isinstance(module, RBF):
        connections = module.weight.numel()
    else:
        connections = parameters * positions
    return Layer(name, _kind(module), output, parameters, connections)


@dataclass(frozen=True)
class Evaluation:
    """Figures of one network on one data set.

    Attributes:
        loss: mean cross-entropy of the softmax over the logits, in nats.
        correct, total: pictures.
        per_class: for each class (correct, total).
        confusion: confusion[true][answer] pictures.
    """

    loss: float
    correct: int
    total: int
    per_class: tuple[tuple[int, int], ...]
    confusion: tuple[tuple[int, ...], ...]

    @property
    def accuracy(self) -> float:
        return self.correct / self.total

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "accuracy": self.accuracy}


def logits_of(model: nn.Module, batch: int = 1_000) -> Callable[[np.ndarray], np.ndarray]:
    """A function from uint8 pixels N×28×28 (or N×C×28×28 in colour) to the float32 logits N×classes of a torch network.

    The network's own cfg normalises; grey goes to every channel that it has. Evaluation mode, restored afterwards.
    """
    cfg = model.pretrained_cfg
    mean, std = (torch.tensor(cfg[key]).view(1, -1, 1, 1) for key in ("mean", "std"))  # type: ignore[index]
    channels = int(model.in_chans)  # type: ignore[arg-type]

    def run(pixels: np.ndarray) -> np.ndarray:
        like = next(model.parameters())
        was_training = model.training
        model.eval()
        try:
            out = []
            with torch.inference_mode():
                for start in range(0, len(pixels), batch):
                    x = torch.from_numpy(pixels[start : start + batch]).float() / 255
                    x = (((x.unsqueeze(1) if x.ndim == 3 else x) - mean) / std).expand(-1, channels, -1, -1)
                    out.append(model(x.to(like.device, like.dtype)).float().cpu())
            return torch.cat(out).numpy()
        finally:
            model.train(was_training)

    return run


class TorchClassifier(Classifier):
    """A network of the zoo that reads pictures as an exported file does; its own cfg normalises and names the classes.

    Args:
        model: from `lenet_zoo.create_model`, on any device.
        preparation: what its card says, 'character' or 'picture'.
    """

    def __init__(self, model: nn.Module, preparation: str = "character") -> None:
        cfg: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
        classes = int(model.num_classes)  # type: ignore[arg-type]
        names = cfg.get("label_names") or ()
        self.labels = tuple(names) if len(names) == classes else tuple(map(str, range(classes)))
        self.size = model.picture_size()  # type: ignore[operator]
        self.channels = int(model.in_chans)  # type: ignore[arg-type]
        self.preparation = preparation
        self._logits = logits_of(model)

    def predict_logits(self, pixels: np.ndarray) -> np.ndarray:
        """As `predict_array`, but the logits: float32 N×classes, larger is better."""
        return self._logits(self._checked(pixels))


def evaluate(logits: Callable[[np.ndarray], np.ndarray], data: Dataset) -> Evaluation:
    """Run `logits` (uint8 N×28×28 → N×classes) over a data set.

    Raises: InputError when the number of classes is not the data set's.
    """
    found = np.asarray(logits(data.images.numpy()), dtype=np.float64)
    labels = data.labels.numpy()
    classes = len(data.classes)
    if found.shape[1] != classes:
        raise InputError(f"the network has {found.shape[1]} classes and {data.name} has {classes}: they must be equal")
    top = found.max(1, keepdims=True)
    log_likelihood = found - top - np.log(np.exp(found - top).sum(1, keepdims=True))
    answers = found.argmax(1)
    confusion = np.zeros((classes, classes), dtype=int)
    np.add.at(confusion, (labels, answers), 1)
    return Evaluation(
        loss=float(-log_likelihood[np.arange(len(labels)), labels].mean()),
        correct=int((answers == labels).sum()),
        total=len(labels),
        per_class=tuple((int(confusion[i, i]), int(confusion[i].sum())) for i in range(classes)),
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
    )
