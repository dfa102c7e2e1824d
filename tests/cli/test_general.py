"""The options that every command has: --quiet, --verbose, --debug, wherever on the line they stand."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from lenet_zoo import cards
from lenet_zoo.cli._app import messages, run, say


@pytest.mark.parametrize("argv", [["-q", "list"], ["list", "-q"], ["list", "--quiet", "--json"]])
def test_quiet_leaves_results_and_errors(
    argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = cards.names

    def with_remark() -> list[str]:
        say("a remark")
        return names()

    monkeypatch.setattr(cards, "names", with_remark)
    assert run(argv) == 0
    out, said = capsys.readouterr()
    assert ("lenet5_modern" in out, said) == (True, "")
    assert run([*argv[:-1], argv[-1], "--never"]) == 2
    assert "--never" in capsys.readouterr().err
    assert run(["list"]) == 0
    assert capsys.readouterr().err == "a remark\n"
    assert not messages.quiet


@pytest.mark.parametrize("verbose", [[], ["-v"], ["--verbose"]])
def test_other_packages_warn_only_who_asks(verbose: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    names = cards.names

    def with_warnings() -> list[str]:
        for kind in (FutureWarning, DeprecationWarning, UserWarning):
            warnings.warn("of theirs", kind, stacklevel=1)
        warnings.warn("of ours", RuntimeWarning, stacklevel=1)
        return names()

    monkeypatch.setattr(cards, "names", with_warnings)
    monkeypatch.setattr(sys, "warnoptions", [])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert run(["list", *verbose]) == 0
    assert [str(one.message) for one in caught] == ["of theirs"] * (3 if verbose else 0) + ["of ours"]


def test_a_file_may_be_called_like_an_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["predict", "lenet5_modern", "--", "-q"]) == 2
    assert capsys.readouterr().err == "lenet-zoo: -q: no such file or folder\n"


@pytest.mark.parametrize("verbose", [[], ["-v"]])
def test_matplotlib_says_nothing_of_a_home_that_cannot_be_written(tmp_path: Path, verbose: list[str]) -> None:
    (tmp_path / "file").touch()  # no folder can be made in a file, whoever runs the tests
    env = dict(os.environ, MPLCONFIGDIR=str(tmp_path / "file" / "matplotlib"))
    argv = ["plot", "filters", "lenet5_modern", "-o", str(tmp_path / "f.png"), *verbose]
    done = subprocess.run([sys.executable, "-m", "lenet_zoo", *argv], capture_output=True, text=True, env=env)
    assert (done.returncode, "atplotlib created" in done.stderr) == (0, bool(verbose))


def test_onnxruntime_reports_nothing_and_says_nothing(tmp_path: Path) -> None:
    """It warned on stderr of a home that cannot be written."""
    program = (
        "import os\nfrom lenet_zoo._onnxruntime import load_onnxruntime\n"
        "load_onnxruntime()\nprint(os.environ['ORT_DISABLE_TELEMETRY'])"
    )
    env = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    (tmp_path / "file").touch()  # no folder can be made in a file, whoever runs the tests
    env |= {"HOME": str(tmp_path / "file"), "XDG_CACHE_HOME": str(tmp_path / "file")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ("finetune lenet5_classic --out run", "finetune --model lenet5_classic --out run"),
        ("finetune lenet5_modern --dataset mnist", "finetune --model lenet5_modern --dataset mnist"),
        ("plot line lenet5_modern.numbers 7.png -o a.svg", "plot line --model lenet5_modern.numbers 7.png -o a.svg"),
        ("plot line 7.png digits.onnx -o a.svg", "plot line --model digits.onnx 7.png -o a.svg"),
        ("score local-dir:run scans --out answers", "score --model local-dir:run scans --out answers"),
        ("recipes best lenet5_classic", "recipes --model lenet5_classic best"),
    ],
)
def test_a_network_that_needs_its_option_is_told_so(argv: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(argv.split()) == 2
    said = capsys.readouterr().err
    assert said.startswith("lenet-zoo: ")
    assert said.endswith(f": name the network with --model, as in `lenet-zoo {line}`\n")


def test_another_word_too_many_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["finetune", "--model", "lenet5_modern", "letters", "--out", "run"]) == 2
    assert capsys.readouterr().err.endswith("Got unexpected extra argument(s) (letters)\n")


def test_a_value_that_an_option_has_not_is_named_first(capsys: pytest.CaptureFixture[str]) -> None:
    """Typer had pydantic's words before it."""
    assert run(["export", "lenet5_modern", "-o", "a.onnx", "--precision", "int4"]) == 2
    assert "Invalid value for '--precision': 'int4' is not one of " in capsys.readouterr().err
