"""Does fine-tuning pay? Few and many pictures per class, from our weights and from scratch, over several seeds.

    python examples/does_it_pay.py                        # writes docs/figures/finetune.json; goes on where it stopped
    python examples/does_it_pay.py --out try.json --datasets digits --seeds 2

The table in the docs is made from that file. Fine-tuning starts from MNIST's weights; each seed draws other pictures.
The classes of `digits` are MNIST's, so the output layer is kept; those of Fashion-MNIST are new to it.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from lenet_zoo._files import write_atomic
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.evaluation import evaluate
from lenet_zoo.finetuning import Start, for_splits, learn, load_finetuning, load_splits
from lenet_zoo.training.checkpoint import RunFolder

UNDISTORTED = dict.fromkeys(("rotation", "scale", "aspect", "slant", "shift"), 0)
# name → how it starts, and what it changes in the recipe. Fresh weights want one learning rate for all layers.
METHODS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "scratch, undistorted": (dict(scratch=True), dict(layer_decay=1, **UNDISTORTED)),
    "scratch": (dict(scratch=True), dict(layer_decay=1)),
    "head": (dict(freeze="body"), {}),
    "full": ({}, {}),
}


def measure(
    model: str, dataset: str, size: int | None, method: str, seed: int, data_root: str | None
) -> dict[str, Any]:
    """One run: accuracy on the test pictures, and the seconds of training."""
    options, changes = METHODS[method]
    start = Start.named(model, **options)
    data = load_splits(dataset, few_shot=size, seed=seed, data_root=data_root)
    if len(data.train) > 20_000:
        changes = {**changes, "epochs": 10}
    recipe = for_splits(load_finetuning("finetune", start, dataset, changes), data)
    with tempfile.TemporaryDirectory() as folder:
        result = learn(start, data, recipe, RunFolder(folder), seed=seed)
    return dict(accuracy=evaluate(logits_of(result.model), data.test).accuracy, seconds=round(result.seconds, 2))


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    accuracies = [run["accuracy"] for run in runs]
    return dict(
        accuracy=accuracies,
        mean=statistics.fmean(accuracies),
        sd=statistics.stdev(accuracies) if len(runs) > 1 else None,
        seconds=[run["seconds"] for run in runs],
    )


def unchanged(model: str, dataset: str, data_root: str | None) -> float | None:
    """The accuracy without any training, where the classes are the network's own."""
    start = Start.named(model)
    data = load_splits(dataset, few_shot=1, data_root=data_root)
    if start.known != data.test.classes:
        return None
    return evaluate(logits_of(start.build(data.train).eval()), data.test).accuracy


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "figures" / "finetune.json")
    parser.add_argument("--datasets", nargs="+", default=["digits", "fashion_mnist"])
    parser.add_argument("--sizes", nargs="+", default=["1", "5", "10", "50", "all"], help="pictures per class")
    parser.add_argument("--model", default="lenet5_modern.mnist")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data-root")
    args = parser.parse_args(argv)

    run = dict(model=args.model, sha256=Start.named(args.model).sha256, seeds=args.seeds)
    found: dict[str, Any] = dict(run=run, machine={}, versions={}, unchanged={}, results={})
    if args.out.is_file():
        before = json.loads(args.out.read_text(encoding="utf-8"))
        found = before if before["run"] == run else found  # other weights: measure everything again
    found["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    found["versions"] = {name: version(name) for name in ("lenet-zoo", "torch", "timm")}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    for dataset in args.datasets:
        found["unchanged"][dataset] = unchanged(args.model, dataset, args.data_root)
        for size in args.sizes:
            for method in METHODS:
                cells = found["results"].setdefault(dataset, {}).setdefault(size, {})
                if method in cells:
                    continue
                count = None if size == "all" else int(size)
                runs = [measure(args.model, dataset, count, method, s, args.data_root) for s in range(args.seeds)]
                cells[method] = summary(runs)
                write_atomic(args.out, json.dumps(found, indent=1) + "\n")
                mean, sd = 100 * cells[method]["mean"], 100 * (cells[method]["sd"] or 0)
                seconds = statistics.fmean(cells[method]["seconds"])
                print(f"{dataset}, {size} per class, {method}: {mean:.2f} ± {sd:.2f} %, {seconds:.1f} s", flush=True)
    print(f"{args.out} has all of these; with another --out all is measured anew")


if __name__ == "__main__":
    main()
