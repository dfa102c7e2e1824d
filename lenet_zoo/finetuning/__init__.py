"""From our weights to your classes: fine-tuning, and everything that a fine-tuned network leaves in its folder.

A folder holds, when it is finished, `model.safetensors` and `config.json` (what `timm.create_model("local-dir:FOLDER",
pretrained=True)` loads), `model.onnx` with the class names inside, `card.json`, `curves.png`, `confusion.png`,
`mistakes.png` and `log.jsonl`. Until then it holds `checkpoint.pt`, from which `resume` goes on. The card comes last: a
folder with a card is whole. Of several ranks rank zero alone touches it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.folders import few_per_class, load_folder, split_by_class
from lenet_zoo.datasets.loading import Dataset, load_dataset
from lenet_zoo.errors import InputError, TrainingError, did_you_mean
from lenet_zoo.evaluation import Evaluation, evaluate
from lenet_zoo.models import LeNet5Classic, LeNet5Modern
from lenet_zoo.models._base import LeNet5
from lenet_zoo.registry import create_model, resolve
from lenet_zoo.training.checkpoint import RunFolder, difference
from lenet_zoo.training.engine import fit
from lenet_zoo.training.monitor import Monitor, Result
from lenet_zoo.training.processes import find_ranks
from lenet_zoo.training.publish import command_line, figures_of, versions
from lenet_zoo.training.recipe import Recipe, load_recipe

__all__ = ["FineTuned", "Splits", "Start", "finetune", "learn", "load_finetuning", "load_splits"]

# An epoch sees at least so many pictures: of few, each is seen several times in it, distorted anew each time.
_LEAST_PER_EPOCH = 2_000
# Below so many pictures of a class to train on, a part of them held out would say nothing.
_LEAST_TO_VALIDATE = 10
# Classes that a confusion matrix has room for.
_MOST_IN_FIGURE = 60

RESULTS = (
    "model.safetensors",
    "config.json",
    "model.onnx",
    "curves.png",
    "confusion.png",
    "mistakes.png",
    "card.json",  # the last: with it the folder is whole
)


@dataclass(frozen=True)
class FineTuned:
    """What `finetune` gives back.

    Attributes:
        folder: where its files are.
        model: the network, on the CPU, in evaluation mode; `model.pretrained_cfg["label_names"]` are its classes.
        card: what `card.json` holds.
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
    device: str = "auto",
    data_root: str | os.PathLike[str] | None = None,
    download: bool = False,
    monitor: Monitor | None = None,
    command: str | None = None,
) -> FineTuned:
    """Fine-tune a network of the zoo to the classes of some data, and write everything that comes of it to a folder.

    The number of classes is the data's. Of a class that the network knows by the same name, the modern network keeps
    the row of its output layer; in the classic, which learns no output layer, classes that are single printable
    characters get their own bitmaps as RBF codes, and others the default codes.

    Args:
        out: the folder to make; it must not hold another run.
        dataset: one of `lenet_zoo.datasets.loading.DATASETS`, unless `data_dir` is given.
        data_dir: pictures of one's own, a folder per class (see `lenet_zoo.datasets.folders.load_folder`).
        model: any name that `create_model` takes: an architecture, `architecture.tag`, 'local-dir:FOLDER', …
        weights: a weight file of one's own to start from, of the architecture of `model`.
        scratch: start from random weights, for comparison.
        in_chans: 1, or 3 for pictures in colour (of `data_dir`).
        prepare: how the pictures of `data_dir` are prepared: 'character' (the default for one channel) or 'picture'
            (the default for three); see `load_folder`.
        freeze: layers that are not trained, by their names in any case ('c1,c3' or ['C1', 'C3']); 'body' stands for all
            but the last layer that can learn: the output of the modern network, F6 of the classic.
        layer_decay: learning rate × this for each layer below the output; by default the recipe's.
        few_shot: train on so many pictures of each class, drawn by the seed, and hold none of them out.
        test_part: part of the pictures held out for testing where the data have no test set, always the same ones; by
            default half of 'digits' and a fifth of a folder.
        val_part: part of the training pictures held out for validation, drawn by the seed, where the data have no
            validation set. With 0, few_shot, or a class of fewer than 10 pictures there is none, and all epochs are
            trained.
        seed: of new weights, of the draws above, of order and distortions.
        recipe, changes: a shipped recipe or a .toml file, and fields of it to set.
        amp: mixed precision, bfloat16.
        strict: stop at the first picture that cannot be used, in place of leaving it out.
        resume: go on with what `out` holds.
        device: 'auto', 'cpu', 'cuda' or 'mps'.
        data_root, download: as in `load_dataset`.
        monitor: told of the progress, on rank zero.
        command: what the card says made it; by default the command line of this process.

    Raises:
        InputError: an argument out of range.
        DataError: data that cannot be used.
        WeightsError: weights that cannot be read, or are of another shape.
        TrainingError: `out` holds another run, or the run cannot go on.
        ArtifactError: the ONNX file is not the network.
        MissingExtraError: matplotlib, or scikit-learn for 'digits', is not installed.
            Unless a checkpoint was saved before, nothing is left in `out`.
    """
    from lenet_zoo import figures  # noqa: F401  missing matplotlib is said now, not after the training

    ranks = find_ranks(device)
    if monitor is None or ranks.rank > 0:
        monitor = Monitor()
    if layer_decay is not None:
        changes = {**(changes or {}), "layer_decay": layer_decay}
    if amp:
        changes = {**(changes or {}), "precision": "bf16"}
    if prepare is None:
        prepare = "character" if in_chans == 1 else "picture"
    home = Path(out)
    ranks.on_rank_zero(lambda: _check_target(home, resume))
    start = Start.named(model, weights, scratch, in_chans, freeze)
    with ranks.first_on_its_machine() if download else nullcontext():
        data = load_splits(
            dataset,
            data_dir,
            in_chans=in_chans,
            prepare=prepare,
            few_shot=few_shot,
            test_part=test_part,
            val_part=val_part,
            seed=seed,
            strict=strict,
            data_root=data_root,
            download=download,
            monitor=monitor,
        )
    # A folder's own name must not choose a table of the recipe.
    chosen = load_finetuning(recipe, start, data, prepare if data_dir is not None else dataset, changes)
    run = dict(
        start=start.identity(),
        split=data.fingerprint(),
        prepare=prepare if data_dir is not None else "",
        seed=seed,
        **chosen.as_dict(),
    )
    finished = ranks.on_rank_zero(lambda: _finished(home, run) if (home / "card.json").is_file() else None)
    if finished is not None:
        return finished
    made, folder = ranks.on_rank_zero(lambda: (not home.exists(), RunFolder(home)))
    try:
        result = learn(start, data, chosen, folder, seed=seed, device=device, resume=resume, monitor=monitor)
    finally:
        if ranks.rank == 0 and not folder.checkpoint.is_file():
            folder.log.unlink(missing_ok=True)
            if made:
                with suppress(OSError):
                    home.rmdir()
    card = ranks.on_rank_zero(
        lambda: _write(folder, start, data, result, chosen, recipe, run, command or command_line())
    )
    return FineTuned(home, result.model, card)


def _check_target(home: Path, resume: bool) -> None:
    """Nothing of another's is overwritten."""
    if home.exists() and not home.is_dir():
        raise TrainingError(f"{home} is a file: name a folder")
    if (home / "card.json").is_file():
        if not resume:
            raise TrainingError(f"{home} holds a finished network: name another folder")
    elif not (home / "checkpoint.pt").is_file():
        for name in RESULTS:
            if (home / name).exists():
                raise TrainingError(f"{home} holds a {name} that is not of this run: name another folder")


def _finished(home: Path, run: Mapping[str, Any]) -> FineTuned:
    """The result that is already there, if it is of the same run."""
    try:
        card = json.loads((home / "card.json").read_text(encoding="utf-8"))
        there = dict(card["run"])
    except (ValueError, KeyError, TypeError):
        raise TrainingError(f"{home} holds the result of something else: name another folder") from None
    if what := difference(there, json.loads(json.dumps(run))):
        raise TrainingError(f"{home} holds another run: {what}; name another folder")
    (home / "checkpoint.pt").unlink(missing_ok=True)
    return FineTuned(home, create_model(f"local-dir:{home}", pretrained=True), card)


# --------------------------------------------------------------------------------------------------------------- start


@dataclass(frozen=True)
class Start:
    """Where fine-tuning starts: a network, its weights, and what of it is trained."""

    model: str
    architecture: str
    weights: Path | None
    scratch: bool
    in_chans: int
    freeze: frozenset[str]
    known: tuple[str, ...]  # the classes that the weights know, by name
    sha256: str

    @classmethod
    def named(
        cls,
        model: str,
        weights: str | os.PathLike[str] | None = None,
        scratch: bool = False,
        in_chans: int = 1,
        freeze: str | Sequence[str] = (),
    ) -> Start:
        """Check what can be checked before any data are read.

        Raises: InputError, UnknownModelError, WeightsError.
        """
        if in_chans not in (1, 3):
            raise InputError(f"in_chans={in_chans}: pictures have 1 channel (grey) or 3 (colour)")
        if scratch and weights is not None:
            raise InputError("scratch starts from random weights: leave weights out, or scratch")
        if ":" not in model and not scratch and weights is None:
            model = resolve(model)
        file = Path(weights) if weights is not None else None
        network, known = _network(model, file, scratch, in_chans)
        digest = hashlib.sha256()
        for key, value in network.state_dict().items():
            digest.update(key.encode() + value.contiguous().numpy().tobytes())
        return cls(
            model,
            "lenet5_classic" if isinstance(network, LeNet5Classic) else "lenet5_modern",
            file,
            scratch,
            in_chans,
            _frozen(network, freeze),
            known,
            "" if scratch else digest.hexdigest(),
        )

    def build(self, data: Dataset) -> LeNet5:
        """The network before its first step, new parts drawn from torch's global generator."""
        network, known = _network(self.model, self.weights, self.scratch, self.in_chans)
        _set_classes(network, known, data.classes)
        for name, module in network.named_children():
            module.requires_grad_(name not in self.freeze)
        cfg: dict[str, Any] = dict(network.pretrained_cfg)  # type: ignore[arg-type]
        # The file and the licence are those of the weights that we start from.
        cfg.update(
            file=None,
            url="",
            tag=None,
            license=None,
            num_classes=len(data.classes),
            label_names=list(data.classes),
            input_size=(self.in_chans, 28, 28),
            mean=tuple(cfg["mean"][:1]) * self.in_chans,
            std=tuple(cfg["std"][:1]) * self.in_chans,
            description=f"{self.model} fine-tuned to {data.name}" if not self.scratch else f"trained on {data.name}",
        )
        network.pretrained_cfg = network.default_cfg = cfg  # type: ignore[assignment]
        return network

    def kept(self, classes: Sequence[str]) -> int:
        """How many classes start with what the network knows of them."""
        if self.architecture == "lenet5_classic":
            return len(classes) if _characters(classes) is not None and not self.scratch else 0
        return len(set(classes) & set(self.known))

    def identity(self) -> dict[str, Any]:
        """What a resumed run must start from as well."""
        return dict(
            architecture=self.architecture, sha256=self.sha256, in_chans=self.in_chans, freeze=sorted(self.freeze)
        )


def _network(model: str, weights: Path | None, scratch: bool, in_chans: int) -> tuple[LeNet5, tuple[str, ...]]:
    """The network that we start from, and the classes that its output layer knows."""
    if weights is not None:
        from lenet_zoo.export.sources import load_network

        network, card = load_network(model, weights)
        known = tuple((card or {}).get("labels", ()))
        if network.in_chans != in_chans:
            raise InputError(
                f"{weights} holds weights for {network.in_chans} channels and in_chans={in_chans} was asked for"
            )
    else:
        network = create_model(model, pretrained=not scratch, in_chans=in_chans)
        cfg: Any = network.pretrained_cfg
        known = () if scratch else tuple(cfg.get("label_names") or ())
    if not isinstance(network, LeNet5Classic | LeNet5Modern):
        raise InputError(f"{model} is a {type(network).__name__}: lenet5_modern and lenet5_classic are fine-tuned here")
    if len(known) != network.num_classes:
        known = ()
    return network, known


def _set_classes(network: LeNet5, known: Sequence[str], classes: Sequence[str]) -> None:
    """An output layer for `classes`, with what the network knows of those that have the same name."""
    old = network.output
    if isinstance(network, LeNet5Classic):
        network.reset_classifier(len(classes), characters=_characters(classes))
        return
    network.reset_classifier(len(classes))
    if isinstance(old, nn.Linear) and isinstance(network.output, nn.Linear):
        with torch.no_grad():
            for row, name in enumerate(classes):
                if name in known:
                    network.output.weight[row] = old.weight[known.index(name)]
                    network.output.bias[row] = old.bias[known.index(name)]


def _characters(classes: Sequence[str]) -> str | None:
    """The classes as characters that have bitmaps, or None when one is no single printable character."""
    if all(len(name) == 1 and " " < name <= "~" for name in classes):
        return "".join(classes)
    return None


def _frozen(network: LeNet5, freeze: str | Sequence[str]) -> frozenset[str]:
    layers = [*network.layers, "F6", "output"]
    known = {layer.lower(): layer for layer in layers}
    names = [name.strip() for name in (freeze.split(",") if isinstance(freeze, str) else freeze)]
    found: set[str] = set()
    for name in filter(None, names):
        if name.lower() == "body":
            learns = [layer for layer in layers if any(True for _ in getattr(network, layer).parameters())]
            found |= set(layers[: layers.index(learns[-1])])
        elif name.lower() in known:
            found.add(known[name.lower()])
        else:
            hint = did_you_mean(name.lower(), [*known, "body"])
            raise InputError(f"no layer {name!r} to freeze.{hint} There are {', '.join(layers)}, and body")
    if all(name.split(".")[0] in found for name, _ in network.named_parameters()):
        raise InputError(
            f"freeze={','.join(sorted(found))} leaves nothing to train: take one of {', '.join(layers)} out"
        )
    return frozenset(found)


# ---------------------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True)
class Splits:
    """What is trained on, what is watched meanwhile (or nothing), and what is tested on."""

    train: Dataset
    validation: Dataset | None
    test: Dataset

    def fingerprint(self) -> str:
        """The same for the same pictures, labels, classes and split."""
        digest = hashlib.sha256()
        for part in (self.train, self.validation, self.test):
            if part is not None:
                digest.update(json.dumps(part.classes).encode())
                digest.update(part.images.contiguous().numpy().tobytes() + part.labels.numpy().tobytes())
            digest.update(b"|")
        return digest.hexdigest()[:16]


def load_splits(
    dataset: str = "digits",
    data_dir: str | os.PathLike[str] | None = None,
    *,
    in_chans: int = 1,
    prepare: str = "character",
    few_shot: int | None = None,
    test_part: float | None = None,
    val_part: float = 0.1,
    seed: int = 0,
    strict: bool = False,
    data_root: str | os.PathLike[str] | None = None,
    download: bool = False,
    monitor: Monitor | None = None,
) -> Splits:
    """The pictures to train on, to validate on and to test on. Arguments and errors as in `finetune`."""
    monitor = monitor or Monitor()
    if not 0 <= val_part < 1:
        raise InputError(f"val_part={val_part:g}: a part of the training pictures, 0 (none) up to 1")
    if data_dir is not None:
        found = load_folder(data_dir, prepare=prepare, channels=in_chans, strict=strict, say=monitor.say)
    else:
        read = partial(load_dataset, dataset, root=data_root, download=download)
        found = {"train": read(train=True)}
        if dataset != "digits":  # which has no split of its own
            found["test"] = read(train=False)
    train, validation, test = found["train"], found.get("validation"), found.get("test")
    if test is None:
        if test_part is None:
            test_part = 0.5 if data_dir is None else 0.2
        train, test = split_by_class(train, test_part)
    elif test_part is not None:
        raise InputError(f"test_part={test_part:g}: the data have a test set of their own")
    if few_shot is not None:
        train = few_per_class(train, few_shot, seed)
    elif validation is None and val_part:
        fewest = int(torch.bincount(train.labels, minlength=len(train.classes)).min())
        if fewest >= _LEAST_TO_VALIDATE:
            train, validation = split_by_class(train, val_part, seed)
        else:
            monitor.say(
                f"a class has {fewest} pictures to train on: nothing is held out for validation, all epochs are trained"
            )
    return Splits(train, validation, test)


def load_finetuning(name: str, start: Start, data: Splits, table: str, changes: Mapping[str, Any] | None) -> Recipe:
    """A recipe for these data; `table` is the data set's name, or 'character' or 'picture' for a folder's pictures."""
    chosen = load_recipe(name, architecture=start.architecture, dataset=table, changes=changes)
    if not isinstance(chosen, Recipe):
        raise InputError(f"recipe {name!r} is the paper's own training, from the start: take another for fine-tuning")
    # Without pictures to watch, every epoch is trained.
    return chosen if data.validation is not None else replace(chosen, patience=0)


# ------------------------------------------------------------------------------------------------------------ training


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
    """The training alone: checkpoints and log go to `folder`, and nothing else."""
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


# ------------------------------------------------------------------------------------------------------------- results


def _write(
    folder: RunFolder,
    start: Start,
    data: Splits,
    result: Result,
    recipe: Recipe,
    recipe_name: str,
    run: Mapping[str, Any],
    command: str,
) -> dict[str, Any]:
    """Make every file of the result beside the checkpoint, then put them in place, the card last."""
    from timm.models import save_for_hf

    from lenet_zoo import figures
    from lenet_zoo.classify import OnnxClassifier
    from lenet_zoo.export import export_onnx

    home, network, classes = folder.path, result.model, data.test.classes
    logits = logits_of(network)(data.test.images.numpy())
    found = evaluate(lambda pixels: logits, data.test)
    for abandoned in home.glob(".result-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".result-", dir=home) as name:
        staging = Path(name)
        save_for_hf(network, str(staging), model_config={"label_names": list(classes)}, safe_serialization=True)
        card = _card(start, data, result, recipe, recipe_name, found)
        card |= dict(run=dict(run), command=command)
        card["sha256"] = hashlib.sha256((staging / "model.safetensors").read_bytes()).hexdigest()
        onnx = export_onnx(network, staging / "model.onnx", input="pixels", card=card)
        answers = OnnxClassifier(onnx).predict_logits(data.test.images.numpy())
        card["onnx"] = dict(
            pictures=len(answers),
            same_answer=int((answers.argmax(1) == logits.argmax(1)).sum()),
            largest_difference=float(np.abs(answers - logits).max()),
        )
        figures.save(figures.curves({data.test.name: result.history}), staging / "curves.png")
        figures.save(figures.confusion(*_most_confused(found, classes)), staging / "confusion.png")
        worst = figures.worst_mistakes(logits, data.test.labels.numpy())
        # A character is shown as on paper, and a picture with its own light and shade.
        theme = "dark" if run["prepare"] == "picture" else "light"
        sheet = figures.mistakes(worst, data.test.images.numpy(), classes, theme=theme)
        figures.save(sheet, staging / "mistakes.png")
        (staging / "card.json").write_text(json.dumps(card, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        for file in RESULTS:
            folder.write(home / file, (staging / file).read_bytes())
    folder.checkpoint.unlink(missing_ok=True)
    return card


def _most_confused(found: Evaluation, classes: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """The confusion matrix, of many classes that of those with most mistakes, and their names."""
    matrix = np.array(found.confusion)
    wrong = matrix.sum(0) + matrix.sum(1) - 2 * matrix.diagonal()
    shown = np.sort(np.argsort(-wrong, kind="stable")[:_MOST_IN_FIGURE])
    return matrix[np.ix_(shown, shown)], [classes[i] for i in shown]


def _card(
    start: Start, data: Splits, result: Result, recipe: Recipe, recipe_name: str, found: Evaluation
) -> dict[str, Any]:
    classes = data.test.classes
    metrics = {"test": figures_of(found, classes)}
    if data.validation is not None:
        metrics["validation"] = figures_of(evaluate(logits_of(result.model), data.validation), classes)
    sizes = {
        name: len(part)
        for name, part in (("train", data.train), ("validation", data.validation), ("test", data.test))
        if part is not None
    }
    return dict(
        architecture=start.architecture,
        tag=f"finetuned_{data.train.name}",
        params=sum(p.numel() for p in result.model.parameters()),
        dataset=data.train.name,
        preparation=data.train.preparation,
        labels=list(classes),
        pictures=sizes,
        start=dict(
            model="random weights" if start.scratch else start.model,
            sha256=start.sha256,
            classes_kept=start.kept(classes),
            frozen=sorted(start.freeze),
        ),
        recipe={"name": Path(recipe_name).stem, **recipe.as_dict()},
        metrics=metrics,
        epochs=len(result.history),
        seconds=round(result.seconds, 1),
        created_with=versions(),
    )
