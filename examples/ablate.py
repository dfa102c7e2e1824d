"""From the network of 1998 to today's, one switch at a time: what does each choice of the paper bring?

    python examples/ablate.py                        # writes docs/data/ablation.json; goes on where it stopped
    python examples/ablate.py --out try.json --seeds 2

Every row of the table differs from the one above it in a single thing, and every network sees the first 20,000 of
MNIST's training pictures once. The first rows show one picture at a time, as in 1998; from AdamW on it is batches
of 64, at rates that rise and fall once. Learning rates that the paper does not give are chosen on the last 10,000
training pictures; the test set is read once a run. Only torch's and the zoo's own layers are used.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import lenet_zoo
from lenet_zoo._files import write_atomic
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.loading import Dataset, load_dataset, validation_split
from lenet_zoo.errors import TrainingError
from lenet_zoo.evaluation import evaluate
from lenet_zoo.models.lenet5_classic import RBF, rbf_codes
from lenet_zoo.paper1998.losses import MAPLoss, PenaltyLoss
from lenet_zoo.paper1998.online import MU, SCHEDULE, OnlineTraining, initialize
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.engine import fit
from lenet_zoo.training.recipe import Recipe

# ------------------------------------------------------------------------------------------------------ the networks


def in_a_row(name: str) -> nn.Sequential:
    """The layers of one of the zoo's networks, by the paper's names, so that a switch is an assignment."""
    model = lenet_zoo.create_model(name)
    layers = OrderedDict(model.named_children())
    order = [*list(layers)[: list(layers).index("F6")], "flatten", *list(layers)[list(layers).index("F6") :]]
    layers["flatten"] = nn.Flatten()
    row = nn.Sequential(OrderedDict((key, layers[key]) for key in order))
    row.pretrained_cfg, row.in_chans, row.drop_rate = model.pretrained_cfg, 1, 0.0
    return row


def drawn_as_in_1998(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """Kernels uniform in ±2.4/√F, F being a unit's fan-in, and biases 0, as the classic network's own layers start."""
    bound = 2.4 / layer.weight[0].numel() ** 0.5
    nn.init.uniform_(layer.weight, -bound, bound)
    nn.init.zeros_(layer.bias)
    return layer


def codes(net: nn.Sequential) -> None:
    # Beyond the 96 characters that have a bitmap, codes are random.
    net.output = RBF(torch.tensor(rbf_codes(97)[:10], dtype=torch.float32))


def linear(net: nn.Sequential) -> None:
    net.output = drawn_as_in_1998(nn.Linear(84, 10))


def squash(kind: type[nn.Module]) -> Callable[[nn.Sequential], None]:
    def switch(net: nn.Sequential) -> None:
        for i in range(1, 7):
            setattr(net, f"act{i}", kind())

    return switch


def pool(kind: Callable[[int], nn.Module]) -> Callable[[nn.Sequential], None]:
    def switch(net: nn.Sequential) -> None:
        net.S2, net.S4 = kind(2), kind(2)

    return switch


def full(net: nn.Sequential) -> None:
    net.C3 = drawn_as_in_1998(nn.Conv2d(6, 16, 5))


def small(net: nn.Sequential) -> None:
    # Without the border C1's maps are 24×24, and S4's 4×4.
    net.C1.padding, net.C5 = (0, 0), nn.Conv2d(16, 120, 4)


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: of the row in the file.
        switch: what differs from the row above.
        method: how it is trained: 'sdlm', 'sgd' (both one pattern at a time) or 'adamw'.
        change: of the layers; None for none. Changes add up from row to row.
        loss: of 'sdlm' and 'sgd'; 'adamw' has cross-entropy.
        fresh: start from the layers of `lenet5_modern`, and forget the changes above.
        rates: learning rates to choose from; a row without takes the last one chosen above it.
    """

    name: str
    switch: str
    method: str
    change: Callable[[nn.Sequential], None] | None = None
    loss: nn.Module | None = None
    fresh: bool = False
    rates: tuple[float, ...] = ()


# With a rubbish class this far away, Eq. 9 is cross-entropy.
CROSS_ENTROPY = MAPLoss(j=1e6)
PICTURES = 20_000
ADAMW = (0.002, 0.005, 0.012)

TABLE = [
    Row("penalty", "`lenet5_classic`, SDLM, the loss of Eq. 8", "sdlm", loss=PenaltyLoss()),
    Row("map", "Eq. 8 → Eq. 9, j = 10", "sdlm", loss=MAPLoss(j=10)),
    Row("cross-entropy", "Eq. 9 → cross-entropy", "sdlm", loss=CROSS_ENTROPY),
    Row("sgd", "SDLM → SGD, one rate for all", "sgd", loss=CROSS_ENTROPY, rates=(0.0001, 0.0003, 0.001)),
    Row("adamw", "SGD → AdamW, batches of 64", "adamw", rates=ADAMW),
    Row("codes", "bitmaps → random codes", "adamw", codes),
    Row("linear", "RBF → linear output", "adamw", linear),
    Row("tanh", "1.7159 tanh(2a/3) → tanh(a)", "adamw", squash(nn.Tanh), rates=ADAMW),
    Row("average", "trainable subsampling → average", "adamw", pool(nn.AvgPool2d)),
    Row("maximum", "average → maximum", "adamw", pool(nn.MaxPool2d)),
    Row("relu", "tanh → ReLU", "adamw", squash(nn.ReLU)),
    Row("full", "partial C3 → full", "adamw", full),
    Row("modern", "`lenet5_modern`: torch's first weights, pixels 0 to 1", "adamw", fresh=True, rates=ADAMW),
    Row("small", "32×32 → 28×28: no border", "adamw", small),
]


def network(row: Row) -> nn.Sequential:
    """The network of a row, with fresh weights from torch's global generator."""
    above = TABLE[: TABLE.index(row) + 1]
    start = max((i for i, one in enumerate(above) if one.fresh), default=None)
    net = in_a_row("lenet5_classic" if start is None else "lenet5_modern")
    for one in above[start or 0 :]:
        if one.change is not None:
            one.change(net)
    return net


# --------------------------------------------------------------------------------------------------------- training


class PlainSteps(OnlineTraining):
    """The loop of 1998 with one step size for all weights: stochastic gradient descent."""

    def _start_pass(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule[self.passes]
        flat: dict[Tensor, Tensor] = {p: torch.zeros_like(p) for p in self.model.parameters()}
        self.optimizer.set_curvature(flat)  # the step size is then lr/μ


def train(row: Row, data: Dataset, seed: int, rate: float | None) -> tuple[nn.Module, float]:
    """The network of a row after it saw `PICTURES` of `data` once, and the seconds of one core that this took."""
    data = replace(data, images=data.images[:PICTURES], labels=data.labels[:PICTURES])
    start = time.process_time()
    if row.method != "adamw":
        model: Any = lenet_zoo.create_model("lenet5_classic")
        initialize(model, seed)
        kind, eta = (OnlineTraining, SCHEDULE[0]) if row.method == "sdlm" else (PlainSteps, (rate or 0) * MU)
        kind(model, data.images, data.labels, seed=seed, loss=row.loss, schedule=(eta,)).run_pass()  # type: ignore[arg-type]
        return model.eval(), time.process_time() - start
    recipe = Recipe(epochs=1, batch_size=64, optimizer="adamw", lr=rate or 0, schedule="onecycle", warmup=0.2)
    with tempfile.TemporaryDirectory() as folder:
        result = fit(lambda: network(row), data, recipe, RunFolder(folder), seed=seed)
    return result.model, time.process_time() - start


def error(model: nn.Module, data: Dataset) -> float:
    """In %."""
    return round(100 * (1 - evaluate(logits_of(model), data).accuracy), 4)


def choose(row: Row, data: Dataset) -> dict[str, float]:
    """The error on held-out training pictures with each of a row's learning rates, in %; 90 for one that diverged."""
    _, held_out = validation_split(data)
    found = {}
    for rate in row.rates:
        try:
            found[f"{rate:g}"] = error(train(row, data, 0, rate)[0], held_out)
        except TrainingError:
            found[f"{rate:g}"] = 90.0
    return found


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "data" / "ablation.json")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data-root", help="where MNIST is")
    args = parser.parse_args(argv)

    torch.set_num_threads(1)
    data = load_dataset("mnist", train=True, root=args.data_root)
    test = load_dataset("mnist", train=False, root=args.data_root)
    found: dict[str, Any] = json.loads(args.out.read_text(encoding="utf-8")) if args.out.is_file() else {"rows": {}}
    found["machine"] = f"{platform.machine()}, one thread"
    found["versions"] = {name: version(name) for name in ("lenet-zoo", "torch")}

    def keep() -> None:
        write_atomic(args.out, json.dumps(found, indent=1) + "\n")

    # Seed by seed, so that a table that is not finished has as many seeds in every row, give or take one.
    for seed in range(args.seeds):
        rate: float | None = None
        for row in TABLE:
            entry = found["rows"].setdefault(row.name, {"parameters": 0, "rates": {}, "errors": [], "seconds": []})
            entry["switch"] = row.switch
            if row.rates:
                if not entry["rates"]:
                    entry["rates"] = choose(row, data)
                    keep()
                rate = float(min(entry["rates"], key=entry["rates"].__getitem__))
            if len(entry["errors"]) > seed:
                continue
            model, seconds = train(row, data, seed, rate)
            entry["parameters"] = sum(p.numel() for p in model.parameters())
            entry["errors"].append(error(model, test))
            entry["seconds"].append(round(seconds, 1))
            keep()
            mean = statistics.fmean(entry["errors"])
            print(
                f"seed {seed}, {row.name}: {entry['errors'][-1]:.2f} %, mean {mean:.2f} %, {seconds:.0f} s", flush=True
            )
    keep()
    print(f"{args.out} has {args.seeds} seeds of all rows; with another --out all is measured anew")


if __name__ == "__main__":
    main()
