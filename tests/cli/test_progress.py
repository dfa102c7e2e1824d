"""What a training run says on its way: without a terminal, and when it is stopped."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lenet_zoo.cli import train
from lenet_zoo.cli.train import Display


def test_without_a_terminal_a_long_epoch_says_that_it_goes_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Display(quiet=False) as display:
        display.monitor.begin(3, 0, 60_000)
        display.monitor.step(1, 12_000, 0.25, 0.9, 8_000)
        assert capsys.readouterr().err == ""
        monkeypatch.setattr(train, "_SECONDS_BETWEEN_LINES", 0.0)
        display.monitor.step(1, 24_000, 0.25, 0.9, 8_000)
    said = "epoch 1 of 3: 24,000 of 60,000 pictures, loss 0.2500, accuracy 90.00 %, 8,000 pictures/s\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (0, "stopped before the first epoch was over: the same command with --resume goes on from there\n"),
        (2, "stopped after epoch 2 of 5: the same command with --resume and without --overwrite goes on from there\n"),
    ],
)
def test_what_an_interruption_leaves_is_said(capsys: pytest.CaptureFixture[str], done: int, said: str) -> None:
    for begun, wanted in ((True, said), (False, "")):
        display = Display(quiet=False, overwrite=done > 0)
        if begun:
            display.monitor.begin(5, done, 1000)
        with pytest.raises(KeyboardInterrupt), display:
            raise KeyboardInterrupt
        assert capsys.readouterr().err == wanted


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to catch")
def test_sigterm_is_answered_as_ctrl_c(tmp_path: Path) -> None:
    argv = ["finetune", "--out", str(tmp_path / "out"), "--few-shot", "2", "--set", "epochs=1000"]
    process = subprocess.Popen([sys.executable, "-m", "lenet_zoo", *argv], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert any(line.startswith("epoch 1:") for line in process.stderr)
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=120)
    *_, stopped, last = rest.splitlines()
    assert stopped.startswith("stopped after epoch ")
    assert stopped.endswith(" of 1000: the same command with --resume goes on from there")
    assert (process.returncode, last) == (143, "lenet-zoo: interrupted")
    assert (tmp_path / "out" / "checkpoint.pt").is_file()
