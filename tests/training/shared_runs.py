"""Runs that several processes share, for `test_processes.py`: in one start, since a start takes seconds.

python shared_runs.py DATA_ROOT OUT, in one process or under torchrun: one folder in OUT for each of `RUNS`.
"""

import json
import sys
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from lenet_zoo import create_model
from lenet_zoo.datasets.loading import Dataset, load_dataset
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.distillation import TeacherLogits
from lenet_zoo.training.engine import fit
from lenet_zoo.training.processes import find_ranks, job
from lenet_zoo.training.recipe import Recipe
from lenet_zoo.training.teachers import Teacher

modern, classic = (partial(create_model, name) for name in ("lenet5_modern", "lenet5_classic"))
SGD = dict(optimizer="sgd", lr=0.05, momentum=0.9)
# Network and recipe; 257 pictures, so that the last batch of 64 is one picture, which most processes do not get.
RUNS = {
    "plain": (modern, Recipe(epochs=2, batch_size=64, **SGD)),
    "rich": (
        modern,
        Recipe(
            epochs=3, batch_size=64, lr=0.003, schedule="cosine", warmup=0.1, weight_decay=0.01, ema=0.9, drop_rate=0.3,
            clip_norm=1.0, label_smoothing=0.05, class_weights="balanced", rotation=10, shift=1, elastic=0.5,
        ),
    ),
    "classic": (classic, Recipe(epochs=2, batch_size=64, optimizer="sgd", lr=0.001, rotation=10)),
    "pairs": (modern, Recipe(epochs=1, batch_size=2, portion=0.25, **SGD)),
    "patience": (modern, Recipe(epochs=9, batch_size=64, patience=1, optimizer="sgd", lr=0.8)),
    "teacher": (Teacher, Recipe(epochs=2, batch_size=86, optimizer="sgd", lr=0.01)),
    "normalised": (modern, Recipe(epochs=2, batch_size=86, batch_norm=True, ema=0.9, optimizer="sgd", lr=0.05)),
    "normalised-classic": (classic, Recipe(epochs=2, batch_size=86, batch_norm=True, optimizer="sgd", lr=0.001)),
    "pupil": (modern, Recipe(epochs=2, batch_size=64, teacher="t", distill=0.8, temperature=2, views=2, **SGD)),
}  # fmt: skip


def main(root: str, out: Path) -> None:
    torch.set_num_threads(1)
    ranks = find_ranks("cpu")
    data = load_dataset("mnist", train=True, root=root)
    parts = [
        Dataset("digits", data.images[part], data.labels[part], data.classes)
        for part in (slice(0, 257), slice(257, 357))
    ]
    for name, (build, recipe) in RUNS.items():
        folder = ranks.on_rank_zero(lambda name=name: RunFolder(out / name))
        torch.manual_seed(7)
        logits = TeacherLogits([Teacher().eval()], parts[0].images, recipe.augmentation, out / name / "answers", ranks)
        result = fit(
            build, parts[0], recipe, folder, seed=3, measured={"validation": parts[1]}, ranks=ranks,
            teacher_logits=logits if recipe.teacher else None,
        )  # fmt: skip
        # What every rank ends with, not only the one that writes.
        mine = out / name / f"process-{ranks.rank}"
        mine.mkdir()
        save_file(result.model.state_dict(), mine / "model.safetensors")
        (mine / "history.json").write_text(json.dumps(result.history))


if __name__ == "__main__":
    with job("cpu"):
        main(sys.argv[1], Path(sys.argv[2]))
