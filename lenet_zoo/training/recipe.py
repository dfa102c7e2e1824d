"""Recipes: how a network is trained, as data.

A recipe is a TOML file of plain fields, one per line; the shipped ones are in `recipes/`. A table in it named after an
architecture, a data set, or both (`[lenet5_classic.fashion_mnist]`) holds the fields that differ there. Every field is
an attribute of `Recipe` or, with `method = "lecun1998"` or `"lines"`, of `Recipe1998` or `RecipeLines`, documented in
its class.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeAlias

from lenet_zoo._files import read_regular
from lenet_zoo.datasets.augment import Augmentation
from lenet_zoo.datasets.loading import DATASETS
from lenet_zoo.errors import InputError, did_you_mean
from lenet_zoo.registry import list_models
from lenet_zoo.training.teachers import TEACHERS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "AnyRecipe",
    "Recipe",
    "Recipe1998",
    "RecipeLines",
    "check_seed",
    "defaults_of",
    "load_recipe",
    "recipe_names",
]

_FOLDER = Path(__file__).parent / "recipes"
_MOST = 2**31 - 1  # of whole numbers: what counts pictures, epochs and pixels stays within what torch can index


def check_seed(seed: int) -> None:
    """Raises: InputError for a seed that torch's and numpy's generators do not all take."""
    if not 0 <= seed < 2**32:
        raise InputError(f"seed={seed}: from 0 to {2**32 - 1}")


def _doc(default: Any, text: str, *, choices: tuple[str, ...] = (), low: float = 0, high: float | None = None) -> Any:
    return field(default=default, metadata={"doc": text, "choices": choices, "low": low, "high": high})


@dataclass(frozen=True)
class _Fields:
    """What the kinds of recipe share: the checks, and the change of a field by its name."""

    def __post_init__(self) -> None:
        for one in fields(self):
            value, choices = getattr(self, one.name), one.metadata["choices"]
            if choices and value not in choices:
                raise InputError(f"{one.name}={value!r}: one of {', '.join(choices)}.{did_you_mean(value, choices)}")
            if isinstance(value, str | bool):
                continue
            low, high = one.metadata["low"], one.metadata["high"] or (_MOST if isinstance(value, int) else None)
            if not value >= low or (high is not None and value > high) or not math.isfinite(value):
                most = f", {high} at most" if high else ", and a finite number"
                raise InputError(f"{one.name}={value}: {low:g} or more{most}")

    def set(self, changes: Mapping[str, Any]) -> Any:
        """A copy with some fields changed; a value may be the text of one, as typed on a command line.

        Raises: InputError for an unknown field, a value of the wrong type or out of range, and fields that contradict
            each other.
        """
        known = {one.name: one for one in fields(self)}
        parsed = {}
        for name, value in changes.items():
            if name not in known:
                raise InputError(f"a recipe has no field {name!r}.{self._hint(name)}")
            parsed[name] = _typed(name, value, type(known[name].default))
        return replace(self, **parsed)

    def _hint(self, name: str) -> str:
        for other in _KINDS.values():
            if not isinstance(self, other) and name in {one.name for one in fields(other)}:
                return f" It belongs to another method than {self.method!r}."  # type: ignore[attr-defined]
        return did_you_mean(name, [one.name for one in fields(self)]) + " `lenet-zoo recipes NAME` prints the fields."

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def documented(cls) -> dict[str, str]:
        """What each field means."""
        return {one.name: one.metadata["doc"] for one in fields(cls)}


def _typed(name: str, value: Any, kind: type) -> Any:
    """`value`, or the value that the text `value` stands for, as `kind`."""
    try:
        if kind is bool:
            if isinstance(value, bool):
                return value
            return {"true": True, "false": False}[value.lower()]
        if kind is str:
            if isinstance(value, str):
                return value
            raise ValueError
        if isinstance(value, bool):
            raise ValueError
        if kind is int and float(value) != int(float(value)):
            raise ValueError
        return kind(float(value))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}[kind]
        raise InputError(f"{name}={value!r}: {wanted} expected") from None


@dataclass(frozen=True)
class Recipe(_Fields):
    """Training by mini-batches and gradient descent. What each field means stands beside it."""

    method: str = _doc("gradient", "this kind of recipe", choices=("gradient",))
    description: str = _doc("", "what the recipe is for, in one line")

    # -- what is learnt besides the classes
    no_digits: float = _doc(
        0.0, "so many pictures that are no digit for each digit, made by ourselves: to answer none of these", high=1
    )
    hurried: float = _doc(
        0.0, "so many digits for each digit, besides, as quick hands write them, in forms that MNIST hardly has", high=1
    )
    printed: float = _doc(
        0.0, "so many digits for each digit, besides, as type and displays have them, and their outlines", high=1
    )
    j: float = _doc(0.0, "penalty of none of these, whose logit is −j, in the loss (Eq. 9 of the paper)")

    # -- length and batches
    epochs: int = _doc(20, "passes over the training set", low=1)
    portion: float = _doc(1.0, "part of the training set in an epoch, drawn anew for each", high=1)
    batch_size: int = _doc(256, "pictures per update, over all processes together", low=1)

    patience: int = _doc(
        0, "stop so many epochs after the best one on the validation set, whose weights are the result; 0: never"
    )

    # -- optimiser
    optimizer: str = _doc("adamw", "the optimiser", choices=("sgd", "adamw"))
    lr: float = _doc(0.001, "highest learning rate")
    momentum: float = _doc(0.0, "momentum of sgd", high=1)
    nesterov: bool = _doc(False, "Nesterov's form of that momentum")
    weight_decay: float = _doc(0.0, "weight decay on kernels (biases and subsampling coefficients have none)")
    layer_decay: float = _doc(
        1.0, "learning rate × this for each layer below the output (timm's group_matcher): fine-tuning", high=1
    )
    schedule: str = _doc(
        "constant",
        "learning rate after the warm-up, until the end",
        choices=("constant", "linear", "cosine", "onecycle"),
    )
    warmup: float = _doc(0.0, "part of the run, 0 to 1, over which the learning rate rises to `lr`", high=1)
    final_lr: float = _doc(0.0, "learning rate at the end, as a part of `lr` (not for constant)", high=1)
    clip_norm: float = _doc(0.0, "largest norm of the gradient of one update; 0: no limit")

    # -- start
    start: str = _doc("", "network and tag whose weights the run starts from (lenet5_modern.mnist); none: random ones")
    start_share: float = _doc(
        0.0, "part of the start's weights in the result, of which the trained ones are the rest", high=1
    )

    # -- loss
    label_smoothing: float = _doc(0.0, "part of the target that is spread over all classes", high=1)
    class_weights: str = _doc(
        "none", "balanced: each class weighs in the loss as if all were equally frequent", choices=("none", "balanced")
    )
    teacher: str = _doc(
        "",
        "network to learn from: a tag of the zoo (lenet5_modern.mnist), FILE.safetensors, or teacher or teacher_large: "
        "train one first; several, with commas between them, answer by the mean of their probabilities",
    )
    distill: float = _doc(0.0, "weight of the teacher's answer in the loss; 1 − distill is the label's", high=1)
    temperature: float = _doc(1.0, "softens both answers in the distillation loss (Hinton et al. 2015)")

    # -- regularisation
    batch_norm: bool = _doc(
        False, "normalise the sums of C1, C3, C5 and F6 over the batch; in the result kernels and biases hold it"
    )
    drop_rate: float = _doc(0.0, "dropout before the output layer", high=1)
    ema: float = _doc(
        0.0, "decay per update of the averaged weights, which are then the result; 0: the last weights", high=1
    )

    # -- augmentation (see lenet_zoo.datasets.augment)
    views: int = _doc(0, "distorted versions of each picture, shown in turn; 0: a new one in every epoch")
    rotation: float = _doc(0.0, "degrees, either way", high=180)
    scale: float = _doc(0.0, "size × between 1/(1+scale) and 1+scale")
    aspect: float = _doc(0.0, "width × and height ÷ between 1/(1+aspect) and 1+aspect")
    slant: float = _doc(0.0, "tangent of the horizontal shear, either way")
    shift: float = _doc(0.0, "pixels in x and in y, either way")
    elastic: float = _doc(0.0, "pixels, standard deviation of the displacement at the knots of a coarse grid")
    elastic_knots: int = _doc(5, "knots of that grid along each side", low=3, high=14)
    thickness: float = _doc(0.0, "ink heavier or lighter; 1: dilation or erosion by a pixel", high=1)
    flip: float = _doc(0.0, "probability of a left-right flip", high=1)
    erase: float = _doc(0.0, "probability that a rectangle is erased", high=1)
    erase_size: int = _doc(10, "pixels, longest side of the rectangle", low=1)
    tilt: float = _doc(0.0, "perspective: one side larger than the opposite one by up to this part", high=0.9)
    neighbours: float = _doc(0.0, "probability of a neighbour's remnant, at the left and at the right", high=1)
    marks: float = _doc(0.0, "probability of a rule, a box's edge, a dot or a stray stroke", high=1)
    gentle: float = _doc(
        0.0, "part of the pictures that are distorted two fifths as far and have nothing around them", high=1
    )

    # -- arithmetic
    precision: str = _doc(
        "fp32", "bf16: mixed precision; auto: bf16 where the hardware has it", choices=("fp32", "bf16", "auto")
    )
    channels_last: bool = _doc(False, "store maps pixel by pixel, all channels of a pixel together")

    def __post_init__(self) -> None:
        super().__post_init__()
        contradictions = {
            "momentum with adamw (it has its own): take sgd": self.momentum and self.optimizer != "sgd",
            "nesterov without momentum": self.nesterov and not self.momentum,
            "final_lr with a constant schedule": self.final_lr and self.schedule == "constant",
            "distill without a teacher: give teacher=teacher or FILE.safetensors": self.distill and not self.teacher,
            "a teacher with distill=0: it would have no say": self.teacher and not self.distill,
            "temperature without distill": self.temperature != 1 and not self.distill,
            "a teacher without views: it answers each version once, so give views=16, say": self.teacher
            and not self.views,
            "temperature=0: it must be above 0": self.temperature == 0,
            "lr=0: nothing would be learnt": self.lr == 0,
            "portion=0: no picture would be seen": self.portion == 0,
            "drop_rate=1: nothing would be left": self.drop_rate == 1,
            "ema=1: the average would never move": self.ema == 1,
            "batch_norm with layer_decay: it is for training from scratch": self.batch_norm and self.layer_decay != 1,
            "batch_norm with start: it is for training from random weights": self.batch_norm and self.start,
            "start_share without start: it is a part of its weights": self.start_share and not self.start,
            "start_share=1: nothing of the training would be left": self.start_share == 1,
            "no_digits with balanced classes: they have no frequency of their own": self.no_digits
            and self.class_weights != "none",
            "j without no_digits: nothing would be none of these": self.j and not self.no_digits,
            "onecycle without warmup: it has to rise first": self.schedule == "onecycle" and not self.warmup,
        }
        for text, wrong in contradictions.items():
            if wrong:
                raise InputError(f"the recipe's fields do not go together: {text}")
        _ = self.augmentation

    def view(self, epoch: int) -> int:
        """Which distorted version of the pictures an epoch (from 1) shows, from 1."""
        return (epoch - 1) % self.views + 1 if self.views else epoch

    @property
    def augmentation(self) -> Augmentation:
        return Augmentation(**{one.name: getattr(self, one.name) for one in fields(Augmentation)})


@dataclass(frozen=True)
class Recipe1998(_Fields):
    """The paper's own training: `lenet_zoo.paper1998.online`."""

    method: str = _doc("lecun1998", "this kind of recipe", choices=("lecun1998",))
    description: str = _doc("", "what the recipe is for, in one line")
    equation: int = _doc(8, "loss: 8, the penalty of the right class, or 9, MAP with a rubbish class", low=8, high=9)
    j: float = _doc(1.0, "penalty of the rubbish class of Eq. 9")
    distortions: bool = _doc(False, "nine distorted pictures for each original; a pass stays as long as without")
    literal_init: bool = _doc(False, "±2.4/F, as p. 41 prints it, in place of ±2.4/√F: does not train")
    passes: int = _doc(20, "passes over the training set, of the paper's 20", low=1, high=20)
    mu: float = _doc(0.02, "μ, which bounds the steps where the curvature is small")
    curvature_patterns: int = _doc(500, "patterns on which second derivatives are estimated before each pass", low=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.j != 1 and self.equation != 9:
            raise InputError("the recipe's fields do not go together: j belongs to equation=9; with 8 set j=1")

    @property
    def epochs(self) -> int:
        return self.passes


@dataclass(frozen=True)
class RecipeLines(_Fields):
    """Training on lines of digits, for networks that read numbers: `lenet_zoo.training.lines`."""

    method: str = _doc("lines", "this kind of recipe", choices=("lines",))
    description: str = _doc("", "what the recipe is for, in one line")
    start: str = _doc("", "tag whose weights the network starts with, its classes as they are; empty: fresh ones")
    start_share: float = _doc(
        0.0, "part of the result that is the start's weights, for a start that reads lines", high=1
    )
    epochs: int = _doc(14, "parts of the run; after each it is measured and saved", low=1)
    updates: int = _doc(400, "updates in an epoch", low=1)
    columns: int = _doc(4000, "pixels of width of all lines of an update together, about", low=100)
    most: int = _doc(20, "digits of the longest line", low=1, high=40)
    reuse: int = _doc(4, "updates that each line is used for", low=1)
    others: float = _doc(
        0.3, "part of the digits of lines as people write them that is taken from other writers than MNIST's", high=1
    )
    hurried: float = _doc(
        0.0, "so many digits for each digit, among other writers', that a pen draws as quick hands do", high=1
    )
    printed: float = _doc(
        0.0, "so many digits for each digit, among other writers', as type and displays have them", high=1
    )
    signs: float = _doc(0.0, "part of the lines that hold signs as / $ % and (, which are none", high=1)
    align: float = _doc(0.3, "weight of the loss that wants each digit in the middle of its window", high=10)
    alone: float = _doc(0.0, "weight of the loss on characters cut out of their line and placed alone", high=10)
    lr: float = _doc(0.002, "highest learning rate, of AdamW")
    warmup: float = _doc(0.03, "part of the run, 0 to 1, over which the learning rate rises to `lr`", high=1)
    final_lr: float = _doc(0.02, "learning rate at the end of the cosine, as a part of `lr`", high=1)
    weight_decay: float = _doc(0.01, "weight decay on kernels")
    clip_norm: float = _doc(2.0, "largest norm of the gradient of one update; 0: no limit")
    ema: float = _doc(0.998, "decay per update of the averaged weights, which are the result", high=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start_share and not self.start:
            raise InputError(
                "the recipe's fields do not go together: start_share without start: it is a part of its weights"
            )
        _ = self.descent

    @property
    def descent(self) -> Recipe:
        """Optimiser, learning rate and average, as a recipe of the other kind has them."""
        shared = ("epochs", "lr", "warmup", "final_lr", "weight_decay", "clip_norm", "ema")
        return Recipe(optimizer="adamw", schedule="cosine", **{name: getattr(self, name) for name in shared})


AnyRecipe: TypeAlias = "Recipe | Recipe1998 | RecipeLines"
_KINDS: dict[str, type[Recipe] | type[Recipe1998] | type[RecipeLines]] = {
    "gradient": Recipe,
    "lecun1998": Recipe1998,
    "lines": RecipeLines,
}


def defaults_of(method: str | None) -> dict[str, Any]:
    """Every field of a method's recipes at its default; none for an unknown method."""
    return _KINDS[method]().as_dict() if method in _KINDS else {}


def recipe_names() -> list[str]:
    """The shipped recipes."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def _check_tables(file: str, content: Mapping[str, Any]) -> None:
    """Refuse a table that is for no network and no data set: it would never apply."""
    networks = [*list_models(), *TEACHERS]
    data = [*DATASETS, "character", "picture"]  # the last two: pictures of a folder, by how they are prepared
    for name, table in content.items():
        if isinstance(table, dict):
            if name not in [*networks, *data]:
                hint = did_you_mean(name, [*networks, *data])
                raise InputError(f"recipe {file}: [{name}] is no network and no data set.{hint}")
            for inner, value in table.items():
                if isinstance(value, dict) and (name not in networks or inner not in data):
                    hint = did_you_mean(inner, data)
                    raise InputError(f"recipe {file}: [{name}.{inner}] is no data set of a network.{hint}")


def _table(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The table of that name; an empty one where there is none, or a field has that name ('teacher')."""
    table = content.get(name)
    return table if isinstance(table, dict) else {}


def load_recipe(
    name: str, *, architecture: str = "", dataset: str = "", changes: Mapping[str, Any] | None = None
) -> AnyRecipe:
    """Read a recipe.

    Args:
        name: a shipped recipe, or the path of a TOML file.
        architecture, dataset: whose tables apply, if the file has such.
        changes: fields to set afterwards, as values or as text.

    Raises: InputError for an unknown recipe, a file that is not TOML, an unknown field or table, a value of the wrong
        type or out of range, and fields that contradict each other.
    """
    path = Path(name) if name.endswith(".toml") else _FOLDER / f"{name}.toml"
    try:
        content = tomllib.loads(read_regular(path).decode("utf-8").replace("\r\n", "\n"))
    except (FileNotFoundError, IsADirectoryError):
        known = recipe_names()
        raise InputError(
            f"no recipe called {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}, or a .toml file"
        ) from None
    except OSError as error:
        raise InputError(f"the recipe {path} cannot be read: {error.strerror or error}") from None
    except RecursionError:
        raise InputError(f"the recipe {path} is nested too deeply") from None
    except ValueError as error:  # a TOMLDecodeError, or a number of more digits than Python reads
        raise InputError(f"the recipe {path} is not TOML: {' '.join(str(error).split())}") from None
    _check_tables(path.name, content)
    merged: dict[str, Any] = {}
    network = _table(content, architecture)
    for table in (content, _table(content, dataset), network):
        merged |= {key: value for key, value in table.items() if not isinstance(value, dict)}
    merged |= _table(network, dataset)
    method = merged.get("method", "gradient")
    if not isinstance(method, str) or method not in _KINDS:
        raise InputError(f"method={method!r} in {path.name}: one of {', '.join(_KINDS)}")
    try:
        # All at once: what does not go together half-way may go together in the end.
        result: AnyRecipe = _KINDS[method]().set({**merged, **(changes or {})})
    except InputError as error:
        raise InputError(f"recipe {path.stem}: {error}") from None
    return result
