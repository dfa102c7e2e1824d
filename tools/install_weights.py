"""Make the result of a run the shipped weights of a tag, with its card.

    python tools/install_weights.py RUN lenet5_modern.mnist
    python tools/install_weights.py RUN lenet5_modern.bangla --scratch RUN-FROM-RANDOM-WEIGHTS

The tag itself stands in `CFGS` of the network's module.
"""

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load

from lenet_zoo import cards
from lenet_zoo._files import write_atomic
from lenet_zoo.cards import Card
from lenet_zoo.errors import InputError, TrainingError
from lenet_zoo.models._card import weight_bytes


def install(run: Path, name: str, scratch: Path | None = None) -> Path:
    """Copy weights and card of the folder `run` to those of `name` (architecture.tag); returns the weight file.

    With `scratch`, a run of the same network and data from random weights, the card also says what that reached.

    Weights first, card last: until both are there, the hash in the card refuses the mixture.

    Raises: InputError when `name` is another network than the run's; TrainingError when the run is not finished;
        WeightsError when its card is damaged.
    """
    architecture, _, tag = name.partition(".")
    try:
        card = Card.read(run / "card.json")
        content = (run / "model.safetensors").read_bytes()
    except FileNotFoundError as error:
        raise TrainingError(f"{run} holds no finished run: {Path(error.filename).name} is missing") from None
    if card.architecture != architecture or not tag:
        raise InputError(f"{name!r} for weights of {card.architecture}: give {card.architecture}.TAG")
    if hashlib.sha256(content).hexdigest() != card.sha256:
        raise TrainingError(f"the weights in {run} are not those of its card")
    if scratch is not None:
        card = replace(card, provenance={**card.provenance, "scratch": _reached(scratch, card)})
    target = cards.weight_path(name)
    # Shipped files have no metadata, so that a network in memory is known by its weights alone.
    content = weight_bytes(load(content))
    write_atomic(target, content)
    replace(card, tag=tag, sha256=hashlib.sha256(content).hexdigest()).write(cards.card_path(name))
    return target


def _reached(run: Path, card: Card) -> dict[str, Any]:
    """What the card of a run from random weights says that it reached."""
    other = Card.read(run / "card.json")
    if (other.architecture, other.dataset) != (card.architecture, card.dataset):
        raise InputError(f"{run} is of {other.architecture} on {other.dataset}: compare one network on the same data")
    if not other.recipe or other.recipe.get("start"):
        raise InputError(f"{run} did not start from random weights")
    seeds = other.provenance["seeds"]
    if seeds["n"] == 1:
        seeds = {**seeds, "accuracy": [other.metrics["test"]["accuracy"]], "mean": other.metrics["test"]["accuracy"]}
    kept = {key: seeds[key] for key in ("n", "values", "accuracy", "mean", "sd") if key in seeds}
    return {**kept, "command": other.provenance["command"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("name", help="architecture.tag")
    parser.add_argument("--scratch", type=Path, metavar="RUN", help="folder of a run from random weights, to compare")
    args = parser.parse_args()
    print(install(args.run, args.name, args.scratch))


if __name__ == "__main__":
    main()
