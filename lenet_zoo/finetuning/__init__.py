"""From our weights to your classes: fine-tuning, and everything that a fine-tuned network leaves in its folder.

A folder holds, when it is finished, `model.safetensors` and `config.json` (what `timm.create_model("local-dir:FOLDER",
pretrained=True)` loads), `model.onnx` with the class names inside, `card.json`, `curves.png`, `confusion.png`,
`mistakes.png`, `log.jsonl` and `README.md`, the hub's model card. Until then it holds `checkpoint.pt`, from which
`resume` goes on. The card is written last: a folder with a card is complete. Of several ranks, only rank 0 writes to
it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from lenet_zoo.cards import Card
from lenet_zoo.datasets.loading import Dataset
from lenet_zoo.errors import InputError, TrainingError, WeightsError
from lenet_zoo.finetuning.results import RESULTS, write_results
from lenet_zoo.finetuning.splits import Splits, load_splits
from lenet_zoo.finetuning.start import Start
from lenet_zoo.models._card import attach
from lenet_zoo.pictures.preparation import Preparation
from lenet_zoo.registry import create_model
from lenet_zoo.training.checkpoint import RunFolder, check_folder, check_once, difference, sole_writer
from lenet_zoo.training.engine import fit
from lenet_zoo.training.monitor import Monitor, Result, TensorBoard
from lenet_zoo.training.processes import find_ranks
from lenet_zoo.training.publish import command_line, warn_at_chance
from lenet_zoo.training.recipe import Recipe, check_seed, load_recipe
from lenet_zoo.training.threads import check_threads, own_threads

__all__ = ["FineTuned", "Splits", "Start", "finetune", "for_splits", "learn", "load_finetuning", "load_splits"]

# An epoch has at least so many pictures: fewer are repeated within it, distorted anew each time.
_LEAST_PER_EPOCH = 2_000


@dataclass(frozen=True)
class FineTuned:
    """What `finetune` gives back.

    Attributes:
        folder: where its files are.
        model: the network, on the CPU, in evaluation mode; `model.card` is what `card.json` holds.
        card: the same as plain JSON values.
    """

    folder: Path
    model: nn.Module
    card: dict[str, Any] = field(repr=False)


def finetune(
    out: str | os.PathLike[str],
    *,
    dataset: str = "digits",
    data_dir: str | os.PathLike[str] | None = None,
    model: str = "lenet5_modern",
    weights: str | os.PathLike[str] | None = None,
    scratch: bool = False,
    in_chans: int = 1,
    prepare: str | None = None,
    freeze: str | Sequence[str] = (),
    layer_decay: float | None = None,
    few_shot: int | None = None,
    test_part: float | None = None,
    val_part: float = 0.1,
    seed: int = 0,
    recipe: str = "finetune",
    changes: Mapping[str, Any] | None = None,
    amp: bool = False,
    strict: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    threads: int | None = None,
    tensorboard: bool = False,
    data_root: str | os.PathLike[str] | None = None,
    download: bool = False,
    monitor: Monitor | None = None,
    command: str | None = None,
) -> FineTuned:
    """Fine-tune a network of the zoo to the classes of some data, and write everything that comes of it to a folder.

    The number of classes is the data's. Of a class that the network knows by the same name, the modern network keeps
    the row of its output layer; in the classic, which learns no output layer, classes that are single printable
    characters get their own bitmaps as RBF codes, and others the default codes. After an error, nothing is left in
    `out` unless a checkpoint was saved before.

    Args:
        out: the folder to make, outside `data_dir`; it must not hold another run.
        dataset: one of `lenet_zoo.datasets.loading.DATASETS`, unless `data_dir` is given.
        data_dir: pictures of one's own, a folder per class (see `lenet_zoo.datasets.folders.load_folder`).
        model: any name that `create_model` takes: an architecture, `architecture.tag`, 'local-dir:FOLDER', …
        weights: a weight file of one's own to start from, of the architecture of `model`; by default the weights that
            `model` names.
        scratch: start from random weights, for comparison.
        in_chans: 1 (grey), or 3 for pictures in colour (of `data_dir`).
        prepare: how the pictures of `data_dir` are prepared: 'character' (the default for one channel) or 'picture'
            (the default for three); see `load_folder`.
        freeze: layers that are not trained (by default none), by their names in any case ('c1,c3' or ['C1', 'C3']);
            'body' stands for all but the last layer that can learn: the output of the modern network, F6 of the
            classic.
        layer_decay: learning rate × this for each layer below the output; by default the recipe's.
        few_shot: train on so many pictures of each class, drawn by the seed, and hold none of them out; by default on
            all pictures.
        test_part: part of the pictures held out for testing where the data have no test set, always the same ones; by
            default half of 'digits' and a fifth of a folder.
        val_part: part of the training pictures held out for validation, drawn by the seed, where the data have no
            validation set. With 0, few_shot, or a class of fewer than 10 pictures there is none, and all epochs are
            trained.
        seed: of new weights, of the draws above, of order and distortions.
        recipe: a shipped recipe, or a .toml file.
        changes: fields of the recipe → values to set.
        amp: mixed precision, bfloat16.
        strict: stop at the first picture that cannot be used, in place of leaving it out.
        resume: go on with what `out` holds.
        overwrite: begin anew, whatever run `out` holds.
        device: 'auto' (the best that this machine has), 'cpu', 'cuda' or 'mps'.
        threads: of torch on the CPU; by default as many as pay, see `lenet_zoo.training.threads`.
        tensorboard: also write scalars for TensorBoard, to the folder `tensorboard` in `out`.
        data_root, download: as in `load_dataset`.
        monitor: an object whose methods are called as training goes on, on rank 0; by default nothing is said.
        command: the command that the card gives; by default the command line of this process.

    Returns: the folder, the network and its card.

    Raises:
        InputError: an argument out of range.
        DataError: data that cannot be used.
        WeightsError: weights that cannot be read, or are of another shape.
        TrainingError: `out` holds another run, or the run cannot go on.
        ArtifactError: the ONNX file is not the network.
        MissingExtraError: matplotlib, scikit-learn for 'digits', or TensorBoard is not installed.
    """
    from lenet_zoo import figures  # noqa: F401  fail early where matplotlib is missing

    check_threads(threads)
    check_once(resume, overwrite)
    check_folder(out)
    check_seed(seed)
    ranks = find_ranks(device)
    if monitor is None or ranks.rank > 0:
        monitor = Monitor()
    if layer_decay is not None:
        changes = {**(changes or {}), "layer_decay": layer_decay}
    if amp:
        changes = {**(changes or {}), "precision": "bf16"}
    preparation = Preparation(prepare or ("character" if in_chans == 1 else "picture"), in_chans)
    home = Path(out)
    if data_dir is not None and home.resolve().is_relative_to(Path(data_dir).resolve()):
        raise InputError(
            f"out={str(out)!r} is inside the pictures' folder {str(data_dir)!r}, where a later run would take it for a "
            "class: name a folder outside it"
        )
    if tensorboard and ranks.rank == 0:
        monitor = TensorBoard(monitor, home / "tensorboard")
    ranks.on_rank_zero(lambda: _check_target(home, resume, overwrite))
    start = Start.named(model, weights, scratch, in_chans, freeze)
    if data_dir is None and (in_chans != 1 or prepare is not None):
        raise InputError(f"in_chans and prepare are for pictures of your own (data_dir): {dataset} has its own form")
    # For a folder the preparation chooses the recipe's table: the folder's own name could be that of a data set.
    table = preparation.kind if data_dir is not None else dataset
    chosen = load_finetuning(recipe, start, table, changes)  # before pictures are read
    with ranks.first_on_its_machine() if download else nullcontext():
        data = load_splits(
            dataset,
            data_dir,
            preparation=preparation,
            few_shot=few_shot,
            test_part=test_part,
            val_part=val_part,
            seed=seed,
            strict=strict,
            data_root=data_root,
            download=download,
            monitor=monitor,
        )
    chosen = for_splits(chosen, data)
    run = {
        **chosen.as_dict(),  # whose `start` is empty: fine-tuning has its own
        "start": start.identity(),
        "split": data.fingerprint(),
        "prepare": preparation.kind if data_dir is not None else "",
        "seed": seed,
    }
    with sole_writer(home, ranks):
        if overwrite:
            ranks.on_rank_zero(lambda: RunFolder(home).clear(RESULTS))
        ranks.on_rank_zero(lambda: _check_target(home, resume))  # again: another job may have ended there meanwhile
        finished = ranks.on_rank_zero(lambda: _finished(home, run) if (home / "card.json").is_file() else None)
        if finished is not None:
            return finished
        folder = ranks.on_rank_zero(lambda: RunFolder(home))
        saved = [folder.checkpoint] if resume else []
        pictures = _repeated(data.train)
        with own_threads(threads, lambda: start.build(data.train), pictures, chosen, ranks, saved, monitor.say):
            try:
                result = learn(start, data, chosen, folder, seed=seed, device=device, resume=resume, monitor=monitor)
            finally:
                if ranks.rank == 0:
                    folder.drop_log_of_nothing()
            card = ranks.on_rank_zero(
                lambda: write_results(folder, start, data, result, chosen, recipe, run, command or command_line())
            )
        warn_at_chance(card, "test", monitor.say)
    attach(result.model, card)
    return FineTuned(home, result.model, card.as_dict())


def _check_target(home: Path, resume: bool, overwrite: bool = False) -> None:
    """Raise TrainingError if `home` cannot take this run without overwriting other files."""
    if home.exists() and not home.is_dir():
        raise TrainingError(f"{home} is a file: name a folder")
    if (home / "card.json").is_file():
        if not resume and not overwrite:
            raise TrainingError(f"{home} holds a finished network: begin anew with --overwrite, or name another folder")
    elif not (home / "checkpoint.pt").is_file():
        for name in RESULTS:
            if (home / name).exists():
                raise TrainingError(f"{home} holds a {name} that is not of this run: name another folder")


def _finished(home: Path, run: Mapping[str, Any]) -> FineTuned:
    """The result that is already there, if it is of the same run."""
    try:
        card = Card.read(home / "card.json")
        there = card.provenance.get("run")
    except WeightsError:
        there = None
    if not isinstance(there, dict):
        raise TrainingError(f"{home} holds the result of something else: name another folder")
    if what := difference(there, json.loads(json.dumps(run))):
        raise TrainingError(f"{home} holds another run: {what}; name another folder")
    (home / "checkpoint.pt").unlink(missing_ok=True)
    return FineTuned(home, create_model(f"local-dir:{home}", pretrained=True), card.as_dict())


def load_finetuning(name: str, start: Start, table: str, changes: Mapping[str, Any] | None) -> Recipe:
    """A recipe for fine-tuning; see `for_splits`.

    Args:
        name: a shipped recipe, or a .toml file.
        start: the network, whose architecture chooses a table of the recipe.
        table: chooses another table: the data set's name; for a folder 'character' or 'picture', its preparation.
        changes: fields to set.

    Raises: InputError for an unknown recipe, a field out of range, and for the recipe of 1998.
    """
    chosen = load_recipe(name, architecture=start.architecture, dataset=table, changes=changes)
    if not isinstance(chosen, Recipe):
        raise InputError(f"recipe {name!r} has the method {chosen.method}, which trains from the start: take another")
    if chosen.start:
        raise InputError(f"recipe {name!r} has start={chosen.start}: fine-tuning is told by model, so set start=")
    return chosen


def for_splits(recipe: Recipe, data: Splits) -> Recipe:
    """The recipe for these pictures: without validation pictures, which patience needs, every epoch is trained."""
    return recipe if data.validation is not None else replace(recipe, patience=0)


def learn(
    start: Start,
    data: Splits,
    recipe: Recipe,
    folder: RunFolder,
    *,
    seed: int = 0,
    device: str = "auto",
    resume: bool = False,
    monitor: Monitor | None = None,
) -> Result:
    """Only train: checkpoints and log go to `folder`, and nothing else. The options are those of `finetune`."""
    measured = {} if data.validation is None else {"validation": data.validation}
    return fit(
        lambda: start.build(data.train),
        _repeated(data.train),
        recipe,
        folder,
        seed=seed,
        measured=measured,
        ranks=find_ranks(device),
        resume=resume,
        identity=dict(start=start.identity(), split=data.fingerprint()),
        monitor=monitor,
    )


def _repeated(data: Dataset) -> Dataset:
    times = -(-_LEAST_PER_EPOCH // len(data))
    if times == 1:
        return data
    return replace(
        data,
        images=data.images.repeat(times, *[1] * (data.images.ndim - 1)),
        labels=data.labels.repeat(times),
    )
