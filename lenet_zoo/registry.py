"""The zoo's front door: a thin view of timm's registry, which is the only registry there is."""

from __future__ import annotations

import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lenet_zoo import cards
from lenet_zoo.errors import InputError, LenetZooError, UnknownModelError, WeightsError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL.Image import Image
    from torch import Tensor, nn

__all__ = ["create_model", "create_transform", "list_models", "model_card"]

# timm's prefixes for weights that live elsewhere: their names are not ours to check.
_SOURCES = ("hf-hub:", "hf_hub:", "local-dir:")


def _architectures() -> list[str]:
    from timm.models import list_models as timm_models

    from lenet_zoo import models  # noqa: F401  registers them

    return sorted({name for module in ("lenet5_classic", "lenet5_modern") for name in timm_models(module=module)})


def list_models(filter: str = "", pretrained: bool = False) -> list[str]:
    """The names of the zoo: architectures, or with `pretrained` every `architecture.tag` that has weights.

    Args:
        filter: a shell pattern, such as 'lenet5_classic*'; empty for all.
        pretrained: tags with weights in place of architectures.
    """
    from timm.models import list_pretrained

    found = _architectures()
    if pretrained:
        found = sorted(name for name in list_pretrained("lenet5_*") if name.split(".")[0] in found)
    return [name for name in found if not filter or fnmatch.fnmatch(name, filter)]


def resolve(name: str) -> str:
    """`name` as `architecture.tag`; an architecture alone stands for its default tag.

    Raises: UnknownModelError with the nearest name.
    """
    from timm.models import get_pretrained_cfg

    architectures, tags = list_models(), list_models(pretrained=True)
    if name in tags:
        return name
    if name in architectures:
        cfg = get_pretrained_cfg(name)
        return f"{name}.{cfg.tag}" if cfg is not None and cfg.tag else tags[[t.split(".")[0] for t in tags].index(name)]
    known = tags if "." in name else architectures + tags
    raise UnknownModelError(f"no network called {name!r}.{did_you_mean(name, known)} The zoo has {', '.join(tags)}")


def create_model(name: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Build a network of the zoo, as `timm.create_model` does.

    Args:
        name: an architecture ('lenet5_modern'), an `architecture.tag` ('lenet5_modern.baseline_mnist'), or timm's
            'local-dir:FOLDER' and 'hf-hub:REPOSITORY'.
        pretrained: load the tag's weights (an architecture alone: its default tag's).
        checkpoint_path: a weight file of one's own to load, safetensors or a state dict saved by torch (read with
            weights_only); the reference implementation's key names are understood.
        **kwargs: as in `timm.create_model`: num_classes, in_chans, global_pool, features_only, device, dtype, …

    Returns:
        The network, an `nn.Module` in evaluation mode, whose forward takes a float batch N×C×28×28 (normalised as
        `create_transform` does it) to logits N×num_classes.

    Raises:
        UnknownModelError: no network or tag of that name.
        InputError: an argument out of range.
        WeightsError: a weight file that is missing, damaged, altered, or another network's.
        TypeError: a keyword that no network takes.
    """
    import timm

    if name.startswith(_SOURCES):
        return _create_from_source(name, pretrained, **kwargs).eval()
    resolve(name)
    if checkpoint_path := kwargs.pop("checkpoint_path", None):
        # As a pretrained file it goes through the network's checkpoint filter; the shapes asked for are the file's.
        pretrained = True
        overlay = dict(kwargs.pop("pretrained_cfg_overlay", None) or {}, file=str(checkpoint_path))
        overlay["num_classes"] = kwargs.get("num_classes") or 10
        overlay["input_size"] = (kwargs.get("in_chans") or 1, 28, 28)
        kwargs["pretrained_cfg_overlay"] = overlay
    model: nn.Module = timm.create_model(name, pretrained=pretrained, **kwargs)
    return model.eval()


def _create_from_source(name: str, pretrained: bool, **kwargs: Any) -> nn.Module:
    """A network from a folder or from the Hub: of a damaged one, timm raises whatever its reading happens to end in."""
    import timm

    from lenet_zoo.models._base import UNREADABLE

    try:
        model: nn.Module = timm.create_model(name, pretrained=pretrained, **kwargs)
    except LenetZooError:
        raise
    except UNREADABLE as error:
        if isinstance(error, TypeError) and "keyword argument" in str(error):
            raise
        what = " ".join(str(error).split()) or type(error).__name__
        right = "a folder" if name.startswith("local-dir:") else "a repository with the files"
        raise WeightsError(
            f"{name} cannot be loaded: {what}; give {right} that timm.models.save_for_hf wrote"
        ) from error
    return model


def model_card(name: str) -> dict[str, Any]:
    """The card of a tag: architecture, tag, params, dataset, labels, recipe, metrics, seeds, licence, sha256, …

    Args:
        name: `architecture.tag`, or an architecture for its default tag. Of 'local-dir:FOLDER' and 'hf-hub:REPOSITORY'
            the card is what their config says, architecture, params and labels, and a folder's `card.json` if it has
            one.

    Raises:
        UnknownModelError: no such name; the text has the nearest one.
        WeightsError: a card, a folder or a repository that is missing or damaged.
    """
    if name.startswith(_SOURCES):
        return _card_of_source(name)
    # Cards are read without timm, so that listing the zoo needs no torch.
    return cards.load_card(name if name in cards.names() else resolve(name))


def _card_of_source(name: str) -> dict[str, Any]:
    model = create_model(name)
    cfg: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    card = dict(
        architecture=cfg["architecture"],
        params=sum(p.numel() for p in model.parameters()),
        labels=list(cfg.get("label_names") or map(str, range(int(model.num_classes)))),  # type: ignore[arg-type]
    )
    path = Path(name.removeprefix("local-dir:"), "card.json")
    if name.startswith("local-dir:") and path.is_file():
        card |= cards.read_card(path)
    return card


def create_transform(model_or_name: nn.Module | str) -> Callable[[Image], Tensor]:
    """The preprocessing of a network: PIL image → float tensor C×H×W, grey (RGB for 3 channels), sized, normalised.

    The picture is taken as it is, ink bright on dark: `lenet_zoo.digit_from_image` makes such a one of any picture.

    Args:
        model_or_name: a network, or a name as in `create_model`.

    Raises:
        UnknownModelError: no network or tag of that name.
        WeightsError: a folder or a repository that is missing or damaged.
    """
    from timm.data import resolve_data_config
    from timm.models import get_pretrained_cfg
    from torchvision import transforms

    if isinstance(model_or_name, str) and model_or_name.startswith(_SOURCES):
        model_or_name = create_model(model_or_name)
    if isinstance(model_or_name, str):
        cfg = get_pretrained_cfg(resolve(model_or_name))
        config = resolve_data_config({}, pretrained_cfg=cfg.to_dict() if cfg else None)
    else:
        config = resolve_data_config({}, model=model_or_name)
    own_size = getattr(model_or_name, "picture_size", None)
    height, width = own_size() if own_size else config["input_size"][1:]
    channels = getattr(model_or_name, "in_chans", config["input_size"][0])
    if channels not in (1, 3):
        raise InputError(f"no picture has {channels} channels: create_transform serves networks of 1 and of 3")
    mean, std = (list(config[key]) * (channels if len(config[key]) == 1 else 1) for key in ("mean", "std"))
    return transforms.Compose(
        [
            transforms.Grayscale() if channels == 1 else transforms.Lambda(_in_colour),
            transforms.Resize((height, width), transforms.InterpolationMode(config["interpolation"])),
            transforms.ToTensor(),
            transforms.Normalize(mean, std),
        ]
    )


def _in_colour(image: Image) -> Image:
    return image.convert("RGB")
