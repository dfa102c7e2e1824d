"""The files of a run: what survives an interruption, and what is refused."""

import errno
import io
import json
import math
import os
import random
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save

from lenet_zoo import create_model
from lenet_zoo.datasets.loading import load_dataset
from lenet_zoo.errors import TrainingError
from lenet_zoo.training import checkpoint as checkpoint_module
from lenet_zoo.training import engine
from lenet_zoo.training.checkpoint import RunFolder, difference
from lenet_zoo.training.fused import fuse
from lenet_zoo.training.monitor import Monitor
from lenet_zoo.training.optim import learning_rate
from lenet_zoo.training.recipe import Recipe, Recipe1998

modern, classic = (partial(create_model, name) for name in ("lenet5_modern", "lenet5_classic"))
SGD = dict(optimizer="sgd", lr=0.05, momentum=0.9)


class StopAfter(Monitor):
    """Ends a run as a crash would: after an epoch is saved, or in the middle of one."""

    def __init__(self, epoch: int, middle: bool = False) -> None:
        self.last, self.middle = epoch, middle

    def epoch(self, record):
        if record["epoch"] == self.last and not self.middle:
            raise KeyboardInterrupt

    def step(self, epoch, pictures, loss, accuracy, rate):
        if epoch == self.last and self.middle:
            raise KeyboardInterrupt


@pytest.mark.parametrize("compiled", [False, True], ids=["torch", "compiled"])
@pytest.mark.parametrize(
    ("build", "fields"),
    [
        (modern, {}),
        (modern, SGD),
        (modern, dict(batch_norm=True)),
        (classic, {}),
        (classic, SGD),
        (classic, dict(batch_norm=True)),
    ],
    ids=["modern-adamw", "modern-sgd", "modern-normalised", "classic-adamw", "classic-sgd", "classic-normalised"],
)
def test_an_interrupted_run_ends_in_the_same_bits(
    few, tmp_path, monkeypatch, build, fields, compiled, train, same, rich
):
    monkeypatch.setattr(engine, "_WORTH_COMPILING", 0 if compiled else math.inf)
    recipe = rich.set(fields)
    whole = train(few, tmp_path / "whole", recipe, build)
    for stop in (StopAfter(1), StopAfter(2, middle=True), StopAfter(3)):
        with pytest.raises(KeyboardInterrupt):
            train(few, tmp_path / "broken", recipe, build, resume=True, monitor=stop)
    resumed = train(few, tmp_path / "broken", recipe, build, resume=True)
    assert same(resumed.model, whole.model)
    for name in ("whole", "broken"):
        log = [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        assert [record["epoch"] for record in log] == [1, 2, 3, 4]
    assert [r["loss"] for r in resumed.history] == [r["loss"] for r in whole.history]


def test_a_long_run_is_compiled_and_a_resumed_one_says_when_it_is_not(few, tmp_path, monkeypatch, train):
    told = []

    class Listen(Monitor):
        def say(self, text):
            told.append(text)

    seen = []
    monkeypatch.setattr(engine, "fuse", lambda model, norm, compiled: seen.append(compiled) or fuse(model))
    train(few, tmp_path / "short", Recipe(epochs=2))
    monkeypatch.setattr(engine, "_WORTH_COMPILING", 2 * len(few))
    train(few, tmp_path / "long", Recipe(epochs=2))
    train(few, tmp_path / "asked", Recipe(epochs=2), compiled=False)
    assert seen == [False, True, False]
    monkeypatch.setattr(engine, "is_compiled", lambda model: True)
    train(few, tmp_path / "long", Recipe(epochs=2), resume=True, monitor=Listen())
    assert told == [
        "the saved run and this one differ in the compiled layers: the final weights will differ in rounding"
    ]


_CHILD = """
import sys, torch
from functools import partial
from pathlib import Path
from lenet_zoo import create_model
from lenet_zoo.datasets.loading import load_dataset
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.engine import fit
from lenet_zoo.training.processes import ALONE
from lenet_zoo.training.recipe import load_recipe

torch.set_num_threads(1)
out, root, recipe = sys.argv[1:]
data = load_dataset("mnist", train=True, root=root)
result = fit(partial(create_model, "lenet5_modern"), data, load_recipe(recipe), RunFolder(out),
             ranks=ALONE, resume=True, monitor=Tell())
RunFolder(out).save_weights(result.model.state_dict())
"""


def test_a_killed_process_goes_on_to_the_same_bytes(small_mnist, tmp_path, train, rich, run_child):
    recipe = tmp_path / "rich.toml"
    recipe.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in rich.as_dict().items()))
    data = load_dataset("mnist", train=True, root=small_mnist)
    whole = save(train(data, tmp_path / "whole").model.state_dict(), {"format": "pt"})
    for moment in ("step 1", "step 3", "epoch 3", None):
        run_child(_CHILD, tmp_path / "killed", small_mnist, recipe, kill_at=moment)
    assert (tmp_path / "killed" / "model.safetensors").read_bytes() == whole


def test_nan_stops_with_a_reason_and_keeps_the_last_good_checkpoint(few, tmp_path, monkeypatch, train, same):
    good = learning_rate
    monkeypatch.setattr(engine, "learning_rate", lambda recipe, done: good(recipe, done) if done < 0.5 else 1e30)
    with pytest.raises(TrainingError) as stop:
        train(few, tmp_path)
    assert str(stop.value) == (
        "the loss is no longer a finite number, in epoch 3: the checkpoint after epoch 2 is the last good one; "
        "take a lower lr or set clip_norm"
    )
    monkeypatch.undo()
    resumed = train(few, tmp_path, resume=True)
    assert same(resumed.model, train(few, tmp_path / "whole").model)


def test_weights_that_turn_infinite_are_never_saved(few, tmp_path, monkeypatch, train):
    # One update per epoch: the loss is still finite when the weights are not.
    monkeypatch.setattr(engine, "learning_rate", lambda recipe, done: math.inf)
    with pytest.raises(TrainingError, match="in epoch 1: nothing was saved"):
        train(few, tmp_path, Recipe(epochs=1, batch_size=300, optimizer="sgd", lr=1))
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_full_disk_is_one_line_and_loses_nothing(few, tmp_path, monkeypatch, train, same):
    write, count = checkpoint_module.write_atomic, []

    def full(target, data):
        count.append(target)
        if Path(target).name == "checkpoint.pt" and len([t for t in count if t == target]) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(target, data)

    monkeypatch.setattr(checkpoint_module, "write_atomic", full)
    with pytest.raises(TrainingError) as stop:
        train(few, tmp_path)
    assert str(stop.value) == (
        f"cannot write {tmp_path / 'checkpoint.pt'}: No space left on device; what was saved before is whole: "
        "make room, then go on with --resume"
    )
    monkeypatch.undo()
    resumed = train(few, tmp_path, resume=True)
    assert same(resumed.model, train(few, tmp_path / "whole").model)


def test_too_little_room_is_refused_before_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20))
    with pytest.raises(
        TrainingError, match=r"^1 MB free at .*, and a run needs 16 MB: make room, or name another folder$"
    ):
        RunFolder(tmp_path)


def test_a_folder_that_cannot_be_made_is_refused_before_the_run(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"^cannot write in .*file/run: Not a directory; name another folder$"):
        RunFolder(tmp_path / "file" / "run")


def test_another_runs_folder_is_refused_by_what_differs(few, tmp_path, train):
    train(few, tmp_path, Recipe(epochs=1))
    with pytest.raises(
        TrainingError,
        match=r"holds a run of 1 epoch: go on with --resume, begin anew with --overwrite, or name another folder$",
    ):
        train(few, tmp_path, Recipe(epochs=1))
    with pytest.raises(TrainingError, match=r"holds another run: there lr=0\.001, here 0\.1; resume it as it was"):
        train(few, tmp_path, Recipe(epochs=1, lr=0.1), resume=True)
    with pytest.raises(TrainingError, match=r"holds another run: there seed=0, here 1;"):
        train(few, tmp_path, Recipe(epochs=1), resume=True, seed=1)


def test_a_run_that_starts_from_other_weights_is_another_one(few, tmp_path, train):
    train(few, tmp_path, Recipe(epochs=1), identity={"start": "these weights"})
    with pytest.raises(TrainingError, match="there start='these weights', here 'those';"):
        train(few, tmp_path, Recipe(epochs=1), identity={"start": "those"}, resume=True)


def test_a_run_is_the_same_when_its_description_was_reworded(few, tmp_path, train, same):
    whole = train(few, tmp_path / "whole", Recipe(epochs=2))
    with pytest.raises(KeyboardInterrupt):
        train(few, tmp_path / "cut", Recipe(epochs=2, description="as it was"), monitor=StopAfter(1))
    assert same(train(few, tmp_path / "cut", Recipe(epochs=2), resume=True).model, whole.model)


def test_a_field_that_another_version_does_not_know_counts_as_at_its_default():
    run = dict(seed=0, **Recipe(lr=0.1).as_dict())
    older = {key: value for key, value in run.items() if key != "ema"}
    assert difference(older, run) is None
    assert difference(run, older) is None
    assert difference(older, {**run, "ema": 0.9}) == "there ema=0.0, here 0.9"
    assert difference(run, {**run, "seed": 1}) == "there seed=0, here 1"
    online = dict(seed=0, **Recipe1998().as_dict())
    assert difference({key: value for key, value in online.items() if key != "mu"}, online) is None
    assert difference(online, run) is not None


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_is_refused(few, tmp_path, content, train):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(
        TrainingError, match=r"checkpoint\.pt is damaged, or no checkpoint of a run: remove it and start anew$"
    ):
        train(few, tmp_path, resume=True)


def test_no_flipped_bit_of_a_checkpoint_changes_a_run_in_silence(few, tmp_path, train):
    recipe = Recipe(epochs=1)
    train(few, tmp_path, recipe)
    folder, refused = RunFolder(tmp_path), 0
    run = torch.load(folder.checkpoint, weights_only=True)["run"]

    def loaded():
        buffer = io.BytesIO()
        torch.save(folder.load_checkpoint(run, True, pytest.fail), buffer)
        return buffer.getvalue()

    whole, good = loaded(), folder.checkpoint.read_bytes()
    draw = random.Random(1)
    for _ in range(100):
        place, bit = draw.randrange(len(good)), 1 << draw.randrange(8)
        folder.checkpoint.write_bytes(good[:place] + bytes([good[place] ^ bit]) + good[place + 1 :])
        try:
            assert loaded() == whole  # a byte that nothing depends on
        except TrainingError:
            refused += 1
    assert refused > 80


def test_another_thread_count_is_told(few, tmp_path, train):
    class Listen(Monitor):
        told: list = []  # noqa: RUF012

        def say(self, text):
            self.told.append(text)

    train(few, tmp_path, Recipe(epochs=1))
    torch.set_num_threads(2)
    train(few, tmp_path, Recipe(epochs=1), resume=True, monitor=Listen())
    (told,) = Listen.told
    assert told.startswith("the run so far had threads=1 and this one has threads=2: the final weights will differ in")
