"""A training job from the command line to a card, on a small stand-in for MNIST."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import pytest
from safetensors.torch import load_file, save

from lenet_zoo import cards, create_model
from lenet_zoo.classify.torch import logits_of
from lenet_zoo.cli import main
from lenet_zoo.datasets.loading import load_dataset, validation_split
from lenet_zoo.errors import (
    DataError,
    InputError,
    LenetZooError,
    MissingExtraError,
    TrainingError,
    WeightsError,
    to_install,
)
from lenet_zoo.evaluation import evaluate
from lenet_zoo.training import run as run_module
from lenet_zoo.training.run import train

QUICK = ["--recipe", "baseline", "--set", "epochs=2", "--set", "batch_size=64", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _small_validation(monkeypatch):
    monkeypatch.setattr(run_module, "validation_split", lambda data: validation_split(data, 100))


def run(capsys, *argv: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main([*argv])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


def test_train_leaves_weights_card_log_curves_and_checkpoint(small_mnist, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    argv = ("train", "lenet5_modern", "--dataset", "mnist", *QUICK, "--out", str(out), "--data-root", str(small_mnist))
    status, stdout, stderr = run(capsys, *argv)
    assert status == 0
    files = {path.name for path in out.iterdir()}
    results = {"model.safetensors", "config.json", "README.md", "card.json"}
    assert files == {*results, "log.jsonl", "curves.png", "checkpoint.pt"}
    assert create_model(f"local-dir:{out}", pretrained=True).card.tag == "mnist"
    assert [line.split(",")[0][:13] for line in stderr.splitlines() if line.startswith("epoch")] == [
        "epoch 1: loss",
        "epoch 2: loss",
    ]
    card = json.loads((out / "card.json").read_text())
    figures = card["metrics"]["test"]
    assert stdout == (
        f"test: average loss {figures['loss']:.4f}, accuracy {figures['correct']}/200 "
        f"({100 * figures['correct'] / 200:.2f} %)\n"
    )
    # The card is what its weights do.
    model = create_model("lenet5_modern", checkpoint_path=str(out / "model.safetensors"))
    again = evaluate(logits_of(model), load_dataset("mnist", train=False, root=small_mnist))
    assert (again.correct, again.loss) == (figures["correct"], figures["loss"])
    assert [list(row) for row in again.confusion] == figures["confusion"]
    assert sum(one["correct"] for one in figures["per_class"].values()) == figures["correct"]
    assert card["sha256"] == hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    assert (card["architecture"], card["params"], card["dataset"], card["licence"]) == (
        "lenet5_modern",
        61706,
        "mnist",
        "Apache-2.0",
    )
    assert card["recipe"]["name"] == "baseline"
    assert card["recipe"]["epochs"] == 2
    assert card["recipe"]["lr"] == 0.1
    assert card["seeds"] == {"n": 1, "values": [0]}
    assert {"torch", "lenet-zoo", "python"} <= card["created_with"].keys()
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in log] == [1, 2]
    assert {"loss", "accuracy", "lr", "seconds", "pictures_per_second"} <= log[0].keys()


def test_a_run_that_ends_at_chance_says_so(small_mnist, tmp_path, capsys):
    argv = ("train", "lenet5_classic", *QUICK, "--set", "lr=0.1", "--out", str(tmp_path / "out"))
    status, _, stderr = run(capsys, *argv, "--data-root", str(small_mnist))
    assert status == 0
    assert "the network is at chance: " in stderr


def test_weights_are_reproducible_bytes_that_say_whose_format_they_have(small_mnist, tmp_path):
    for name in ("a", "b"):
        train(
            "lenet5_classic", dataset="mnist", recipe="baseline", out=tmp_path / name, changes=dict(epochs=1, ema=0.9),
            device="cpu", data_root=small_mnist,
        )  # fmt: skip
    content = (tmp_path / "a" / "model.safetensors").read_bytes()
    assert content == (tmp_path / "b" / "model.safetensors").read_bytes()
    assert content == save(load_file(tmp_path / "a" / "model.safetensors"), {"format": "pt"})


def test_several_seeds_give_mean_and_deviation_and_the_first_seeds_weights(small_mnist, tmp_path, capsys):
    out = tmp_path / "out"
    argv = ("train", "lenet5_modern", *QUICK, "--seeds", "2", "--seed", "3", "--out", str(out), "--json")
    status, stdout, _ = run(capsys, *argv, "--data-root", str(small_mnist))
    assert status == 0
    card = json.loads(stdout)
    single = [json.loads((out / f"seed-{seed}" / "card.json").read_text()) for seed in (3, 4)]
    accuracies = [one["metrics"]["test"]["accuracy"] for one in single]
    assert card["seeds"]["values"] == [3, 4]
    assert card["seeds"]["accuracy"] == accuracies
    assert card["seeds"]["mean"] == pytest.approx(sum(accuracies) / 2)
    assert card["seeds"]["sd"] == pytest.approx(abs(accuracies[0] - accuracies[1]) / 2**0.5)
    assert card["sha256"] == single[0]["sha256"] != single[1]["sha256"]
    assert (out / "model.safetensors").read_bytes() == (out / "seed-3" / "model.safetensors").read_bytes()


def test_validation_never_sees_the_test_set_and_enters_the_card(small_mnist, tmp_path, capsys):
    out = tmp_path / "out"
    argv = ("train", "lenet5_modern", *QUICK, "--out", str(out), "--data-root", str(small_mnist), "--json")
    status, stdout, _ = run(capsys, *argv, "--val")
    assert status == 0
    chosen = json.loads(stdout)
    assert chosen["metrics"].keys() == {"validation"}
    assert chosen["metrics"]["validation"]["total"] == 100
    log = [json.loads(line) for line in (out / "validation" / "log.jsonl").read_text().splitlines()]
    assert log[-1]["validation_accuracy"] == chosen["metrics"]["validation"]["accuracy"]
    status, stdout, _ = run(capsys, *argv)
    assert json.loads(stdout)["metrics"]["validation"] == chosen["metrics"]["validation"]
    # Reworded, a recipe is still the same.
    file = out / "validation" / "card.json"
    file.write_text(file.read_text().replace(chosen["recipe"]["description"], "in other words"))
    status, stdout, _ = run(capsys, *argv, "--resume")
    assert json.loads(stdout)["metrics"]["validation"] == chosen["metrics"]["validation"]
    # Another recipe's validation figures are not this one's.
    other = tmp_path / "other"
    other.mkdir()
    os.rename(out / "validation", other / "validation")
    _, stdout, _ = run(capsys, *[str(other) if word == str(out) else word for word in argv], "--set", "lr=0.2")
    assert json.loads(stdout)["metrics"].keys() == {"test"}


def test_resuming_a_finished_run_keeps_what_its_card_says_of_the_machine(small_mnist, tmp_path, monkeypatch):
    def again(**more):
        return train(
            "lenet5_modern", dataset="mnist", recipe="baseline", out=tmp_path, device="cpu", data_root=small_mnist,
            **{"changes": dict(epochs=1), **more},
        )  # fmt: skip

    made = again()
    monkeypatch.setattr(run_module, "versions", lambda: dict(torch="another"))
    assert again(resume=True) == made
    # Beside other weights it says nothing.
    (tmp_path / "card.json").write_text(json.dumps(made | dict(sha256="0" * 64)))
    assert again(resume=True)["created_with"] == dict(torch="another")


def test_nothing_of_another_run_is_overwritten(small_mnist, tmp_path):
    def run_in(out, seeds=(0,), **more):
        train(
            "lenet5_modern", dataset="mnist", recipe="baseline", out=tmp_path / out, changes=dict(epochs=1),
            seeds=seeds, device="cpu", data_root=small_mnist, **more,
        )  # fmt: skip

    run_in("one")
    run_in("two", seeds=(0, 1))
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "card.json").write_text("{}")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for out, seeds, text in [
        ("one", (0, 1), f"{tmp_path / 'one'} holds one run, and several seeds were asked for: name another folder"),
        (
            "one",
            (0,),
            f"{tmp_path / 'one'} holds a run of 1 epoch: go on with --resume, begin anew with --overwrite, or name "
            "another folder",
        ),
        (
            "two",
            (0,),
            f"{tmp_path / 'two'} holds runs of several seeds, and one was asked for: name another folder",
        ),
        ("tuned", (0,), f"{tmp_path / 'tuned'} holds a card.json that is not of this run: name another folder"),
        ("tuned", (0, 1), f"{tmp_path / 'tuned'} holds a card.json that is not of this run: name another folder"),
    ]:
        with pytest.raises(TrainingError) as refusal:
            run_in(out, seeds)
        assert str(refusal.value) == text
    # A summary over some of the seeds would take the place of that over all.
    with pytest.raises(TrainingError, match=r"two also holds seed-1: ask for all seeds, or name another folder$"):
        run_in("two", (0, 2), resume=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    run_in("two", seeds=(0, 1), resume=True)
    with pytest.raises(InputError, match="--resume and --overwrite exclude each other"):
        run_in("one", resume=True, overwrite=True)
    (tmp_path / "two" / "notes.txt").write_text("mine")
    run_in("two", overwrite=True)  # of two runs, one is left
    assert json.loads((tmp_path / "two" / "card.json").read_text())["seeds"]["n"] == 1
    assert {path.name for path in (tmp_path / "two").rglob("*") if path.is_file()} == {
        *("card.json", "checkpoint.pt", "config.json", "curves.png", "log.jsonl", "model.safetensors", "notes.txt"),
        "README.md",
    }


def test_a_folder_has_one_writer(small_mnist, tmp_path):
    """The second of two trainings is refused while the first is at work, and again nothing is in its way after that."""
    out, said = tmp_path / "out", []

    def run_in(out, **more):
        return train(
            "lenet5_modern", dataset="mnist", recipe="baseline", out=out, changes=dict(epochs=2), device="cpu",
            data_root=small_mnist, **more,
        )  # fmt: skip

    class Second(run_module.Monitor):
        def epoch(self, record):
            before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
            for options in (dict(), dict(resume=True), dict(seeds=(0, 1)), dict(validate=True)):
                with pytest.raises(TrainingError) as refusal:
                    run_in(out, **options)
                said.append(str(refusal.value))
            assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before

    card = run_in(out, monitor=Second())
    text = f"{out}: another process is at work there: wait until it is done, or name another folder"
    assert said == [text] * 8
    assert not (out / ".lock").exists()
    assert run_in(out, resume=True) == card
    # What a killed process leaves does not make a folder another run's.
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / ".lock").touch()
    assert run_in(tmp_path / "killed")["sha256"] == card["sha256"]


@pytest.mark.parametrize(("validate", "when"), [(False, "after the last update"), (True, "in epoch 1")])
def test_a_last_update_that_goes_too_far_leaves_no_weights(small_mnist, tmp_path, validate, when):
    with pytest.raises(TrainingError) as refusal:
        train(
            "lenet5_modern", dataset="mnist", recipe="baseline", out=tmp_path, changes=dict(epochs=1, lr=1e30),
            device="cpu", data_root=small_mnist, validate=validate,
        )  # fmt: skip
    assert str(refusal.value).startswith(f"the loss is no longer a finite number, {when}: n")
    assert str(refusal.value).endswith("; take a lower lr or set clip_norm")
    assert not [*tmp_path.rglob("model.safetensors"), *tmp_path.rglob("README.md")]


def test_another_networks_validation_does_not_enter_the_card(small_mnist, tmp_path):
    common = dict(dataset="mnist", recipe="baseline", out=tmp_path, changes=dict(epochs=1), device="cpu")
    train("lenet5_classic", validate=True, data_root=small_mnist, **common)
    assert train("lenet5_modern", data_root=small_mnist, **common)["metrics"].keys() == {"test"}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (dict(batch_norm=True, batch_size=599), "batch_norm=true needs two pictures in every batch: of 600 pictures"),
        (dict(patience=3), "patience needs a validation set to watch: train with --val, or set patience=0"),
        (dict(teacher="teacher,typo.safetensors"), "no teacher typo.safetensors: make one with "),
        (
            dict(teacher="lenet5_modern.fashion_mnist"),
            f"the teacher {cards.weight_path('lenet5_modern.fashion_mnist')} says 'T-shirt/top' where mnist has '0': "
            "take a teacher of the same classes in the same order",
        ),
    ],
)
def test_what_is_wrong_is_told_before_a_teacher_is_trained(small_mnist, tmp_path, changes, text):
    with pytest.raises(LenetZooError) as refusal:
        train(
            "lenet5_classic", dataset="mnist", recipe="best", out=tmp_path / "out", changes=changes, device="cpu",
            data_root=small_mnist,
        )  # fmt: skip
    assert str(refusal.value).startswith(text)
    assert not (tmp_path / "out").exists()


def test_the_1998_recipe_runs_and_goes_on(small_mnist, tmp_path):
    def passes(out, count, **more):
        return train(
            "lenet5_classic", dataset="mnist", recipe="lecun1998", out=tmp_path / out, changes=dict(passes=count),
            device="cpu", data_root=small_mnist, **more,
        )  # fmt: skip

    whole = passes("whole", 2)
    assert whole["recipe"]["method"] == "lecun1998"
    assert whole["params"] == 60_000

    class Stop(run_module.Monitor):
        def epoch(self, record):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        passes("broken", 2, monitor=Stop())
    assert passes("broken", 2, resume=True)["sha256"] == whole["sha256"]
    log = [json.loads(line) for line in (tmp_path / "broken" / "log.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in log] == [1, 2]
    assert log[1]["accuracy"] > 0.5


@pytest.mark.parametrize("teacher", ["teacher", "teacher_large"])
def test_a_teacher_is_trained_and_learnt_from(small_mnist, tmp_path, teacher):
    common = dict(dataset="mnist", device="cpu", data_root=small_mnist)
    train(teacher, recipe="teacher", out=tmp_path / "t", changes=dict(epochs=1), **common)
    file = tmp_path / "t" / "model.safetensors"
    changes = dict(epochs=2, teacher=str(file), distill=0.5, views=2, temperature=2)
    card = train("lenet5_modern", recipe="baseline", out=tmp_path / "s", changes=changes, **common)
    assert card["recipe"]["teacher"]["architecture"] == teacher
    assert card["recipe"]["teacher"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert str(tmp_path) not in json.dumps(card["recipe"])
    assert len(list((tmp_path / "s" / "answers").glob("*/view-*.safetensors"))) == 2
    # Without a card there are no figures of it, and beside another's card it is refused.
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(file.read_bytes())
    record = {key: card["recipe"]["teacher"][key] for key in ("architecture", "params", "sha256")}
    changes = dict(epochs=1, teacher=str(moved), distill=0.5, views=1)
    again = train("lenet5_modern", recipe="baseline", out=tmp_path / "again", changes=changes, **common)
    assert again["recipe"]["teacher"] == record
    (tmp_path / "t" / "card.json").write_text(json.dumps(card))
    with pytest.raises(WeightsError, match="belongs to other weights"):
        train(
            "lenet5_modern", recipe="baseline", out=tmp_path / "never", changes={**changes, "teacher": str(file)},
            **common,
        )  # fmt: skip


def test_a_tag_of_the_zoo_is_learnt_from(small_mnist, tmp_path):
    changes = dict(epochs=1, teacher="lenet5_modern.mnist", distill=0.5, views=1)
    card = train(
        "lenet5_classic", dataset="mnist", recipe="baseline", out=tmp_path, changes=changes, device="cpu",
        data_root=small_mnist,
    )  # fmt: skip
    teacher, shipped = card["recipe"]["teacher"], cards.load("lenet5_modern.mnist")
    assert (teacher["architecture"], teacher["sha256"]) == ("lenet5_modern", shipped.sha256)
    assert teacher["accuracy"]["test"] == shipped.metrics["test"]["accuracy"]


def test_several_teachers_are_learnt_from(small_mnist, tmp_path):
    common = dict(dataset="mnist", device="cpu", data_root=small_mnist)
    files = []
    for seed in (0, 1):
        folder = tmp_path / f"t{seed}"
        train("teacher", recipe="teacher", out=folder, seeds=[seed], changes=dict(epochs=1), **common)
        files.append(folder / "model.safetensors")
    changes = dict(epochs=2, teacher=",".join(map(str, files)), distill=0.5, views=1)
    card = train("lenet5_modern", recipe="baseline", out=tmp_path / "s", changes=changes, **common)
    hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    assert [one["sha256"] for one in card["recipe"]["teacher"]] == hashes
    assert str(tmp_path) not in json.dumps(card["recipe"])
    # They answer together, to each distorted picture once.
    assert len(list((tmp_path / "s" / "answers").glob("*/view-1.safetensors"))) == 1


@pytest.mark.parametrize("text", ["a.safetensors,a.safetensors", "a.safetensors,", "a.safetensors,,b.safetensors"])
def test_a_list_of_teachers_that_is_none_is_refused(small_mnist, tmp_path, text):
    with pytest.raises(InputError) as refusal:
        train(
            "lenet5_modern", dataset="mnist", recipe="best", out=tmp_path / "s", changes=dict(teacher=text),
            device="cpu", data_root=small_mnist,
        )  # fmt: skip
    assert str(refusal.value) == f"teacher={text!r}: give each once, with one comma between two"


def test_best_makes_its_teacher_first(small_mnist, tmp_path, monkeypatch):
    told = []

    class Listen(run_module.Monitor):
        def begin(self, epochs, done, pictures):
            told.append((epochs, done))

    # The teacher's own recipe, cut short.
    load = run_module.load_recipe
    monkeypatch.setattr(
        run_module,
        "load_recipe",
        lambda name, **more: load(
            name, **{**more, "changes": dict(epochs=1, batch_size=500) if name == "teacher" else more["changes"]}
        ),
    )
    for _ in range(2):
        card = train(
            "lenet5_modern", dataset="mnist", recipe="best", out=tmp_path, changes=dict(epochs=2), device="cpu",
            data_root=small_mnist, resume=True, monitor=Listen(),
        )  # fmt: skip
    assert told == [(1, 0), (2, 0), (1, 1), (2, 2)]
    own = json.loads((tmp_path / "teacher" / "card.json").read_text())
    assert card["recipe"]["teacher"]["sha256"] == own["sha256"]


def test_a_teacher_that_is_trained_first_sees_what_is_no_digit_too(small_mnist, tmp_path, monkeypatch):
    load = run_module.load_recipe

    def in_one_epoch(name, **more):
        return load(name, **{**more, "changes": {**more["changes"], "epochs": 1}})

    monkeypatch.setattr(run_module, "load_recipe", in_one_epoch)
    card = train(
        "lenet5_modern", dataset="mnist", recipe="handwriting", out=tmp_path, device="cpu", data_root=small_mnist,
        changes=dict(teacher="teacher", distill=0.5, views=1),
    )  # fmt: skip
    own = json.loads((tmp_path / "teacher" / "card.json").read_text())
    assert card["recipe"]["teacher"]["sha256"] == own["sha256"]
    assert all(own["recipe"][field] == card["recipe"][field] for field in ("no_digits", "hurried", "j"))


def test_two_processes_share_the_work(small_mnist, tmp_path):
    recipe = ["--recipe", "baseline", "--set", "epochs=2", "--set", "batch_size=100", "--set", "rotation=10"]
    argv = ["lenet5_modern", *recipe, "--device", "cpu", "--data-root", str(small_mnist)]
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "lenet_zoo",
    ]
    done = subprocess.run(
        [*command, "train", *argv, "--out", str(tmp_path / "two")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("accuracy") == 1
    with pytest.raises(SystemExit):
        main(["train", *argv, "--out", str(tmp_path / "one")])
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for key, value in one.items():
        assert (value - two[key]).abs().max() < 1e-5, key
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("one", "two")]
    losses = [[json.loads(line)["loss"] for line in lines] for lines in logs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_tensorboard_on_request(small_mnist, tmp_path):
    module = "tensorboard.backend.event_processing.event_accumulator"
    reader = pytest.importorskip(module, reason=f"needs tensorboard: {to_install('test')}")

    def run_again(**more):
        train(
            "lenet5_modern", dataset="mnist", recipe="baseline", out=tmp_path, changes=dict(epochs=2), device="cpu",
            tensorboard=True, data_root=small_mnist, **more,
        )  # fmt: skip
        events = reader.EventAccumulator(str(tmp_path / "tensorboard"))
        events.Reload()
        return [event.step for event in events.Scalars("loss")]

    assert run_again() == [1, 2]
    assert run_again(overwrite=True) == [1, 2]


def test_tensorboard_that_is_not_installed_is_told_before_the_run(small_mnist, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"^TensorBoard is not installed: "):
        train(
            "lenet5_modern", dataset="mnist", recipe="baseline", out=tmp_path / "out", tensorboard=True,
            data_root=small_mnist, device="cpu",
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argv", "status", "text"),
    [
        (["lenet5_moderm"], 2, "no network 'lenet5_moderm'. Did you mean 'lenet5_modern'? One of"),
        (["lenet5_modern", "--dataset", "digits"], 2, "the data set 'digits' has no training set of its own"),
        (["lenet5_modern", "--set", "epochs"], 2, "--set epochs: give FIELD=VALUE, such as --set epochs=5"),
        (["lenet5_modern", "--set", "lrr=1"], 2, "recipe best: a recipe has no field 'lrr'. Did you mean 'lr'?"),
        (["lenet5_modern", "--recipe", "bst"], 2, "no recipe called 'bst'. Did you mean 'best'?"),
        (["lenet5_modern", "--out", ""], 2, "out='': name a folder, or . for the one that you are in"),
        (["lenet5_modern", "--device", "tpu"], 2, "no device 'tpu' here: take one of auto, cpu"),
        (["lenet5_modern", "--recipe", "lecun1998"], 2, "the 1998 method trains lenet5_classic"),
        (
            ["lenet5_modern", "--recipe", "fast", "--set", "distill=0.5"],
            2,
            "recipe fast: the recipe's fields do not go together: distill",
        ),
    ],
)
def test_wrong_arguments_are_one_line(argv, status, text, small_mnist, tmp_path, capsys):
    found, _, stderr = run(capsys, "train", "--out", str(tmp_path / "out"), "--data-root", str(small_mnist), *argv)
    assert found == status
    assert len(stderr.splitlines()) == 1
    assert text in stderr


def test_a_run_may_begin_with_shipped_weights(small_mnist, tmp_path):
    changes = dict(start="lenet5_modern.mnist", epochs=1, lr=1e-9, no_digits=0.1, j=4)
    train(
        "lenet5_modern", dataset="mnist", recipe="baseline", out=tmp_path, changes=changes, device="cpu",
        data_root=small_mnist,
    )  # fmt: skip
    begun = create_model("lenet5_modern.mnist", pretrained=True).state_dict()
    begun["output.bias"] = begun["output.bias"] - 4  # none of these, at −j, begins as if at 0
    for key, value in load_file(tmp_path / "model.safetensors").items():
        assert (value - begun[key]).abs().max() < 1e-5, key


def test_an_unwritable_folder_is_one_line_before_the_run(small_mnist, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    argv = ("train", "lenet5_modern", *QUICK, "--out", str(tmp_path / "file" / "out"), "--data-root", str(small_mnist))
    status, _, stderr = run(capsys, *argv)
    assert status == 1
    assert stderr == f"lenet-zoo: cannot write in {tmp_path}/file/out: Not a directory; name another folder\n"


def test_recipes_prints_every_field_and_its_meaning(capsys):
    status, stdout, _ = run(capsys, "recipes", "--json")
    assert status == 0
    assert {"baseline", "best", "lecun1998"} <= json.loads(stdout).keys()
    status, stdout, _ = run(capsys, "recipes", "baseline", "--json")
    assert json.loads(stdout)["batch_size"] == 1024


def test_without_the_data_no_folder_is_made(tmp_path):
    with pytest.raises(DataError, match="no MNIST in"):
        train("lenet5_modern", dataset="mnist", recipe="baseline", out=tmp_path / "run", data_root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_teacher_in_the_same_file_does_not_go_on(small_mnist, tmp_path):
    common = dict(dataset="mnist", device="cpu", data_root=small_mnist)
    file = tmp_path / "t" / "model.safetensors"
    changes = dict(epochs=2, teacher=str(file), distill=0.5, views=2)
    for seed in (0, 1):
        made = dict(changes=dict(epochs=1), seeds=(seed,), overwrite=True)
        train("teacher", recipe="teacher", out=tmp_path / "t", **made, **common)
        if not seed:
            train("lenet5_modern", recipe="baseline", out=tmp_path / "s", changes=changes, **common)
    with pytest.raises(TrainingError, match="teachers_sha256"):
        train("lenet5_modern", recipe="baseline", out=tmp_path / "s", changes=changes, resume=True, **common)


def test_what_a_folder_holds_after_a_run(small_mnist, tmp_path):
    def run_in(out, **more):
        return train(
            "lenet5_modern", dataset="mnist", recipe="baseline", out=out, device="cpu", data_root=small_mnist,
            changes=dict(epochs=1) | more.pop("changes", {}), **more,
        )  # fmt: skip

    several = tmp_path / "several"
    run_in(several, seeds=(0, 1))
    with pytest.raises(TrainingError, match="holds runs of several seeds, and one was asked for: name another folder"):
        run_in(several)
    kept = several / "seed-0-best"
    shutil.copytree(several / "seed-0", kept)
    held, notes = sorted(kept.iterdir()), several / "seed-notes.txt"
    notes.write_text("the first is best")
    card = run_in(several, overwrite=True, command="lenet-zoo train")
    assert sorted(several.glob("seed-*")) == [kept, notes]  # what the user put there
    assert sorted(kept.iterdir()) == held
    # A resumed run with nothing left to do keeps the command that made it.
    assert run_in(several, resume=True, command="lenet-zoo train --resume") == card
    with pytest.raises(TrainingError):
        run_in(tmp_path / "lost", changes=dict(lr=1e38, batch_size=8))
    assert not (tmp_path / "lost" / "log.jsonl").exists()
