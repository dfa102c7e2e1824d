"""The engine: schedules, order, distortions, losses, averages, and what survives an interruption."""

import errno
import json
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save

from lenet_zoo import create_model
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.datasets.loading import Dataset, load_dataset
from lenet_zoo.errors import InputError, TrainingError
from lenet_zoo.evaluation import evaluate
from lenet_zoo.training import checkpoint as checkpoint_module
from lenet_zoo.training import engine
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.engine import Batches, Monitor, accelerator_for, fit, learning_rate
from lenet_zoo.training.fused import fuse
from lenet_zoo.training.recipe import Recipe
from lenet_zoo.training.teachers import TEACHERS, Answers, JointAnswers, Teacher

modern = partial(create_model, "lenet5_modern")
classic = partial(create_model, "lenet5_classic")

# Everything that has a state: momenta, averages, dropout, distortions, a schedule.
RICH = Recipe(
    epochs=4, batch_size=64, lr=0.003, schedule="cosine", warmup=0.1, weight_decay=0.01, ema=0.9, drop_rate=0.2,
    clip_norm=1.0, label_smoothing=0.05, class_weights="balanced", rotation=10, shift=1, elastic=0.5, thickness=0.3,
)  # fmt: skip


def train(few: Dataset, path: Path, recipe: Recipe = RICH, build=modern, **more):
    return fit(build, few, recipe, RunFolder(path), accelerator=accelerator_for("cpu"), **more)


def same(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


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


# ---------------------------------------------------------------------------------------------------- learning rate


def test_schedules():
    def at(progress, **fields):
        return learning_rate(Recipe(lr=2.0, **fields), progress)

    assert at(0.9, schedule="constant") == 2
    assert [at(p, schedule="linear") for p in (0, 0.5, 1)] == [2, 1, 0]
    assert [at(p, schedule="cosine") for p in (0, 0.5, 1)] == pytest.approx([2, 1, 0])
    assert at(0.25, schedule="cosine") == pytest.approx(1 + math.cos(math.pi / 4))
    assert [at(p, schedule="linear", final_lr=0.5) for p in (0, 0.5, 1)] == [2, 1.5, 1]
    assert [at(p, schedule="linear", warmup=0.2) for p in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 1, 2, 1, 0])
    assert [at(p, schedule="onecycle", warmup=0.5) for p in (0, 0.25, 0.5, 0.75, 1)] == pytest.approx(
        [0.08, 1.04, 2, 1, 0]
    )


# ---------------------------------------------------------------------------------------------------------- batches


def batches(data: Dataset, recipe: Recipe, seed: int = 0, rank: int = 0, world: int = 1) -> Batches:
    where = SimpleNamespace(device=torch.device("cpu"), process_index=rank, num_processes=world)
    return Batches(data, recipe, seed, 0.0, 1.0, where)


def test_an_epoch_shows_every_picture_once_in_an_order_of_its_own(few):
    shown = batches(few, Recipe(batch_size=64))
    orders = []
    for number in (1, 2):
        parts = [(x, y, index) for x, y, index, _ in shown.epoch(number)]
        assert [len(y) for _, y, _ in parts] == [64, 64, 64, 64, 44]
        index = torch.cat([part[2] for part in parts])
        assert torch.equal(index.sort().values, torch.arange(300))
        assert torch.equal(torch.cat([part[0] for part in parts])[:, 0], few.images[index] / 255)
        assert torch.equal(torch.cat([part[1] for part in parts]), few.labels[index])
        orders.append(index)
    assert not torch.equal(*orders)
    again = torch.cat([index for _, _, index, _ in shown.epoch(1)])
    assert torch.equal(again, orders[0])
    other = torch.cat([index for _, _, index, _ in batches(few, Recipe(batch_size=64), seed=1).epoch(1)])
    assert not torch.equal(other, orders[0])


def test_a_portion_of_the_pictures_is_drawn_anew_for_each_epoch(few):
    shown = batches(few, Recipe(batch_size=64, portion=0.5))
    first, second = (torch.cat([index for _, _, index, _ in shown.epoch(number)]) for number in (1, 2))
    assert len(shown) == 3
    assert len(first) == len(first.unique()) == len(second) == 150
    assert not torch.equal(first.sort().values, second.sort().values)


def test_several_processes_share_each_batch_without_changing_a_picture(few):
    alone = list(batches(few, RICH).epoch(3))
    shared = [list(batches(few, RICH, rank=rank, world=3).epoch(3)) for rank in range(3)]
    for whole, *parts in zip(alone, *shared, strict=True):
        assert {size for *_, size in parts} == {len(whole[1])}
        index = torch.cat([part[2] for part in parts])
        assert torch.equal(index.sort().values, whole[2].sort().values)
        x = torch.cat([part[0] for part in parts])
        torch.testing.assert_close(x[index.argsort()], whole[0][whole[2].argsort()], rtol=0, atol=1e-6)


def test_views_return_and_are_shared_by_all_seeds(few):
    recipe = Recipe(batch_size=300, views=2, rotation=10)

    def shown(seed, epoch):
        x, _, index, _ = next(iter(batches(few, recipe, seed).epoch(epoch)))
        return x[index.argsort()]

    assert torch.allclose(shown(0, 1), shown(0, 3), atol=1e-6)
    assert torch.allclose(shown(0, 1), shown(5, 1), atol=1e-6)
    assert not torch.allclose(shown(0, 1), shown(0, 2), atol=1e-2)


# ----------------------------------------------------------------------------------------------------------- result


def test_it_learns(digits, tmp_path):
    training = Dataset("digits", digits.images[:1500], digits.labels[:1500], digits.classes)
    rest = Dataset("digits", digits.images[1500:], digits.labels[1500:], digits.classes)
    recipe = Recipe(epochs=8, batch_size=32, lr=0.003, schedule="cosine", warmup=0.1, shift=1, ema=0.98)
    result = train(training, tmp_path, recipe, measured={"validation": rest})
    assert result.history[-1]["validation_accuracy"] > 0.88
    assert result.history[-1]["accuracy"] > 0.95
    assert [record["epoch"] for record in result.history] == list(range(1, 9))
    assert not result.model.training


def test_the_result_is_a_plain_network_and_follows_the_seed(few, tmp_path):
    results = [train(few, tmp_path / name, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    assert repr(results[0].model) == repr(modern())
    assert same(results[0].model, results[1].model)
    assert not same(results[0].model, results[2].model)


def test_a_normalised_run_ends_in_the_plain_network_that_was_measured(few, tmp_path):
    recipe = Recipe(epochs=2, batch_size=50, lr=0.003, batch_norm=True, ema=0.9)
    result = train(few, tmp_path / "a", recipe, measured={"validation": few})
    assert list(result.model.state_dict()) == list(modern().state_dict())
    found = evaluate(logits_of(result.model), few)
    assert found.accuracy == result.history[-1]["validation_accuracy"]
    assert found.loss == pytest.approx(result.history[-1]["validation_loss"], rel=1e-5)


@pytest.mark.parametrize("size", [1, 23])
def test_normalising_needs_two_pictures_in_every_batch(few, tmp_path, size):
    with pytest.raises(InputError) as refusal:
        train(few, tmp_path, Recipe(batch_size=size, batch_norm=True))
    assert str(refusal.value) == (
        f"batch_norm=true needs two pictures in every batch: of 300 pictures in batches of {size} one is left over; "
        "take another batch_size"
    )


def test_a_run_leaves_the_global_generator_alone(few, tmp_path):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    train(few, tmp_path, Recipe(epochs=1, drop_rate=0.5))
    assert torch.equal(torch.get_rng_state(), before)


def test_baseline_step_is_plain_gradient_descent(few, tmp_path):
    recipe = Recipe(epochs=1, batch_size=300, optimizer="sgd", lr=0.1)
    result = train(few, tmp_path, recipe)
    torch.manual_seed(0)
    model = modern().train()
    F.cross_entropy(model(few.images.unsqueeze(1) / 255), few.labels).backward()
    for (name, mine), p in zip(result.model.named_parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(mine, p - 0.1 * p.grad, msg=name)


def test_the_averaged_weights_are_the_average(few, tmp_path):
    fields = dict(batch_size=300, optimizer="sgd", lr=0.1)
    first = train(few, tmp_path / "1", Recipe(epochs=1, **fields)).model
    second = train(few, tmp_path / "2", Recipe(epochs=2, **fields)).model
    averaged = train(few, tmp_path / "e", Recipe(epochs=2, ema=0.9, **fields)).model
    torch.manual_seed(0)
    start = modern()
    for p0, p1, p2, p in zip(*(m.parameters() for m in (start, first, second, averaged)), strict=True):
        # decays of a young average: 1/10 and 2/11
        expected = torch.lerp(torch.lerp(p0, p1, 9 / 10), p2, 9 / 11)
        torch.testing.assert_close(p, expected)


def test_balanced_class_weights_count_every_class_alike(few, tmp_path):
    labels = torch.where(torch.arange(300) < 270, 0, 1)
    uneven = Dataset("digits", few.images, labels, few.classes[:2])
    recipe = Recipe(epochs=1, batch_size=300, optimizer="sgd", lr=0.1, class_weights="balanced")
    result = train(uneven, tmp_path, recipe, partial(modern, num_classes=2))
    torch.manual_seed(0)
    model = modern(num_classes=2).train()
    each = F.cross_entropy(model(few.images.unsqueeze(1) / 255), labels, reduction="none")
    ((each[:270].mean() + each[270:].mean()) / 2).backward()
    torch.testing.assert_close(result.model.C1.weight, model.C1.weight - 0.1 * model.C1.weight.grad)


def test_clipping_limits_the_update(few, tmp_path):
    recipe = Recipe(epochs=1, batch_size=300, optimizer="sgd", lr=1.0, clip_norm=1e-3)
    result = train(few, tmp_path, recipe)
    torch.manual_seed(0)
    moved = [a - b for a, b in zip(result.model.parameters(), modern().parameters(), strict=True)]
    assert torch.cat([m.flatten() for m in moved]).norm().item() == pytest.approx(1e-3, rel=1e-2)


def test_a_student_learns_its_teachers_answers_and_not_the_labels(few, tmp_path):
    torch.manual_seed(3)
    teacher = Teacher()
    with torch.no_grad():
        teacher.output.weight.mul_(30)  # an opinion on every picture
    recipe = Recipe(epochs=25, batch_size=32, lr=0.004, teacher="t", distill=1.0, views=2, shift=1)
    answers = Answers(teacher.eval(), few.images, recipe.augmentation, tmp_path / "answers")
    result = train(few, tmp_path / "run", recipe, answers=answers)
    told = answers.view(1).argmax(1)
    with torch.no_grad():
        said = result.model(few.images.unsqueeze(1) / 255).argmax(1)
    assert (said == told).float().mean() > 0.8
    assert (told == few.labels).float().mean() < 0.4


def test_answers_are_computed_once_and_kept(few, tmp_path):
    how = RICH.augmentation
    first = Answers(Teacher().eval(), few.images, how, tmp_path)
    said = first.view(2)
    assert said.shape == (300, 10)
    first._ask = lambda number: pytest.fail("asked again")
    assert torch.equal(first.view(2), said)
    again = Answers(first.teacher, few.images, how, tmp_path)
    again._ask = lambda number: pytest.fail("asked again")
    assert torch.equal(again.view(2), said)
    other = Answers(Teacher().eval(), few.images, how, tmp_path)
    assert not torch.equal(other.view(2), said)


def test_several_teachers_answer_by_the_mean_of_their_probabilities(few, tmp_path):
    each = [Answers(Teacher().eval(), few.images, RICH.augmentation, tmp_path) for _ in range(3)]
    expected = sum(answers.view(1).softmax(1) for answers in each) / 3
    torch.testing.assert_close(JointAnswers(each).view(1).exp(), expected)


def test_an_absent_device_is_refused():
    with pytest.raises(InputError, match=r"^no device 'abacus' here: take one of auto, cpu"):
        accelerator_for("abacus")


# ----------------------------------------------------------------------------------------------------- interruption


SGD = dict(optimizer="sgd", lr=0.05, momentum=0.9)


@pytest.mark.parametrize("compiled", [False, True], ids=["torch", "compiled"])
@pytest.mark.parametrize(
    ("build", "fields"),
    [(modern, {}), (modern, SGD), (modern, dict(batch_norm=True)), (classic, {}), (classic, SGD)],
    ids=["modern-adamw", "modern-sgd", "modern-normalised", "classic-adamw", "classic-sgd"],
)
def test_an_interrupted_run_ends_in_the_same_bits(few, tmp_path, monkeypatch, build, fields, compiled):
    monkeypatch.setattr(engine, "_WORTH_COMPILING", 0 if compiled else math.inf)
    recipe = RICH.set(fields)
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


def test_a_long_run_is_compiled_and_a_resumed_one_says_when_it_is_not(few, tmp_path, monkeypatch):
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
from lenet_zoo.training.engine import Monitor, accelerator_for, fit
from lenet_zoo.training.recipe import load_recipe

class Tell(Monitor):
    def step(self, epoch, *rest):
        print("step", epoch, flush=True)
    def epoch(self, record):
        print("epoch", record["epoch"], flush=True)

torch.set_num_threads(1)
out, root, recipe = sys.argv[1:]
data = load_dataset("mnist", train=True, root=root)
result = fit(partial(create_model, "lenet5_modern"), data, load_recipe(recipe), RunFolder(out),
             accelerator=accelerator_for("cpu"), resume=True, monitor=Tell())
RunFolder(out).save_weights(result.model.state_dict())
"""


def _child(out: Path, root: Path, recipe: Path, kill_at: str | None) -> None:
    command = [sys.executable, "-c", _CHILD, str(out), str(root), str(recipe)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.strip() == kill_at:
                process.kill()  # SIGKILL
                break
        process.stdout.read()
        status = process.wait()
    assert status == (0 if kill_at is None else -9)


def test_a_killed_process_goes_on_to_the_same_bytes(small_mnist, tmp_path):
    recipe = tmp_path / "rich.toml"
    recipe.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in RICH.as_dict().items()))
    data = load_dataset("mnist", train=True, root=small_mnist)
    whole = save(train(data, tmp_path / "whole").model.state_dict())
    for moment in ("step 1", "step 3", "epoch 3"):
        _child(tmp_path / "killed", small_mnist, recipe, moment)
    _child(tmp_path / "killed", small_mnist, recipe, None)
    assert (tmp_path / "killed" / "model.safetensors").read_bytes() == whole


def test_nan_stops_with_a_reason_and_keeps_the_last_good_checkpoint(few, tmp_path, monkeypatch):
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


def test_weights_that_turn_infinite_are_never_saved(few, tmp_path, monkeypatch):
    # One update per epoch: the loss is still finite when the weights are not.
    monkeypatch.setattr(engine, "learning_rate", lambda recipe, done: math.inf)
    with pytest.raises(TrainingError, match="in epoch 1: nothing was saved"):
        train(few, tmp_path, Recipe(epochs=1, batch_size=300, optimizer="sgd", lr=1))
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_full_disk_is_one_line_and_loses_nothing(few, tmp_path, monkeypatch):
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


def test_another_runs_folder_is_refused_by_what_differs(few, tmp_path):
    train(few, tmp_path, Recipe(epochs=1))
    with pytest.raises(TrainingError, match=r"holds a run of 1 epochs: go on with --resume, or name another folder$"):
        train(few, tmp_path, Recipe(epochs=1))
    with pytest.raises(TrainingError, match=r"holds another run: there lr=0\.001, here 0\.1; resume it as it was"):
        train(few, tmp_path, Recipe(epochs=1, lr=0.1), resume=True)
    with pytest.raises(TrainingError, match=r"holds another run: there seed=0, here 1;"):
        train(few, tmp_path, Recipe(epochs=1), resume=True, seed=1)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_is_refused(few, tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(TrainingError, match=r"checkpoint\.pt is not a checkpoint of a run: remove it and start anew$"):
        train(few, tmp_path, resume=True)


def test_another_thread_count_is_told(few, tmp_path):
    class Listen(Monitor):
        told: list = []  # noqa: RUF012

        def say(self, text):
            self.told.append(text)

    train(few, tmp_path, Recipe(epochs=1))
    torch.set_num_threads(2)
    train(few, tmp_path, Recipe(epochs=1), resume=True, monitor=Listen())
    assert [text[:50] for text in Listen.told] == ["the run so far used 1 threads and this one uses 2:"]


@pytest.mark.parametrize("teacher", list(TEACHERS.values()))
def test_dropout_reaches_a_teacher(few, tmp_path, teacher):
    plain, dropped = (
        train(few, tmp_path / str(rate), Recipe(epochs=1, drop_rate=rate), teacher).history for rate in (0, 0.5)
    )
    assert plain[0]["loss"] != dropped[0]["loss"]


def test_a_recipe_that_learns_from_a_teacher_needs_its_answers(few, tmp_path):
    recipe = Recipe(epochs=1, teacher="t.safetensors", distill=0.5, views=1)
    with pytest.raises(InputError) as refusal:
        train(few, tmp_path, recipe)
    assert str(refusal.value) == (
        "the recipe learns from a teacher (distill=0.5), and here is none: set teacher= distill=0 temperature=1"
    )
