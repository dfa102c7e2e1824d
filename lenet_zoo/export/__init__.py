"""Files that need neither torch nor this package: written, compared with the model, and only then put in place.

ONNX:

- `graph.py`: what graphs are made of, in float32, float16 and int8
- `forms.py`: the networks as graphs, layer by layer and rewritten for speed
- `calibration.py`: the pictures that set int8's ranges
- `metadata.py`: what a file says about itself
- `verification.py`: whether a graph is the model

`targets/` has the others, for devices: C, LiteRT and ExecuTorch. `lenet_zoo.export(…)` is a call of this very module,
which stands for its function `export`: Python binds a package's part to its name in the package, and one name can mean
one thing only.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from torch import nn

from lenet_zoo._files import to_make_room, write_atomic
from lenet_zoo.cards import Card
from lenet_zoo.errors import ArtifactError, InputError
from lenet_zoo.export.calibration import bundled, fit, load_calibration, sample
from lenet_zoo.export.checks import (
    INPUTS,
    card_for,
    check_choice,
    check_path,
    check_ranges,
    float_copy,
    input_spec,
    is_whole,
)
from lenet_zoo.export.forms import build_graph
from lenet_zoo.export.graph import OPSET, OPSETS, InputSpec, Quantizer
from lenet_zoo.export.metadata import attach
from lenet_zoo.export.targets import c, executorch, litert
from lenet_zoo.export.verification import Parity, check_model, compare, open_session, verify
from lenet_zoo.models import LeNet5Classic, LeNet5Modern
from lenet_zoo.models._card import weights_sha256
from lenet_zoo.pictures.preparation import LINE

__all__ = ["Export", "Parity", "export", "export_onnx"]

_TARGETS = {"c": c, "litert": litert, "executorch": executorch}


@dataclass(frozen=True)
class Export:
    """What an export did; it stands for the file's path wherever a path is taken.

    Attributes:
        path: the file.
        size: in bytes.
        parity: how far the file is from the model, as measured.
    """

    path: Path
    size: int
    parity: Parity

    def __fspath__(self) -> str:
        return str(self.path)


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
    input_size: tuple[int, int | None] | None = None,
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
        probabilities: add an output `probabilities`: the softmax of `logits`, by the temperature and rubbish class of
            the card's `confidence` if it has one. It is what `predict_array` gives, unless the card has `looks`: a
            graph looks once.
        calibration: pictures that set int8's ranges: uint8 N×28×28 or N×C×H×W, a .npy file, or a folder of pictures,
            which are prepared as for `predict`; by default training pictures that travel with the package.
        fast: rewrite the graph for speed; the function stays the same.
        intermediates: add the outputs C1, S2, C3, S4, C5 and F6, each layer's state after squashing. The graph is then
            written layer by layer, since the fast form has no C1 map to show.
        input_size: (height, width), when it is not the one that the network's cfg gives; (height, None) for pictures of
            any width, which is what a network that reads numbers has by itself. Up to 640,000 pixels.
        card: facts of a network of your own for the file to carry, in place of `model.card`: 'labels' (one text per
            class), 'preparation', 'confidence', 'looks', 'dataset', 'metrics', 'licence', 'tag' and 'recipe', as in
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
        target="onnx",
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
    target: str = "onnx",
    precision: str = "fp32",
    calibration: object = None,
    card: Card | Mapping[str, Any] | None = None,
    input: str = "normalized",
    opset: int | None = None,
    batch: int | None = None,
    probabilities: bool = False,
    fast: bool = True,
    intermediates: bool = False,
    input_size: tuple[int, int | None] | None = None,
) -> Export:
    """Write a network as one file for `target`, compared with the network before it is put in place.

    Args:
        model: a network of the zoo, on any device, in any mode.
        path: the file to write; an older file there stays until the new one is complete.
        target: 'onnx', as `export_onnx` writes it; 'c': one C99 file that needs no other, with a function `lenet_read`
            from a picture's uint8 pixels to its class, and no malloc; 'litert': a file for LiteRT (.tflite), or
            'executorch': one for ExecuTorch (.pte), each of which needs the extra of that name. All but 'onnx' read
            pictures of the nominal size.
        precision: 'fp32' or 'int8' (for 'c' in integer arithmetic alone); for 'onnx' also 'fp16'.
        calibration, card: as for `export_onnx`.
        input, batch: as for `export_onnx`; without `batch`, files for LiteRT and ExecuTorch take one picture at a time.
            'c' has no choice of them.
        opset, probabilities, fast, intermediates, input_size: for 'onnx' alone, as for `export_onnx`.

    Returns:
        Path, size and measured parity; it can be used as the path.

    Raises:
        MissingExtraError: the target's converter is not installed.
        Others as `export_onnx`.
    """
    path = Path(path)
    check_choice("target", target, ("onnx", *_TARGETS))
    check_choice("input", input, tuple(INPUTS))
    if target != "onnx":
        alone: dict[str, object] = dict(
            opset=opset, probabilities=probabilities, intermediates=intermediates, fast=not fast, input_size=input_size
        )
        if target == "c":
            alone |= dict(batch=batch, input=input == "pixels_float")
            input = "pixels"
        wrong = [name for name, value in alone.items() if value]
        if wrong:
            raise InputError(f"{wrong[0]} is an option of target='onnx', and target={target!r} has no such choice")
    check_choice("precision", precision, _TARGETS[target].PRECISIONS if target != "onnx" else tuple(OPSET))
    if opset is None:
        opset = OPSET[precision]
    if not is_whole(opset) or opset not in OPSETS:
        raise InputError(f"opset={opset!r}: from {OPSETS[0]} to {OPSETS[-1]}")
    if batch is not None and not (is_whole(batch) and batch >= 1):
        raise InputError(f"batch={batch!r}: how many pictures at once, at least 1; or None for any number")
    if calibration is not None and precision != "int8":
        raise InputError("calibration pictures are for precision='int8'")
    if intermediates and precision != "fp32":
        raise InputError(f"intermediates=True and precision={precision!r} exclude each other: the maps are float32")
    opset, batch = int(opset), None if batch is None else int(batch)
    check_path(path)
    network = float_copy(model)
    known = card_for(network, card)
    if known.preparation.kind == LINE:
        if target != "onnx":
            one = f"target={target!r} reads pictures of one size"
            raise InputError(f"{one}, and this network lines of any width: take 'onnx'")
        input_size = (network.picture_size()[0], None) if input_size is None else input_size
        network.answer_every_2_px()
    spec = input_spec(network, input, batch if target == "onnx" else batch or 1, input_size)
    if calibration is None:
        pixels = bundled(known.dataset)
    else:
        preparation = known.preparation.fitted(spec.channels, min(spec.height, spec.width))
        pixels = load_calibration(calibration, preparation)
    shape = spec.channels, spec.height, spec.width
    real = fit(sample(pixels, math.prod(shape)), *shape)
    sha256 = weights_sha256(network.state_dict())
    if target != "onnx":
        data, answers = _TARGETS[target].build(network, known, spec, precision, sha256, real)
        parity = compare(lambda batch: [answers(batch)], ["logits"], network, spec, real, precision, what="file")
    else:
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
        attach(graph, known, spec, precision, sha256)
        data = check_model(graph)
        parity = verify(data, network, spec, real, precision, known.confidence)
    try:
        write_atomic(path, data)
    except OSError as error:
        raise ArtifactError(f"cannot write {path}: {error.strerror or error}{to_make_room(error)}") from error
    return Export(path, len(data), parity)


def _calibrate(network: LeNet5Modern | LeNet5Classic, spec: InputSpec, real: Any, fast: bool) -> Quantizer:
    """The range of every activation over the calibration pictures."""
    observed = build_graph(network, replace(spec, batch=None), fast=fast, observe=True)
    session = open_session(observed.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    values = session.run(None, {spec.name: spec.feed(real)})
    ranges = {name: (float(np.min(v)), float(np.max(v))) for name, v in zip(names, values, strict=True)}
    check_ranges([value for pair in ranges.values() for value in pair])
    return Quantizer(ranges)


class _Callable(ModuleType):
    """A module that can be called in place of its function `export`."""

    __call__ = staticmethod(export)


sys.modules[__name__].__class__ = _Callable
