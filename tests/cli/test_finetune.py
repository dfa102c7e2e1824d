"""`lenet-zoo finetune` and the example beside it, as a person meets them."""

from __future__ import annotations

import importlib.util
import inspect
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lenet_zoo
from lenet_zoo.cli._app import run

pytest.importorskip("matplotlib")

EXAMPLES = Path(__file__).parents[2] / "examples"
QUICK = ("--few-shot", "2", "--set", "epochs=1", "--set", "warmup=0")


def call(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    status = run(["finetune", *argv])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def failed(capsys: pytest.CaptureFixture[str], out: Path, *argv: str) -> tuple[int, str]:
    status, stdout, err = call(capsys, "--out", str(out), *argv)
    assert stdout == ""
    assert not out.exists()
    lines = err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("lenet-zoo: ")
    return status, lines[0]


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_summary_names_what_was_reached(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, stdout, err = call(capsys, "--out", str(out), *QUICK, "--freeze", "c1,c3")
    assert status == 0
    card = json.loads((out / "card.json").read_text())
    test = card["metrics"]["test"]
    assert "lenet5_modern.mnist, 10 of 10 classes known, C1, C3 frozen" in " ".join(stdout.split())
    assert f"{100 * test['accuracy']:.2f} %, {test['correct']} of 898" in stdout
    assert "the same answer on 898 of 898 test pictures" in stdout
    assert "20 train, 898 test" in stdout
    assert "training       1 epoch, " in stdout
    assert "epoch 1: loss" in err
    assert lenet_zoo.OnnxClassifier(out / "model.onnx").labels == tuple("0123456789")


def test_the_summary_of_a_finished_run_leaves_out_what_its_card_lacks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    _, whole, _ = call(capsys, "--out", str(out), *QUICK)
    card = json.loads((out / "card.json").read_text())

    def words(table: str) -> list[list[str]]:
        return [line.split() for line in table.splitlines()]

    def lost(changed: dict[str, Any]) -> int:
        (out / "card.json").write_text(json.dumps(changed))
        status, stdout, _ = call(capsys, "--out", str(out), *QUICK, "--resume")
        assert status == 0
        return sum(row not in words(stdout) for row in words(whole))

    assert lost(card) == 0
    for lacks, left_out in (("start", 1), ("onnx", 1), ("pictures", 1), ("epochs", 1), ("metrics", 2)):
        assert lost({key: value for key, value in card.items() if key != lacks}) == left_out, lacks
    card["metrics"]["test"]["per_class"] = 3
    assert lost(card) == 1


def test_json_is_the_card(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, stdout, _ = call(capsys, "--out", str(out), *QUICK, "--json", "--model", "lenet5_classic", "--amp")
    assert status == 0
    document = json.loads(stdout)
    assert document.pop("folder") == str(out)
    assert document == json.loads((out / "card.json").read_text())
    assert (document["architecture"], document["recipe"]["precision"]) == ("lenet5_classic", "bf16")


@pytest.mark.parametrize(
    ("argv", "status", "text"),
    [
        (["--data-dir", "nowhere"], 1, "no folder nowhere: give one that holds a folder of pictures per class"),
        (["--freeze", "c9"], 2, "no layer 'c9' to freeze. Did you mean"),
        (["--in-chans", "2"], 2, "in_chans=2: pictures have 1 channel (grey) or 3 (colour)"),
        (["--few-shot", "1000"], 1, "fewer than the 1000 asked for"),
        (["--out", ""], 2, "out='': name a folder, or . for the one that you are in"),
        (["--set", "epochs"], 2, "--set epochs: give FIELD=VALUE"),
        (["--model", "lenet5"], 2, "no network called 'lenet5'."),
        (["--in-chans", "3", "--as", "character", "--data-dir", "."], 2, "characters are brought to MNIST's form"),
        (["--dataset", "kmnist", "--data-root", "nowhere"], 1, "add --download"),
    ],
)
def test_one_line_for_each_mistake(
    argv: list[str], status: int, text: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found, line = failed(capsys, tmp_path / "out", *argv)
    assert found == status
    assert text in line


def test_every_argument_of_the_function_is_an_option() -> None:
    from lenet_zoo.cli.finetune import finetune as command

    function = set(inspect.signature(lenet_zoo.finetune).parameters) - {"changes", "monitor", "command"}
    assert set(inspect.signature(command).parameters) == function | {"set_", "json"}


def test_the_example_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    module = example("finetune")
    options = {action.dest for action in module.parser._actions} - {"help"}
    assert options <= set(inspect.signature(lenet_zoo.finetune).parameters)
    module.main(["--out", str(tmp_path / "out"), "--few-shot", "1"])
    stdout = capsys.readouterr().out
    assert "of 898 test pictures right" in stdout
    assert "timm: 61,706 parameters, 10 classes" in stdout
    assert "labels 0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in stdout
    lines = (EXAMPLES / "finetune.py").read_text(encoding="utf-8").splitlines()
    assert len(lines) < 80  # to be read in one sitting


def test_does_it_pay_measures_and_goes_on(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = example("does_it_pay")
    monkeypatch.setattr("lenet_zoo.finetuning._LEAST_PER_EPOCH", 1)
    file = tmp_path / "figures" / "try.json"
    argv = ["--out", str(file), "--datasets", "digits", "--seeds", "2", "--sizes"]
    module.main([*argv, "1"])
    found = json.loads(file.read_text())
    cells = found["results"]["digits"]["1"]
    assert list(cells) == ["scratch, undistorted", "scratch", "head", "full"]
    for cell in cells.values():
        assert len(cell["accuracy"]) == len(cell["seconds"]) == 2
        assert cell["mean"] == pytest.approx(sum(cell["accuracy"]) / 2)
    assert cells["full"]["mean"] > 0.85 > cells["scratch"]["mean"]
    assert 0.9 < found["unchanged"]["digits"] < 1
    capsys.readouterr()
    measured = module.measure
    monkeypatch.setattr(module, "measure", lambda *a: pytest.fail("measured again"))
    module.main([*argv, "1"])
    assert capsys.readouterr().out == f"{file} has all of these; with another --out all is measured anew\n"
    monkeypatch.setattr(module, "measure", measured)
    module.main([*argv, "1", "2"])
    assert capsys.readouterr().out.count("digits, 2 per class") == 4
