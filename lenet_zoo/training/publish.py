"""What a finished run says of itself: the parts of its card, and the curves of its training."""

from __future__ import annotations

import math
import os
import platform
import shlex
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from lenet_zoo import cards
from lenet_zoo._files import utf8_name
from lenet_zoo.cards import Card, sha256_of
from lenet_zoo.errors import WeightsError, to_install
from lenet_zoo.evaluation import Evaluation
from lenet_zoo.training.checkpoint import RunFolder, difference
from lenet_zoo.training.monitor import Monitor, Result

__all__ = [
    "card_in",
    "command_line",
    "draw_curves",
    "figures_of",
    "summary_card",
    "teacher_record",
    "versions",
    "warn_at_chance",
    "with_validation",
]


def summary_card(each: Sequence[Card], seeds: Sequence[int], split: str) -> Card:
    """The first seed's card, with mean and standard deviation over all: that seed ships, whatever the others reach."""
    accuracies = [card.metrics[split]["accuracy"] for card in each]
    over_all = dict(
        n=len(seeds),
        values=list(seeds),
        split=split,
        accuracy=accuracies,
        mean=statistics.fmean(accuracies),
        sd=statistics.stdev(accuracies),
        seconds=[card.provenance["seconds"] for card in each],
    )
    return replace(each[0], provenance={**each[0].provenance, "seeds": over_all})


def warn_at_chance(card: Card, split: str, say: Callable[[str], None]) -> None:
    """Say so when a run has learnt nothing that its figures on `split` would show."""
    figures = card.metrics[split]
    if "per_class" not in figures:  # of whole lines: there is no chance to speak of
        return
    commonest = max(one["total"] for one in figures["per_class"].values()) / figures["total"]
    # A network that always gives one answer is right so often; by luck, up to three standard deviations more. Of very
    # few pictures luck may get all, so they tell nothing.
    luck = 3 * math.sqrt(commonest * (1 - commonest) / figures["total"])
    if figures["accuracy"] <= commonest + max(luck, 0.05 * (1 - commonest)) < 1:
        lr = (card.recipe or {}).get("lr")
        say(
            f"the network is at chance: {100 * figures['accuracy']:.2f} % on {split}, and one answer for all pictures "
            f"gives {100 * commonest:.2f} %: take {f'a lower lr (--set lr={lr / 10:g}), ' if lr else ''}more epochs, "
            "or another recipe"
        )


def card_in(folder: Path) -> Card | None:
    """The card of an earlier run; None where there is none, or none that can be read."""
    try:
        return Card.read(folder / "card.json")
    except (FileNotFoundError, WeightsError):
        return None


def with_validation(card: Card, folder: Path) -> Card:
    """With the figures of the validation run in `folder`, if it was of the same recipe."""
    other = card_in(folder)
    if other is None:
        return card
    # Its teacher was trained without the validation pictures, too, so it was another one.
    there, here = (
        {**(one.recipe or {}), "name": "", "teacher": "", "architecture": one.architecture, "dataset": one.dataset}
        for one in (other, card)
    )
    if difference(there, here) is not None or "validation" not in other.metrics:
        return card
    return replace(card, metrics={**card.metrics, "validation": other.metrics["validation"]})


def teacher_record(file: Path, teacher: nn.Module) -> dict[str, Any]:
    """What a card says of the teacher: its hash and, from a card of its own, its figures, not where it lay."""
    record: dict[str, Any] = dict(
        architecture=teacher.architecture,
        params=sum(p.numel() for p in teacher.parameters()),
        sha256=sha256_of(file),
    )
    path = cards.beside(file)
    card = None if path is None else Card.read(path)
    if card is not None and card.sha256 == record["sha256"]:
        measured = {split: figures for split, figures in card.metrics.items() if isinstance(figures, dict)}
        record["accuracy"] = {split: figures.get("accuracy") for split, figures in measured.items()}
    return record


def figures_of(found: Evaluation, classes: Sequence[str]) -> dict[str, Any]:
    """Loss, accuracy and confusion as a card has them, and the accuracy of each class."""
    figures = found.as_dict()
    figures["per_class"] = {
        name: dict(correct=right, total=total, accuracy=right / total if total else None)
        for name, (right, total) in zip(classes, found.per_class, strict=True)
    }
    return figures


def versions() -> dict[str, str]:
    """What the weights were made with: packages, Python, machine."""
    return {
        **{name: version(name) for name in ("lenet-zoo", "torch", "torchvision", "timm", "numpy")},
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads"
        + (f" in each of {dist.get_world_size()} processes" if dist.is_initialized() else ""),
    }


def command_line() -> str:
    """This process's command line, without the folder that the program lies in and without the meeting point."""
    ours = Path(sys.argv[0]).name in ("lenet-zoo", "__main__.py")
    program = ["lenet-zoo"] if ours else [Path(sys.argv[0]).name]
    processes, here = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if processes > 1:
        machines = ["--nnodes", str(processes // here)] if processes > here else []
        program = ["torchrun", *machines, "--nproc-per-node", str(here), *(["-m", "lenet_zoo"] if ours else program)]
    return shlex.join(map(utf8_name, [*program, *sys.argv[1:]]))


def draw_curves(name: str, result: Result, folder: RunFolder, monitor: Monitor) -> None:
    """Write the run's curves as a picture, where matplotlib is installed."""
    try:
        from lenet_zoo import figures
    except ImportError:
        monitor.say(f"no {folder.curves.name}: the curves need matplotlib: {to_install('plots')}")
        return
    figures.save(figures.curves({name: result.history}), folder.curves)
