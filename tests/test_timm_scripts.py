"""`python -m lenet_zoo.timm SCRIPT`, and what a network's mode does to its dropout."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import lenet_zoo


def run(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lenet_zoo.timm", *argv], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_a_script_of_timm_finds_the_networks(tmp_path: Path) -> None:
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "beside.py").write_text("WORD = 'found'")
    (folder / "script.py").write_text(
        "import sys, timm\n"
        "from beside import WORD\n"
        "if __name__ == '__main__':\n"
        "    print(WORD, sys.argv[1:], timm.create_model('lenet5_modern.mnist', pretrained=True).num_classes)\n"
    )
    done = run("scripts/script.py", "--model", "x", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "found ['--model', 'x'] 10\n"), done.stderr


@pytest.mark.parametrize(("argv", "said"), [((), "no script was named"), (("train.py",), "no script train.py")])
def test_without_a_script_it_says_what_to_give(argv: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = run(*argv, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"lenet_zoo.timm: {said}: give the path of one of timm's, as in `python -m lenet_zoo.timm validate.py --help`\n"
    )


def test_dropout_without_training_mode_is_warned_of() -> None:
    """timm's own create_model returns training mode, and a trainer that keeps the mode would train without dropout."""
    with pytest.warns(
        UserWarning, match=r"drop_rate=0\.5 has an effect in training mode alone.*call \.train\(\)"
    ) as said:
        assert not lenet_zoo.create_model("lenet5_modern", drop_rate=0.5).training
    assert said[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lenet_zoo.create_model("lenet5_modern", drop_rate=0.0)
