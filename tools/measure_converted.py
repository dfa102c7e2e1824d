"""What files for LiteRT and ExecuTorch cost and gain, beside ONNX → docs/data/converted.json.

    python tools/measure_converted.py litert|executorch     # in an environment that has the target's extra

Both networks, float32 and int8: size, answers to MNIST's test set (from LENET_ZOO_DATA), and the time of one picture on
one thread, also as the ratio to our float32 ONNX file in onnxruntime. The files take turns, and of each the quickest
call of 10,000 counts: other jobs on the machine make calls longer, never shorter.
"""

import json
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lenet_zoo
from lenet_zoo._files import write_atomic
from lenet_zoo.bench.contestants import open_litert
from lenet_zoo.bench.timing import machine
from lenet_zoo.datasets.loading import load_dataset
from lenet_zoo.export.targets.conversion import quiet
from lenet_zoo.export.verification import open_session

TARGET = Path(__file__).parents[1] / "docs" / "data" / "converted.json"
RUNTIMES = {"onnx": "onnxruntime", "litert": "ai-edge-litert", "executorch": "executorch"}


def opened(target: str, path: Path) -> Any:
    """uint8 1×1×28×28 → logits, on one thread."""
    if target == "onnx":
        session = open_session(path.read_bytes())
        return lambda x: session.run(None, {"pixels": x})[0]
    if target == "litert":
        return open_litert(path, threads=1)
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(path).load_method("forward")
    return lambda x: method.execute([torch.from_numpy(x)])[0].numpy().copy()


def fastest(runs: dict[str, Any], x: np.ndarray) -> dict[str, float]:
    """Seconds of the quickest call."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(20):
        for name, run in runs.items():
            for _ in range(500):
                start = time.perf_counter()
                run(x)
                best[name] = min(best[name], time.perf_counter() - start)
    return best


def main() -> None:
    targets = ("onnx", sys.argv[1])
    data = load_dataset("mnist", train=False)
    pixels, labels = data.images.numpy()[:, None], data.labels.numpy()
    table = json.loads(TARGET.read_text()) if TARGET.exists() else {"rows": []}
    with tempfile.TemporaryDirectory() as folder:
        for name in lenet_zoo.list_models():
            model = lenet_zoo.create_model(name, pretrained=True)
            runs, rows = {}, []
            for target in targets:
                for precision in ("fp32", "int8"):
                    path = Path(folder) / f"{name}-{target}-{precision}"
                    lenet_zoo.export(model, path, target=target, precision=precision, input="pixels")
                    with quiet():
                        run = runs[f"{target} {precision}"] = opened(target, path)
                    found = np.concatenate([run(x[None]) for x in pixels]).argmax(1)
                    exact = found if not rows else exact  # noqa: F821 — of onnx fp32, the first
                    row = dict(name=name, target=target, precision=precision, runtime=version(RUNTIMES[target]))
                    row |= dict(bytes=path.stat().st_size, correct=int((found == labels).sum()), total=len(labels))
                    rows.append(row | dict(same=int((found == exact).sum())))
            times = fastest(runs, pixels[:1].copy())
            for row, seconds in zip(rows, times.values(), strict=True):
                row["microseconds"] = 1e6 * seconds
                row["ratio"] = seconds / times["onnx fp32"]
                print(row, flush=True)
            kept = [row for row in table["rows"] if (row["name"], row["measured_with"]) != (name, targets[1])]
            table["rows"] = kept + [dict(row, measured_with=targets[1]) for row in rows]
    table["machine"] = machine()
    write_atomic(TARGET, json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
