"""Interrupted, killed, resumed, on two ranks: the same result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lenet_zoo.errors import TrainingError
from lenet_zoo.finetuning import finetune
from lenet_zoo.finetuning.results import RESULTS
from lenet_zoo.training.checkpoint import RunFolder
from lenet_zoo.training.monitor import Monitor

from .conftest import QUICK, Listener

pytest.importorskip("matplotlib")


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    options: dict[str, Any] = dict(few_shot=3, changes={"epochs": 4})
    finetune(tmp_path / "whole", **options)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        finetune(out, **options, monitor=Listener(stop_after=2))
    assert {path.name for path in out.iterdir()} == {"checkpoint.pt", "log.jsonl"}
    with pytest.raises(TrainingError, match="go on with --resume"):
        finetune(out, **options)
    with pytest.raises(TrainingError, match="holds another run"):
        finetune(out, **{**options, "few_shot": 4}, resume=True)
    told = Listener()
    finetune(out, **options, resume=True, monitor=told)
    assert told.epochs == 2
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert {path.name for path in out.iterdir()} == {*RESULTS, "log.jsonl"}


@pytest.mark.parametrize("file", [RESULTS[0], RESULTS[3], RESULTS[-1]])
def test_an_interruption_among_the_results(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options: dict[str, Any] = dict(few_shot=1, changes={"epochs": 1})
    out = tmp_path / "out"
    write = RunFolder.write

    def stop(self: RunFolder, target: Path, data: bytes | str) -> None:
        if target.name == file:
            raise KeyboardInterrupt
        write(self, target, data)

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            finetune(out, **options)
    assert (out / "checkpoint.pt").is_file()
    assert not (out / "card.json").exists()
    assert not list(out.glob(".*"))
    done = finetune(out, **options, resume=True)
    assert {path.name for path in out.iterdir()} == {*RESULTS, "log.jsonl"}
    assert done.card["onnx"]["same_answer"] == 898


def test_an_interruption_before_the_first_epoch_leaves_nothing(tmp_path: Path) -> None:
    class Impatient(Monitor):
        def begin(self, epochs: int, done: int, pictures: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetune(tmp_path / "out", few_shot=1, changes=QUICK, monitor=Impatient())
    assert not (tmp_path / "out").exists()


def test_a_finished_run_is_found_again(tmp_path: Path) -> None:
    options: dict[str, Any] = dict(few_shot=1, changes={"epochs": 1})
    out = tmp_path / "out"
    first = finetune(out, **options)
    stamps = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    again = finetune(out, **options, resume=True)
    assert again.card == json.loads(json.dumps(first.card))
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == stamps
    for (name, one), other in zip(first.model.state_dict().items(), again.model.state_dict().values(), strict=True):
        assert torch.equal(one, other), name
    with pytest.raises(TrainingError, match="holds another run: there seed=0, here 1"):
        finetune(out, **options, seed=1, resume=True)


def test_a_killed_process_leaves_a_checkpoint_or_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "lenet_zoo",
        "finetune",
        "--out",
        str(out),
        "--few-shot",
        "2",
        "--set",
        "epochs=500",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        deadline = time.monotonic() + 120
        while not (out / "checkpoint.pt").is_file():
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(child.pid, signal.SIGKILL)
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    assert state["epochs"] >= 1
    assert not (out / "card.json").exists()


def test_two_processes_end_where_one_does(tmp_path: Path) -> None:
    argv = ["-m", "lenet_zoo", "finetune", "--device", "cpu", "--set", "epochs=8", "--set", "patience=1"]
    argv += ["--set", "lr=0.01", "--json", "--out"]
    starts = {"one": [sys.executable], "two": [sys.executable, "-m", "torch.distributed.run", "--standalone"]}
    starts["two"] += ["--nproc-per-node", "2"]
    cards = {}
    for name, start in starts.items():
        done = subprocess.run([*start, *argv, str(tmp_path / name)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        cards[name] = json.loads(done.stdout)  # printed once
        assert {file.name for file in (tmp_path / name).iterdir()} == {*RESULTS, "log.jsonl"}
    one, two = (load_file(tmp_path / name / "model.safetensors") for name in starts)
    assert max(float((one[key] - two[key]).abs().max()) for key in one) < 1e-3
    # Patience ended both in the same epoch.
    assert cards["one"]["epochs"] == cards["two"]["epochs"] < 8
    for split, figures in cards["one"]["metrics"].items():
        assert cards["two"]["metrics"][split]["loss"] == pytest.approx(figures["loss"], rel=1e-2)
    assert cards["two"]["onnx"]["same_answer"] == cards["two"]["onnx"]["pictures"]
