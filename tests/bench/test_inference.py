"""Everybody is timed, and the ratios follow from the times. No test looks at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

import lenet_zoo
from lenet_zoo import figures
from lenet_zoo.bench import inference as bench
from lenet_zoo.errors import InputError, MissingExtraError


def test_multiply_adds_of_both_networks() -> None:
    assert bench.multiply_adds(lenet_zoo.create_model("lenet5_modern")) == 416_520
    # The paper's connections (p. 8) less biases, subsampling, and with 60 of 96 kernels in C3.
    classic = 784 * 150 + 100 * 60 * 25 + 120 * 400 + 84 * 120 + 840
    assert bench.multiply_adds(lenet_zoo.create_model("lenet5_classic")) == classic


def test_ratios_are_within_rounds() -> None:
    # The machine slows down by ten during the run: the ratio of each round is 2 all the same.
    times = {bench.OURS: [1.0, 10.0, 10.0], "other": [2.0, 20.0, 20.0]}
    ours, other = bench._rows(times, threads=1, batch=10, macs=100, product=[s * 1024**3 / 2000 for s in (1, 10, 10)])
    assert (ours.ratio, other.ratio) == (1.0, 2.0)
    assert ours.microseconds == pytest.approx(1e6)
    assert ours.pictures_per_second == pytest.approx(1.0)
    assert ours.share == pytest.approx(0.5)


def test_every_contestant_is_timed_and_drawn(no_waiting: None, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    result = bench.time_inference("lenet5_classic", threads=[1], batches=[1, 40], rounds=1, compiled=False)
    assert torch.get_num_threads() == threads
    names = ["torch eager", "plain export, onnxruntime", bench.OURS, "ours int8, onnxruntime"]
    for batch in (1, 40):
        found = [row.name for row in result.rows if row.batch == batch]
        assert found[:4] == names
        assert ("ours, OpenVINO" in found) != ("OpenVINO" in result.absent)
    assert all(row.microseconds > 0 and row.share > 0 for row in result.rows)
    assert result.ceiling[1] > 0
    path = figures.save(figures.bench(asdict(result)), tmp_path / "bench.png")
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGCHLD")
def test_signals_are_survived_afterwards() -> None:
    """OpenVINO's networks, ended in the wrong order, leave the main thread on a signal stack that is freed."""
    code = (
        "import faulthandler, signal, subprocess, sys; faulthandler.enable()\n"  # as pytest does: it wants such a stack
        "from lenet_zoo.bench.inference import time_inference\n"
        "time_inference(threads=[1], batches=[1, 2, 3], rounds=1, compiled=False)\n"
        "assert not sys.modules.get('openvino_telemetry'), 'OpenVINO reports its use, from a forked process'\n"
        "signal.signal(signal.SIGCHLD, lambda *_: print('told'))\n"  # as torch's DataLoader does
        "subprocess.run(['true'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "told\n"), done.stderr


@pytest.mark.parametrize("wrong", [dict(threads=[0]), dict(batches=[0]), dict(rounds=0), dict(batches=[])])
def test_bad_numbers(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="each at least 1"):
        bench.time_inference(**wrong)  # type: ignore[arg-type]


def test_a_network_of_lines_has_a_benchmark_of_its_own() -> None:
    with pytest.raises(InputError, match=r"reads lines: take `lenet-zoo bench lines lenet5_modern\.numbers`"):
        bench.time_inference("lenet5_modern.numbers")


def test_command(tmp_path: Path) -> None:
    arguments = ["inference", "--threads", "1", "--batch", "2", "--rounds", "1", "--no-compile", "--json"]
    command = [sys.executable, "-m", "lenet_zoo", "bench", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["multiply_adds"] == 416_520
    assert {row["batch"] for row in document["rows"]} == {2}


def test_without_onnxscript_the_extra_is_named_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setattr(bench, "create_model", lambda *_, **__: pytest.fail("the network was loaded"))
    with pytest.raises(MissingExtraError) as raised:
        bench.time_inference()
    assert str(raised.value) == 'torch.onnx.export needs onnxscript: run pip install ".[bench]" in a clone of lenet_zoo'


def test_only_the_plain_export_needs_onnxscript() -> None:
    code = (
        "import sys; sys.modules['onnxscript'] = None\n"
        "import lenet_zoo.bench.inference, lenet_zoo.bench.training, lenet_zoo.bench.timing\n"
        "from lenet_zoo.cli import main; main(['bench', 'inference', '--rounds', '1'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        'lenet-zoo: torch.onnx.export needs onnxscript: run pip install ".[bench]" in a clone of lenet_zoo'
    )
