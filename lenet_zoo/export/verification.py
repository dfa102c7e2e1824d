"""Compare a graph with its model: the very bytes that are about to be written, before they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from lenet_zoo._onnxruntime import load_onnxruntime
from lenet_zoo.cards import Confidence
from lenet_zoo.classify.confidence import probabilities
from lenet_zoo.errors import ArtifactError
from lenet_zoo.export.graph import InputSpec

__all__ = ["Parity", "check_model", "compare", "open_session", "verify"]

# The largest difference allowed, as a part of the largest logit (of 10 at least). Float32 sums in another order differ
# by about 1e-6 of it.
TOLERANCE = 1e-5
# Of the graph's probabilities and ours, both from the same logits in float32.
PROBABILITY_TOLERANCE = 1e-4
# The rounding errors of float16 add up to about 1e-3 of it.
TOLERANCE_HALF = 1e-2
# An int8 graph may change the label of 5 % of all pictures. Of the few that are compared here, it may change more by
# chance: it is refused when a graph that changes exactly 5 % would reach that number less than once in a hundred
# times. A wrong scale or zero point is found that way; how accurate a graph is, a test set has to measure.
INT8_CHANGED, INT8_CHANCE = 0.05, 0.01
# At once: 2,551 pictures of 28×28. The maps of 200 of 448×448 took 6 GB.
MOST_PIXELS = 2_000_000


@dataclass(frozen=True)
class Parity:
    """How far the graph is from the model.

    Attributes:
        pictures: how many were compared, real and random ones.
        largest_difference: of any logit.
        largest_logit: of the model, in absolute value.
        agreement: the share of real pictures with the same best class.
    """

    pictures: int
    largest_difference: float
    largest_logit: float
    agreement: float


def check_model(model: onnx.ModelProto) -> bytes:
    """onnx's full check and strict shape inference; returns the bytes.

    Raises: ArtifactError with the first line of what onnx found.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ArtifactError(f"the graph is not valid ONNX: {str(error).strip().splitlines()[0]}") from error
    return model.SerializeToString(deterministic=True)


def open_session(data: bytes) -> Any:
    """An onnxruntime session on one thread of the CPU."""
    onnxruntime = load_onnxruntime()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def most_changed(pictures: int) -> int:
    """How many of so many labels an int8 graph may change: the least k with P(more than k) below 1 % at 5 % each."""
    tail = 1.0
    for k in range(pictures + 1):
        tail -= math.comb(pictures, k) * INT8_CHANGED**k * (1 - INT8_CHANGED) ** (pictures - k)
        if tail < INT8_CHANCE:
            return k
    return pictures


def verify(
    data: bytes,
    model: nn.Module,
    spec: InputSpec,
    real: NDArray[np.uint8],
    precision: str,
    confidence: Confidence | None = None,
) -> Parity:
    """Compare graph and model on real and random pictures, in batches of 1, 2, 17 and all, or of the graph's own size.

    Args:
        data: the serialized graph.
        model: in evaluation mode, float32, on the CPU.
        spec: the graph's input.
        real: uint8 N×C×H×W pictures like those that the network is made for.
        precision: 'fp32', 'fp16' or 'int8'.
        confidence: how the logits become the graph's `probabilities`, if it has that output.

    Raises: ArtifactError with the largest difference.
    """
    session = open_session(data)
    outputs = [output.name for output in session.get_outputs()]

    def answers(batch: NDArray[Any]) -> list[Any]:
        found: list[Any] = session.run(None, {spec.name: batch})
        return found

    return compare(answers, outputs, model, spec, real, precision, confidence)


def compare(
    answers: Callable[[NDArray[Any]], Sequence[NDArray[Any]]],
    outputs: Sequence[str],
    model: nn.Module,
    spec: InputSpec,
    real: NDArray[np.uint8],
    precision: str,
    confidence: Confidence | None = None,
    what: str = "graph",
) -> Parity:
    """`verify` of anything that answers: `answers` maps a batch to `outputs`; `what` an error calls it."""

    piece = max(1, MOST_PIXELS // (real.shape[-2] * real.shape[-1]))

    def answer(batch: NDArray[Any]) -> list[NDArray[Any]]:
        size = spec.batch or piece
        runs = [answers(batch[i : i + size]) for i in range(0, len(batch), size)]
        return [np.concatenate(parts) for parts in zip(*runs, strict=True)]

    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (17, *real.shape[1:]), dtype=np.uint8)
    batches = [spec.feed(batch) for batch in (real[:1], noise[:2], noise, real)]
    if spec.name == "input":
        # A float graph may be given values that never were pixels.
        batches.insert(0, random.standard_normal((3, *real.shape[1:])).astype(np.float32))
    if spec.any_width:
        line = np.concatenate(list(real[:7]), axis=-1)[None]
        batches[:0] = [spec.feed(line[..., :width]) for width in (line.shape[-1], 2 * real.shape[-1] + 1)]
    if spec.batch:
        # Each batch as often over as fills whole batches of the graph's.
        batches = [np.resize(x, (-(-len(x) // spec.batch) * spec.batch, *x.shape[1:])) for x in batches]
    difference = largest = 0.0
    for batch in batches:
        answered = dict(zip(outputs, answer(batch), strict=True))
        found = answered[outputs[0]]
        x = spec.normalize(batch) if spec.name == "pixels" else batch
        with torch.inference_mode():
            logits = torch.cat([model(part) for part in torch.from_numpy(x).split(piece)])
        if found.shape != tuple(logits.shape):
            raise ArtifactError(f"the {what}'s answer has shape {found.shape}, the model's {tuple(logits.shape)}")
        gap = np.abs(found - logits.numpy()).max()
        # max() would drop a NaN.
        difference = max(difference, float(gap)) if np.isfinite(gap) else float("nan")
        if np.isnan(difference):
            raise ArtifactError(f"the {what}'s answer is not finite, or the model's is not: nan or inf among them")
        if "probabilities" in answered:
            # Of the graph's own logits, so that int8's are checked as exactly.
            gap = np.abs(answered["probabilities"] - probabilities(found.copy(), confidence)).max()
            if not gap <= PROBABILITY_TOLERANCE:
                raise ArtifactError(f"the graph's probabilities are not those of its logits: they differ by {gap:.3g}")
        largest = max(largest, float(logits.abs().max()))
    # The last batch is the real pictures.
    agreement = float((found.argmax(1) == logits.numpy().argmax(1)).mean())
    parity = Parity(sum(len(batch) for batch in batches), difference, largest, agreement)
    tolerance = {"fp32": TOLERANCE, "fp16": TOLERANCE_HALF}.get(precision, np.inf)
    if difference > tolerance * max(10.0, largest):
        raise ArtifactError(
            f"the {what} is not the model: logits differ by up to {difference:.3g}, where the largest is {largest:.3g}"
        )
    if precision == "int8" and round((1 - agreement) * len(found)) > most_changed(len(found)):
        raise ArtifactError(
            f"the int8 {what} is too far from the model: {agreement:.1%} of {len(found)} pictures keep their label, "
            f"and logits differ by up to {difference:.3g}; calibrate with pictures like those that the network sees"
        )
    return parity
