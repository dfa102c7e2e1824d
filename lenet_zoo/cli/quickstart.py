"""`quickstart`: both networks from weights to ONNX to answers, on real digits that need no download."""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from lenet_zoo.cli._app import Json, app, console, messages, print_json, print_table

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class _Row:
    """One network's line of the table; `difference` is the largest between the logits of torch and onnxruntime."""

    network: str
    parameters: int
    file_bytes: int
    torch_correct: int
    onnxruntime_correct: int
    total: int
    difference: float
    pictures_per_second: float


@app.command(epilog="Example: lenet-zoo quickstart")
def quickstart(json: Json = False) -> None:
    """Load both networks, export them to ONNX, and read scikit-learn's 1,797 handwritten digits with both."""
    import numpy as np

    from lenet_zoo import OnnxClassifier, create_model, export_onnx
    from lenet_zoo.classify.torch import logits_of
    from lenet_zoo.datasets.loading import load_dataset
    from lenet_zoo.evaluation import evaluate
    from lenet_zoo.registry import list_models

    with messages.status("loading 1,797 digits"):
        digits = load_dataset("digits", train=False)
    pixels = digits.images.numpy()
    rows: list[_Row] = []
    answers: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in reversed(list_models()):
            with messages.status(f"{name}: weights → ONNX → answers"):
                model = create_model(name, pretrained=True)
                file = Path(folder) / f"{name}.onnx"
                export_onnx(model, file, input="pixels")
                classifier = OnnxClassifier(file)
                in_torch = logits_of(model)
                classifier.predict_logits(pixels)  # the first call allocates
                start = time.perf_counter()
                in_onnx = classifier.predict_logits(pixels)
                seconds = time.perf_counter() - start
                answers[name] = in_onnx.argmax(1)
                rows.append(
                    _Row(
                        network=name,
                        parameters=sum(p.numel() for p in model.parameters()),
                        file_bytes=file.stat().st_size,
                        torch_correct=evaluate(in_torch, digits).correct,
                        onnxruntime_correct=evaluate(lambda _, found=in_onnx: found, digits).correct,  # type: ignore[misc]
                        total=len(digits),
                        difference=float(np.abs(in_torch(pixels) - in_onnx).max()),
                        pictures_per_second=len(digits) / seconds,
                    )
                )
    if json:
        print_json([asdict(row) for row in rows])
        return
    table = Table(box=SIMPLE_HEAD, collapse_padding=True, pad_edge=False)  # fits a terminal of 80 columns
    table.add_column("network", no_wrap=True)
    for heading in ("parameters", "file", "torch", "onnx-\nruntime", "largest\ndifference", "pictures\na second"):
        table.add_column(Text(heading), justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.network,
            f"{row.parameters:,}",
            f"{row.file_bytes / 1000:.0f} kB",
            f"{100 * row.torch_correct / row.total:.2f} %",
            f"{100 * row.onnxruntime_correct / row.total:.2f} %",
            f"{row.difference:.1e}",
            f"{row.pictures_per_second:,.0f}",
        )
    print_table(table)
    chosen = _examples(np.stack(list(answers.values())), digits.labels.numpy())
    gallery = _gallery(pixels[chosen], [[str(a[i]) for a in answers.values()] for i in chosen], list(answers))
    console.print(Text(gallery))
    console.print("Neither network has seen these writers: both were trained on MNIST alone.")
    console.print("Next: lenet-zoo predict lenet5_modern.handwriting YOUR_PICTURE.png")


def _examples(answers: np.ndarray, labels: np.ndarray, count: int = 3) -> list[int]:
    """A few pictures to show: ones that both networks read, of different digits, and the first that one misread."""
    wrong = [int(i) for i in (answers != labels).any(0).nonzero()[0][:1]]
    chosen: list[int] = []
    for i in range(len(labels)):
        if len(chosen) + len(wrong) == count:
            break
        if i not in wrong and labels[i] not in labels[[*chosen, *wrong]] and labels[i] not in (0, 1):
            chosen.append(i)
    return chosen + wrong


def _gallery(pictures: np.ndarray, answers: list[list[str]], networks: list[str]) -> str:
    """Digits side by side, two rows of pixels a line, with the answer of each network below."""
    shades = " ░▒▓█"
    blocks = []
    for picture, found in zip(pictures, answers, strict=True):
        cells = picture[3:25, 3:25].reshape(11, 2, 22).mean(1) / 256 * len(shades)
        lines = ["".join(shades[int(level)] for level in row) for row in cells]
        lines += [f"{network[7:]}: {answer}".ljust(22) for network, answer in zip(networks, found, strict=True)]
        blocks.append(lines)
    return "\n".join("   ".join(parts).rstrip() for parts in zip(*blocks, strict=True)) + "\n"
