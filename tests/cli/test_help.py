"""Help, completion and Ctrl-C: what a person at a terminal reaches for first."""

from __future__ import annotations

import importlib
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from lenet_zoo.cli import _app
from lenet_zoo.cli._app import run

for module in _app._COMMANDS:
    importlib.import_module(f"lenet_zoo.cli.{module}")


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands(typer.main.get_command(_app.app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_help_has_an_example_that_is_a_command(capsys: pytest.CaptureFixture[str], path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    text, _, example = command.epilog.partition(": ")
    words = shlex.split(example)
    assert (text, words[0], tuple(words[1 : 1 + len(path)])) == ("Example", "lenet-zoo", path)
    command.parse_args(command.context_class(command, info_name=command.name), words[1 + len(path) :])
    shown = []
    for option in ("-h", "--help"):
        assert run([*path, option]) == 0
        shown.append(capsys.readouterr().out)
    assert shown[0] == shown[1]
    assert " ".join(command.epilog.split()) in " ".join(shown[0].split())


def test_a_shell_completes_commands() -> None:
    env = dict(os.environ, _LENET_ZOO_COMPLETE="complete_bash", COMP_WORDS="lenet-zoo ev", COMP_CWORD="1")
    done = subprocess.run([sys.executable, "-m", "lenet_zoo"], capture_output=True, text=True, env=env)
    assert done.stdout.split() == ["evaluate"]


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="this system has no process groups")
@pytest.mark.parametrize("command", ["predict", "evaluate", "score", "export"])
def test_ctrl_c_is_one_line(tmp_path: Path, command: str) -> None:
    """Interrupted where it reads its input, which a pipe that nobody writes to holds up."""
    argv = {
        "predict": ["lenet5_modern", "x.png"],
        "evaluate": ["lenet5_modern", "--dataset", "digits"],
        "score": ["x.png", "--model", "lenet5_modern", "--out", str(tmp_path / "out")],
        "export": ["lenet5_modern", "-o", str(tmp_path / "x.onnx")],
    }[command]
    code = (
        "import pathlib, sys, time\n"
        "import lenet_zoo.cards as cards\n"
        "def wait(*args):\n"
        "    pathlib.Path('started').touch()\n"
        "    time.sleep(60)\n"
        "cards.load = wait\n"
        "cards.verify = wait\n"
        "from lenet_zoo.cli import main\n"
        f"main({[command, *argv]})\n"
    )
    (tmp_path / "x.png").write_bytes((Path(__file__).parents[1] / "fixtures" / "pictures" / "pen_fat.png").read_bytes())
    env = dict(os.environ, XDG_CACHE_HOME=str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "started").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "lenet-zoo: interrupted\n")
