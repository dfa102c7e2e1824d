"""ONNX files that need neither torch nor this package: written, compared with the model, and only then put in place.

- `graph.py`: what graphs are made of, in float32, float16 and int8
- `forms.py`: the networks as graphs, layer by layer and rewritten for speed
- `calibration.py`: the pictures that set int8's ranges
- `metadata.py`: what a file says about itself
- `verification.py`: whether a graph is the model
"""

from __future__ import annotations

import copy
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lenet_zoo._files import write_atomic
from lenet_zoo.cards import Card
from lenet_zoo.errors import ArtifactError, InputError, WeightsError
from lenet_zoo.export.calibration import bundled, fit, load_calibration, sample
from lenet_zoo.export.forms import build_graph
from lenet_zoo.export.graph import OPSET, OPSETS, InputSpec, Quantizer
from lenet_zoo.export.metadata import attach
from lenet_zoo.export.verification import Parity, check_model, open_session, verify
from lenet_zoo.models import LeNet5Classic, LeNet5Modern
from lenet_zoo.models._card import weights_sha256

__all__ = ["Export", "Parity", "export", "export_onnx"]


@dataclass(frozen=True)
class Export:
    """What an export did.

    Attributes:
        path: the file.
        size: in bytes.
        parity: how far the file is from the model, as measured.
    """

    path: Path
    size: int
    parity: Parity


def export_onnx(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    input: str = "normalized",
    precision: str = "fp32",
    opset: int | None = None,
    batch: int | None = None,
    probabilities: bool = False,
    calibration: object = None,
    fast: bool = True,
    intermediates: bool = False,
    input_size: tuple[int, int] | None = None,
    card: Card | Mapping[str, Any] | None = None,
) -> Path:
    """Write a network as one self-contained ONNX file, compared with the network before it is put in place.

    Args:
        model: a network of the zoo, on any device, in any mode (both stay as they are): pretrained, fine-tuned, or with
            other `num_classes`, `in_chans`, `global_pool`, `pad` or `characters`.
        path: the file to write; an older file there stays until the new one is complete.
        input: 'normalized' for an input `input`, float32 [batch, C, H, W] as the model takes it; 'pixels' for an
            input `pixels`, uint8 [batch, C, H, W], 0 background and 255 ink, with the normalisation in the graph; or
            'pixels_float' for the same in float32, for programs that feed no integers.
        precision: 'fp32'; 'fp16': weights and maps in float16, half the size; or 'int8': weights and activations in 8
            bits, some 30 % of the size. The output layer and the outputs are float32 in all, and the input as above.
        opset: the version of ONNX's operators, from 13 to 21; by default 17, and 19 for int8. The file's IR version is
            the oldest that allows it.
        batch: a fixed number of pictures in place of any, for devices that want one.
        probabilities: add an output `probabilities`, what `predict_array` gives: the softmax of `logits`, by the
            temperature and rubbish class of the card's `confidence` if it has one.
        calibration: pictures that set int8's ranges: uint8 N×28×28 or N×C×H×W, a .npy file, or a folder of pictures,
            which are prepared as for `predict`; by default training pictures that travel with the package.
        fast: rewrite the graph for speed; the function stays the same.
        intermediates: add the outputs C1, S2, C3, S4, C5 and F6, each layer's state after squashing. The graph is then
            written layer by layer, since the fast form has no C1 map to show.
        input_size: (height, width), when it is not the one that the network's cfg gives.
        card: facts of a network of your own for the file to carry, in place of `model.card`: 'labels' (one text per
            class), 'preparation', 'confidence', 'dataset', 'metrics', 'licence', 'tag' and 'recipe', as in
            `lenet_zoo.model_card`.

    Returns:
        The path. The output is `logits` [batch, classes] (`features` [batch, 84] for num_classes=0; [batch, classes,
        h, w] for global_pool='').

    Raises:
        InputError: an option that is not one of those above, or a model that is not a whole network of the zoo.
        WeightsError: a weight that is not finite.
        ArtifactError: a graph that differs from the model (the text has the largest difference), or a target that
            cannot be written. No file is left then, and an older one stays.
    """
    done = export(
        model,
        path,
        input=input,
        precision=precision,
        opset=opset,
        batch=batch,
        probabilities=probabilities,
        calibration=calibration,
        fast=fast,
        intermediates=intermediates,
        input_size=input_size,
        card=card,
    )
    return done.path


def export(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    input: str = "normalized",
    precision: str = "fp32",
    opset: int | None = None,
    batch: int | None = None,
    probabilities: bool = False,
    calibration: object = None,
    fast: bool = True,
    intermediates: bool = False,
    input_size: tuple[int, int] | None = None,
    card: Card | Mapping[str, Any] | None = None,
) -> Export:
    """`export_onnx`, with its measurements."""
    path = Path(path)
    _check_choice("input", input, tuple(_INPUTS))
    _check_choice("precision", precision, ("fp32", "fp16", "int8"))
    if opset is None:
        opset = OPSET[precision]
    if opset not in OPSETS:
        raise InputError(f"opset={opset!r}: from {OPSETS[0]} to {OPSETS[-1]}")
    if batch is not None and (not isinstance(batch, int) or batch < 1):
        raise InputError(f"batch={batch!r}: how many pictures at once, at least 1; or None for any number")
    if calibration is not None and precision != "int8":
        raise InputError("calibration pictures are for precision='int8'")
    if intermediates and precision != "fp32":
        raise InputError(f"intermediates=True and precision={precision!r} exclude each other: the maps are float32")
    _check_target(path)
    network = _float_copy(model)
    known = _card(network, card)
    spec = _input_spec(network, input, batch, input_size)
    if calibration is None:
        pixels = bundled(known.dataset)
    else:
        preparation = known.preparation.fitted(spec.channels, min(spec.height, spec.width))
        pixels = sample(load_calibration(calibration, preparation))
    real = fit(pixels, spec.channels, spec.height, spec.width)
    quantizer = _calibrate(network, spec, real, fast) if precision == "int8" else None
    graph = build_graph(
        network,
        spec,
        fast=fast and not intermediates,
        probabilities=probabilities,
        confidence=known.confidence,
        intermediates=intermediates,
        quantizer=quantizer,
        half=precision == "fp16",
        opset=opset,
    )
    attach(graph, known, spec, precision, weights_sha256(network.state_dict()))
    data = check_model(graph)
    parity = verify(data, network, spec, real, precision, known.confidence)
    try:
        write_atomic(path, data)
    except OSError as error:
        raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from error
    return Export(path, len(data), parity)


# Option → name and dtype of the graph's input.
_INPUTS = {"normalized": ("input", "float32"), "pixels": ("pixels", "uint8"), "pixels_float": ("pixels", "float32")}


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name}={value!r}: one of {', '.join(map(repr, choices[:-1]))} and {choices[-1]!r}")


def _check_target(path: Path) -> None:
    """Fail early: check that the target is writable before exporting."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise ArtifactError(f"cannot write {path}: there is no folder {path.parent}") from None
        return
    except OSError as error:
        raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from error
    if not stat.S_ISREG(mode):
        raise ArtifactError(f"cannot write {path}: it is {'a folder' if stat.S_ISDIR(mode) else 'not a regular file'}")


def _float_copy(model: nn.Module) -> LeNet5Modern | LeNet5Classic:
    """The network inside compiled and parallel wrappers, as a float32 copy on the CPU in evaluation mode.

    A copy, so that the model of a running training keeps its device, mode and graph.
    """
    inner = model
    # In either order, and as many as there are.
    while (wrapped := getattr(inner, "_orig_mod", getattr(inner, "module", None))) is not None:
        inner = wrapped
    if not isinstance(inner, LeNet5Modern | LeNet5Classic):
        raise InputError(f"a {type(inner).__name__} cannot be exported: give lenet5_modern or lenet5_classic, whole")
    for name, value in inner.state_dict().items():
        if value.is_meta:
            raise WeightsError(f"{name} is on the meta device and has no values: load weights before exporting")
        bad = int((~torch.isfinite(value)).sum())
        if bad:
            raise WeightsError(f"{name} has {bad} values that are not finite (nan or inf): train it again")
    return copy.deepcopy(inner).to("cpu", torch.float32).eval()


def _card(network: LeNet5Modern | LeNet5Classic, given: Card | Mapping[str, Any] | None) -> Card:
    """The card that the file is to carry: the network's, or what the user says of it."""
    if given is None:
        return network.card
    card = given if isinstance(given, Card) else Card.parse(given, "the card", error=InputError)
    classes = network.num_classes
    if card.labels and len(card.labels) != classes:
        raise InputError(f"{len(card.labels)} labels for {classes} classes: give one text per class")
    fitted = card.fitted(classes, network.in_chans, min(network.picture_size()))
    return replace(fitted, architecture=network.architecture)


def _input_spec(
    network: LeNet5Modern | LeNet5Classic, input: str, batch: int | None, size: tuple[int, int] | None
) -> InputSpec:
    convention = network.card.input
    assert convention is not None  # a network's own card always has one
    least = network.smallest_input
    height, width = size or (convention.height, convention.width)
    if min(height, width) < least:
        raise InputError(f"input_size={(height, width)}: the network takes pictures of at least {least}×{least}")
    mean, std = convention.mean, convention.std
    if len(mean) != network.in_chans or len(std) != network.in_chans or min(std) <= 0:
        raise InputError(f"the cfg's mean {mean} and std {std} do not fit {network.in_chans} channels")
    return InputSpec(network.in_chans, height, width, mean, std, *_INPUTS[input], batch)


def _calibrate(network: LeNet5Modern | LeNet5Classic, spec: InputSpec, real: Any, fast: bool) -> Quantizer:
    """The range of every activation over the calibration pictures."""
    observed = build_graph(network, replace(spec, batch=None), fast=fast, observe=True)
    session = open_session(observed.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    values = session.run(None, {spec.name: spec.feed(real)})
    return Quantizer({name: (float(np.min(v)), float(np.max(v))) for name, v in zip(names, values, strict=True)})
