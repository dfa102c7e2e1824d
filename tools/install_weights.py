"""Make the result of a run the shipped weights of a tag, with its card.

    python tools/install_weights.py RUN lenet5_modern.mnist

The tag itself stands in `default_cfgs` of the network's module.
"""

import argparse
import hashlib
from dataclasses import replace
from pathlib import Path

from safetensors.torch import load

from lenet_zoo import cards
from lenet_zoo._files import write_atomic
from lenet_zoo.cards import Card
from lenet_zoo.errors import InputError, TrainingError
from lenet_zoo.models._card import weight_bytes


def install(run: Path, name: str) -> Path:
    """Copy weights and card of the folder `run` to those of `name` (architecture.tag); returns the weight file.

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
    target = cards.weight_path(name)
    # Shipped files have no metadata, so that a network in memory is known by its weights alone.
    content = weight_bytes(load(content))
    write_atomic(target, content)
    replace(card, tag=tag, sha256=hashlib.sha256(content).hexdigest()).write(cards.card_path(name))
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("name", help="architecture.tag")
    args = parser.parse_args()
    print(install(args.run, args.name))


if __name__ == "__main__":
    main()
