"""How fast one network answers in several engines, as ratios measured in one run on one machine.

Times of two runs are not comparable: other jobs use the machine, and its clock changes. So every contestant takes its
turn in every round, and a ratio is the median over the rounds of the two times of one round.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from lenet_zoo.bench.contestants import OURS, SIDE, check_exporter, contestants, export_files, matrix_products
from lenet_zoo.bench.timing import Call, interleave, machine
from lenet_zoo.errors import InputError
from lenet_zoo.models._base import LeNet5
from lenet_zoo.pictures.preparation import LINE
from lenet_zoo.registry import create_model

__all__ = ["Inference", "Row", "multiply_adds", "time_inference"]

_PRODUCT = "matrix product,"


@dataclass(frozen=True)
class Row:
    """One contestant with one batch size and number of threads.

    Attributes:
        threads, batch: cores that it may use, and pictures per call.
        name: who.
        microseconds: per picture, median over the rounds.
        pictures_per_second: from that.
        ratio: how many times longer than `OURS` it takes, median over the rounds.
        share: of the machine's float32 matrix-product rate with that many threads, median over the rounds.
    """

    threads: int
    batch: int
    name: str
    microseconds: float
    pictures_per_second: float
    ratio: float
    share: float


@dataclass(frozen=True)
class Inference:
    """What `time_inference` measured.

    Attributes:
        model: the network's name.
        machine: processor and versions.
        rounds: how many turns each contestant had.
        multiply_adds: of the network, for one picture.
        ceiling: threads → multiply-adds per second of a float32 matrix product of size 1,024, median.
        rows: the results.
        absent: contestant → why it did not take part.
    """

    model: str
    machine: dict[str, str]
    rounds: int
    multiply_adds: int
    ceiling: dict[int, float]
    rows: list[Row]
    absent: dict[str, str]


def multiply_adds(model: LeNet5) -> int:
    """Multiply-adds for one picture of nominal size, in the layers that have kernels; 416,520 for lenet5_modern."""
    side = model.smallest_input
    x = torch.zeros(1, model.in_chans, side, side)
    with torch.inference_mode():
        maps = model.forward_intermediates(x, intermediates_only=True)
    places = {name: maps[i].shape[2:].numel() for i, name in ((0, "C1"), (2, "C3"), (4, "C5"))}
    layers = ("C1", "C3", "C5", "F6", "output")
    return sum(getattr(model, name).weight.numel() * places.get(name, 1) for name in layers)


def time_inference(
    name: str = "lenet5_modern",
    *,
    threads: Sequence[int] | None = None,
    batches: Sequence[int] = (1, 64, 1024),
    rounds: int = 15,
    compiled: bool = True,
    progress: Callable[[str], object] = lambda text: None,
) -> Inference:
    """Time a network in torch and in onnxruntime, side by side.

    Contestants: torch eager; torch.compile; a plain `torch.onnx.export` in onnxruntime; our float32 and int8 files in
    onnxruntime through `OnnxClassifier`; and, where they are installed, our files in OpenVINO, OpenCV, LiteRT and ncnn
    (the last two one picture at a time). Each is given the same random pictures in the form that it takes, float32 from
    0 to 1 or pixels, and gives logits. For a batch of 1, also the session alone and whole calls of
    `OnnxClassifier.predict`, as users make them.

    Args:
        name: a network of the zoo, with weights.
        threads: numbers of threads to measure with; by default 1 and all cores of this process.
        batches: numbers of pictures per call.
        rounds: turns of each contestant.
        compiled: torch.compile takes part (compiling takes some 20 s per batch size).
        progress: called with one line of text before each measurement.

    Raises:
        InputError: a number below 1, or a network that is not of the zoo.
        MissingExtraError: without onnxscript, which torch.onnx.export needs.
    """
    cores = int(machine()["cores"])
    threads = sorted({1, cores}) if threads is None else threads
    if not threads or not batches or min(rounds, *threads, *batches) < 1:
        raise InputError(f"threads={list(threads)}, batches={list(batches)}, rounds={rounds}: each at least 1")
    check_exporter()
    model = create_model(name, pretrained=True)
    if not isinstance(model, LeNet5):
        raise InputError(f"{name} is a {type(model).__name__}: lenet5_modern and lenet5_classic can be timed")
    if model.card.preparation.kind == LINE:
        raise InputError(f"{name} reads lines: take `lenet-zoo bench lines {name}`")
    before = torch.get_num_threads()
    rows: list[Row] = []
    absent: dict[str, str] = {}
    ceiling: dict[int, float] = {}
    macs = multiply_adds(model)
    try:
        with tempfile.TemporaryDirectory() as folder:
            files = export_files(model, Path(folder))
            for count in threads:
                # The matrix products take their turns among the others: a busy machine's clock is not an idle one's.
                products = {f"{_PRODUCT} {engine}": call for engine, call in matrix_products(count).items()}
                product_times: list[float] = []
                for batch in batches:
                    progress(f"{count} thread{'s' * (count > 1)}, batch {batch:,}")
                    times, without = _turns(model, files, products, count, batch, compiled, rounds)
                    absent |= without
                    # The machine's rate is that of the faster product, round by round.
                    product = [min(pair) for pair in zip(*(times.pop(who) for who in products), strict=True)]
                    product_times += product
                    rows += _rows(times, count, batch, macs, product)
                ceiling[count] = SIDE**3 / statistics.median(product_times)
    finally:
        torch.set_num_threads(before)
    return Inference(name, machine(), rounds, macs, ceiling, rows, absent)


def _turns(
    model: LeNet5,
    files: Mapping[str, Path],
    products: Mapping[str, Call],
    threads: int,
    batch: int,
    compiled: bool,
    rounds: int,
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds per call of contestants and products, and who cannot take part.

    The contestants end with this function, before the next ones are made: a network that OpenVINO compiles puts the
    main thread on a signal stack of its own and puts the former one back when it ends. With two of them alive at once
    the thread is left on a stack that is freed, and the next signal kills the process (seen with 2026.4).
    """
    calls, absent = contestants(model, files, threads, batch, compiled)
    return interleave({**calls, **products}, rounds), absent


def _rows(times: dict[str, list[float]], threads: int, batch: int, macs: int, product: list[float]) -> list[Row]:
    """Rows from seconds per call: `times` of each contestant and `product` of the matrix product, per round."""
    rows = []
    for name, seconds in times.items():
        per_picture = statistics.median(seconds) / batch
        ratio = statistics.median(one / ours for one, ours in zip(seconds, times[OURS], strict=True))
        ideal = [macs * batch * each / SIDE**3 for each in product]  # at the product's rate in the same round
        share = statistics.median(best / one for best, one in zip(ideal, seconds, strict=True))
        rows.append(Row(threads, batch, name, 1e6 * per_picture, 1 / per_picture, ratio, share))
    return rows
