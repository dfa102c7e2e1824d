"""The card of a network in memory, and how much of it holds for the weights that the network has now."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from safetensors.torch import save
from torch import Tensor

from lenet_zoo import cards
from lenet_zoo.cards import Card, InputConvention

__all__ = ["attach", "card_of", "input_of", "weight_bytes", "weights_sha256"]


def weight_bytes(state: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The weights as a safetensors file, by default without metadata: equal weights give the same bytes.

    Those that are spread over ranks (`fully_shard`) are put together, for which every rank has to call.
    """
    # A DTensor is known by its method: importing its class takes half a second.
    whole = {key: value.full_tensor() if hasattr(value, "full_tensor") else value for key, value in state.items()}
    return save({key: value.detach().cpu().contiguous() for key, value in whole.items()}, metadata)


def weights_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of `weight_bytes` without metadata."""
    return hashlib.sha256(weight_bytes(state)).hexdigest()


def attach(model: Any, card: Card, whole: bool = True, labels_alone: bool = False) -> None:
    """Give a network its card, and write tag, labels and licence into its cfg too, where timm looks for them.

    Args:
        model: a network of the zoo.
        card: the card of its weights.
        whole: False when some layers are new: only labels and preparation of the card hold then.
        labels_alone: the card holds nothing else, as a config does: the rest is what is known of a tag's weights.
    """
    sha256 = _sha256(model)
    if labels_alone and (shipped := cards.shipped_as(model.architecture, sha256)) is not None:
        card = replace(shipped, labels=card.labels or shipped.labels)
    model._card = card
    model._card_weights = sha256 if whole else ""
    found = _known(model, sha256)
    known = dict(tag=found.tag, label_names=list(found.labels), license=found.licence, num_classes=model.num_classes)
    model.pretrained_cfg = model.default_cfg = {**model.pretrained_cfg, **known}


def card_of(model: Any) -> Card:
    """What is known of a network of the zoo as it is now.

    Its weights may have changed since the card was attached, by training or `load_state_dict`. So tag, figures and
    origin are given only while the weights' SHA-256 is that of the card, or of a shipped one. Labels and preparation
    always stay.
    """
    return _known(model, _sha256(model))


def _sha256(model: Any) -> str:
    """`weights_sha256` of a network; '' for one on the meta device, which has no weights."""
    state = model.state_dict()
    return "" if any(value.is_meta for value in state.values()) else weights_sha256(state)


def _known(model: Any, sha256: str) -> Card:
    """`card_of` a network whose weights have that SHA-256."""
    architecture = model.architecture
    cfg: Any = getattr(model, "pretrained_cfg", None) or {}
    own: Card | None = getattr(model, "_card", None)
    if own is not None and own != Card() and sha256 == model._card_weights:
        card = own
    elif (shipped := cards.shipped_as(architecture, sha256)) is not None:
        card = shipped
    elif own is not None:
        card = own.without_claims()
    else:
        card = Card.parse({"labels": cfg.get("label_names") or []}, "the network's cfg")
    taken = input_of(model)
    return replace(
        card.fitted(model.num_classes, model.in_chans, min(taken.height, taken.width)),
        architecture=architecture,
        input=taken,
        params=sum(p.numel() for p in model.parameters()),
    )


def input_of(model: Any) -> InputConvention:
    """What the forward pass of a network of the zoo takes, by its cfg."""
    cfg: Any = getattr(model, "pretrained_cfg", None) or {}
    height, width = model.picture_size()
    mean, std = (
        tuple(map(float, cfg.get(key) or (default,)))
        for key, default in zip(("mean", "std"), model.normalization, strict=True)
    )
    mean, std = (part * model.in_chans if len(part) == 1 else part for part in (mean, std))
    return InputConvention(model.in_chans, height, width, mean, std)
