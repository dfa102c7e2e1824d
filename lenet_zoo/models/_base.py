"""What the two networks share: timm's contract for a convolutional classifier, and the check of a batch.

The networks themselves, their layers in the paper's order and with the paper's names, are in `lenet5_classic.py` and
`lenet5_modern.py`. Nothing in here has a parameter.
timm is imported where it is used: it takes longer than torch, and a command such as `export` does without it.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from lenet_zoo import cards
from lenet_zoo.cards import Card
from lenet_zoo.errors import InputError, LenetZooError, WeightsError
from lenet_zoo.models._card import attach, card_of, input_of
from lenet_zoo.models.weight_files import UNREADABLE, read_state

__all__ = ["LeNet5", "asked_tag", "build", "check_keys", "tag_cfg", "unwrapped"]


def check_batch(x: Tensor, channels: int, dtype: torch.dtype | None, smallest: int) -> Tensor:
    """Return `x` if a network of so many channels can take it.

    Args:
        x: the batch.
        channels: of the network's pictures.
        dtype: of its weights; None where it is not known.
        smallest: the least height and width.

    Raises: InputError, which says what the network takes. A scripted network does not check: TorchScript has no such
    errors.
    """
    if not torch.jit.is_scripting():
        _check_batch(x, channels, dtype, smallest)
    return x


def _check_batch(x: Tensor, channels: int, dtype: torch.dtype | None, smallest: int) -> None:
    wanted = f"the network takes a float batch N×{channels}×H×W with H, W ≥ {smallest}"
    if not isinstance(x, Tensor):
        raise InputError(f"a batch of type {type(x).__name__}: {wanted}, as a torch.Tensor")
    if x.ndim != 4:
        raise InputError(f"a batch of {x.ndim} dimensions, shape {tuple(x.shape)}: {wanted}")
    if x.shape[1] != channels:
        raise InputError(f"a batch with {x.shape[1]} channels, shape {tuple(x.shape)}: {wanted}")
    if x.shape[2] < smallest or x.shape[3] < smallest:
        raise InputError(f"pictures of {x.shape[2]}×{x.shape[3]} are too small: {wanted}")
    if x.is_quantized:
        return
    if not x.is_floating_point():
        raise InputError(f"a batch of dtype {x.dtype}: {wanted}; lenet_zoo.create_transform makes it from a picture")
    if dtype is not None and x.dtype != dtype and not _autocasts(x.device.type):
        raise InputError(f"a batch of dtype {x.dtype} for a network in {dtype}: convert one of them with .to()")


def _autocasts(device_type: str) -> bool:
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)


# Control flow on shapes cannot be traced symbolically; FX keeps the check as one call in the graph.
torch.fx.wrap("check_batch")


class LeNet5(nn.Module):
    """Base of both networks: C1-S2-C3-S4-C5 as `forward_features`, F6 and the output layer as `forward_head`.

    A subclass builds its layers under the paper's names (`C1`, `S2`, `C3`, `S4`, `C5`, `F6`, `output`, with `act1` …
    `act6` after them), says in `layers` which modules make up which layer, and makes its output layer in
    `make_output()`.

    Shapes (nominal input, N pictures): input N×in_chans×28×28 → features N×120×1×1 → logits N×num_classes. A larger
    input gives a larger C5 map, which is pooled before F6; with `global_pool=''` it is not pooled, and the head runs
    at every position: the logits are then N×num_classes×h×w, one answer every 4 pixels, which is the paper's space
    displacement network (pp. 27-29).
    """

    num_features = 120
    head_hidden_size = 84
    # Set by a subclass: each layer before the head, by the paper's name, and the modules that make it up, in order.
    layers: ClassVar[dict[str, tuple[str, ...]]] = {}
    # … its name in the registry, and the mean and standard deviation by which pixels in [0, 1] become its input.
    architecture: ClassVar[str] = ""
    normalization: ClassVar[tuple[float, float]] = (0.0, 1.0)
    __jit_unused_properties__: ClassVar[list[str]] = ["card", "j"]

    if TYPE_CHECKING:  # TorchScript would read these as types of its own
        C1: nn.Conv2d
        S4: nn.Module
        C5: nn.Conv2d
        F6: nn.Module  # linear: F6.weight is 84×120
        act6: nn.Module
        output: nn.Module

    def __init__(
        self, num_classes: int, in_chans: int, global_pool: str, drop_rate: float, smallest_input: int
    ) -> None:
        super().__init__()
        if in_chans < 1:
            raise InputError(f"in_chans={in_chans}: a picture has at least 1 channel")
        if not 0 <= drop_rate < 1:
            raise InputError(f"drop_rate={drop_rate:g}: from 0 to below 1")
        self.in_chans = in_chans
        self.smallest_input = smallest_input  # the height and width that leave C5 one position
        self.drop_rate = drop_rate
        self.grad_checkpointing = False
        self._set_head(num_classes, global_pool)
        # One level per layer of the paper. C5 has stride 1, so the reduction stays at S4's 4.
        self.feature_info = [
            dict(num_chs=channels, reduction=reduction, module=modules[-1])
            for channels, reduction, modules in zip(
                (6, 6, 16, 16, 120), (1, 2, 2, 4, 4), self.layers.values(), strict=True
            )
        ]

    @staticmethod
    @torch.jit.ignore
    def check_head(num_classes: int, global_pool: str) -> None:
        """Raises: InputError for what no network has."""
        if num_classes < 0:
            raise InputError(f"num_classes={num_classes}: give the number of classes, or 0 for no output layer")
        if global_pool not in ("avg", "max", ""):
            raise InputError(f"global_pool={global_pool!r}: one of 'avg', 'max' and '' (no pooling)")

    def _set_head(self, num_classes: int, global_pool: str) -> None:
        self.check_head(num_classes, global_pool)
        self.num_classes = num_classes
        self.global_pool = global_pool

    @property
    def card(self) -> Card:
        """What is known of the network; tag, figures and origin only while its weights are the card's."""
        return card_of(self)

    @torch.jit.ignore
    def stages(self) -> list[tuple[str, list[nn.Module]]]:
        """The layers before the head in order: (the paper's name, the modules that make it up)."""
        return [(layer, [getattr(self, name) for name in names]) for layer, names in self.layers.items()]

    @torch.jit.ignore
    def picture_size(self) -> tuple[int, int]:
        """Height and width of the pictures it is meant for, in pixels.

        Those of the cfg, but never less than the network needs: built with pad=0, the classic needs the paper's 32×32.
        """
        least = self.smallest_input
        height, width = (getattr(self, "pretrained_cfg", None) or {}).get("input_size", (1, least, least))[-2:]
        return max(least, height), max(least, width)

    @torch.jit.ignore
    def answer_every_2_px(self) -> "LeNet5":
        """Change the network, in place, to answer every 2 px along a line in place of every 4; returns it.

        S4 subsamples at every column, and C5 looks at every other column of that. The answers are those of two passes,
        the second one over the line without its first 2 px (shift and stitch), but C1 to C3 are computed once.
        """
        self.S4.stride, self.C5.dilation = (2, 1), (1, 2)  # type: ignore[assignment]
        return self

    @torch.jit.ignore
    def plain(self) -> nn.Sequential:
        """The network as a chain of torch's own layers, for quantizers, converters and accelerators.

        Convolutions, linear layers, ReLU or tanh, and pooling, in evaluation mode and not trainable; the network itself
        stays as it is. The classic's partial C3 is a full convolution with zeros, its S2 and S4 are convolutions of
        each map, the factors of its squashing are in the weights, and its output is a linear layer over F6's states
        and their squares. The modern network's logits stay as they are; the classic's, which go down to −300, differ by
        rounding, up to 3e-4 over the test sets of MNIST and Fashion-MNIST. Batches are not checked.
        """
        raise NotImplementedError

    @torch.jit.ignore
    def make_output(self, num_classes: int, device: Any = None, dtype: Any = None) -> nn.Module:
        """A new output layer from F6's 84 units to `num_classes` logits."""
        raise NotImplementedError

    # -- forward ------------------------------------------------------------------------------------------------

    def check(self, x: Tensor) -> Tensor:
        """Return `x`, a batch that the network can take. TorchScript has no such errors, and checks nothing."""
        return x if torch.jit.is_scripting() else self._check(x)

    @torch.jit.unused
    def _check(self, x: Tensor) -> Tensor:
        # FX would write the dtype of now into its graph, or the weight. A quantized layer's `weight` is a method.
        weight = None if isinstance(x, torch.fx.Proxy) else self.C1.weight
        dtype = weight.dtype if isinstance(weight, Tensor) else None
        return check_batch(x, getattr(self.C1, "in_channels", self.in_chans), dtype, self.smallest_input)

    @torch.jit.ignore
    def forward_features_checkpointed(self, x: Tensor) -> Tensor:
        from timm.models._manipulate import checkpoint

        for _, modules in self.stages():
            x = checkpoint(nn.Sequential(*modules), x)
        return x

    def forward_features(self, x: Tensor) -> Tensor:
        """N×in_chans×H×W → C5's map, N×120×h×w (1×1 for the nominal size)."""
        raise NotImplementedError

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """C5's map, N×120×h×w → logits (or, with `pre_logits`, F6's state of 84 units).

        N×classes after pooling; N×classes×h×w with `global_pool=''`.
        """
        batch, rows, columns = x.shape[0], x.shape[2], x.shape[3]
        if self.global_pool == "avg":
            x = x.mean((2, 3))
        elif self.global_pool == "max":
            x = x.amax((2, 3))
        else:
            x = x.permute(0, 2, 3, 1).flatten(0, 2)  # every position is a row of its own
        x = self.act6(self.F6(x))
        if self.drop_rate > 0.0:
            x = nn.functional.dropout(x, p=self.drop_rate, training=self.training)
        if not pre_logits:
            x = self.output(x)
        if self.global_pool == "":
            x = x.unflatten(0, [batch, rows, columns]).permute(0, 3, 1, 2)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """N×in_chans×H×W, normalised as the model's cfg says → logits N×num_classes, larger is better."""
        return self.forward_head(self.forward_features(x))

    # -- timm's contract ----------------------------------------------------------------------------------------

    @torch.jit.ignore
    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The maps of C1, S2, C3, S4 and C5 (indices 0 … 4) on the way to the features.

        `indices`: which of them (an int n: the last n; None: all). `norm` is accepted and without effect, since there
        is no final norm. `output_fmt` must be 'NCHW'.
        """
        if output_fmt != "NCHW":
            raise InputError(f"output_fmt={output_fmt!r}: the maps are 'NCHW'")
        from timm.models._features import feature_take_indices

        take, last = feature_take_indices(len(self.feature_info), indices)
        x = self.check(x)
        maps: list[Tensor] = []
        for i, (_, modules) in enumerate(self.stages()):
            if stop_early and i > last:
                break
            for module in modules:
                x = module(x)
            if i in take:
                maps.append(x)
        return maps if intermediates_only else (x, maps)

    @torch.jit.ignore
    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop every layer after the last of `indices`; returns the indices that can still be taken."""
        from timm.models._features import feature_take_indices

        take, last = feature_take_indices(len(self.feature_info), indices)
        for names in list(self.layers.values())[last + 1 :]:
            for name in names:
                setattr(self, name, nn.Identity())
        if prune_head:
            self.F6 = nn.Identity()
            self.act6 = nn.Identity()
            self.reset_classifier(0, "")
        return take

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layer groups for layer-wise learning rates: C1-S2, C3-S4, C5, F6; timm puts the rest, the output, last."""
        return dict(
            stem=r"^(?:C1|S2)\.",
            blocks=[(r"^(?:C3|S4)\.", (0,)), (r"^C5\.", (1,)), (r"^F6\.", (2,))],
        )

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        return set()

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        self.grad_checkpointing = enable

    @torch.jit.ignore
    def get_classifier(self) -> nn.Module:
        """The output layer."""
        return self.output

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new output layer in place, on the same device, in the same dtype and mode.

        `num_classes=0` leaves F6's 84 units as the output, N×84 (or N×84×h×w with `global_pool=''`).
        """
        like, card = self.C1.weight, self.card.without_claims()
        output = self.make_output(num_classes, like.device, like.dtype).train(self.training)
        self._set_head(num_classes, self.global_pool if global_pool is None else global_pool)
        self.output = output
        # The old labels do not name the new classes. The preparation of pictures stays.
        self._card, self._card_weights = replace(card, labels=()), ""


def unwrapped(model: nn.Module) -> nn.Module:
    """The network inside `torch.compile`, `DataParallel` and `DistributedDataParallel`, in any order."""
    while not isinstance(model, LeNet5):
        inner = getattr(model, "_orig_mod", getattr(model, "module", None))
        if not isinstance(inner, nn.Module):
            break
        model = inner
    return model


def tag_cfg(cls: type[LeNet5], tag: str, labels: tuple[str, ...], description: str) -> dict[str, Any]:
    """What timm's registry holds of a tag of the network `cls`."""
    mean, std = cls.normalization
    return dict(
        file=str(cards.weight_path(f"{cls.architecture}.{tag}")),
        num_classes=len(labels),
        input_size=(1, 28, 28),
        pool_size=(1, 1),
        crop_pct=1.0,
        interpolation="bilinear",
        mean=(mean,),
        std=(std,),
        first_conv="C1",
        classifier="output",
        label_names=labels,
        license="apache-2.0",
        description=description,
        paper_name="Gradient-Based Learning Applied to Document Recognition",
        paper_ids="doi:10.1109/5.726791",
        origin_url="https://doi.org/10.1109/5.726791",
    )


def asked_tag(variant: str, given: Mapping[str, Any]) -> str | None:
    """The tag that a factory is `given` a pretrained_cfg of: by its name, or as a PretrainedCfg or a dict."""
    from timm.models._builder import resolve_pretrained_cfg

    tag: str | None = resolve_pretrained_cfg(variant, given.get("pretrained_cfg")).tag
    return tag


def build(cls: type[LeNet5], variant: str, pretrained: bool, **kwargs: Any) -> LeNet5:
    """Build `cls` the way timm does, after a check of the weight file that the cfg names.

    timm itself checks no hash of a local file and answers a missing one with an empty FileNotFoundError.

    The network gets its card: a shipped tag's, that of a folder, or the one that lies beside a weight file.

    Raises: WeightsError for a missing, damaged or altered file of ours, for weights of another network, and for a card
    that is damaged or belongs to other weights.
    """
    from timm.models._builder import build_model_with_cfg, resolve_pretrained_cfg

    cfg = resolve_pretrained_cfg(variant, kwargs.get("pretrained_cfg"), kwargs.get("pretrained_cfg_overlay"))
    file: Path | None = None
    card: Card | None = None
    these = "the weights"
    labels_alone = False
    if pretrained and cfg.file and not cfg.state_dict and cfg.source not in ("hf-hub", "local-dir"):
        file = Path(cfg.file)
        card = cards.verify(file) or _card_beside(file)
        overlay = dict(kwargs.get("pretrained_cfg_overlay") or {}, state_dict=read_state(file))
        kwargs["pretrained_cfg_overlay"] = overlay
        these = f"the weights in {file}"
    elif cfg.source == "local-dir":
        these = f"the weights in {cfg.file}"
        card, labels_alone = _card_in(Path(str(cfg.file)), cfg.label_names)
    try:
        model = build_model_with_cfg(cls, variant, pretrained, **kwargs)
        if isinstance(model, LeNet5) and card is not None:  # and not timm's wrapper for features_only
            whole = (model.num_classes, model.in_chans) == (cfg.num_classes, (cfg.input_size or (1,))[0])
            if whole and not {"mean", "std"} & (kwargs.get("pretrained_cfg_overlay") or {}).keys():
                _check_input(card, model)
            attach(model, card, pretrained and whole, labels_alone)
        if file is not None:
            model.pretrained_cfg.pop("state_dict")  # type: ignore[operator, union-attr]  # the network has them now
        return model
    except WeightsError as error:  # whoever raised it does not know the file
        raise WeightsError(str(error).replace("the weights", these, 1)) from error
    except LenetZooError:
        raise
    except UNREADABLE as error:
        if str(error).startswith("Error(s) in loading state_dict"):
            # torch lists every key over many lines; what was wrong fits on one.
            what = "; ".join(_MISMATCH.sub(_shapes, line.strip()) for line in str(error).splitlines()[1:3])
            raise WeightsError(f"{these} do not fit {variant} as it was asked for: {what}") from error
        if file is None:
            raise
        # If building it without weights fails too, that error is the right one (an unknown keyword, say).
        build_model_with_cfg(cls, variant, False, **kwargs)
        what = " ".join(str(error).split())
        raise WeightsError(f"{these} do not fit {variant} as it was asked for: {what}") from error


# What torch says of a tensor of another shape.
_MISMATCH = re.compile(r"size mismatch for (\S+): .*?Size\(\[(.*?)\]\).*?Size\(\[(.*?)\]\)\.")


def _shapes(found: re.Match[str]) -> str:
    given, wanted = (shape.replace(", ", "×") or "one number" for shape in found.groups()[1:])
    return f"{found[1]} is {given} and must be {wanted}"


def _check_input(card: Card, model: LeNet5) -> None:
    """Raises: WeightsError for a card that has other pictures go in than the network's cfg."""
    said, taken = card.input, input_of(model)
    if said is not None and (said.channels, said.mean, said.std) != (taken.channels, taken.mean, taken.std):
        raise WeightsError(
            f"the card of the weights has the input {said.as_dict()}, and their config {taken.as_dict()}: mend one of "
            "them"
        )


def _card_beside(file: Path) -> Card:
    """The card that lies beside a weight file; of a file without one nothing is known."""
    path = cards.beside(file)
    if path is None:
        return Card()
    card = Card.read(path)
    card.check_weights(file, path)
    return card


def _card_in(folder: Path, label_names: Any) -> tuple[Card, bool]:
    """The card of a folder that timm wrote: the labels of its config, and `card.json` if it has one.

    And whether it holds no more than these labels.
    """
    card = Card.parse({"labels": label_names or []}, f"{folder / 'config.json'}")
    path, file = folder / "card.json", folder / "model.safetensors"
    if not path.is_file():
        return card, True
    card = Card.read(path, defaults=card)
    if file.is_file():
        card.check_weights(file, path)
    return card, False


def check_keys(state_dict: Mapping[str, Tensor], model: nn.Module, variant: str) -> None:
    """Compare the keys of `state_dict` with `model`'s, except those of the output layer, and the kinds of numbers.

    When the number of classes differs, timm accepts missing keys, and the layers without weights would stay random.
    Numbers of another kind, such as those of a quantised network, torch would convert without a word.

    Raises: WeightsError that names a missing or an unknown key, or what are no floats.
    """
    own = model.state_dict()
    for key, value in state_dict.items():
        if key in own and own[key].is_floating_point() and not value.is_floating_point():
            kind = str(value.dtype).removeprefix("torch.")
            raise WeightsError(f"the weights are not {variant}'s: {key} is {kind}, and must be float")
    wanted, found = ({key for key in keys if not key.startswith("output.")} for keys in (own, state_dict))
    faults = [
        f"{verb} {min(keys)}" + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")
        for verb, keys in (("lack", wanted - found), ("have an unknown", found - wanted))
        if keys
    ]
    if faults:
        raise WeightsError(f"the weights are not {variant}'s: they {' and '.join(faults)}")
