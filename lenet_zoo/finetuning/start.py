"""Where fine-tuning starts: a network, its weights, the classes that it knows, and the layers that are trained."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lenet_zoo import cards
from lenet_zoo.cards import Card
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import InputError, did_you_mean
from lenet_zoo.models import LeNet5Classic, LeNet5Modern
from lenet_zoo.models._base import LeNet5
from lenet_zoo.models._card import attach
from lenet_zoo.models.weight_files import check_finite
from lenet_zoo.pictures.preparation import LINE
from lenet_zoo.registry import create_model, load_network, resolve

__all__ = ["Start"]


@dataclass(frozen=True)
class Start:
    """Where fine-tuning starts.

    Attributes:
        model: the name of the network, as in `create_model`.
        architecture: 'lenet5_classic' or 'lenet5_modern'.
        weights: a weight file of one's own, or None for those that `model` names.
        scratch: the weights are random.
        in_chans: channels of the pictures, 1 or 3.
        freeze: the layers that are not trained.
        known: the names of the classes that the weights know.
        sha256: of the weights, '' for random ones.
    """

    model: str
    architecture: str
    weights: Path | None
    scratch: bool
    in_chans: int
    freeze: frozenset[str]
    known: tuple[str, ...]
    sha256: str

    @classmethod
    def named(
        cls,
        model: str,
        weights: str | os.PathLike[str] | None = None,
        scratch: bool = False,
        in_chans: int = 1,
        freeze: str | Sequence[str] = (),
    ) -> Start:
        """Find the network and check the options, which are those of `finetune`, before any data are read.

        Raises: InputError, UnknownModelError, WeightsError.
        """
        if in_chans not in (1, 3):
            raise InputError(f"in_chans={in_chans}: pictures have 1 channel (grey) or 3 (colour)")
        if scratch and weights is not None:
            raise InputError("scratch starts from random weights: leave weights out, or scratch")
        if ":" not in model and not scratch and weights is None:
            model = resolve(model)
        file = Path(weights) if weights is not None else None
        network, known = _network(model, file, scratch, in_chans)
        if network.card.preparation.kind == LINE or network.global_pool == "":
            raise InputError(
                f"{file or model} answers all along a line: start from a network of single characters, such as "
                f"{network.architecture}.handwriting"
            )
        state = network.state_dict()
        check_finite(state)  # a loss of nan would be blamed on the learning rate
        digest = hashlib.sha256()
        for key, value in state.items():
            digest.update(key.encode() + value.contiguous().numpy().tobytes())
        return cls(
            model,
            network.architecture,
            file,
            scratch,
            in_chans,
            _frozen(network, freeze),
            known,
            "" if scratch else digest.hexdigest(),
        )

    def build(self, data: Dataset) -> LeNet5:
        """The network before its first step; torch's global generator draws the weights of new layers."""
        network, known = _network(self.model, self.weights, self.scratch, self.in_chans)
        _set_classes(network, known, data.classes)
        for name, module in network.named_children():
            module.requires_grad_(name not in self.freeze)
        cfg: dict[str, Any] = dict(network.pretrained_cfg)  # type: ignore[arg-type]
        # The cfg still names the file of the weights that we start from.
        cfg.update(
            file=None,
            url="",
            input_size=(self.in_chans, 28, 28),
            mean=tuple(cfg["mean"][:1]) * self.in_chans,
            std=tuple(cfg["std"][:1]) * self.in_chans,
            description=f"{self.model} fine-tuned to {data.name}" if not self.scratch else f"trained on {data.name}",
        )
        network.pretrained_cfg = cfg  # type: ignore[assignment]
        attach(network, Card(labels=data.classes, preparation=data.preparation))
        return network

    def kept(self, classes: Sequence[str]) -> int:
        """How many of the classes keep something: a row of the output layer (modern), or a bitmap (classic)."""
        if self.architecture == "lenet5_classic":
            return len(classes) if _characters(classes) is not None and not self.scratch else 0
        return len(set(classes) & set(self.known))

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to be resumed."""
        return dict(
            architecture=self.architecture, sha256=self.sha256, in_chans=self.in_chans, freeze=sorted(self.freeze)
        )


def _network(model: str, weights: Path | None, scratch: bool, in_chans: int) -> tuple[LeNet5, tuple[str, ...]]:
    """The network that we start from, and the classes that its output layer knows by name."""
    if weights is not None:
        network = load_network(model, weights)
        if network.in_chans != in_chans:
            raise InputError(
                f"{weights} holds weights for {network.in_chans} channels and in_chans={in_chans} was asked for"
            )
        return network, network.card.labels if cards.beside(weights) else ()
    network = create_model(model, pretrained=not scratch, in_chans=in_chans)  # type: ignore[assignment]
    if not isinstance(network, LeNet5Classic | LeNet5Modern):
        raise InputError(f"{model} is a {type(network).__name__}: lenet5_modern and lenet5_classic are fine-tuned here")
    return network, () if scratch else network.card.labels


def _set_classes(network: LeNet5, known: Sequence[str], classes: Sequence[str]) -> None:
    """Put an output layer for `classes` in place; a class that is known by the same name keeps its row."""
    old = network.output
    if isinstance(network, LeNet5Classic):
        network.reset_classifier(len(classes), characters=_characters(classes))
        return
    network.reset_classifier(len(classes))
    if isinstance(old, nn.Linear) and isinstance(network.output, nn.Linear):
        with torch.no_grad():
            for row, name in enumerate(classes):
                if name in known:
                    network.output.weight[row] = old.weight[known.index(name)]
                    network.output.bias[row] = old.bias[known.index(name)]


def _characters(classes: Sequence[str]) -> str | None:
    """The classes as one text, or None unless each is a single printable character and so has a bitmap."""
    if all(len(name) == 1 and " " < name <= "~" for name in classes):
        return "".join(classes)
    return None


def _frozen(network: LeNet5, freeze: str | Sequence[str]) -> frozenset[str]:
    layers = [*network.layers, "F6", "output"]
    known = {layer.lower(): layer for layer in layers}
    names = [name.strip() for name in (freeze.split(",") if isinstance(freeze, str) else freeze)]
    found: set[str] = set()
    for name in filter(None, names):
        if name.lower() == "body":
            learns = [layer for layer in layers if any(True for _ in getattr(network, layer).parameters())]
            found |= set(layers[: layers.index(learns[-1])])
        elif name.lower() in known:
            found.add(known[name.lower()])
        else:
            hint = did_you_mean(name.lower(), [*known, "body"])
            raise InputError(f"no layer {name!r} to freeze.{hint} There are {', '.join(layers)}, and body")
    if all(name.split(".")[0] in found for name, _ in network.named_parameters()):
        raise InputError(
            f"freeze={','.join(sorted(found))} leaves nothing to train: take one of {', '.join(layers)} out"
        )
    return frozenset(found)
