"""Networks by name: a thin layer over timm's registry, which is the only one."""

from __future__ import annotations

import fnmatch
import json
import math
import os
import re
import warnings
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet_zoo import cards
from lenet_zoo.cards import Card
from lenet_zoo.errors import InputError, LenetZooError, UnknownModelError, WeightsError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from PIL.Image import Image
    from torch import Tensor, nn

    from lenet_zoo.models._base import LeNet5

__all__ = [
    "card_of",
    "create_model",
    "create_transform",
    "is_foreign",
    "is_weights",
    "layers_of",
    "list_models",
    "load_network",
    "model_card",
    "resolve",
    "transform_of",
]

# timm's prefixes for weights outside of the package, whose names we cannot check.
_SOURCES = ("hf-hub:", "hf_hub:", "local-dir:")
# Who writes what 'local-dir:' takes.
_WRITTEN = "that `lenet-zoo train` or `finetune` wrote, or timm.models.save_for_hf"
# What create_model takes beside its own arguments.
_KEYWORDS = ("features_only", "out_indices", "pretrained_cfg_overlay", "pad", "characters", "j", "device", "dtype")
_DEFAULT_TAG = "mnist"  # timm's: the first of an architecture's cfgs
_LAYERS = Path(__file__).parent / "models" / "tables" / "layers.json"


def _architectures() -> list[str]:
    from timm.models import list_models as timm_models

    return sorted({name for module in ("lenet5_classic", "lenet5_modern") for name in timm_models(module=module)})


def is_foreign(name: str) -> bool:
    """Whether a name is of a folder or of a repository on the Hub, not of the zoo."""
    return name.startswith(_SOURCES)


def list_models(filter: str = "", pretrained: bool = False) -> list[str]:
    """The names of the zoo: architectures, or with `pretrained` every `architecture.tag` that has weights.

    Args:
        filter: a shell pattern, such as 'lenet5_classic*'; empty for all.
        pretrained: tags with weights in place of architectures.

    Returns: the names, sorted.
    """
    from timm.models import list_pretrained

    found = _architectures()
    if pretrained:
        found = sorted(name for name in list_pretrained("lenet5_*") if name.split(".")[0] in found)
    return [name for name in found if not filter or fnmatch.fnmatch(name, filter)]


def is_weights(name: str) -> bool:
    """Whether it is called as files of weights are."""
    return name.lower().endswith((".safetensors", ".pt", ".pth", ".ckpt"))


def resolve(name: str) -> str:
    """`name` as `architecture.tag`; an architecture alone stands for its default tag.

    Raises: UnknownModelError with the nearest name.
    """
    # From the cards, which need no timm: a name is found, or refused, without loading torch.
    tags = cards.names()
    architectures = sorted({tag.split(".")[0] for tag in tags})
    if name in tags:
        return name
    if name in architectures:
        return f"{name}.{_DEFAULT_TAG}"
    if name and os.path.exists(os.path.join(name, "config.json")):
        raise UnknownModelError(f"no network called {name!r}; the folder of that name holds one: say local-dir:{name}")
    if os.path.isfile(name) and name.endswith(".onnx"):
        raise UnknownModelError(f"{name} was exported; this needs the network itself: name one of {', '.join(tags)}")
    if os.path.isfile(name) and is_weights(name):
        raise UnknownModelError(
            f"{name} is a file of weights: say local-dir:FOLDER for one that training or fine-tuning wrote; "
            "`lenet-zoo export NETWORK --weights FILE` makes an .onnx file of others"
        )
    if os.path.exists(name):  # `lenet-zoo read a.png b.png`
        raise UnknownModelError(
            f"no network called {name!r}, which is {'a folder' if os.path.isdir(name) else 'a file'}: the name of a "
            "network comes before what it reads, and of files only .onnx ones can be named there"
        )
    known = tags if "." in name else architectures + tags
    raise UnknownModelError(f"no network called {name!r}.{did_you_mean(name, known)} The zoo has {', '.join(tags)}")


def create_model(
    name: str,
    pretrained: bool = False,
    *,
    checkpoint_path: str | os.PathLike[str] | None = None,
    num_classes: int | None = None,
    in_chans: int | None = None,
    global_pool: str | None = None,
    drop_rate: float | None = None,
    **kwargs: Any,
) -> nn.Module:
    """Build a network of the zoo, as `timm.create_model` does.

    Args:
        name: an architecture ('lenet5_modern'), an `architecture.tag` ('lenet5_modern.baseline_mnist'), or timm's
            'local-dir:FOLDER' and 'hf-hub:REPOSITORY'.
        pretrained: load the tag's weights (an architecture alone: its default tag's).
        checkpoint_path: a weight file of one's own to load: safetensors, or what torch saved of a state dict or of a
            training checkpoint around one (read with weights_only). Prefixes such as Lightning's `model.` are taken
            off, and the reference implementation's key names are understood. A `card.json` beside it (what
            `lenet-zoo train` writes) or a file of the same name in .json is its card.
        num_classes, in_chans: by default those of the tag or the folder, also for a weight file.
        global_pool: how C5's map is pooled when the input is larger than nominal: 'avg', 'max', or '' for not at all.
        drop_rate: dropout before the output layer, in training mode; a warning says that the network is not yet in it.
        **kwargs: what else `timm.create_model` takes (features_only, out_indices, pretrained_cfg_overlay, …), and what
            the network does (pad, characters, j, device, dtype).

    Returns:
        The network, an `nn.Module` in evaluation mode, whose forward takes a float batch N×C×28×28 (normalised as
        `create_transform` does it) to logits N×num_classes. Its `card` is what is known of it.

    Raises:
        UnknownModelError: no network or tag of that name.
        InputError: an argument out of range.
        WeightsError: a weight file that is missing, damaged, altered, or another network's; a card that is damaged or
            belongs to other weights.
        TypeError: a keyword that no network takes.
    """
    import timm

    if not isinstance(name, str):
        raise InputError(f"create_model takes the name of a network, such as 'lenet5_modern', and not {name!r}")
    # timm leaves out what is None.
    kwargs |= dict(num_classes=num_classes, in_chans=in_chans, global_pool=global_pool, drop_rate=drop_rate)
    if is_foreign(name):
        if checkpoint_path:
            raise InputError(
                f"{name} brings its own weights: for those in {checkpoint_path} give the architecture, lenet5_modern "
                "or lenet5_classic"
            )
    else:
        resolve(name)
    if drop_rate:
        warnings.warn(
            f"drop_rate={drop_rate:g} has an effect in training mode alone, and create_model gives a network in "
            "evaluation mode: call .train() before training",
            stacklevel=2,
        )
    if is_foreign(name):
        return _create_from_source(name, pretrained, **kwargs).eval()
    if checkpoint_path:
        # Loaded as a pretrained file, so that it passes the network's checkpoint filter. num_classes and in_chans are
        # taken for the file's own: nothing is adapted.
        pretrained = True
        overlay = dict(kwargs.pop("pretrained_cfg_overlay", None) or {}, file=str(checkpoint_path))
        classes = num_classes or len(card_of(name).labels)
        overlay |= dict(num_classes=classes, input_size=(in_chans or 1, 28, 28), description=None)
        kwargs["pretrained_cfg_overlay"] = overlay
    try:
        model: nn.Module = timm.create_model(name, pretrained=pretrained, **kwargs)
    except TypeError as error:
        _check_keyword(error, kwargs)
        raise
    return model.eval()


def _check_keyword(error: Exception, given: Mapping[str, Any]) -> None:
    """Raises: TypeError that names create_model, when `error` is of one of the `given` keywords."""
    unknown = re.search(r"unexpected keyword argument '(\w+)'", str(error))
    # Another one came from a folder's config.
    if unknown is not None and given.get(unknown[1]) is not None and "PretrainedCfg" not in str(error):
        near = did_you_mean(unknown[1], (*given.keys() - {unknown[1]}, *_KEYWORDS))
        raise TypeError(f"create_model() got an unexpected keyword argument {unknown[1]!r}.{near}") from error


def _create_from_source(name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    """A network from a folder or from the Hub. A damaged one makes timm raise errors of many classes; here, one."""
    import timm

    from lenet_zoo.models.weight_files import UNREADABLE

    folder = name.removeprefix("local-dir:")
    if not folder:
        raise WeightsError(f"local-dir: without a folder: give one after the colon, {_WRITTEN}")
    if folder != name and not os.path.isdir(folder):
        raise WeightsError(f"no folder {folder}: give one {_WRITTEN}")
    try:
        model: nn.Module = timm.create_model(name, pretrained=pretrained, **kwargs)
    except LenetZooError:
        raise
    except UNREADABLE as error:
        _check_keyword(error, kwargs)
        what = " ".join(str(error).split()) or type(error).__name__
        right = "a folder" if name.startswith("local-dir:") else "a repository with the files"
        raise WeightsError(f"{name} cannot be loaded: {what}; give {right} {_WRITTEN}") from error
    return model


# Keys of the output layer: our own, and the reference implementation's.
_CLASSIFIERS = ("output.weight", "fc_layer2.weight")


def load_network(name: str, weights: Path | None = None) -> LeNet5:
    """A network with weights and their card, in evaluation mode.

    Args:
        name: as in `create_model`; with `weights`, the architecture that they are for.
        weights: a file as for `create_model`'s checkpoint_path; it decides the numbers of classes and of channels.

    Raises: as `create_model`; InputError for another network than the two of the zoo.
    """
    from lenet_zoo.models._base import LeNet5
    from lenet_zoo.models.weight_files import FIRST_KEYS, read_state

    if weights is None and not is_foreign(name):
        return _shipped(resolve(name))
    if weights is None:
        model = create_model(name, pretrained=True)
    else:
        state = read_state(weights)
        shapes = {key: tensor.shape for key, tensor in state.items()}
        classes, channels = (
            next((shapes[key][axis] or None for key in keys if len(shapes.get(key, ())) > axis), None)
            for keys, axis in ((_CLASSIFIERS, 0), (FIRST_KEYS, 1))
        )
        more = _rubbish(name, state)
        classes = classes + len(more) if classes is not None else None
        model = create_model(name, checkpoint_path=weights, num_classes=classes, in_chans=channels, **more)
    if not isinstance(model, LeNet5):
        raise InputError(f"{name} is a {type(model).__name__}: take lenet5_modern or lenet5_classic")
    return model


def _rubbish(name: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """The penalty of the rubbish class as lenet5_classic takes it, for weights of a network that has one."""
    j = state.get("output.j")
    if j is None or j.numel() != 1 or not name.startswith("lenet5_classic"):
        return {}
    return dict(j=float(j)) if 0 < float(j) < math.inf else {}  # another one is refused when it is loaded


def _shipped(tag: str) -> LeNet5:
    """What `create_model(tag, pretrained=True)` gives, without timm, whose import takes as long as that of torch."""
    from lenet_zoo.models import CFGS, LeNet5Classic, LeNet5Modern
    from lenet_zoo.models._card import attach
    from lenet_zoo.models.weight_files import read_state
    from lenet_zoo.pictures.preparation import LINE

    architecture, name = tag.split(".")
    network = LeNet5Classic if architecture == LeNet5Classic.architecture else LeNet5Modern
    file = cards.weight_path(tag)
    cards.verify(file)
    card = cards.load(tag)
    pool = "" if card.preparation.kind == LINE else "avg"  # a network of lines answers at every position
    state = read_state(file)
    model: LeNet5 = network(num_classes=len(card.labels), global_pool=pool, **_rubbish(tag, state))
    model.load_state_dict(state)
    model.pretrained_cfg = dict(CFGS[tag], architecture=architecture, tag=name)  # type: ignore[assignment]
    attach(model, card)
    return model.eval()


def card_of(name: str) -> Card:
    """The card of a network by its name; see `model_card`."""
    if is_foreign(name):
        model: Any = create_model(name, pretrained=name.startswith("local-dir:"))
        card: Card = model.card
        return card
    return cards.load(resolve(name))


def layers_of(name: str) -> list[dict[str, Any]]:
    """The layer table of a network by its name, a mapping per row: see `models.layers.Layer`.

    That of a tag is read from a table in the package, without torch.

    Raises: as `card_of`.
    """
    if not is_foreign(name):
        table: list[dict[str, Any]] = json.loads(_LAYERS.read_bytes())[resolve(name).split(".")[0]]
        if len(card_of(name).labels) == table[-1]["output"][0]:
            return table
    from lenet_zoo.models.layers import layer_table

    return [asdict(layer) for layer in layer_table(create_model(name, num_classes=len(card_of(name).labels)))]


def model_card(name: str) -> dict[str, Any]:
    """The card of a tag: architecture, tag, params, dataset, labels, recipe, metrics, seeds, licence, sha256, …

    Args:
        name: `architecture.tag`, or an architecture for its default tag. For 'local-dir:FOLDER' and 'hf-hub:REPOSITORY'
            the card holds what their config says (architecture, params, labels, input), and all of a folder's
            `card.json` where there is one.

    Returns: the card as plain JSON values; what is not known is left out.

    Raises:
        UnknownModelError: no such name; the text has the nearest one.
        WeightsError: a card, a folder or a repository that is missing or damaged.
    """
    return card_of(name).as_dict()


def create_transform(model_or_name: nn.Module | str) -> Callable[[Image], Tensor]:
    """The preprocessing of a network: PIL image → float tensor C×H×W, grey (RGB for 3 channels), sized, normalised.

    The picture must have bright ink on a dark ground: `lenet_zoo.digit_from_image` makes such a one of any picture.

    Args:
        model_or_name: a network, compiled or not, or a name as in `create_model`.

    Returns: a function, torchvision's `Compose`.

    Raises:
        UnknownModelError: no network or tag of that name.
        InputError: a network of 2 channels, or of more than 3, and a module that does not say what it takes.
        WeightsError: a folder or a repository that is missing or damaged.
    """
    from timm.data import resolve_data_config
    from timm.models import get_pretrained_cfg

    if isinstance(model_or_name, str) and is_foreign(model_or_name):
        model_or_name = create_model(model_or_name)
    if isinstance(model_or_name, str):
        cfg = get_pretrained_cfg(resolve(model_or_name))
        config = resolve_data_config({}, pretrained_cfg=cfg.to_dict() if cfg else None)
    else:
        from lenet_zoo.models._base import unwrapped

        model_or_name = unwrapped(model_or_name)
        if not getattr(model_or_name, "pretrained_cfg", None):
            raise InputError(
                f"a {type(model_or_name).__name__} has no pretrained_cfg, which says how its pictures are made ready: "
                "give the network that it was made of, or its name"
            )
        config = resolve_data_config({}, model=model_or_name)
    own_size = getattr(model_or_name, "picture_size", None)
    height, width = own_size() if own_size else config["input_size"][1:]
    channels = getattr(model_or_name, "in_chans", config["input_size"][0])
    return transform_of(config, (channels, height, width))


def transform_of(config: Mapping[str, Any], input_size: tuple[int, int, int]) -> Callable[[Image], Tensor]:
    """`create_transform` of a network whose pictures are C×H×W.

    Args:
        config: what timm's `resolve_data_config` gives: mean, std and interpolation are read.
        input_size: (channels, height, width).

    Raises: InputError for 2 channels, or more than 3.
    """
    from torchvision import transforms

    channels, height, width = input_size
    if channels not in (1, 3):
        raise InputError(f"no picture has {channels} channels: create_transform serves networks of 1 and of 3")
    mean, std = (list(config[key]) * (channels if len(config[key]) == 1 else 1) for key in ("mean", "std"))
    return transforms.Compose(
        [
            transforms.Lambda(partial(_as_image, mode="L" if channels == 1 else "RGB")),
            transforms.Resize((height, width), transforms.InterpolationMode(config["interpolation"])),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )


def _as_image(picture: Any, mode: str) -> Image:
    """A picture of any kind as `Preparation` takes it as it is, before it is scaled."""
    import numpy as np
    import torch
    from PIL import Image

    from lenet_zoo.pictures.grey import flattened
    from lenet_zoo.pictures.reading import load_picture

    if isinstance(picture, Image.Image):
        return flattened(picture, mode, 0)
    wanted = "give a uint8 array H×W or H×W×3, a uint8 tensor H×W, 1×H×W or 3×H×W, or a PIL image"
    if isinstance(picture, torch.Tensor):
        if picture.dtype != torch.uint8 or picture.is_meta:
            kind = "no values" if picture.is_meta else str(picture.dtype).removeprefix("torch.")
            raise InputError(f"a picture of {kind}: {wanted}")
        array = picture.detach().cpu().numpy()
        if array.ndim == 3 and array.shape[0] in (1, 3):
            array = array.transpose(1, 2, 0)
        elif array.ndim != 2:
            raise InputError(f"a tensor of shape {tuple(picture.shape)} is not one picture: {wanted}")
    elif isinstance(picture, np.ndarray):
        array = picture
    else:
        return flattened(load_picture(picture), mode, 0)
    if array.dtype != np.uint8:
        raise InputError(f"a picture of {array.dtype}: {wanted}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,)):
        raise InputError(f"an array of shape {array.shape} is not one picture: {wanted}")
    return Image.fromarray(np.ascontiguousarray(array)).convert(mode)
